//! Compression of pages.

use std::io::{Read, Write};

use crate::config::{Compression, ParquetCompression};
use crate::format::{FormatError, FormatOptions, Result};

/// Bytes of a page, compressed or not, beyond which it is refused: nobody writes such pages, and a few bytes can announce one.
pub(super) const MAX_PAGE: usize = 256 << 20;

/// A codec of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    None,
    Snappy,
    Gzip,
    Zstd,
    Lz4Raw,
}

const CODECS: [(Codec, i32, &str); 5] = [
    (Codec::None, 0, "none"),
    (Codec::Snappy, 1, "snappy"),
    (Codec::Gzip, 2, "gzip"),
    (Codec::Zstd, 6, "zstd"),
    (Codec::Lz4Raw, 7, "lz4_raw"),
];

/// The name of the codec of this number.
pub(super) fn name(id: i32) -> &'static str {
    match id {
        3 => "lzo",
        4 => "brotli",
        5 => "the deprecated lz4",
        id => CODECS
            .iter()
            .find(|c| c.1 == id)
            .map_or("an unknown codec", |c| c.2),
    }
}

impl Codec {
    /// The codec of a workload.
    ///
    /// Errors: `dataset.compression` names one that the format has not, or another than `dataset.parquet.compression`.
    pub(super) fn of(options: &FormatOptions) -> Result<Codec> {
        let own = match options.parquet.compression {
            ParquetCompression::None => Codec::None,
            ParquetCompression::Snappy => Codec::Snappy,
            ParquetCompression::Gzip => Codec::Gzip,
            ParquetCompression::Zstd => Codec::Zstd,
            ParquetCompression::Lz4 => Codec::Lz4Raw,
        };
        match options.compression {
            Compression::None => Ok(own),
            Compression::Gzip if matches!(own, Codec::None | Codec::Gzip) => Ok(Codec::Gzip),
            other => Err(FormatError::content(format!(
                "dataset.compression={other} with dataset.parquet.compression={} is not possible: set dataset.compression to none or gzip, and the codec of the pages (none, snappy, gzip, zstd, lz4) in dataset.parquet.compression",
                options.parquet.compression
            ))),
        }
    }

    /// Its number in the format.
    pub(super) fn id(self) -> i32 {
        CODECS.iter().find(|c| c.0 == self).map_or(0, |c| c.1)
    }

    /// The codec of this number.
    ///
    /// Errors: it is not supported.
    pub(super) fn by_id(id: i32) -> Result<Codec> {
        let known = CODECS.iter().find(|c| c.1 == id);
        known.map(|c| c.0).ok_or_else(|| {
            FormatError::unsupported(format!(
                "codec {id} ({}) is not supported; pages of none, snappy, gzip, zstd and lz4_raw are decoded",
                name(id)
            ))
        })
    }

    /// Compresses `from` over `to`.
    pub(super) fn compress(self, level: u32, from: &[u8], to: &mut Vec<u8>) -> std::io::Result<()> {
        to.clear();
        match self {
            Codec::None => to.extend_from_slice(from),
            Codec::Snappy => {
                to.resize(snap::raw::max_compress_len(from.len()), 0);
                let n = snap::raw::Encoder::new().compress(from, to)?;
                to.truncate(n);
            }
            Codec::Gzip => {
                let level = flate2::Compression::new(level.min(9));
                let mut encoder = flate2::write::GzEncoder::new(to, level);
                encoder.write_all(from)?;
                encoder.finish()?;
            }
            Codec::Zstd => {
                let mut encoder = zstd::bulk::Compressor::new(level as i32)?;
                to.reserve(zstd::zstd_safe::compress_bound(from.len()));
                encoder.compress_to_buffer(from, to)?;
            }
            Codec::Lz4Raw => {
                to.resize(lz4_flex::block::get_maximum_output_size(from.len()), 0);
                let n = lz4_flex::block::compress_into(from, to).map_err(std::io::Error::other)?;
                to.truncate(n);
            }
        }
        Ok(())
    }

    /// Decompresses `from` over `to`, which then holds `len` bytes; `len` is at most [`MAX_PAGE`].
    ///
    /// Errors: it is damaged, or holds more or less than `len` bytes. Memory grows with what comes out, not with `len`.
    pub(super) fn decompress(self, from: &[u8], len: usize, to: &mut Vec<u8>) -> Result<()> {
        to.clear();
        let bad = |cause: String| {
            FormatError::damaged(format!(
                "a page cannot be decompressed ({}): {cause}",
                name(self.id())
            ))
        };
        let stream = |reader: &mut dyn Read, to: &mut Vec<u8>| {
            reader
                .take(len as u64 + 1)
                .read_to_end(to)
                .map_err(|e| bad(e.to_string()))
        };
        match self {
            Codec::None => to.extend_from_slice(from),
            Codec::Gzip => {
                stream(&mut flate2::read::MultiGzDecoder::new(from), to)?;
            }
            Codec::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(from)
                    .map_err(|e| bad(e.to_string()))?;
                stream(&mut decoder, to)?;
            }
            Codec::Snappy => {
                let said = snap::raw::decompress_len(from).map_err(|e| bad(e.to_string()))?;
                if said != len || said > ratio_limit(from, 64) {
                    return Err(bad(format!(
                        "{} bytes announce {said}, its header {len}",
                        from.len()
                    )));
                }
                to.resize(len, 0);
                snap::raw::Decoder::new()
                    .decompress(from, to)
                    .map_err(|e| bad(e.to_string()))?;
            }
            Codec::Lz4Raw => {
                if len > ratio_limit(from, 256) {
                    return Err(bad(format!(
                        "{} bytes cannot become the {len} that its header announces",
                        from.len()
                    )));
                }
                to.resize(len, 0);
                let n =
                    lz4_flex::block::decompress_into(from, to).map_err(|e| bad(e.to_string()))?;
                to.truncate(n);
            }
        }
        if to.len() != len {
            return Err(bad(format!(
                "it becomes {} bytes where its header announces {len}",
                if to.len() > len {
                    "more".into()
                } else {
                    to.len().to_string()
                }
            )));
        }
        Ok(())
    }
}

/// The most bytes that a codec of this expansion makes of `from`.
fn ratio_limit(from: &[u8], expansion: usize) -> usize {
    from.len().saturating_mul(expansion) + 64
}
