//! Gathering an encoder's bytes into full, aligned writes.

use super::Out;
use crate::plan::fill::Fill;

/// Gathers bytes into full chunks, so that every write but the last is aligned in the file.
pub(crate) struct Chunks<'a, 'b> {
    chunk: &'a mut [u8],
    used: usize,
    out: Out<'b>,
}

impl<'a, 'b> Chunks<'a, 'b> {
    pub(crate) fn new(chunk: &'a mut [u8], out: Out<'b>) -> Self {
        Chunks {
            chunk,
            used: 0,
            out,
        }
    }

    fn flush_if_full(&mut self) -> std::io::Result<()> {
        if self.used == self.chunk.len() {
            (self.out)(self.chunk)?;
            self.used = 0;
        }
        Ok(())
    }

    pub(crate) fn bytes(&mut self, mut bytes: &[u8]) -> std::io::Result<()> {
        while !bytes.is_empty() {
            let n = bytes.len().min(self.chunk.len() - self.used);
            self.chunk[self.used..self.used + n].copy_from_slice(&bytes[..n]);
            self.used += n;
            bytes = &bytes[n..];
            self.flush_if_full()?;
        }
        Ok(())
    }

    /// `len` bytes of the fill from its byte `from` on.
    pub(crate) fn fill(&mut self, fill: &Fill, from: u64, len: u64) -> std::io::Result<()> {
        self.fill_seen(fill, from, len, &mut |_| {})
    }

    /// The same; `see` gets to know the bytes.
    pub(crate) fn fill_seen(
        &mut self,
        fill: &Fill,
        from: u64,
        len: u64,
        see: &mut dyn FnMut(&[u8]),
    ) -> std::io::Result<()> {
        let mut at = 0;
        while at < len {
            let n = (len - at).min((self.chunk.len() - self.used) as u64) as usize;
            let part = &mut self.chunk[self.used..self.used + n];
            fill.fill(from + at, part);
            see(part);
            self.used += n;
            at += n as u64;
            self.flush_if_full()?;
        }
        Ok(())
    }

    /// `len` zero bytes.
    #[cfg(feature = "hdf5")]
    pub(crate) fn zeros(&mut self, len: u64) -> std::io::Result<()> {
        const ZEROS: [u8; 4096] = [0; 4096];
        let mut left = len;
        while left > 0 {
            let n = left.min(ZEROS.len() as u64);
            self.bytes(&ZEROS[..n as usize])?;
            left -= n;
        }
        Ok(())
    }

    /// For a compressor.
    pub(crate) fn writer(&mut self) -> ToChunks<'_, 'a, 'b> {
        ToChunks(self)
    }

    pub(crate) fn end(self) -> std::io::Result<()> {
        if self.used > 0 {
            (self.out)(&self.chunk[..self.used])
        } else {
            Ok(())
        }
    }
}

/// Takes what a compressor writes.
pub(crate) struct ToChunks<'c, 'a, 'b>(&'c mut Chunks<'a, 'b>);

impl std::io::Write for ToChunks<'_, '_, '_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.bytes(bytes)?;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
