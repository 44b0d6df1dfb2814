//! Output that somebody may stop reading, such as a pager, a paused terminal or a full pipe: waiting for it is no stall.

use std::io::{self, Write};

use crate::clock::now_ns;
use crate::loader::Activity;

/// Longer than a write takes that nobody holds up, ns: shorter ones are no sign that the job moves.
const LONG_NS: u64 = 100_000_000;

/// Busy for as long as a write takes; another end than any that the job itself sets.
const WRITING: u64 = u64::MAX - 1;

/// A writer during whose writes this rank is busy, for the watchdog, as long as they take.
pub struct Patient<W> {
    out: W,
    activity: Activity,
}

impl<W: Write> Patient<W> {
    pub fn new(out: W, activity: Activity) -> Self {
        Patient { out, activity }
    }

    fn wait<T>(&mut self, action: impl FnOnce(&mut W) -> T) -> T {
        let before = self.activity.busy_end();
        self.activity.busy_until(WRITING);
        let begun = now_ns();
        let value = action(&mut self.out);
        // Another thread may have set an end of its own meanwhile.
        self.activity.change_busy(WRITING, before);
        if now_ns() - begun > LONG_NS {
            self.activity.moved();
        }
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
