//! Reads through a memory map: every page is touched, so that the bytes really come.

use std::fs::File;
use std::path::Path;

use memmap2::MmapOptions;

use super::{Answer, Buffer, Request, Sink, Storage, StorageError, Writer, files, posix};
use crate::clock::now_ns;

const PAGE: usize = 4096;

/// A local or mounted file system through memory maps.
pub(super) struct Mmap;

impl Storage for Mmap {
    fn name(&self) -> &'static str {
        "mmap"
    }
    fn opens_by_path(&self) -> bool {
        true
    }
    fn default_transfer(&self) -> usize {
        1 << 20
    }
    fn read(
        &self,
        request: &Request,
        buffer: &mut Buffer,
        sink: &mut dyn Sink,
    ) -> Result<Answer, StorageError> {
        let path = request.path;
        let start = now_ns();
        sink.position(0);
        let file = File::open(path).map_err(|e| StorageError::io("open", path, e))?;
        let file_len = file
            .metadata()
            .map_err(|e| StorageError::io("stat", path, e))?
            .len();
        let (from, to) = posix::span(request, file_len)?;
        sink.begin(file_len);
        let mut answer = Answer::default();
        if from == to {
            answer.open_ns = now_ns() - start;
            return Ok(answer);
        }
        // SAFETY: the map is read-only and dropped here. A file that another process truncates meanwhile would
        // raise SIGBUS, which ends the run: a dataset that changes under a benchmark has no valid result.
        let map = unsafe { MmapOptions::new().map(&file) }
            .map_err(|e| StorageError::io("map", path, e))?;
        answer.open_ns = now_ns() - start;
        for (index, chunk) in map[from as usize..to as usize]
            .chunks(buffer.len())
            .enumerate()
        {
            sink.position(from + (index * buffer.len()) as u64);
            let before = now_ns();
            let touched: u8 = chunk.iter().step_by(PAGE).fold(0, |sum, byte| sum ^ byte);
            std::hint::black_box(touched);
            let after = now_ns();
            answer.called(after - before, sink);
            answer.bytes += chunk.len() as u64;
            if !sink.chunk(chunk) {
                break;
            }
        }
        Ok(answer)
    }
    fn len(&self, path: &Path) -> Result<Option<u64>, StorageError> {
        files::len(path)
    }
    fn head(&self, path: &Path, into: &mut [u8]) -> Result<usize, StorageError> {
        files::head(path, into)
    }
    fn create(&self, path: &Path) -> Result<Box<dyn Writer>, StorageError> {
        Ok(Box::new(files::PartFile::create(path)?))
    }
    fn create_folder(&self, path: &Path) -> Result<(), StorageError> {
        files::create_folder(path)
    }
    fn sync_folder(&self, path: &Path) -> Result<(), StorageError> {
        files::sync_folder(path)
    }
    fn remove(&self, path: &Path) -> Result<(), StorageError> {
        files::remove(path)
    }
    fn remove_folder(&self, path: &Path) -> Result<(), StorageError> {
        files::remove_folder(path)
    }
    fn evict(&self, path: &Path) -> Result<(), StorageError> {
        files::evict(path)
    }
}
