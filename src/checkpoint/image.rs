//! A checkpoint file as members of a zip container: its exact length beforehand, its bytes in order.

use super::content::{Content, ContentSource};
use super::pickle;
use crate::config::Framework;
use crate::format::container::npy;
use crate::format::container::zip::{Entry, TORCH};
use crate::plan::checkpoint::{DType, FilePlan, TensorPlan};

/// Folder inside PyTorch's container. Source: what `torch.save` writes to a file object.
const ARCHIVE: &str = "archive";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    /// PyTorch's zip: `data.pkl`, `byteorder`, `version`, one member per tensor.
    PyTorch,
    /// numpy's `.npz`, one `.npy` member per tensor: TensorFlow's own checkpoint needs its library to be opened.
    Npz,
}

impl Container {
    pub fn of(framework: Framework) -> Self {
        match framework {
            Framework::TensorFlow => Container::Npz,
            _ => Container::PyTorch,
        }
    }

    /// File name extension without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Container::PyTorch => "pt",
            Container::Npz => "npz",
        }
    }
}

/// The data of a tensor inside its member.
#[derive(Clone)]
pub struct Body {
    pub content: Content,
    pub len: u64,
    /// Its keys, for messages.
    pub label: String,
}

#[derive(Clone)]
pub struct Member {
    /// Path inside the container.
    pub name: String,
    /// Bytes before the tensor, or all of them.
    pub prefix: Vec<u8>,
    /// The tensor.
    pub body: Option<Body>,
    /// Where its local header begins.
    pub offset: u64,
    /// Where its data begin.
    pub data_offset: u64,
}

impl Member {
    pub fn len(&self) -> u64 {
        self.prefix.len() as u64 + self.body.as_ref().map_or(0, |b| b.len)
    }

    /// As the container's headers name it.
    pub(crate) fn entry(&self, crc: u32) -> Entry {
        Entry::stored(self.name.as_str(), self.len(), self.offset, crc)
    }
}

/// The header of a tensor's array. numpy has no bf16: its two bytes are a uint16.
fn npy_header(tensor: &TensorPlan) -> Vec<u8> {
    let descr = match tensor.dtype {
        DType::Int8 => "|i1",
        DType::Uint8 => "|u1",
        DType::Fp16 => "<f2",
        DType::Bf16 => "<u2",
        DType::Fp32 => "<f4",
        DType::Fp64 => "<f8",
    };
    npy::header(descr, &[tensor.elements])
}

/// One file.
#[derive(Clone)]
pub struct Image {
    members: Vec<Member>,
    directory_offset: u64,
    len: u64,
}

impl Image {
    /// The file `plan` of the checkpoint in the folder named `folder`.
    pub fn new(
        container: Container,
        plan: &FilePlan,
        folder: &str,
        source: &ContentSource,
    ) -> Self {
        let plain = |name: &str, bytes: Vec<u8>| Member {
            name: format!("{ARCHIVE}/{name}"),
            prefix: bytes,
            body: None,
            offset: 0,
            data_offset: 0,
        };
        let tensors = plan.tensors.iter().enumerate().map(|(index, t)| {
            let label = match &t.group {
                Some(group) => format!("{group}/{}", t.key),
                None => t.key.clone(),
            };
            let (name, prefix) = match container {
                Container::PyTorch => (format!("{ARCHIVE}/data/{index}"), Vec::new()),
                Container::Npz => (format!("{label}.npy"), npy_header(t)),
            };
            Member {
                name,
                prefix,
                body: Some(Body {
                    content: source.tensor(folder, &plan.name, index, t),
                    len: t.bytes(),
                    label,
                }),
                offset: 0,
                data_offset: 0,
            }
        });
        let mut members = Vec::with_capacity(plan.tensors.len() + 3);
        match container {
            Container::PyTorch => {
                members.push(plain("data.pkl", pickle::write(&plan.tensors)));
                members.push(plain("byteorder", b"little".to_vec()));
                members.extend(tensors);
                members.push(plain("version", b"3\n".to_vec()));
            }
            Container::Npz => members.extend(tensors),
        }
        let mut at = 0;
        for m in &mut members {
            m.offset = at;
            m.data_offset = at + TORCH.local_header(&m.entry(0)).len() as u64;
            at = m.data_offset + m.len() + TORCH.descriptor_len(m.len());
        }
        let mut image = Image {
            members,
            directory_offset: at,
            len: 0,
        };
        let directory = TORCH.directory(&image.entries(&[]), at);
        image.len = at + directory.len() as u64;
        image
    }

    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Bytes from the first on.
    pub fn stream(&self) -> Stream<'_> {
        Stream {
            image: self,
            next: 0,
            pending: Vec::new(),
            sent: 0,
            body_at: None,
            crc: 0,
            crcs: Vec::with_capacity(self.members.len()),
            is_ended: false,
        }
    }

    /// Directory entries; checksums that are not given are 0.
    fn entries(&self, crcs: &[u32]) -> Vec<Entry> {
        let crcs = crcs.iter().copied().chain(std::iter::repeat(0));
        self.members
            .iter()
            .zip(crcs)
            .map(|(m, crc)| m.entry(crc))
            .collect()
    }
}

