//! jpeg: one baseline greyscale or RGB image per file, made of the fill without any encoder.
//!
//! The file's own Huffman tables give every byte value below 0xFE a meaning: a run of ones and a zero, then as many bits of
//! a coefficient as complete the byte. So 64 bytes are a block of 8 x 8 pixels whatever they are: the fill is copied, bytes
//! of 0xFE and more lose their top bit (0xFF would be a marker), and the sign of a DC difference is turned where the
//! running value would leave the range of pixels. The image is noise, as DLIO's is, and decodes without a warning.
//!
//! | Code | Size of the coefficient | Bytes |
//! |---|---|---|
//! | `0` | 7 | 0x00 to 0x7F |
//! | `10` | 6 | 0x80 to 0xBF |
//! | `110` | 5 | 0xC0 to 0xDF |
//! | `1110` | 4 | 0xE0 to 0xEF |
//! | `11110` | 3 | 0xF0 to 0xF7 |
//! | `111110` | 2 | 0xF8 to 0xFB |
//! | `1111110` | 1 | 0xFC and 0xFD |
//!
//! Source: ITU-T T.81 (annexes B, C, F); DLIO `data_generator/jpeg_generator.py` for what the image is.

use super::image::{Picture, Raster};
use super::jpeg_check::{MarkerChecker, decode_full, describe};
use super::{Checker, Chunks, FileSpec, Out, Result, Source};

pub struct Jpeg;

/// Bytes of a block of 8 x 8 pixels.
const BLOCK: u64 = 64;
/// Bytes of a piece of the scan that is made at once.
const PIECE: usize = 1 << 16;
/// The largest DC value that is let stand; a decoder's range is 1,023.
const MAX_DC: i32 = 1_000;
/// Sizes of the codes of 1, 2, ... 7 bits.
const SIZES: [u8; 7] = [7, 6, 5, 4, 3, 2, 1];

fn blocks(raster: &Raster) -> u64 {
    raster.width.div_ceil(8) * raster.height.div_ceil(8) * raster.channels
}

/// Everything before the scan.
fn start(raster: &Raster) -> Vec<u8> {
    let mut out = vec![0xff, 0xd8];
    let mut segment = |marker: u8, data: &[u8]| {
        out.extend_from_slice(&[0xff, marker]);
        out.extend_from_slice(&(data.len() as u16 + 2).to_be_bytes());
        out.extend_from_slice(data);
    };
    // JFIF 1.1, no density, no thumbnail.
    segment(0xe0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0");
    // Table 0: every coefficient counts as it is.
    let mut quantisation = vec![0];
    quantisation.resize(65, 1);
    segment(0xdb, &quantisation);
    let components = 1..=raster.channels as u8;
    let mut frame = vec![8];
    frame.extend_from_slice(&(raster.height as u16).to_be_bytes());
    frame.extend_from_slice(&(raster.width as u16).to_be_bytes());
    frame.push(raster.channels as u8);
    for id in components.clone() {
        // Not subsampled, quantisation table 0.
        frame.extend_from_slice(&[id, 0x11, 0]);
    }
    segment(0xc0, &frame);
    // One code of each length from 1 to 7 bits, the same for DC and AC.
    for class in [0x00, 0x10] {
        let mut table = vec![class];
        table.extend_from_slice(&[1; 7]);
        table.extend_from_slice(&[0; 9]);
        table.extend_from_slice(&SIZES);
        segment(0xc4, &table);
    }
    let mut scan = vec![raster.channels as u8];
    for id in components {
        scan.extend_from_slice(&[id, 0]);
    }
    scan.extend_from_slice(&[0, 63, 0]);
    segment(0xda, &scan);
    out
}

/// Size and value of the coefficient that a byte encodes.
fn coefficient(byte: u8) -> (u32, i32) {
    let size = 7 - byte.leading_ones();
    let bits = i32::from(byte) & ((1 << size) - 1);
    let is_positive = bits >> (size - 1) == 1;
    let value = if is_positive {
        bits
    } else {
        bits - (1 << size) + 1
    };
    (size, value)
}

/// Makes fill bytes the entropy-coded data of whole blocks.
fn bend(bytes: &mut [u8], running: &mut [i32], first_block: u64) {
    for byte in bytes.iter_mut() {
        *byte = if *byte >= 0xfe { *byte & 0x7f } else { *byte };
    }
    for (block, number) in bytes.chunks_exact_mut(BLOCK as usize).zip(first_block..) {
        let component = number as usize % running.len();
        let dc = &mut running[component];
        let (size, mut value) = coefficient(block[0]);
        if (*dc + value).abs() > MAX_DC {
            block[0] ^= (1 << size) - 1;
            value = -value;
        }
        *dc += value;
    }
}

impl Picture for Jpeg {
    const MAX_SIDE: u64 = 65_535;
    const MAGIC: &'static [u8] = &[0xff, 0xd8];

    fn file_len(raster: &Raster) -> u64 {
        start(raster).len() as u64 + blocks(raster) * BLOCK + 2
    }
    fn write(spec: &FileSpec, raster: &Raster, chunk: &mut [u8], out: Out) -> Result<()> {
        let mut chunks = Chunks::new(chunk, out);
        chunks.bytes(&start(raster))?;
        let total = blocks(raster) * BLOCK;
        let mut piece = vec![0; PIECE.min(total as usize)];
        let mut running = vec![0; raster.channels as usize];
        let mut done = 0;
        while done < total {
            let n = (total - done).min(PIECE as u64) as usize;
            let bytes = &mut piece[..n];
            spec.fill.fill(done, bytes);
            bend(bytes, &mut running, done / BLOCK);
            chunks.bytes(bytes)?;
            done += n as u64;
        }
        chunks.bytes(&[0xff, 0xd9])?;
        Ok(chunks.end()?)
    }
    fn describe(source: &mut dyn Source) -> Result<String> {
        describe(source)
    }
    fn verifier() -> Box<dyn Checker> {
        Box::new(MarkerChecker::default())
    }
    fn decode(file: &[u8], raster: &mut Vec<u8>) -> Result<()> {
        decode_full(file, raster)
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_support::{encoded, spec};
    use super::super::{Format, FormatOptions};
    use super::*;

    #[test]
    fn every_byte_below_0xfe_is_one_coefficient() {
        // T.81 F.1.2.1: a coefficient of size s is s bits, the smaller half of them negative.
        assert_eq!(coefficient(0x00), (7, -127));
        assert_eq!(coefficient(0x7f), (7, 127));
        assert_eq!(coefficient(0x80), (6, -63));
        assert_eq!(coefficient(0xbf), (6, 63));
        assert_eq!(coefficient(0xf8), (2, -3));
        assert_eq!(coefficient(0xfc), (1, -1));
        assert_eq!(coefficient(0xfd), (1, 1));
    }

    #[test]
    fn images_of_every_shape_decode() {
        let options = FormatOptions::default();
        for dims in [&[1, 1][..], &[338, 339], &[9, 2_001], &[64, 71, 3]] {
            let spec = spec(dims, 1, &options);
            let file = encoded(&Jpeg, &spec);
            assert_eq!(Some(file.len() as u64), Jpeg.encoded_len(&spec), "{dims:?}");
            let mut raster = Vec::new();
            decode_full(&file, &mut raster).unwrap();
            assert_eq!(raster.len() as u64, spec.sample_elements());
            let different = raster.iter().collect::<std::collections::HashSet<_>>();
            assert!(dims[0] == 1 || different.len() > 100, "{dims:?}: noise");
        }
    }
}
