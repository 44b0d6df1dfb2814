//! png: one 8-bit greyscale or RGB image per file, whose pixels are the fill. Random pixels do not compress, so the image is
//! stored: deflate blocks without compression, at the speed of memory.
//!
//! Source: the PNG specification (third edition), RFC 1950 and 1951; DLIO `data_generator/png_generator.py` for what the
//! image is.

use super::image::{MAX_RASTER, Picture, Raster};
use super::{Checker, Chunks, FileSpec, FormatError, Opened, Out, Result, Source, check_len};

pub struct Png;

const SIGNATURE: [u8; 8] = *b"\x89PNG\r\n\x1a\n";
/// Length, type and checksum of a chunk.
const FRAME: u64 = 12;
/// Signature and header chunk.
const START: u64 = 8 + FRAME + 13;
/// Bytes that a stored deflate block holds at most.
const BLOCK: u64 = 65_535;
/// zlib: 32 KiB window, fastest.
const ZLIB: [u8; 2] = [0x78, 0x01];

fn chunk_of(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut out = (data.len() as u32).to_be_bytes().to_vec();
    out.extend_from_slice(kind);
    out.extend_from_slice(data);
    let crc = crc32fast::hash(&out[4..]);
    out.extend_from_slice(&crc.to_be_bytes());
    out
}

/// Rows with their filter bytes.
fn scanlines(raster: &Raster) -> u64 {
    (raster.row_len() + 1) * raster.height
}

/// Each stored block is a chunk of its own; the first carries zlib's header, the last its checksum.
fn file_len(raster: &Raster) -> u64 {
    let bytes = scanlines(raster);
    START + bytes.div_ceil(BLOCK) * (FRAME + 5) + 2 + bytes + 4 + FRAME
}

/// The scanlines of an image as one stream of bytes.
struct Scanlines<'a> {
    spec: &'a FileSpec<'a>,
    row_len: usize,
    /// Bytes of the current scanline that were taken; 0 is the filter byte.
    at: usize,
    taken: u64,
    pixels: Vec<u8>,
}

impl Scanlines<'_> {
    fn take(&mut self, out: &mut Vec<u8>, n: usize) {
        out.clear();
        // One fill for all the pixels of a block is much faster than one for each row.
        let filters = (n + self.at) / (self.row_len + 1) + 1;
        self.pixels.resize(n, 0);
        self.spec.fill.fill(self.taken, &mut self.pixels);
        let mut used = 0;
        for _ in 0..=filters {
            if out.len() == n {
                break;
            }
            if self.at == 0 {
                out.push(0);
                self.at = 1;
            }
            let part = (n - out.len()).min(self.row_len + 1 - self.at);
            out.extend_from_slice(&self.pixels[used..used + part]);
            used += part;
            self.at += part;
            if self.at == self.row_len + 1 {
                self.at = 0;
            }
        }
        self.taken += used as u64;
    }
}

fn encode(spec: &FileSpec, raster: &Raster, chunk: &mut [u8], out: Out) -> Result<()> {
    let mut chunks = Chunks::new(chunk, out);
    chunks.bytes(&SIGNATURE)?;
    let mut header = Vec::with_capacity(13);
    header.extend_from_slice(&(raster.width as u32).to_be_bytes());
    header.extend_from_slice(&(raster.height as u32).to_be_bytes());
    // Bit depth, colour type, deflate, adaptive filters, not interlaced.
    header.extend_from_slice(&[8, if raster.channels == 3 { 2 } else { 0 }, 0, 0, 0]);
    chunks.bytes(&chunk_of(b"IHDR", &header))?;

    let mut lines = Scanlines {
        spec,
        row_len: raster.row_len() as usize,
        at: 0,
        taken: 0,
        pixels: Vec::new(),
    };
    let total = scanlines(raster);
    let mut adler = simd_adler32::Adler32::new();
    let mut block = Vec::with_capacity(BLOCK as usize);
    let mut done = 0;
    while done < total {
        let n = (total - done).min(BLOCK);
        lines.take(&mut block, n as usize);
        adler.write(&block);
        let is_first = done == 0;
        done += n;
        let is_last = done == total;
        let mut head = b"IDAT".to_vec();
        if is_first {
            head.extend_from_slice(&ZLIB);
        }
        head.push(u8::from(is_last));
        head.extend_from_slice(&(n as u16).to_le_bytes());
        head.extend_from_slice(&(!(n as u16)).to_le_bytes());
        let tail = if is_last {
            adler.finish().to_be_bytes().to_vec()
        } else {
            Vec::new()
        };
        let data_len = head.len() - 4 + block.len() + tail.len();
        let mut crc = crc32fast::Hasher::new();
        crc.update(&head);
        crc.update(&block);
        crc.update(&tail);
        chunks.bytes(&(data_len as u32).to_be_bytes())?;
        chunks.bytes(&head)?;
        chunks.bytes(&block)?;
        chunks.bytes(&tail)?;
        chunks.bytes(&crc.finalize().to_be_bytes())?;
    }
    chunks.bytes(&chunk_of(b"IEND", &[]))?;
    Ok(chunks.end()?)
}

