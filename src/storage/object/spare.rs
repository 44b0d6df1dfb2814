//! Memory of parts, from one to the next.

use crate::storage::Buffer;

/// Memory of parts that have arrived, whose pages the kernel need not make again.
#[derive(Default)]
pub(super) struct Spare {
    memory: Vec<Vec<u8>>,
    buffers: Vec<Buffer>,
}

impl Spare {
    /// Empty memory for copies. New memory takes the place of buffers: what is kept of both would be twice a part's.
    pub(super) fn memory(&mut self) -> Vec<u8> {
        self.memory.pop().unwrap_or_else(|| {
            self.buffers.clear();
            Vec::new()
        })
    }

    /// A buffer of this length, whatever it holds; None: a new one is to take the place of memory for copies.
    pub(super) fn buffer(&mut self, len: usize) -> Option<Buffer> {
        let known = self.buffers.iter().rposition(|buffer| buffer.len() == len);
        if known.is_none() {
            self.memory.pop();
        }
        known.map(|known| self.buffers.swap_remove(known))
    }

    pub(super) fn keep_memory(&mut self, mut memory: Vec<u8>) {
        if memory.capacity() > 0 {
            memory.clear();
            self.memory.push(memory);
        }
    }

    pub(super) fn keep_buffer(&mut self, buffer: Buffer) {
        self.buffers.push(buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spare_memory_of_one_kind_makes_room_for_the_other() {
        let mut spare = Spare::default();
        spare.keep_memory(vec![7; 100]);
        spare.keep_memory(Vec::new());
        assert_eq!(spare.memory.len(), 1, "nothing is no memory");
        assert!(spare.buffer(5000).is_none());
        assert!(spare.memory.is_empty());
        spare.keep_buffer(Buffer::new(5000));
        spare.keep_buffer(Buffer::new(4096));
        assert_eq!(spare.buffer(4096).unwrap().len(), 4096);
        assert_eq!(spare.buffers.len(), 1);
        assert_eq!(spare.memory().capacity(), 0);
        assert!(spare.buffers.is_empty());
    }
}
