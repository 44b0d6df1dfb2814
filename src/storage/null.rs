//! Answers at once with the planned number of bytes: what is left of a run is the harness itself.

use std::path::Path;

use super::{Answer, Buffer, Request, Sink, Storage, StorageError, Writer};

/// Infinitely fast storage that holds every file.
pub(super) struct Null;

impl Storage for Null {
    fn name(&self) -> &'static str {
        "null"
    }
    fn has_bytes(&self) -> bool {
        false
    }
    fn default_transfer(&self) -> usize {
        super::buffer::ALIGNMENT
    }
    fn read(
        &self,
        request: &Request,
        _: &mut Buffer,
        sink: &mut dyn Sink,
    ) -> Result<Answer, StorageError> {
        let mut answer = Answer {
            bytes: request.planned_len,
            ..Answer::default()
        };
        answer.called(0, sink);
        Ok(answer)
    }
    fn len(&self, _: &Path) -> Result<Option<u64>, StorageError> {
        Ok(None)
    }
    fn head(&self, _: &Path, _: &mut [u8]) -> Result<usize, StorageError> {
        Ok(0)
    }
    fn create(&self, _: &Path) -> Result<Box<dyn Writer>, StorageError> {
        Ok(Box::new(Sinkhole))
    }
    fn create_folder(&self, _: &Path) -> Result<(), StorageError> {
        Ok(())
    }
    fn remove(&self, _: &Path) -> Result<(), StorageError> {
        Ok(())
    }
    fn remove_folder(&self, _: &Path) -> Result<(), StorageError> {
        Ok(())
    }
    fn evict(&self, _: &Path) -> Result<(), StorageError> {
        Ok(())
    }
}

/// A writer that keeps nothing.
pub(super) struct Sinkhole;

impl Writer for Sinkhole {
    fn write(&mut self, _: &[u8]) -> std::io::Result<()> {
        Ok(())
    }
    fn finish(self: Box<Self>) -> Result<(), StorageError> {
        Ok(())
    }
}