/// The bytes of an [`Image`], made as they are asked for.
pub struct Stream<'a> {
    image: &'a Image,
    /// The member whose header comes next.
    next: usize,
    /// Headers, prefixes, descriptors, directory: small pieces that are ready.
    pending: Vec<u8>,
    /// How much of `pending` is gone.
    sent: usize,
    /// Position inside the body of member `next - 1`.
    body_at: Option<u64>,
    crc: u32,
    crcs: Vec<u32>,
    is_ended: bool,
}

impl Stream<'_> {
    /// Fills `out` with the next bytes; fewer than its length only at the end. Returns how many.
    pub fn fill(&mut self, out: &mut [u8]) -> usize {
        let mut used = 0;
        while used < out.len() {
            let n = self.piece(&mut out[used..]);
            if n == 0 {
                break;
            }
            used += n;
        }
        used
    }

    fn piece(&mut self, out: &mut [u8]) -> usize {
        if self.sent == self.pending.len() && self.body_at.is_none() && !self.advance() {
            return 0;
        }
        if self.sent < self.pending.len() {
            let n = out.len().min(self.pending.len() - self.sent);
            out[..n].copy_from_slice(&self.pending[self.sent..self.sent + n]);
            self.sent += n;
            return n;
        }
        let (Some(at), Some(body)) = (self.body_at, &self.image.members[self.next - 1].body) else {
            return 0;
        };
        let n = (body.len - at).min(out.len() as u64) as usize;
        body.content.fill(at, &mut out[..n]);
        self.crc = body.content.crc32_continue(self.crc, at, &out[..n]);
        let end = at + n as u64;
        self.body_at = Some(end);
        if end == body.len {
            self.body_at = None;
            self.end_member();
        }
        n
    }

    fn send(&mut self, bytes: Vec<u8>) {
        self.pending = bytes;
        self.sent = 0;
    }

    /// The checksum of the member that has ended.
    fn end_member(&mut self) {
        let len = self.image.members[self.next - 1].len();
        self.crcs.push(self.crc);
        self.send(TORCH.descriptor(self.crc, len));
    }

    /// Begins the next member or the directory; false when there is nothing more.
    fn advance(&mut self) -> bool {
        let image = self.image;
        if let Some(m) = image.members.get(self.next) {
            self.next += 1;
            let mut bytes = TORCH.local_header(&m.entry(0));
            bytes.extend(&m.prefix);
            self.crc = crc32fast::hash(&m.prefix);
            if m.body.as_ref().is_some_and(|b| b.len > 0) {
                self.body_at = Some(0);
                self.send(bytes);
            } else {
                self.end_member();
                bytes.append(&mut self.pending);
                self.send(bytes);
            }
            return true;
        }
        if self.is_ended {
            return false;
        }
        self.is_ended = true;
        let entries = image.entries(&self.crcs);
        self.send(TORCH.directory(&entries, image.directory_offset));
        true
    }
}
