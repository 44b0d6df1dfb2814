//! The contents of samples: a function of (seed, file, offset), at memory speed.
//!
//! A 16 KiB table of random words is derived from the seed. Block j of a file (512 bytes) is row `j mod 32` of the table,
//! every word XORed with a 64-bit key that a bijection makes of (file, j). So no block of 512 bytes repeats within a
//! file, nothing compresses, and any byte can be computed alone. Because XOR is linear and so is CRC-32, the checksum of a
//! whole file needs one step of table look-ups per block and none of its bytes: a container's header can carry it
//! before the data has been made.
//!
//! Where storage is to shrink the data ([`Shrink`]): of each 4 KiB only the first part is random and the rest zero, so that a
//! compressor of 4 KiB or more finds the ratio; and a large file repeats its first part, or several small ones are the same,
//! so that blocks repeat wherever they begin in the file.

use std::sync::Arc;

use crate::util::hash::{GAMMA, mix64, splitmix64};

/// Bytes of a block: the granularity at which storage systems look for duplicates.
const BLOCK: usize = 512;
const WORDS: usize = BLOCK / 8;
const ROWS: usize = 32;

/// Blocks of a unit of compression: 4 KiB, the smallest records that storage systems compress.
const UNIT: u64 = 8;
const UNIT_WORDS: f64 = (UNIT as usize * WORDS) as f64;

/// What repeats within a file is a multiple of this: the largest blocks whose duplicates storage systems look for.
const LARGEST_BLOCK: u64 = 128 << 10;

/// A file repeats its own beginning where that is at least this long, bytes: the blocks that hold the seams count for little.
const LEAST_PERIOD: f64 = (32 * LARGEST_BLOCK) as f64;

/// By how much storage can shrink contents. 1: not at all.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shrink {
    /// By compression.
    pub compress: f64,
    /// By storing equal blocks once.
    pub dedup: f64,
}

impl Shrink {
    /// Not at all.
    pub const NOT: Shrink = Shrink {
        compress: 1.0,
        dedup: 1.0,
    };
}

/// CRC-32 register after `bytes` from register `state` (no initial or final inversion).
fn register(state: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(!state);
    hasher.update(bytes);
    !hasher.finalize()
}

/// What all files of a seed have in common.
struct Table {
    rows: [[u64; WORDS]; ROWS],
    /// Register contribution of each row.
    row_crc: [u32; ROWS],
    /// Register contribution of a key, by byte position and value.
    key_crc: [[u32; 256]; 8],
    /// Register after 512 zero bytes, by byte position and value of the register before.
    advance: [[u32; 256]; 4],
    /// Random words of a unit; the rest is zero.
    random: usize,
    /// The rows and keys of the block in which a unit's random words end.
    cut: Option<Box<Cut>>,
}

/// Register contributions of blocks whose last words are zero.
struct Cut {
    row_crc: [u32; ROWS],
    key_crc: [[u32; 256]; 8],
}

/// Register contribution of a key in the first `words` words of a block, by byte position and value.
fn key_crc(words: usize) -> [[u32; 256]; 8] {
    let mut table = [[0; 256]; 8];
    for (i, of_byte) in table.iter_mut().enumerate() {
        for (v, crc) in of_byte.iter_mut().enumerate() {
            *crc = register(0, &bytes_of(&[(v as u64) << (8 * i); WORDS], words));
        }
    }
    table
}

/// The bytes of a block of which all but the first `used` words are zero.
fn bytes_of(words: &[u64; WORDS], used: usize) -> [u8; BLOCK] {
    let mut out = [0; BLOCK];
    for (to, word) in out.chunks_exact_mut(8).zip(&words[..used]) {
        to.copy_from_slice(&word.to_le_bytes());
    }
    out
}

impl Table {
    /// Random words of block `j`.
    fn random_words(&self, j: u64) -> usize {
        let before = (j % UNIT) as usize * WORDS;
        self.random.saturating_sub(before).min(WORDS)
    }
}

