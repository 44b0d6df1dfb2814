//! A file that grows line by line.

use std::io::Write;

/// A log that is a file. Each line is seen to arrive: a server that takes bytes in the background refuses them when a
/// descriptor is closed, so a copy of the file's is.
pub struct LogFile {
    file: std::fs::File,
    path: std::path::PathBuf,
}

impl LogFile {
    /// Begins the file. A link is not followed.
    ///
    /// Errors: it cannot be made.
    pub fn create(path: &std::path::Path) -> std::io::Result<Self> {
        Ok(LogFile {
            file: crate::storage::create_file(path)?,
            path: path.into(),
        })
    }

    /// The same open file, to which whoever has it appends.
    ///
    /// Errors: there are too many open files.
    pub fn again(&self) -> std::io::Result<std::fs::File> {
        self.file.try_clone()
    }

    fn named(&self, error: std::io::Error) -> std::io::Error {
        if error.kind() == std::io::ErrorKind::Interrupted {
            return error;
        }
        let words = crate::storage::errno_words(&error);
        std::io::Error::other(format!("write {}: {words}", self.path.display()))
    }
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.file.write(bytes).map_err(|e| self.named(e))
    }
    fn flush(&mut self) -> std::io::Result<()> {
        let copy = self.file.try_clone();
        copy.and_then(crate::storage::close)
            .map_err(|e| self.named(e))
    }
}
