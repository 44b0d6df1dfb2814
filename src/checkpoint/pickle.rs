//! `data.pkl` of a PyTorch checkpoint: a dictionary of tensors as Python's pickle protocol 2 writes it, and reading one.
//!
//! Source: Python's `pickletools` (opcodes), PyTorch `torch/serialization.py` (persistent ids of storages) and
//! `torch/_utils.py::_rebuild_tensor_v2`. Only what `torch.load(weights_only=True)` permits is written.
//!
//! A pickle may name what it made before any number of times. Items are shared, never copied, and nest [`MAX_DEPTH`] deep at
//! most, so reading one takes memory in proportion to its bytes.

use std::collections::HashMap;
use std::rc::Rc;

use crate::plan::checkpoint::{DType, TensorPlan};

const CLASSES: [(DType, &str); 6] = [
    (DType::Int8, "CharStorage"),
    (DType::Uint8, "ByteStorage"),
    (DType::Fp16, "HalfStorage"),
    (DType::Bf16, "BFloat16Storage"),
    (DType::Fp32, "FloatStorage"),
    (DType::Fp64, "DoubleStorage"),
];

fn class_of(dtype: DType) -> &'static str {
    CLASSES
        .iter()
        .find(|(d, _)| *d == dtype)
        .map_or("", |(_, name)| name)
}

fn text(out: &mut Vec<u8>, s: &str) {
    out.push(b'X');
    out.extend((s.len() as u32).to_le_bytes());
    out.extend(s.as_bytes());
}

fn global(out: &mut Vec<u8>, module: &str, name: &str) {
    out.extend(format!("c{module}\n{name}\n").as_bytes());
}

/// A non-negative integer below 2^63.
fn int(out: &mut Vec<u8>, n: u64) {
    match n {
        0..=0xff => out.extend([b'K', n as u8]),
        0x100..=0xffff => {
            out.push(b'M');
            out.extend((n as u16).to_le_bytes());
        }
        0x1_0000..=0x7fff_ffff => {
            out.push(b'J');
            out.extend((n as u32).to_le_bytes());
        }
        _ => {
            // LONG1: as few bytes as hold the number and its sign.
            let bytes = n.to_le_bytes();
            let used = (64 - n.leading_zeros() as usize) / 8 + 1;
            out.extend([0x8a, used as u8]);
            out.extend(&bytes[..used]);
        }
    }
}

fn tensor(out: &mut Vec<u8>, storage: usize, plan: &TensorPlan) {
    global(out, "torch._utils", "_rebuild_tensor_v2");
    // The persistent id of the storage, then offset, shape, strides, requires_grad and no hooks.
    out.extend(b"((");
    text(out, "storage");
    global(out, "torch", class_of(plan.dtype));
    text(out, &storage.to_string());
    text(out, "cpu");
    int(out, plan.elements);
    out.extend(b"tQ");
    int(out, 0);
    int(out, plan.elements);
    out.push(0x85);
    int(out, 1);
    out.extend([0x85, 0x89]);
    global(out, "collections", "OrderedDict");
    out.extend(b")RtR");
}

/// The pickle of a file's tensors; tensor i has storage `data/<i>`.
pub fn write(tensors: &[TensorPlan]) -> Vec<u8> {
    let mut out = vec![0x80, 2, b'}', b'('];
    let mut group: Option<&str> = None;
    for (index, plan) in tensors.iter().enumerate() {
        if plan.group.as_deref() != group {
            if group.is_some() {
                out.push(b'u');
            }
            group = plan.group.as_deref();
            if let Some(name) = group {
                text(&mut out, name);
                out.extend(b"}(");
            }
        }
        text(&mut out, &plan.key);
        tensor(&mut out, index, plan);
    }
    if group.is_some() {
        out.push(b'u');
    }
    out.extend(b"u.");
    out
}

/// How deep items may nest: a tensor's shape in a dictionary of dictionaries needs five.
const MAX_DEPTH: u8 = 16;

/// A tensor that a pickle names. Texts are shared with other tensors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Key of the inner dictionary.
    pub group: Option<Rc<str>>,
    pub key: Rc<str>,
    /// Element type.
    pub dtype: DType,
    /// Elements of the storage.
    pub elements: u64,
    /// Its storage: the name of a member below `data/`.
    pub storage: Rc<str>,
}

/// Copying one copies no more than a pointer; dictionaries are never copied.
#[derive(Debug)]
enum Item {
    None,
    Mark,
    Int(u64),
    Text(Rc<str>),
    Global(Rc<str>),
    /// And how deep it nests.
    Tuple(Rc<[Item]>, u8),
    Dict(Vec<(Item, Item)>, u8),
    Storage(Storage),
    Tensor(Storage),
}

