//! zstd around a whole file, streamed.

use std::io::{self, Write};

/// How files are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    None,
    /// One zstd frame of this level, with its checksum.
    Zstd(i32),
}

impl Packing {
    /// What follows a file's name.
    pub fn suffix(self) -> &'static str {
        match self {
            Packing::None => "",
            Packing::Zstd(_) => ".zst",
        }
    }
}

/// Packs a stream of bytes; packed ones gather in [`ready`](Packer::ready).
pub struct Packer(zstd::stream::write::Encoder<'static, Vec<u8>>);

impl Packer {
    /// For `len` bytes of level `level`.
    ///
    /// Errors: a level that zstd does not know.
    pub fn new(level: i32, len: u64) -> io::Result<Self> {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), level)?;
        encoder.include_checksum(true)?;
        encoder.set_pledged_src_size(Some(len))?;
        Ok(Packer(encoder))
    }

    pub fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    /// Packed bytes that nobody has taken.
    pub fn ready(&mut self) -> &mut Vec<u8> {
        self.0.get_mut()
    }

    /// The last packed bytes.
    pub fn finish(self) -> io::Result<Vec<u8>> {
        self.0.finish()
    }
}

/// Unpacks a stream of bytes; unpacked ones go to `W`.
pub struct Unpacker<W: Write>(zstd::stream::write::Decoder<'static, W>);

impl<W: Write> Unpacker<W> {
    /// Into `sink`.
    pub fn new(sink: W) -> io::Result<Self> {
        Ok(Unpacker(zstd::stream::write::Decoder::new(sink)?))
    }

    /// Takes the next packed bytes.
    ///
    /// Errors: they are no zstd frame, or the sink refuses.
    pub fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    /// Hands out what is left; the sink.
    pub fn finish(mut self) -> io::Result<W> {
        self.0.flush()?;
        Ok(self.0.into_inner())
    }

    pub fn sink(&mut self) -> &mut W {
        self.0.get_mut()
    }
}
