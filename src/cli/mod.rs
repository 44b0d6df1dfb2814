//! Verbs, DLIO's command-line words, and what the shell gets to see.

mod args;
mod check;
mod clean;
mod commands;
mod compare;
mod configs;
mod explain;
mod find;
mod info;
mod inspect;
mod install_shim;
mod job;
mod loading;
mod output;
mod plan;
mod report;
mod rules;
mod shell;
mod size;
mod validate;
mod watch;
mod words;

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::cluster::{self, Cluster, Named};
use crate::config::{self, Loaded, Origin};
use crate::host;
use crate::interrupt::{self, say};
use crate::run::{JobError, RankError, agree};
use crate::util::text::plain;
use args::Verb;
use loading::{load, load_everywhere, resolve, sized};
use words::WorkloadArgs;

/// Exit statuses of every verb; `--help` lists them for users. A process that a signal ends has 128 and its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done; `check` found no violation, `compare` no difference beyond tolerance.
    Done = 0,
    /// The run failed, a file could not be read or written, `check` found a violation (or `mlpstorage validate` did),
    /// `compare` a difference beyond tolerance, `report` a run without figures.
    Failed = 1,
    /// Usage or configuration; also a violation under `--rules`, and what `compare` cannot read.
    Usage = 2,
    /// AU is below the threshold of `--require-au`.
    AuBelow = 3,
}

type Result<T, E = Stop> = std::result::Result<T, E>;

/// A failure that is already worded for the user. Printed by rank 0 only, except before ranks are known.
struct Stop {
    exit: Exit,
    message: String,
}

impl Stop {
    /// The run, or what was asked for, failed. Without a message where all is said.
    fn failed(message: impl Into<String>) -> Self {
        Stop {
            exit: Exit::Failed,
            message: message.into(),
        }
    }

    /// What the user can put right; the message ends with how.
    fn usage(message: impl std::fmt::Display) -> Self {
        let message = message.to_string();
        debug_assert!(message.contains("\n  remedy: "), "{message}");
        Stop {
            exit: Exit::Usage,
            message,
        }
    }
}

/// Variables that tell a process its rank before MPI does.
const RANK_VARIABLES: [&str; 5] = [
    "OMPI_COMM_WORLD_RANK",
    "PMI_RANK",
    "PMIX_RANK",
    "MV2_COMM_WORLD_RANK",
    "SLURM_PROCID",
];

/// How the program was called.
struct Call {
    /// By DLIO's name.
    as_dlio: bool,
    /// True on the rank that speaks before ranks know each other.
    speaks_first: bool,
    /// Its words.
    typed: Vec<String>,
    /// The MPI library that the user names.
    named: Option<Named>,
}

/// Runs the command line; returns the exit status.
pub fn main(args: Vec<OsString>) -> u8 {
    let as_dlio = args
        .first()
        .is_some_and(|name| Path::new(name).ends_with("dlio_benchmark"));
    let mut ranks = RANK_VARIABLES.iter().filter_map(|v| std::env::var(v).ok());
    let speaks_first = ranks.next().is_none_or(|rank| rank.trim() == "0");
    let typed = args.iter().map(|a| a.to_string_lossy().into_owned());
    let typed: Vec<String> = typed.collect();
    let cli = match args::parse(&args, as_dlio) {
        Ok(cli) => cli,
        Err(error) => return refused(&error, speaks_first) as u8,
    };
    if !has_sockets(&cli.verb) {
        end_when_nobody_reads();
    }
    let call = Call {
        as_dlio,
        speaks_first,
        typed,
        named: Named::new(cli.mpi_lib.as_deref(), &variable),
    };
    match start(cli.verb, &call) {
        Ok(()) => Exit::Done as u8,
        Err(stop) => {
            if !stop.message.is_empty() {
                interrupt::say(&format!("dlio-rs: {}", stop.message));
            }
            stop.exit as u8
        }
    }
}