#[derive(Debug, Clone)]
struct Storage {
    dtype: DType,
    key: Rc<str>,
    elements: u64,
}

impl Item {
    fn depth(&self) -> u8 {
        match self {
            Item::Tuple(_, depth) | Item::Dict(_, depth) => *depth,
            _ => 0,
        }
    }

    /// The depth of what holds `items`; None when it is too deep.
    fn depth_of(items: &[Item]) -> Option<u8> {
        let inside = items.iter().map(Item::depth).max().unwrap_or(0);
        (inside < MAX_DEPTH).then_some(inside + 1)
    }

    fn tuple(items: Vec<Item>) -> Option<Item> {
        let depth = Item::depth_of(&items)?;
        Some(Item::Tuple(items.into(), depth))
    }

    /// The same item again. A dictionary is filled after it was remembered, and never asked for again.
    fn share(&self) -> Item {
        match self {
            Item::None | Item::Dict(..) => Item::None,
            Item::Mark => Item::Mark,
            Item::Int(n) => Item::Int(*n),
            Item::Text(text) => Item::Text(text.clone()),
            Item::Global(name) => Item::Global(name.clone()),
            Item::Tuple(items, depth) => Item::Tuple(items.clone(), *depth),
            Item::Storage(storage) => Item::Storage(storage.clone()),
            Item::Tensor(storage) => Item::Tensor(storage.clone()),
        }
    }
}

/// Reads the pickle of a dictionary of tensors, or of dictionaries of tensors.
///
/// Errors: what is wrong, as a clause after the file's name.
pub fn read(bytes: &[u8]) -> Result<Vec<Named>, String> {
    let damaged = || "its data.pkl is no dictionary of tensors".to_string();
    let Some(Item::Dict(outer, _)) = Machine::new(bytes).run()? else {
        return Err(damaged());
    };
    let mut out = Vec::new();
    for (key, value) in outer {
        let Item::Text(key) = key else {
            return Err(damaged());
        };
        match value {
            Item::Dict(inner, _) => {
                for (inner_key, value) in inner {
                    let Item::Text(inner_key) = inner_key else {
                        return Err(damaged());
                    };
                    out.push(named(Some(key.clone()), inner_key, value).ok_or_else(damaged)?);
                }
            }
            value => out.push(named(None, key, value).ok_or_else(damaged)?),
        }
    }
    Ok(out)
}

fn named(group: Option<Rc<str>>, key: Rc<str>, value: Item) -> Option<Named> {
    match value {
        Item::Tensor(storage) => Some(Named {
            group,
            key,
            dtype: storage.dtype,
            elements: storage.elements,
            storage: storage.key,
        }),
        _ => None,
    }
}

/// The part of Python's unpickler that dictionaries of tensors need; anything else is refused.
struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Item>,
    memo: HashMap<u32, Item>,
}

