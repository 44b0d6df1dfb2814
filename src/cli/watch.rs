//! `dlio-rs watch`: a running job, seen from another terminal.

use std::fs::File;
use std::io::{BufRead as _, BufReader, IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::{Result, Stop};
use crate::host::terminal;
use crate::report::event_file;
use crate::report::watch::{Ended, Watched};

/// Which job.
#[derive(Debug, Clone, Args)]
pub struct WatchArgs {
    /// Folder of results of the job (where it will be, while it runs), or a file of its events
    #[arg(value_name = "RUN | FILE")]
    pub run: PathBuf,
    /// Print what is known now, and end
    #[arg(long)]
    pub once: bool,
}

/// Time between two looks at the file.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Follows the events until the job has ended.
pub(super) fn watch(args: &WatchArgs) -> Result<()> {
    let path = find(&args.run)?;
    let unreadable = |e: std::io::Error| {
        Stop::usage(format!(
            "read {}: {e}\n  remedy: give the folder of a run, or a file of its events",
            path.display()
        ))
    };
    let mut lines = BufReader::new(File::open(&path).map_err(unreadable)?);
    let mut screen = Screen::new();
    let mut job = Watched::default();
    let mut line = String::new();
    loop {
        // A line without its end is still being written: the rest is read later.
        while lines.read_line(&mut line).map_err(unreadable)? > 0 && line.ends_with('\n') {
            job.line(&line);
            line.clear();
        }
        if job.ended.is_some() || args.once {
            break;
        }
        screen.draw(&job)?;
        std::thread::sleep(LOOK_EVERY);
    }
    screen.last(&job)?;
    match job.ended {
        Some(Ended::Failed(message)) => Err(Stop::failed(format!("the job failed: {message}"))),
        Some(Ended::Saved(folder)) => super::out(&format!("results in {folder}\n")),
        None => Ok(()),
    }
}

/// The file of events: itself, in the folder of a run, or in the hidden folder in which a run that goes on has its files.
fn find(run: &Path) -> Result<PathBuf> {
    if run.is_file() {
        return Ok(run.to_owned());
    }
    let absolute = std::path::absolute(run).unwrap_or_else(|_| run.to_owned());
    let name = absolute
        .file_name()
        .map(|n| n.to_string_lossy().into_owned());
    let hidden = format!(".{}.partial-", name.unwrap_or_default());
    let mut found: Vec<(std::time::SystemTime, PathBuf)> =
        [Some(absolute.as_path()), absolute.parent()]
            .into_iter()
            .flatten()
            .filter_map(|folder| std::fs::read_dir(folder).ok())
            .flat_map(|entries| entries.flatten())
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(&hidden))
            .map(|entry| entry.path().join(event_file::FILE))
            .chain([absolute.join(event_file::FILE)])
            .filter_map(|path| Some((path.metadata().ok()?.modified().ok()?, path)))
            .collect();
    found.sort();
    found.pop().map(|(_, path)| path).ok_or_else(|| {
        Stop::usage(format!(
            "watch {}: no {} in it, and no run that writes there\n  remedy: give the folder that the job names with --output or output.folder, on the host of rank 0",
            run.display(),
            event_file::FILE
        ))
    })
}

/// A line that is drawn over itself on a terminal, and lines elsewhere.
struct Screen {
    is_live: bool,
    shown: String,
}

impl Screen {
    fn new() -> Self {
        let is_dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
        Screen {
            is_live: std::io::stdout().is_terminal() && !is_dumb,
            shown: String::new(),
        }
    }

    fn draw(&mut self, job: &Watched) -> Result<()> {
        let columns = terminal::columns(std::io::stdout().as_fd()).unwrap_or(80);
        let text = job.text(match self.is_live {
            true => columns.saturating_sub(1),
            false => 200,
        });
        if text == self.shown || text.is_empty() {
            return Ok(());
        }
        let before = self.shown.chars().count();
        let pad = " ".repeat(before.saturating_sub(text.chars().count()));
        // To the beginning of the line, which `out` would show as a character.
        if self.is_live {
            let _ = std::io::stdout().write_all(b"\r");
        }
        let end = if self.is_live { &pad } else { "\n" };
        super::out(&format!("{text}{end}"))?;
        self.shown = text;
        Ok(())
    }

    /// What was known last, on a line of its own.
    fn last(&mut self, job: &Watched) -> Result<()> {
        self.draw(job)?;
        if self.is_live && !self.shown.is_empty() {
            super::out("\n")?;
        }
        Ok(())
    }
}