impl Picture for Png {
    const MAX_SIDE: u64 = (1 << 31) - 1;
    const MAGIC: &'static [u8] = &SIGNATURE;

    fn file_len(raster: &Raster) -> u64 {
        file_len(raster)
    }
    fn write(spec: &FileSpec, raster: &Raster, chunk: &mut [u8], out: Out) -> Result<()> {
        encode(spec, raster, chunk, out)
    }
    fn describe(source: &mut dyn Source) -> Result<String> {
        let mut start = [0; START as usize - 4];
        source.read_at(0, &mut start)?;
        let header = Header::parse(&start)?;
        Ok(format!(
            "image of {} x {} pixels, {} bits, colour type {}{}",
            header.width,
            header.height,
            header.depth,
            header.colour,
            if header.interlaced {
                ", interlaced"
            } else {
                ""
            }
        ))
    }
    fn verifier() -> Box<dyn Checker> {
        Box::new(ChunkChecker::default())
    }
    fn decode(file: &[u8], raster: &mut Vec<u8>) -> Result<()> {
        decode_full(file, raster)
    }
}

/// What the header chunk says.
struct Header {
    width: u32,
    height: u32,
    depth: u8,
    colour: u8,
    interlaced: bool,
}

impl Header {
    fn parse(start: &[u8; START as usize - 4]) -> Result<Header> {
        if start[..8] != SIGNATURE {
            return Err(FormatError::magic("a png image", start));
        }
        if start[8..16] != *b"\0\0\0\x0dIHDR" {
            return Err(FormatError::damaged("its first chunk is no IHDR"));
        }
        let side =
            |at: usize| u32::from_be_bytes(start[at..at + 4].try_into().expect("four bytes"));
        let (width, height) = (side(16), side(20));
        if width == 0 || height == 0 || u64::from(width.max(height)) > Png::MAX_SIDE {
            return Err(FormatError::content(format!(
                "it announces an image of {width} x {height} pixels"
            )));
        }
        Ok(Header {
            width,
            height,
            depth: start[24],
            colour: start[25],
            interlaced: start[28] == 1,
        })
    }
}

fn too_large() -> FormatError {
    FormatError::unsupported(format!(
        "an image of more than {MAX_RASTER} bytes is not supported"
    ))
}

fn decode_full(file: &[u8], raster: &mut Vec<u8>) -> Result<()> {
    if !file.starts_with(&SIGNATURE) {
        return Err(FormatError::magic("a png image", file));
    }
    let bad = |e: png::DecodingError| match e {
        png::DecodingError::LimitsExceeded => too_large(),
        e => FormatError::damaged(format!("it cannot be decoded: {e}")),
    };
    let limit = usize::try_from(MAX_RASTER).unwrap_or(usize::MAX);
    let mut decoder =
        png::Decoder::new_with_limits(std::io::Cursor::new(file), png::Limits { bytes: limit });
    // As Pillow: palettes and small depths become bytes.
    decoder.set_transformations(png::Transformations::EXPAND);
    let mut reader = decoder.read_info().map_err(bad)?;
    let size = reader.output_buffer_size().filter(|&n| n <= limit);
    let size = size.ok_or_else(too_large)?;
    raster.resize(size, 0);
    reader.next_frame(raster).map_err(bad)?;
    reader.finish().map_err(bad)
}

/// Walks the chunks and checks their checksums.
#[derive(Default)]
struct ChunkChecker {
    file_len: u64,
    got: u64,
    small: Vec<u8>,
    state: State,
    crc: crc32fast::Hasher,
    kind: [u8; 4],
    /// Bytes of the chunk's data that are still to come.
    left: u64,
    saw_data: bool,
}

