//! Where a run shows that it goes on: the terminal of this process, else that of its launcher.

use std::io::{IsTerminal as _, Write};
use std::os::fd::AsFd as _;

use super::patient::Patient;
use super::request::Voice;
use crate::host::terminal;
use crate::loader::Activity;
use crate::report::console::{Columns, Console, Shows};
use crate::report::live::Progress;

/// Columns of a terminal that does not say how many it has.
const COLUMNS: usize = 80;

/// The console that `--progress` and `--quiet` ask for.
pub(super) fn console(voice: Voice, activity: Activity) -> Console {
    let mut out: Box<dyn Write + Send> = Box::new(std::io::stderr());
    let shows = match voice.progress {
        Progress::None => Shows::Nothing,
        Progress::Lines => Shows::Lines,
        Progress::Auto if std::env::var("TERM").is_ok_and(|term| term == "dumb") => Shows::Lines,
        Progress::Auto | Progress::Live if std::io::stderr().is_terminal() => {
            Shows::Live(Box::new(|| {
                width(terminal::columns(std::io::stderr().as_fd()))
            }))
        }
        Progress::Auto | Progress::Live => match terminal::of_launcher() {
            Some(file) => match file.try_clone() {
                Ok(own) => {
                    out = Box::new(own);
                    let columns: Columns = Box::new(move || width(terminal::columns(file.as_fd())));
                    Shows::Live(columns)
                }
                Err(_) => Shows::Lines,
            },
            None if voice.progress == Progress::Live => Shows::Live(Box::new(|| width(None))),
            None => Shows::Lines,
        },
    };
    Console::new(Box::new(Patient::new(out, activity)), shows, voice.quiet)
}

/// Of a terminal, else as the environment says.
fn width(of_terminal: Option<usize>) -> usize {
    let said = || std::env::var("COLUMNS").ok()?.trim().parse().ok();
    of_terminal
        .or_else(said)
        .filter(|n| *n > 0)
        .unwrap_or(COLUMNS)
}