/// Shows why the command line was not taken, or the help that it asked for.
fn refused(error: &clap::Error, speaks_first: bool) -> Exit {
    // Every rank of a job gets the same words; one of them answers.
    if speaks_first {
        if let Err(e) = error.print()
            && !error.use_stderr()
            && e.kind() != ErrorKind::BrokenPipe
        {
            say(&format!("dlio-rs: write to the standard output: {e}"));
            return Exit::Failed;
        }
        if error.use_stderr() {
            say(&format!("\n  remedy: {}", args::advice(error)));
        }
    }
    match error.use_stderr() {
        true => Exit::Usage,
        false => Exit::Done,
    }
}

/// Where sockets may be, a connection that a server closes is an error and no end of the process.
fn has_sockets(verb: &Verb) -> bool {
    matches!(
        verb,
        Verb::Run(_)
            | Verb::Generate(_)
            | Verb::Find(_)
            | Verb::Info(_)
            | Verb::Inspect(_)
            | Verb::Clean(_)
    )
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Does what the verb says.
fn start(verb: Verb, call: &Call) -> Result<()> {
    let (as_dlio, typed, named) = (call.as_dlio, &call.typed, call.named.as_ref());
    match verb {
        Verb::Validate(args) => alone(&args.workload.clone(), as_dlio, |loaded| {
            validate::print(loaded, &args)
        }),
        Verb::Plan(args) => alone(&args.workload.clone(), as_dlio, |loaded| {
            plan::print(loaded, &args)
        }),
        Verb::Run(args) => in_job(call.speaks_first, named, |cluster| {
            job::start(cluster, &args, job::What::Workflow, as_dlio, typed)
        }),
        Verb::Generate(args) => in_job(call.speaks_first, named, |cluster| {
            job::start(cluster, &args, job::What::GenerateOnly, as_dlio, typed)
        }),
        Verb::Find(args) => in_job(call.speaks_first, named, |cluster| {
            find::start(cluster, &args, typed)
        }),
        // Without a launcher no job is formed: where MPI may not run, as on a login node, info still answers.
        Verb::Info(args) if !cluster::is_launched(&variable) => {
            in_job(call.speaks_first, None, |cluster| {
                info::print(cluster, Some(&cluster::outlook(&variable, named)), &args)
            })
        }
        Verb::Info(args) => in_job(call.speaks_first, named, |cluster| {
            info::print(cluster, None, &args)
        }),
        Verb::Inspect(args) => inspect::print(&args),
        Verb::Clean(args) => clean::clean(&args),
        Verb::Report(args) => report::print(&args),
        Verb::Watch(args) => watch::watch(&args),
        Verb::Compare(args) => compare::print(&args),
        Verb::Explain(args) => explain::print(&args),
        Verb::Configs(args) => configs::print(&args),
        Verb::InstallShim(args) => install_shim::install(&args),
        Verb::Completions(args) => shell::completions(&args),
        Verb::Man(args) => shell::manual(&args),
        Verb::Size(args) => alone(&args.workload.clone(), as_dlio, |loaded| {
            size::print(loaded, &args)
        }),
        Verb::Check(check::CheckArgs {
            explain: Some(id),
            format,
            ..
        }) => check::explain(&id, format),
        Verb::Check(args) => match check::folder(&args)? {
            Some(folder) => check::after(folder, &args),
            None => alone(&args.workload.clone(), as_dlio, |loaded| {
                check::before(loaded, &args)
            }),
        },
    }
}

/// Prints to the standard output. A reader that went away is no failure.
///
/// Errors: it is full, or cannot be written to.
fn out(text: &str) -> Result<()> {
    use std::io::Write;
    let mut stdout = std::io::stdout();
    let written = stdout.write_all(plain(text).as_bytes());
    match written.and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Stop::failed(format!(
            "write to the standard output: {error}"
        ))),
        _ => Ok(()),
    }
}

