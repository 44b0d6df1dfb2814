//! Checking jpeg files: the sequence of markers, and decoding.

use super::image::MAX_RASTER;
use super::{Checker, FormatError, Opened, Result, Source, check_len};

const SOI: u8 = 0xd8;
const EOI: u8 = 0xd9;
const SOS: u8 = 0xda;

/// Bytes of headers that are looked through for the frame.
const MAX_HEADERS: u64 = 1 << 20;

/// Decodes any baseline or progressive image.
pub(super) fn decode_full(file: &[u8], raster: &mut Vec<u8>) -> Result<()> {
    use zune_jpeg::zune_core::bytestream::ZCursor;
    use zune_jpeg::zune_core::options::DecoderOptions;
    if !file.starts_with(&[0xff, SOI]) {
        return Err(magic(&file[..file.len().min(4)]));
    }
    let bad = |e: zune_jpeg::errors::DecodeErrors| {
        use zune_jpeg::errors::DecodeErrors::*;
        let text = format!("it cannot be decoded: {e:?}");
        match e {
            Unsupported(_) | LargeDimensions(_) => {
                FormatError::unsupported(format!("{text}, which is not supported"))
            }
            HuffmanDecode(_) | MCUError(_) | ExhaustedData | ZeroError => {
                FormatError::damaged(text)
            }
            _ => FormatError::content(text),
        }
    };
    let options = DecoderOptions::new_safe()
        .set_strict_mode(true)
        .set_max_width(65_535)
        .set_max_height(65_535);
    let mut decoder = zune_jpeg::JpegDecoder::new_with_options(ZCursor::new(file), options);
    decoder.decode_headers().map_err(bad)?;
    // Grey stays grey, as Pillow keeps it.
    if let Some(zune_jpeg::zune_core::colorspace::ColorSpace::Luma) = decoder.input_colorspace() {
        decoder.set_options(
            options.jpeg_set_out_colorspace(zune_jpeg::zune_core::colorspace::ColorSpace::Luma),
        );
    }
    let size = decoder.output_buffer_size().unwrap_or(usize::MAX);
    if size as u64 > MAX_RASTER || size as u64 > super::unpacked_limit(file.len() as u64) {
        return Err(FormatError::unsupported(format!(
            "an image of {size} bytes in a file of {} is not supported",
            file.len()
        )));
    }
    raster.resize(size, 0);
    decoder.decode_into(raster).map_err(bad)?;
    // Cameras append what is theirs after the end of the image.
    let scan = file.windows(2).rposition(|pair| pair == [0xff, SOS]);
    let has_end = |from| file[from..].windows(2).any(|pair| pair == [0xff, EOI]);
    if !scan.is_some_and(has_end) {
        return Err(FormatError::Truncated {
            expected: file.len() as u64 + 2,
            got: file.len() as u64,
        });
    }
    Ok(())
}

fn magic(found: &[u8]) -> FormatError {
    FormatError::magic("a jpeg image", found)
}

/// Size and kind of an image, for people.
pub(super) fn describe(source: &mut dyn Source) -> Result<String> {
    let len = source.file_len()?.min(MAX_HEADERS);
    let mut head = vec![0; len as usize];
    source.read_at(0, &mut head)?;
    if !head.starts_with(&[0xff, SOI]) {
        return Err(magic(&head[..head.len().min(4)]));
    }
    let mut at = 2;
    while let Some(&[0xff, marker, high, low]) = head.get(at..at + 4).and_then(|s| s.first_chunk())
    {
        let is_frame = (0xc0..=0xcf).contains(&marker) && ![0xc4, 0xc8, 0xcc].contains(&marker);
        if is_frame && let Some(frame) = head.get(at + 4..at + 10) {
            let height = u16::from_be_bytes([frame[1], frame[2]]);
            let width = u16::from_be_bytes([frame[3], frame[4]]);
            let kind = if marker == 0xc2 {
                "progressive"
            } else {
                "sequential"
            };
            return Ok(format!(
                "image of {width} x {height} pixels, {} bits, {} components, {kind}",
                frame[0], frame[5]
            ));
        }
        at += 2 + usize::from(u16::from_be_bytes([high, low]));
    }
    Err(FormatError::damaged("it has no frame header"))
}

/// Follows the markers from start to end of image.
#[derive(Default)]
pub(super) struct MarkerChecker {
    file_len: u64,
    got: u64,
    state: State,
    /// Bytes of a segment that are still to come.
    left: u64,
    length: u64,
    saw_frame: bool,
    saw_scan: bool,
    head: Vec<u8>,
}

