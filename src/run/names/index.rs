//! Sorted names in little memory.

use std::sync::Arc;

use crate::cluster::Cluster;

/// Bytes of a piece of text while names are found.
const CHUNK: usize = 32 << 10;

/// Bytes of names that go to the other ranks at once.
const PIECE: usize = 1 << 20;

/// What ends a name in the text: no name holds it.
const END: u8 = 0;

/// Names below a folder, sorted. Memory: a name's text and one byte, and 8 bytes for where it begins.
///
/// The text is in pieces that never grow or move: a text in one piece would be held twice while it grows, and once more to bring
/// it into order.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Names {
    chunks: Vec<Vec<u8>>,
    /// The chunk of each name in the upper half, and where it begins there in the lower one.
    starts: Vec<u64>,
}

impl Names {
    /// Appends a name; it counts once [`Names::sort`] was called.
    pub(super) fn push(&mut self, parts: [&str; 2]) {
        let more = parts[0].len() + parts[1].len() + 1;
        let has_room = |chunk: &Vec<u8>| chunk.capacity() - chunk.len() >= more;
        if !self.chunks.last().is_some_and(has_room) {
            self.chunks.push(Vec::with_capacity(more.max(CHUNK)));
        }
        let last = self.chunks.len() - 1;
        let chunk = &mut self.chunks[last];
        for part in parts {
            chunk.extend_from_slice(part.as_bytes());
        }
        chunk.push(END);
    }

    /// True when a chunk before the last one is full.
    pub(super) fn has_full(&self) -> bool {
        self.chunks.len() > 1
    }

    /// Takes the full chunks of those that another thread finds.
    pub(super) fn take_full(&mut self, others: &mut Names) {
        let last = others.chunks.pop();
        self.chunks.append(&mut others.chunks);
        others.chunks.extend(last);
    }

    /// Takes those that another thread found.
    pub(super) fn take(&mut self, mut others: Names) {
        if let Some(last) = others.chunks.last_mut() {
            last.shrink_to_fit();
        }
        self.chunks.append(&mut others.chunks);
    }

    /// By the bytes of the whole path, which is the order of their characters, as Python's `sorted` has it. A name that was
    /// found twice is one.
    pub(super) fn sort(&mut self) {
        self.find_starts();
        let chunks = &self.chunks;
        self.starts
            .sort_unstable_by(|a, b| name_at(chunks, *a).cmp(name_at(chunks, *b)));
        self.starts
            .dedup_by(|a, b| name_at(chunks, *a) == name_at(chunks, *b));
    }

    fn find_starts(&mut self) {
        let count = self.chunks.iter().map(|chunk| ends(chunk).count()).sum();
        let mut starts = Vec::with_capacity(count);
        for (index, chunk) in self.chunks.iter().enumerate() {
            let mut start = 0;
            for end in ends(chunk) {
                starts.push((index as u64) << 32 | start as u64);
                start = end + 1;
            }
        }
        self.starts = starts;
    }

    /// The next names in order from a position on, as text; none at the end. Moves the position.
    fn piece(&self, position: &mut usize) -> Vec<u8> {
        let mut piece = Vec::new();
        for start in &self.starts[*position..] {
            let name = name_at(&self.chunks, *start);
            if piece.is_empty() {
                piece.reserve_exact(PIECE.max(name.len() + 1));
            }
            if piece.capacity() - piece.len() <= name.len() {
                break;
            }
            piece.extend_from_slice(name);
            piece.push(END);
            *position += 1;
        }
        piece
    }

    /// Rank 0's names, on every rank: a collective.
    pub(super) fn shared(self, cluster: &dyn Cluster) -> Arc<Names> {
        if cluster.size() == 1 {
            return Arc::new(self);
        }
        let (mut position, mut there) = (0, Names::default());
        loop {
            let mut piece = self.piece(&mut position);
            cluster.broadcast(&mut piece);
            if piece.is_empty() {
                break;
            }
            if cluster.rank() > 0 {
                there.chunks.push(piece);
            }
        }
        if cluster.rank() == 0 {
            return Arc::new(self);
        }
        there.find_starts();
        Arc::new(there)
    }

    pub(crate) fn len(&self) -> u64 {
        self.starts.len() as u64
    }

    /// The name at a position of the order.
    pub(crate) fn get(&self, position: u64) -> &str {
        let start = self.starts[position as usize];
        std::str::from_utf8(name_at(&self.chunks, start)).unwrap_or_default()
    }

    /// Bytes of memory.
    pub(crate) fn memory(&self) -> u64 {
        let chunks = self.chunks.iter().map(|c| c.capacity() + size_of_val(c));
        (chunks.sum::<usize>() + self.starts.capacity() * size_of::<u64>()) as u64
    }
}

fn ends(chunk: &[u8]) -> impl Iterator<Item = usize> {
    memchr::memchr_iter(END, chunk)
}

fn name_at(chunks: &[Vec<u8>], start: u64) -> &[u8] {
    let rest = &chunks[(start >> 32) as usize][start as u32 as usize..];
    let end = memchr::memchr(END, rest).unwrap_or(rest.len());
    &rest[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(all: &[&str]) -> Names {
        let mut names = Names::default();
        all.iter().for_each(|name| names.push([name, ""]));
        names
    }

    fn all(names: &Names) -> Vec<&str> {
        (0..names.len()).map(|i| names.get(i)).collect()
    }

    #[test]
    fn names_are_sorted_and_each_is_there_once() {
        let mut names = of(&["b", "a/é", "a", "", "b"]);
        names.take(of(&["c", "a"]));
        names.take(Names::default());
        names.sort();
        assert_eq!(all(&names), ["", "a", "a/é", "b", "c"]);
    }

    #[test]
    fn full_chunks_go_and_the_last_one_stays() {
        let (mut mine, mut found) = (Names::default(), Names::default());
        let long = "x".repeat(2 * CHUNK);
        for name in ["a", &long, "b"] {
            found.push([name, "/c"]);
        }
        mine.take_full(&mut found);
        assert_eq!((mine.chunks.len(), found.chunks.len()), (2, 1));
        mine.take_full(&mut found);
        mine.take(found);
        mine.sort();
        assert_eq!(all(&mine), ["a/c", "b/c", &format!("{long}/c")]);
    }
}
