//! Output that somebody may stop reading, such as a pager, a paused terminal or a full pipe: waiting for it is no stall.

use std::io::{self, Write};

use crate::loader::Activity;

/// A writer during whose writes this rank is busy, for the watchdog, as long as they take.
pub struct Patient<W> {
    out: W,
    activity: Activity,
}

impl<W: Write> Patient<W> {
    /// Writes to `out`.
    pub fn new(out: W, activity: Activity) -> Self {
        Patient { out, activity }
    }

    fn wait<T>(&mut self, action: impl FnOnce(&mut W) -> T) -> T {
        let before = self.activity.busy_end();
        self.activity.busy_until(u64::MAX);
        let value = action(&mut self.out);
        self.activity.busy_until(before);
        self.activity.moved();
        value
    }
}

impl<W: Write> Write for Patient<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.wait(|out| out.write(bytes))
    }
    fn flush(&mut self) -> io::Result<()> {
        self.wait(Write::flush)
    }
}
