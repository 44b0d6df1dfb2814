//! The bytes of a part, as they come: copied, or in buffers that were given.

use super::spare::Spare;
use crate::storage::Buffer;

/// A part that is collected.
#[derive(Default)]
pub(super) struct Collected {
    pieces: Vec<Piece>,
    len: usize,
}

enum Piece {
    Copied(Vec<u8>),
    /// All of it.
    Given(Buffer),
}

impl Piece {
    fn bytes(&self) -> &[u8] {
        match self {
            Piece::Copied(bytes) => bytes,
            Piece::Given(buffer) => buffer,
        }
    }
}

impl Collected {
    /// Bytes.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Appends a copy. `memory`: where it goes, if it does not follow another copy.
    pub(super) fn copy(&mut self, bytes: &[u8], memory: impl FnOnce() -> Vec<u8>) {
        self.len += bytes.len();
        if let Some(Piece::Copied(last)) = self.pieces.last_mut() {
            return last.extend_from_slice(bytes);
        }
        let mut memory = memory();
        memory.extend_from_slice(bytes);
        self.pieces.push(Piece::Copied(memory));
    }

    /// Appends all bytes of a buffer, in place.
    pub(super) fn give(&mut self, buffer: Buffer) {
        self.len += buffer.len();
        self.pieces.push(Piece::Given(buffer));
    }

    /// What it consists of.
    pub(super) fn pieces(&self) -> Vec<&[u8]> {
        self.pieces.iter().map(Piece::bytes).collect()
    }

    /// Its memory, for later parts.
    pub(super) fn into_spare(self, spare: &mut Spare) {
        for piece in self.pieces {
            match piece {
                Piece::Copied(memory) => spare.keep_memory(memory),
                Piece::Given(buffer) => spare.keep_buffer(buffer),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_in_order_and_their_memory_serves_again() {
        let mut part = Collected::default();
        let mut buffer = Buffer::new(3);
        buffer.copy_from_slice(b"cde");
        let at = buffer.as_ptr();
        part.copy(b"a", Vec::new);
        part.copy(b"b", || unreachable!("it follows a copy"));
        part.give(buffer);
        part.copy(b"f", Vec::new);
        assert_eq!(part.len(), 6);
        assert_eq!(part.pieces(), [&b"ab"[..], b"cde", b"f"]);

        let mut spare = Spare::default();
        part.into_spare(&mut spare);
        assert_eq!(spare.buffer(3).unwrap().as_ptr(), at);
        let memory = spare.memory();
        assert!(memory.is_empty() && memory.capacity() > 0);
    }
}