/// Makes the fills of all files of a seed.
#[derive(Clone)]
pub struct FillSource {
    seed: u64,
    dedup: f64,
    table: Arc<Table>,
}

impl FillSource {
    /// The fills of `seed`, which nothing shrinks.
    pub fn new(seed: u64) -> Self {
        FillSource::shrinking(seed, Shrink::NOT)
    }

    /// The fills of `seed`, which storage can shrink.
    pub fn shrinking(seed: u64, shrink: Shrink) -> Self {
        let mut state = mix64(seed ^ 0x5851_f42d_4c95_7f2d);
        let mut rows = [[0u64; WORDS]; ROWS];
        for word in rows.iter_mut().flatten() {
            *word = splitmix64(&mut state);
        }
        let random = (UNIT_WORDS / shrink.compress).round().max(1.0) as usize;
        let row_crc = |used| std::array::from_fn(|r| register(0, &bytes_of(&rows[r], used)));
        let cut = match random % WORDS {
            0 => None,
            used => Some(Box::new(Cut {
                row_crc: row_crc(used),
                key_crc: key_crc(used),
            })),
        };
        let mut table = Table {
            row_crc: row_crc(WORDS),
            rows,
            key_crc: key_crc(WORDS),
            advance: [[0; 256]; 4],
            random,
            cut,
        };
        for (i, of_byte) in table.advance.iter_mut().enumerate() {
            for (v, crc) in of_byte.iter_mut().enumerate() {
                *crc = register((v as u32) << (8 * i), &[0; BLOCK]);
            }
        }
        FillSource {
            seed,
            dedup: shrink.dedup,
            table: Arc::new(table),
        }
    }

    /// The fill of file `file` of a dataset whose files have `len` bytes or about so many: a large file repeats itself, of
    /// small ones several are the same.
    pub fn file_of(&self, file: u64, len: f64) -> Fill {
        if self.dedup <= 1.0 {
            return self.file(file);
        }
        if len / self.dedup >= LEAST_PERIOD {
            return self.repeating(file, len);
        }
        self.file((file as f64 / self.dedup) as u64)
    }

    /// The fill of `len` bytes that repeat themselves, whatever their number.
    pub fn repeating(&self, file: u64, len: f64) -> Fill {
        let fill = self.file(file);
        if self.dedup <= 1.0 {
            return fill;
        }
        let blocks = (len / self.dedup / LARGEST_BLOCK as f64).round().max(1.0) as u64;
        Fill {
            period: blocks * (LARGEST_BLOCK / BLOCK as u64),
            ..fill
        }
    }

    /// The fill of file `file` (its number over train, then valid).
    pub fn file(&self, file: u64) -> Fill {
        let key = mix64(
            mix64(self.seed.wrapping_add(GAMMA)) ^ mix64(file.wrapping_mul(0xd129_0ddb_53c4_3e49)),
        );
        Fill {
            table: self.table.clone(),
            key,
            period: u64::MAX,
        }
    }
}

/// The contents of one file.
#[derive(Clone)]
pub struct Fill {
    table: Arc<Table>,
    key: u64,
    /// Blocks after which the contents repeat.
    period: u64,
}