#[derive(Default, Clone, Copy, PartialEq)]
enum State {
    #[default]
    Signature,
    Head,
    Data,
    Checksum,
    End,
}

impl ChunkChecker {
    fn name(&self) -> String {
        format!("chunk {}", String::from_utf8_lossy(&self.kind))
    }

    fn small(&mut self) -> Result<()> {
        let small = std::mem::take(&mut self.small);
        match self.state {
            State::Signature if small != SIGNATURE => {
                return Err(FormatError::magic("a png image", &small));
            }
            State::Signature => self.state = State::Head,
            State::Head => {
                let (len, kind) = small.split_at(4);
                self.left = u64::from(u32::from_be_bytes(len.try_into().expect("four bytes")));
                self.kind = kind.try_into().expect("four bytes");
                if self.got == 16 && self.kind != *b"IHDR" {
                    return Err(FormatError::damaged("its first chunk is no IHDR"));
                }
                let needed = self.got + self.left + 4;
                if needed > self.file_len {
                    return Err(FormatError::Truncated {
                        expected: needed,
                        got: self.file_len,
                    });
                }
                self.saw_data |= self.kind == *b"IDAT";
                self.crc = crc32fast::Hasher::new();
                self.crc.update(kind);
                self.state = State::Data;
            }
            State::Checksum => {
                let stored = u32::from_be_bytes(small[..].try_into().expect("four bytes"));
                let computed = std::mem::take(&mut self.crc).finalize();
                if stored != computed {
                    return Err(FormatError::Checksum {
                        member: self.name(),
                        stored,
                        computed,
                    });
                }
                self.state = if self.kind == *b"IEND" {
                    State::End
                } else {
                    State::Head
                };
            }
            State::Data | State::End => {}
        }
        self.small = small;
        self.small.clear();
        Ok(())
    }
}

impl Checker for ChunkChecker {
    fn begin(&mut self, opened: &Opened) {
        *self = ChunkChecker {
            file_len: opened.file_len,
            small: std::mem::take(&mut self.small),
            ..ChunkChecker::default()
        };
        self.small.clear();
    }

    fn push(&mut self, mut chunk: &[u8]) -> Result<()> {
        while !chunk.is_empty() {
            let wanted = match self.state {
                State::Signature | State::Head => 8,
                State::Checksum => 4,
                State::Data => {
                    let n = self.left.min(chunk.len() as u64) as usize;
                    self.crc.update(&chunk[..n]);
                    self.got += n as u64;
                    self.left -= n as u64;
                    chunk = &chunk[n..];
                    if self.left == 0 {
                        self.state = State::Checksum;
                    }
                    continue;
                }
                // Pillow ignores what follows the end.
                State::End => {
                    self.got += chunk.len() as u64;
                    return Ok(());
                }
            };
            let n = chunk.len().min(wanted - self.small.len());
            self.small.extend_from_slice(&chunk[..n]);
            self.got += n as u64;
            chunk = &chunk[n..];
            if self.small.len() == wanted {
                self.small()?;
                if self.state == State::Data && self.left == 0 {
                    self.state = State::Checksum;
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        check_len(self.got, self.file_len, 1)?;
        if self.state != State::End {
            return Err(FormatError::Truncated {
                expected: self.got + self.left + FRAME,
                got: self.got,
            });
        }
        if !self.saw_data {
            return Err(FormatError::content(
                "the image has no data (no IDAT chunk)",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_support::{encoded, spec};
    use super::super::{Format, FormatOptions};
    use super::*;

    #[test]
    fn an_image_of_another_kind_is_not_called_damaged() {
        let webp = b"RIFF\x24\0\0\0WEBPVP8 ";
        let error = decode_full(webp, &mut Vec::new()).unwrap_err();
        assert!(matches!(error, FormatError::Magic { .. }), "{error}");
    }

    #[test]
    fn pixels_are_the_fill_of_every_shape() {
        let options = FormatOptions::default();
        for dims in [&[1, 1][..], &[338, 339], &[7, 70_000], &[300, 211, 3]] {
            let spec = spec(dims, 1, &options);
            let file = encoded(&Png, &spec);
            assert_eq!(Some(file.len() as u64), Png.encoded_len(&spec), "{dims:?}");
            let mut raster = Vec::new();
            decode_full(&file, &mut raster).unwrap();
            let mut fill = vec![0; spec.sample_elements() as usize];
            spec.fill.fill(0, &mut fill);
            assert!(raster == fill, "{dims:?}");
        }
    }
}
