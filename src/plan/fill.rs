//! The contents of samples: a function of (seed, file, offset), at memory speed.
//!
//! A 16 KiB table of random words is derived from the seed. Block j of a file (512 bytes) is row `j mod 32` of the table,
//! every word XORed with a 64-bit key that a bijection makes of (file, j). So no block of 512 bytes repeats within a
//! file, nothing compresses, and any byte can be computed alone. Because XOR is linear and so is CRC-32, the checksum of a
//! whole file needs one step of table look-ups per block and none of its bytes: a container's header can carry it
//! before the data has been made.

use std::sync::Arc;

use crate::util::hash::{GAMMA, mix64, splitmix64};

/// Bytes of a block: the granularity at which storage systems look for duplicates.
const BLOCK: usize = 512;
const WORDS: usize = BLOCK / 8;
const ROWS: usize = 32;

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
}

/// Makes the fills of all files of a seed.
#[derive(Clone)]
pub struct FillSource {
    seed: u64,
    table: Arc<Table>,
}

impl FillSource {
    /// The fills of `seed`.
    pub fn new(seed: u64) -> Self {
        let mut state = mix64(seed ^ 0x5851_f42d_4c95_7f2d);
        let mut rows = [[0u64; WORDS]; ROWS];
        for word in rows.iter_mut().flatten() {
            *word = splitmix64(&mut state);
        }
        let bytes_of = |words: &[u64; WORDS]| -> [u8; BLOCK] {
            let mut out = [0; BLOCK];
            for (to, word) in out.chunks_exact_mut(8).zip(words) {
                to.copy_from_slice(&word.to_le_bytes());
            }
            out
        };
        let mut table = Table {
            row_crc: std::array::from_fn(|r| register(0, &bytes_of(&rows[r]))),
            rows,
            key_crc: [[0; 256]; 8],
            advance: [[0; 256]; 4],
        };
        for (i, of_byte) in table.key_crc.iter_mut().enumerate() {
            for (v, crc) in of_byte.iter_mut().enumerate() {
                *crc = register(0, &bytes_of(&[(v as u64) << (8 * i); WORDS]));
            }
        }
        for (i, of_byte) in table.advance.iter_mut().enumerate() {
            for (v, crc) in of_byte.iter_mut().enumerate() {
                *crc = register((v as u32) << (8 * i), &[0; BLOCK]);
            }
        }
        FillSource {
            seed,
            table: Arc::new(table),
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
        }
    }
}

/// The contents of one file.
#[derive(Clone)]
pub struct Fill {
    table: Arc<Table>,
    key: u64,
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
    fn whole_blocks(&self, first: u64, out: &mut [u8]) {
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
            let key = mix64(self.key.wrapping_add(j.wrapping_mul(GAMMA))).to_le_bytes();
            let s = state.to_le_bytes();
            let of_key = (0..8).fold(0, |crc, i| crc ^ t.key_crc[i][key[i] as usize]);
            let of_state = (0..4).fold(0, |crc, i| crc ^ t.advance[i][s[i] as usize]);
            state = of_key ^ of_state ^ t.row_crc[j as usize % ROWS];
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

    #[test]
    fn any_part_equals_the_whole() {
        let fill = FillSource::new(10).file(3);
        let whole = bytes(&fill, 0, 40_000);
        for (offset, len) in [
            (0, 1),
            (1, 511),
            (511, 2),
            (512, 512),
            (1000, 3),
            (777, 20_000),
            (39_999, 1),
        ] {
            assert_eq!(
                bytes(&fill, offset, len),
                whole[offset as usize..offset as usize + len]
            );
        }
    }

    #[test]
    fn checksum_without_bytes_equals_checksum_of_bytes() {
        let fill = FillSource::new(7).file(1);
        for len in [0, 1, 511, 512, 513, 4096, 16_384, 16_385, 100_003] {
            let head = b"header";
            let mut all = head.to_vec();
            all.extend(bytes(&fill, 0, len));
            assert_eq!(
                fill.crc32_after(crc32fast::hash(head), len as u64),
                crc32fast::hash(&all),
                "length {len}"
            );
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