impl<'a> Machine<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Machine {
            bytes,
            at: 0,
            stack: Vec::new(),
            memo: HashMap::new(),
        }
    }

    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let part = self.bytes.get(self.at..self.at.checked_add(n)?)?;
        self.at += n;
        Some(part)
    }

    fn number(&mut self, bytes: usize) -> Option<u64> {
        let part = self.take(bytes)?;
        let mut word = [0; 8];
        word.get_mut(..bytes)?.copy_from_slice(part);
        Some(u64::from_le_bytes(word))
    }

    fn line(&mut self) -> Option<String> {
        let rest = self.bytes.get(self.at..)?;
        let len = rest.iter().position(|b| *b == b'\n')?;
        self.at += len + 1;
        Some(String::from_utf8_lossy(&rest[..len]).into_owned())
    }

    fn since_mark(&mut self) -> Option<Vec<Item>> {
        let mark = self.stack.iter().rposition(|i| matches!(i, Item::Mark))?;
        let items = self.stack.split_off(mark + 1);
        self.stack.pop();
        Some(items)
    }

    fn run(&mut self) -> Result<Option<Item>, String> {
        loop {
            let at = self.at;
            match self.step() {
                Some(true) => {}
                Some(false) => return Ok(self.stack.pop()),
                None => {
                    return Err(format!(
                        "byte {at} of its data.pkl is not what PyTorch writes for tensors"
                    ));
                }
            }
        }
    }

    /// One instruction; false at the end, None when it is not known or does not fit.
    fn step(&mut self) -> Option<bool> {
        match self.number(1)? as u8 {
            0x80 => {
                self.take(1)?;
            }
            // FRAME: lengths of parts, which need no attention.
            0x95 => {
                self.take(8)?;
            }
            b'}' => self.stack.push(Item::Dict(Vec::new(), 1)),
            b'(' => self.stack.push(Item::Mark),
            b')' => self.stack.push(Item::tuple(Vec::new())?),
            b'N' => self.stack.push(Item::None),
            0x88 | 0x89 => self.stack.push(Item::None),
            b'X' => self.text(4)?,
            0x8c => self.text(1)?,
            b'K' => self.int(1)?,
            b'M' => self.int(2)?,
            b'J' => self.int(4)?,
            0x8a => {
                let len = self.number(1)? as usize;
                self.int(len.min(9))?;
            }
            b'q' => {
                let slot = self.number(1)?;
                self.remember(slot)?;
            }
            b'r' => {
                let slot = self.number(4)?;
                self.remember(slot)?;
            }
            0x94 => {
                let slot = self.memo.len() as u64;
                self.remember(slot)?;
            }
            b'h' => self.recall(1)?,
            b'j' => self.recall(4)?,
            b'c' => {
                let name = format!("{}.{}", self.line()?, self.line()?);
                self.stack.push(Item::Global(name.into()));
            }
            0x93 => {
                let (Item::Text(name), Item::Text(module)) = (self.stack.pop()?, self.stack.pop()?)
                else {
                    return None;
                };
                let name = format!("{module}.{name}");
                self.stack.push(Item::Global(name.into()));
            }
            b't' => {
                let items = self.since_mark()?;
                self.stack.push(Item::tuple(items)?);
            }
            n @ 0x85..=0x87 => {
                let first = self.stack.len().checked_sub(usize::from(n) - 0x84)?;
                let items = self.stack.split_off(first);
                self.stack.push(Item::tuple(items)?);
            }
            b'Q' => {
                let storage = storage(self.stack.pop()?)?;
                self.stack.push(storage);
            }
            b'R' => {
                let (arguments, function) = (self.stack.pop()?, self.stack.pop()?);
                self.stack.push(call(function, arguments)?);
            }
            b's' => {
                let (value, key) = (self.stack.pop()?, self.stack.pop()?);
                self.set(vec![key, value])?;
            }
            b'u' => {
                let items = self.since_mark()?;
                self.set(items)?;
            }
            b'.' => return Some(false),
            _ => return None,
        }
        Some(true)
    }

    /// A text behind its length, a number of `width` bytes.
    fn text(&mut self, width: usize) -> Option<()> {
        let len = self.number(width)?;
        let part = self.take(usize::try_from(len).ok()?)?;
        self.stack
            .push(Item::Text(String::from_utf8_lossy(part).into()));
        Some(())
    }

    fn int(&mut self, bytes: usize) -> Option<()> {
        let n = self.number(bytes)?;
        self.stack.push(Item::Int(n));
        Some(())
    }

    fn remember(&mut self, slot: u64) -> Option<()> {
        let item = self.stack.last()?.share();
        self.memo.insert(u32::try_from(slot).ok()?, item);
        Some(())
    }

    /// What was remembered in the slot that the next `width` bytes name.
    fn recall(&mut self, width: usize) -> Option<()> {
        let slot = self.number(width)?;
        let item = self.memo.get(&u32::try_from(slot).ok()?)?.share();
        self.stack.push(item);
        Some(())
    }

    fn set(&mut self, items: Vec<Item>) -> Option<()> {
        let inside = Item::depth_of(&items)?;
        let Some(Item::Dict(dict, depth)) = self.stack.last_mut() else {
            return None;
        };
        *depth = (*depth).max(inside);
        let mut items = items.into_iter();
        while let Some(key) = items.next() {
            dict.push((key, items.next()?));
        }
        Some(())
    }
}

/// `('storage', class, key, location, elements)`
fn storage(id: Item) -> Option<Item> {
    let Item::Tuple(parts, _) = id else {
        return None;
    };
    let [
        Item::Text(word),
        Item::Global(class),
        Item::Text(key),
        _,
        Item::Int(elements),
    ] = &*parts
    else {
        return None;
    };
    let name = class.strip_prefix("torch.")?;
    let (dtype, _) = CLASSES.iter().find(|(_, class)| *class == name)?;
    (&**word == "storage").then(|| {
        Item::Storage(Storage {
            dtype: *dtype,
            key: key.clone(),
            elements: *elements,
        })
    })
}

fn call(function: Item, arguments: Item) -> Option<Item> {
    let (Item::Global(function), Item::Tuple(arguments, _)) = (function, arguments) else {
        return None;
    };
    match (&*function, &*arguments) {
        ("collections.OrderedDict", []) => Some(Item::Dict(Vec::new(), 1)),
        (
            "torch._utils._rebuild_tensor_v2",
            [
                Item::Storage(storage),
                Item::Int(0),
                Item::Tuple(shape, _),
                ..,
            ],
        ) => match &**shape {
            // One dimension that covers its storage.
            [Item::Int(n)] if *n == storage.elements => Some(Item::Tensor(storage.clone())),
            _ => None,
        },
        _ => None,
    }
}
