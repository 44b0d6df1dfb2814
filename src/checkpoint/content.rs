//! The bytes of tensors: random and unique per 512 bytes, or ones; any part can be made alone.

use crate::plan::checkpoint::{DType, TensorPlan};
use crate::plan::fill::{Fill, FillSource, Shrink};
use crate::util::hash::fnv1a;

/// Makes the contents of the tensors of a run's checkpoints.
#[derive(Clone)]
pub struct ContentSource {
    /// None: every element is one.
    random: Option<FillSource>,
}

impl ContentSource {
    /// `randomize`: DLIO's `checkpoint.randomize_tensor`. `shrink`: of random tensors.
    pub fn new(seed: u64, randomize: bool, shrink: Shrink) -> Self {
        ContentSource {
            random: randomize.then(|| FillSource::shrinking(seed, shrink)),
        }
    }

    /// The content of tensor number `index` of the file `file` in the checkpoint folder named `folder`.
    ///
    /// Two checkpoints of a run hold different bytes, as they would after more steps of training, so that storage that
    /// finds duplicates has nothing to find.
    pub fn tensor(&self, folder: &str, file: &str, index: usize, plan: &TensorPlan) -> Content {
        match &self.random {
            None => Content::Ones(one(plan.dtype)),
            Some(source) => {
                let name = name_hash(folder, file, index);
                Content::Random(source.repeating(name, plan.bytes() as f64))
            }
        }
    }
}

/// A hash of the names, with a separator that no name holds.
fn name_hash(folder: &str, file: &str, index: usize) -> u64 {
    let bytes = [folder.as_bytes(), b"/", file.as_bytes(), b"#"].concat();
    let index = (index as u64).to_le_bytes();
    fnv1a(bytes.iter().chain(&index))
}

/// The number one, repeated to 8 bytes.
fn one(dtype: DType) -> [u8; 8] {
    let word: u64 = match dtype {
        DType::Int8 | DType::Uint8 => 0x0101_0101_0101_0101,
        DType::Fp16 => 0x3c00_3c00_3c00_3c00,
        DType::Bf16 => 0x3f80_3f80_3f80_3f80,
        DType::Fp32 => 0x3f80_0000_3f80_0000,
        DType::Fp64 => 0x3ff0_0000_0000_0000,
    };
    word.to_le_bytes()
}

/// The content of one tensor.
#[derive(Clone)]
pub enum Content {
    /// Unique per 512 bytes and incompressible, unless storage is to shrink it.
    Random(Fill),
    /// Eight bytes that repeat.
    Ones([u8; 8]),
}

impl Content {
    /// Writes the bytes from `offset` on.
    pub fn fill(&self, offset: u64, out: &mut [u8]) {
        match self {
            Content::Random(fill) => fill.fill(offset, out),
            Content::Ones(word) => {
                let mut word = *word;
                word.rotate_left((offset % 8) as usize);
                let mut chunks = out.chunks_exact_mut(8);
                for chunk in &mut chunks {
                    chunk.copy_from_slice(&word);
                }
                let rest = chunks.into_remainder();
                let n = rest.len();
                rest.copy_from_slice(&word[..n]);
            }
        }
    }

    /// CRC-32 of bytes whose own is `before`, followed by `bytes`, which are this content's from `offset` on.
    pub fn crc32_continue(&self, before: u32, offset: u64, bytes: &[u8]) -> u32 {
        match self {
            Content::Random(fill) => fill.crc32_continue(before, offset, bytes),
            Content::Ones(_) => {
                let mut hasher = crc32fast::Hasher::new_with_initial(before);
                hasher.update(bytes);
                hasher.finalize()
            }
        }
    }
}