/// Verbs that only print end silently when their reader does, as in `dlio-rs configs | head`.
fn end_when_nobody_reads() {
    use nix::sys::signal::{SigHandler, Signal, signal};
    // SAFETY: the default action; no handler of ours runs. It cannot fail for this signal, and would change nothing if it did.
    let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) };
}

/// A verb that needs no ranks.
fn alone(
    args: &WorkloadArgs,
    as_dlio: bool,
    verb: impl FnOnce(&Loaded) -> Result<()>,
) -> Result<()> {
    let loaded = load(args, as_dlio, config::PATIENCE).map_err(Stop::usage)?;
    for warning in &loaded.warnings {
        say(&format!("warning: {warning}"));
    }
    if let Some(command) = command_of_file(&loaded) {
        say(&format!(
            "warning: {command}; `run` does so only with --allow-commands"
        ));
    }
    verb(&loaded)
}

/// The shell command that a workload would run, where it was not typed on the command line.
fn command_of_file(loaded: &Loaded) -> Option<String> {
    const KEY: &str = "checkpoint.between_phases";
    let command = loaded.workload.checkpoint.between_phases.as_ref()?;
    let place = match loaded.origins.get(KEY) {
        Some(Origin::CommandLine(_)) => return None,
        Some(origin) => origin.to_string(),
        None => "the workload".into(),
    };
    let command = command.escape_debug();
    Some(format!("{KEY} of {place} runs a shell command: {command}"))
}

/// Waits for signals, which remove what is half written.
fn listen(speaks: bool) -> Result<()> {
    interrupt::listen(speaks).map_err(|e| Stop::failed(format!("wait for signals: {e}")))
}

/// A verb that runs on every rank.
fn in_job(
    speaks_first: bool,
    named: Option<&Named>,
    verb: impl FnOnce(&dyn Cluster) -> Result<()>,
) -> Result<()> {
    listen(speaks_first)?;
    let cluster =
        cluster::start(&variable, host::name(), named).map_err(|e| Stop::failed(e.to_string()))?;
    let mut outcome = verb(&*cluster);
    interrupt::finished();
    if let Err(stop) = &mut outcome
        && cluster.rank() == 0
        && !stop.message.is_empty()
    {
        // Before any rank ends: a launcher that sees one end with an error ends the others at once.
        interrupt::say(&format!("dlio-rs: {}", std::mem::take(&mut stop.message)));
    }
    // On every rank, whatever it has met: one that failed alone must not wait for those that have left.
    cluster.barrier();
    outcome
}

/// All ranks go on, or none: the lowest that refuses something tells why. A collective.
fn together<T>(cluster: &dyn Cluster, mine: Result<T, String>) -> Result<T> {
    agree(cluster, mine.map_err(RankError::Dataset)).map_err(|error| {
        let message = match error {
            JobError::Failed {
                rank,
                host,
                message,
                ..
            } => match rank {
                0 => message,
                _ => format!("rank {rank} on {host}: {message}"),
            },
            _ => String::new(),
        };
        printed_by_rank_0(cluster, Exit::Usage, message)
    })
}

fn printed_by_rank_0(cluster: &dyn Cluster, exit: Exit, message: String) -> Stop {
    let message = match cluster.rank() {
        0 => message,
        _ => String::new(),
    };
    Stop { exit, message }
}

/// Longest name of a folder that every file system takes, in characters of up to 4 bytes.
const MAX_NAME: usize = 60;

/// `results/<model>/<time>`
fn default_output(model: &str) -> PathBuf {
    let name: String = model
        .chars()
        .take(MAX_NAME)
        .map(|c| match c.is_alphanumeric() || "-_.".contains(c) {
            true => c,
            false => '_',
        })
        .collect();
    // A name of dots only would be a folder outside of it.
    let name = match name.trim_matches('.') {
        "" => "model".to_owned(),
        _ => name,
    };
    Path::new("results")
        .join(name)
        .join(chrono::Local::now().format("%Y%m%d_%H%M%S").to_string())
}