#[derive(Default, Clone, Copy, PartialEq, Debug)]
enum State {
    /// The two bytes that begin an image.
    #[default]
    Start,
    /// A marker's 0xFF.
    Marker,
    /// The code after 0xFF.
    Code,
    /// High byte of a segment's length.
    High {
        is_scan: bool,
    },
    /// Low byte of it.
    Low {
        is_scan: bool,
    },
    Segment {
        is_scan: bool,
    },
    Scan,
    /// After an 0xFF in a scan.
    ScanCode,
    End,
}

impl MarkerChecker {
    fn code(&mut self, code: u8) -> Result<()> {
        self.state = match code {
            // Fill bytes may stand before any marker.
            0xff => State::Code,
            EOI => State::End,
            0x01 | 0xd0..=0xd7 => State::Marker,
            0x00 | 0x02..=0xbf | SOI => {
                return Err(FormatError::damaged(format!(
                    "marker 0xff{code:02x} at byte {} is not expected",
                    self.got
                )));
            }
            _ => {
                self.saw_frame |=
                    (0xc0..=0xcf).contains(&code) && ![0xc4, 0xc8, 0xcc].contains(&code);
                State::High {
                    is_scan: code == SOS,
                }
            }
        };
        Ok(())
    }

    fn byte(&mut self, byte: u8) -> Result<()> {
        match self.state {
            State::Start => {
                self.head.push(byte);
                if self.head.len() == 2 {
                    if self.head != [0xff, SOI] {
                        return Err(magic(&self.head));
                    }
                    self.state = State::Marker;
                }
            }
            State::Marker if byte == 0xff => self.state = State::Code,
            State::Marker => {
                return Err(FormatError::damaged(format!(
                    "byte {} should begin a marker and is 0x{byte:02x}",
                    self.got
                )));
            }
            State::Code => self.code(byte)?,
            State::High { is_scan } => {
                self.length = u64::from(byte) << 8;
                self.state = State::Low { is_scan };
            }
            State::Low { is_scan } => {
                let length = self.length + u64::from(byte);
                let end = self.got + 1 + length.saturating_sub(2);
                if length < 2 || end > self.file_len {
                    return Err(FormatError::Truncated {
                        expected: end,
                        got: self.file_len,
                    });
                }
                self.left = length - 2;
                self.state = State::Segment { is_scan };
            }
            State::Segment { .. } | State::Scan | State::End => {}
            State::ScanCode => match byte {
                // A stuffed 0xFF, a restart marker.
                0x00 | 0xd0..=0xd7 => self.state = State::Scan,
                0xff => {}
                other => self.code(other)?,
            },
        }
        self.got += 1;
        Ok(())
    }
}

impl Checker for MarkerChecker {
    fn begin(&mut self, opened: &Opened) {
        *self = MarkerChecker {
            file_len: opened.file_len,
            ..MarkerChecker::default()
        };
    }

    fn push(&mut self, mut chunk: &[u8]) -> Result<()> {
        while let Some(&byte) = chunk.first() {
            match self.state {
                State::Segment { is_scan } if self.left == 0 => {
                    self.saw_scan |= is_scan;
                    self.state = if is_scan { State::Scan } else { State::Marker };
                }
                State::Segment { .. } => {
                    let n = self.left.min(chunk.len() as u64) as usize;
                    self.left -= n as u64;
                    self.got += n as u64;
                    chunk = &chunk[n..];
                }
                State::Scan => {
                    let n = memchr::memchr(0xff, chunk);
                    if n.is_some() {
                        self.state = State::ScanCode;
                    }
                    let n = n.map_or(chunk.len(), |n| n + 1);
                    self.got += n as u64;
                    chunk = &chunk[n..];
                }
                // Pillow ignores what follows the end.
                State::End => {
                    self.got += chunk.len() as u64;
                    return Ok(());
                }
                _ => {
                    self.byte(byte)?;
                    chunk = &chunk[1..];
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        check_len(self.got, self.file_len, 1)?;
        if self.state != State::End {
            return Err(FormatError::Truncated {
                expected: self.got + self.left + 2,
                got: self.got,
            });
        }
        if !self.saw_frame || !self.saw_scan {
            return Err(FormatError::damaged("the image has no frame or no scan"));
        }
        Ok(())
    }
}