#[inline(always)]
fn blocks(table: &Table, file_key: u64, first: u64, out: &mut [u8]) {
    for (j, block) in (first..).zip(out.chunks_exact_mut(BLOCK)) {
        let key = mix64(file_key.wrapping_add(j.wrapping_mul(GAMMA)));
        for (to, word) in block
            .chunks_exact_mut(8)
            .zip(&table.rows[j as usize % ROWS])
        {
            to.copy_from_slice(&(word ^ key).to_le_bytes());
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn blocks_avx2(table: &Table, file_key: u64, first: u64, out: &mut [u8]) {
    blocks(table, file_key, first, out);
}

impl Fill {
    /// Whole blocks from block `first` on.
    fn whole_blocks(&self, first: u64, out: &mut [u8]) {
        if self.period == u64::MAX {
            return self.unit_blocks(first, out);
        }
        let (mut at, mut rest) = (first % self.period, out);
        while !rest.is_empty() {
            let left = (self.period - at).saturating_mul(BLOCK as u64);
            let n = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let (part, after) = rest.split_at_mut(n);
            self.unit_blocks(at, part);
            (at, rest) = (0, after);
        }
    }

    /// The same within one period.
    fn unit_blocks(&self, first: u64, out: &mut [u8]) {
        if self.table.random == UNIT_WORDS as usize {
            return self.random_blocks(first, out);
        }
        let full = (self.table.random / WORDS) as u64;
        let (mut j, mut rest) = (first, out);
        while !rest.is_empty() {
            // A run of random blocks, or of zero ones, or the one block in which a unit's random words end.
            let place = j % UNIT;
            let run = match place {
                p if p < full => full - p,
                p if p == full => 1,
                p => UNIT - p,
            };
            let n = rest.len().min(run as usize * BLOCK);
            let (part, after) = rest.split_at_mut(n);
            match self.table.random_words(j) {
                0 => part.fill(0),
                used => {
                    self.random_blocks(j, part);
                    let end = part.len() - (WORDS - used) * 8;
                    part[end..].fill(0);
                }
            }
            (j, rest) = (j + run, after);
        }
    }

    /// Bytes of the first `len` that stay whatever a compressor makes of them: neither zeros nor repetitions. A twentieth is
    /// left to chance.
    pub fn incompressible(&self, len: u64) -> u64 {
        let once = len.min(self.period.saturating_mul(BLOCK as u64));
        (once as f64 * 0.95 * self.table.random as f64 / UNIT_WORDS) as u64
    }

    fn random_blocks(&self, first: u64, out: &mut [u8]) {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the CPU has AVX2.
            return unsafe { blocks_avx2(&self.table, self.key, first, out) };
        }
        blocks(&self.table, self.key, first, out);
    }

    /// Writes the bytes from `offset` on into `out`.
    pub fn fill(&self, offset: u64, out: &mut [u8]) {
        let mut first = offset / BLOCK as u64;
        let skip = (offset % BLOCK as u64) as usize;
        let mut scratch = [0u8; BLOCK];
        let mut rest = out;
        if skip > 0 {
            self.whole_blocks(first, &mut scratch);
            let n = rest.len().min(BLOCK - skip);
            rest[..n].copy_from_slice(&scratch[skip..skip + n]);
            rest = &mut rest[n..];
            first += 1;
        }
        let whole = rest.len() - rest.len() % BLOCK;
        let (body, tail) = rest.split_at_mut(whole);
        self.whole_blocks(first, body);
        if !tail.is_empty() {
            self.whole_blocks(first + (whole / BLOCK) as u64, &mut scratch);
            tail.copy_from_slice(&scratch[..tail.len()]);
        }
    }

    /// CRC-32 of some bytes whose own CRC-32 is `before`, followed by the first `len` bytes of this fill.
    ///
    /// Cost: a dozen table look-ups per 512 bytes; the bytes are not made.
    pub fn crc32_after(&self, before: u32, len: u64) -> u32 {
        let whole = len / BLOCK as u64;
        let state = self.register_over(!before, 0, whole);
        let mut scratch = [0u8; BLOCK];
        let tail = (len % BLOCK as u64) as usize;
        self.fill(whole * BLOCK as u64, &mut scratch[..tail]);
        !register(state, &scratch[..tail])
    }

    /// CRC-32 of some bytes whose own CRC-32 is `before`, followed by `bytes`, which are this fill's from `offset` on.
    ///
    /// Cost: only the blocks that are cut at either end are looked at.
    pub fn crc32_continue(&self, before: u32, offset: u64, bytes: &[u8]) -> u32 {
        let cut = offset.next_multiple_of(BLOCK as u64) - offset;
        let (head, rest) = bytes.split_at(bytes.len().min(cut as usize));
        let tail = &rest[rest.len() - rest.len() % BLOCK..];
        let first = offset.div_ceil(BLOCK as u64);
        let state = register(!before, head);
        let state = self.register_over(state, first, (rest.len() / BLOCK) as u64);
        !register(state, tail)
    }

    /// CRC-32 register after `count` whole blocks from block `first` on.
    fn register_over(&self, mut state: u32, first: u64, count: u64) -> u32 {
        let t = &*self.table;
        for j in first..first + count {
            let j = j % self.period;
            let s = state.to_le_bytes();
            state = (0..4).fold(0, |crc, i| crc ^ t.advance[i][s[i] as usize]);
            let (rows, keys) = match (t.random_words(j), &t.cut) {
                (0, _) => continue,
                (WORDS, _) | (_, None) => (&t.row_crc, &t.key_crc),
                (_, Some(cut)) => (&cut.row_crc, &cut.key_crc),
            };
            let key = mix64(self.key.wrapping_add(j.wrapping_mul(GAMMA))).to_le_bytes();
            let of_key = (0..8).fold(0, |crc, i| crc ^ keys[i][key[i] as usize]);
            state ^= of_key ^ rows[j as usize % ROWS];
        }
        state
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::io::Write;

    use super::*;

    fn bytes(fill: &Fill, offset: u64, len: usize) -> Vec<u8> {
        let mut out = vec![0; len];
        fill.fill(offset, &mut out);
        out
    }

    /// Fills of all kinds: unshrunk, cut within a block and between blocks, repeating, and both.
    fn kinds() -> Vec<Fill> {
        let shrunk = |compress, dedup| {
            let source = FillSource::shrinking(7, Shrink { compress, dedup });
            source.repeating(3, 600_000.0)
        };
        vec![
            FillSource::new(10).file(3),
            shrunk(1.7, 1.0),
            shrunk(2.0, 1.0),
            shrunk(1.0, 4.0),
            shrunk(30.0, 4.6),
        ]
    }

    #[test]
    fn contents_that_nothing_shrinks_are_those_of_every_version() {
        // Recorded from version 0.1.
        let whole = bytes(&FillSource::new(10).file(3), 0, 1 << 20);
        assert_eq!(crc32fast::hash(&whole), 0x4e23_c8f2);
        let shrunk = FillSource::shrinking(10, Shrink::NOT).file_of(3, 1e9);
        assert_eq!(bytes(&shrunk, 0, 1 << 20), whole);
    }

    #[test]
    fn any_part_equals_the_whole() {
        for fill in kinds() {
            any_part_of(&fill);
        }
    }

    fn any_part_of(fill: &Fill) {
        let whole = bytes(fill, 0, 400_000);
        for (offset, len) in [
            (0, 1),
            (1, 511),
            (511, 2),
            (512, 512),
            (1000, 3),
            (777, 20_000),
            (39_999, 1),
            (130_000, 3_000),
            (131_071, 268_929),
        ] {
            assert_eq!(
                bytes(fill, offset, len),
                whole[offset as usize..offset as usize + len]
            );
        }
    }

    #[test]
    fn checksum_without_bytes_equals_checksum_of_bytes() {
        for (kind, fill) in kinds().into_iter().enumerate() {
            for len in [0, 1, 511, 512, 513, 4096, 16_384, 16_385, 300_003] {
                let head = b"header";
                let mut all = head.to_vec();
                all.extend(bytes(&fill, 0, len));
                assert_eq!(
                    fill.crc32_after(crc32fast::hash(head), len as u64),
                    crc32fast::hash(&all),
                    "kind {kind}, length {len}"
                );
            }
        }
    }

    /// Bytes over those of its parts of `unit` bytes that differ from each other.
    fn dedup_ratio(files: &[Vec<u8>], unit: usize) -> f64 {
        let mut seen = HashSet::new();
        let (mut all, mut kept) = (0, 0);
        for block in files.iter().flat_map(|file| file.chunks(unit)) {
            all += block.len();
            let start = block.get(..8).map(<[u8]>::to_vec);
            if seen.insert((crc32fast::hash(block), start, block.len())) {
                kept += block.len();
            }
        }
        all as f64 / kept as f64
    }

    /// Bytes over those of its parts of `unit` bytes, each compressed alone.
    fn zstd_ratio(files: &[Vec<u8>], unit: usize) -> f64 {
        let blocks = files.iter().flat_map(|file| file.chunks(unit));
        let (all, kept) = blocks.fold((0, 0), |(all, kept), block| {
            let packed = zstd::bulk::compress(block, 1).unwrap();
            (all + block.len(), kept + packed.len().min(block.len()))
        });
        all as f64 / kept as f64
    }

    fn near(got: f64, wanted: f64, what: &str) {
        assert!(
            (got / wanted - 1.0).abs() < 0.05,
            "{what}: {got} for {wanted}"
        );
    }

    #[test]
    fn storage_shrinks_contents_by_as_much_as_was_asked() {
        // A header shifts the contents by any number of bytes.
        let file = |source: &FillSource, number: u64, len: usize| {
            let mut file = number.to_le_bytes()[..1].repeat(137);
            file.extend(bytes(&source.file_of(number, len as f64), 0, len));
            file
        };
        for (compress, dedup) in [
            (1.0, 1.0),
            (1.3, 1.0),
            (2.0, 1.0),
            (4.0, 1.0),
            (1.0, 1.5),
            (1.0, 2.0),
            (2.0, 3.0),
        ] {
            let source = FillSource::shrinking(10, Shrink { compress, dedup });
            let large = [file(&source, 0, 24 << 20)];
            // Of these whole files are the same: their heads as well, as a container's are.
            let small: Vec<Vec<u8>> = (0..96)
                .map(|n| bytes(&source.file_of(n, 200_000.0), 0, 200_000))
                .collect();
            for files in [&large[..], &small[..]] {
                for unit in [4 << 10, 128 << 10] {
                    let what =
                        format!("{} files, unit {unit}, {compress} and {dedup}", files.len());
                    near(dedup_ratio(files, unit), dedup, &what);
                    let some: Vec<Vec<u8>> = files
                        .iter()
                        .take(8)
                        .map(|f| f[..f.len().min(2 << 20)].to_vec())
                        .collect();
                    near(zstd_ratio(&some, unit), compress, &what);
                }
            }
        }
    }

    #[test]
    fn checksum_of_parts_equals_checksum_of_bytes() {
        let fill = FillSource::new(7).file(2);
        for cuts in [
            &[1, 511, 512, 20_000][..],
            &[448, 40_000],
            &[512],
            &[3, 4, 5, 6],
        ] {
            let (mut crc, mut offset) = (0, 0);
            for &len in cuts {
                let part = bytes(&fill, offset, len);
                crc = fill.crc32_continue(crc, offset, &part);
                offset += len as u64;
            }
            let whole = bytes(&fill, 0, offset as usize);
            assert_eq!(crc, crc32fast::hash(&whole), "{cuts:?}");
        }
    }

    #[test]
    fn blocks_are_unique_over_files_and_nothing_compresses() {
        let source = FillSource::new(10);
        let mut seen = HashSet::new();
        for file in 0..8 {
            let data = bytes(&source.file(file), 0, 1 << 20);
            assert!(data.chunks(BLOCK).all(|block| seen.insert(block.to_vec())));
            let mut packed =
                flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
            packed.write_all(&data).unwrap();
            assert!(packed.finish().unwrap().len() as f64 > 0.99 * data.len() as f64);
        }
    }

    #[test]
    fn seeds_and_files_differ() {
        let a = bytes(&FillSource::new(10).file(0), 0, 4096);
        assert_ne!(a, bytes(&FillSource::new(11).file(0), 0, 4096));
        assert_ne!(a, bytes(&FillSource::new(10).file(1), 0, 4096));
    }
}
