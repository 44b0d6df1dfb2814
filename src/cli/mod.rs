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
mod output;
mod plan;
mod report;
mod rules;
mod shell;
mod size;
mod validate;
mod watch;
mod words;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cluster::{self, Cluster, Named};
use crate::config::{self, Address, LoadRequest, Loaded, Machine, Origin, Source, Workload};
use crate::host;
use crate::interrupt::{self, say};
use crate::run::{JobError, RankError, agree};
use crate::util::text::plain;
use args::Verb;
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
    let name = args
        .first()
        .map(PathBuf::from)
        .and_then(|p| p.file_name().map(|n| n.to_string_lossy().into_owned()));
    let as_dlio = name.as_deref() == Some("dlio_benchmark");
    let speaks_first = RANK_VARIABLES
        .iter()
        .find_map(|v| std::env::var(v).ok())
        .is_none_or(|rank| rank.trim() == "0");
    let typed: Vec<String> = args
        .iter()
        .map(|a| a.to_string_lossy().into_owned())
        .collect();
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
        match error.print() {
            Err(e) if !error.use_stderr() && e.kind() != ErrorKind::BrokenPipe => {
                say(&format!("dlio-rs: write to the standard output: {e}"));
                return Exit::Failed;
            }
            _ => {}
        }
        if error.use_stderr() {
            say(&format!("\n  remedy: {}", args::advice(error)));
        }
    }
    if error.use_stderr() {
        Exit::Usage
    } else {
        Exit::Done
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
    match stdout
        .write_all(plain(text).as_bytes())
        .and_then(|()| stdout.flush())
    {
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
        interrupt::say(&format!(
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
    Some(format!(
        "{KEY} of {place} runs a shell command: {}",
        command.escape_debug()
    ))
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

/// The workload as a job of this many ranks on this host has it.
fn sized(loaded: &Loaded, ranks: usize) -> Result<Loaded> {
    let cpus = host::cpus::usable_cpus();
    let mut loaded = loaded.clone();
    loaded
        .size_threads(Machine { cpus, ranks }, false)
        .map_err(Stop::usage)?;
    Ok(loaded)
}

/// A place on a storage system, and the way to it: the defaults, the environment and these words.
fn resolve(words: &[String], what: &'static str, place: &str) -> Result<(Workload, Address)> {
    let source = std::iter::once("workload=default".to_string());
    let args = WorkloadArgs {
        words: source.chain(words.iter().cloned()).collect(),
        config_dir: None,
        allow_unknown_keys: false,
    };
    let loaded = load(&args, false, config::PATIENCE).map_err(Stop::usage)?;
    let address = Address::resolve(&loaded.workload.storage, what, place).map_err(Stop::usage)?;
    Ok((loaded.workload, address))
}

/// Reads the workload that the words name.
fn load(
    args: &WorkloadArgs,
    as_dlio: bool,
    patience: Duration,
) -> Result<Loaded, config::ConfigError> {
    let mut words = args.words.clone();
    let (source, word) = take_source(&mut words, args.config_dir.clone());
    let cwd = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    let request = LoadRequest {
        source,
        words,
        allow_unknown: args.allow_unknown_keys || as_dlio,
        env: std::env::vars_os()
            .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
            .collect::<BTreeMap<_, _>>(),
        dotenv: dotenv(patience)?,
        cwd,
        patience,
    };
    let mut loaded = config::load(&request).map_err(|e| match (&e, &request.source) {
        (config::ConfigError::Silent { .. }, _) => e,
        // Whatever is wrong with other words: a mistyped verb is taken for a file.
        (_, Source::File(path)) => match config::patiently(path, patience, Path::exists) {
            Ok(false) => no_file(path),
            _ => e,
        },
        _ => e,
    })?;
    if let Some((at, word)) = word {
        let at = at.min(loaded.words.len());
        loaded.words.insert(at, word);
    }
    Ok(loaded)
}

/// The bytes of `./.env`; None where there is none.
///
/// Errors: it is there and cannot be read, or is no file.
fn dotenv(patience: Duration) -> Result<Option<Vec<u8>>, config::ConfigError> {
    let read = |path: &Path| {
        // A pipe is not waited for.
        let mut options = std::fs::File::options();
        options.read(true).custom_flags(libc::O_NONBLOCK);
        let mut file = options.open(path)?;
        let kind = file.metadata()?.file_type();
        if kind.is_fifo() || kind.is_socket() {
            return Err(std::io::Error::other("it is no file"));
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    match config::patiently(Path::new(".env"), patience, read)? {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(config::ConfigError::Unreadable {
            path: ".env".into(),
            cause: e.to_string(),
            remedy: "make it a readable file, or start in another folder".into(),
        }),
    }
}

/// The word that names the YAML names no file: it may be a built-in workload or a verb.
fn no_file(path: &Path) -> config::ConfigError {
    let word = path.display().to_string();
    let name = word.strip_suffix(".yaml").unwrap_or(&word);
    let names = config::builtin_names();
    let remedy = if config::builtin(name).is_some() {
        format!("{name} is a built-in workload: write workload={name}")
    } else if let Some(verb) = args::near_verb(&word) {
        format!("the verb {verb} is probably meant: dlio-rs {verb} ...")
    } else if let Some(near) = config::near(name, names.iter().map(String::as_str)) {
        format!("the built-in workload={near} is probably meant; `dlio-rs configs` lists all")
    } else {
        "check the path; a built-in workload is named as workload=NAME, and `dlio-rs --help` lists the verbs".into()
    };
    config::ConfigError::Unreadable {
        path: word,
        cause: "there is no such file".into(),
        remedy,
    }
}

/// `workload=NAME` wherever it stands (and then its place and itself), else the first word that is no override.
fn take_source(
    words: &mut Vec<String>,
    config_dir: Option<PathBuf>,
) -> (Source, Option<(usize, String)>) {
    if let Some(at) = words
        .iter()
        .position(|w| w.trim_start_matches('+').starts_with("workload="))
    {
        let word = words.remove(at);
        let name = word
            .split_once('=')
            .map_or("", |(_, name)| name)
            .trim_matches(['\'', '"'])
            .to_string();
        return (Source::Named { name, config_dir }, Some((at, word)));
    }
    match words
        .iter()
        .position(|w| !w.contains('=') && !w.starts_with('~'))
    {
        Some(at) => (Source::File(PathBuf::from(words.remove(at))), None),
        None => (
            Source::Named {
                name: "default".into(),
                config_dir,
            },
            None,
        ),
    }
}

/// Rank 0 loads and the others get what it read. A collective.
fn load_everywhere(
    cluster: &dyn Cluster,
    args: &WorkloadArgs,
    as_dlio: bool,
    patience: Duration,
) -> Result<Loaded> {
    let mut bytes = Vec::new();
    // In a message of their own: the JSON of a workload, which may be shown, holds stars instead.
    let mut secrets = Vec::new();
    if cluster.rank() == 0 {
        let machine = Machine {
            cpus: host::cpus::usable_cpus(),
            ranks: cluster.local_size(),
        };
        let mut result = load(args, as_dlio, patience)
            .and_then(|mut loaded| {
                loaded.size_threads(machine, as_dlio)?;
                Ok(loaded)
            })
            .map_err(|e| e.to_string());
        if let Ok(loaded) = &mut result {
            secrets = loaded.secrets_to_send();
        }
        bytes = serde_json::to_vec(&result).expect("a loaded workload becomes JSON");
    }
    cluster.broadcast(&mut bytes);
    cluster.broadcast(&mut secrets);
    let unreadable = |e: serde_json::Error| {
        Stop::failed(format!(
            "internal error: rank {} cannot read rank 0's configuration: {e}",
            cluster.rank()
        ))
    };
    let mut result: Result<Loaded, String> = serde_json::from_slice(&bytes).map_err(unreadable)?;
    if let Ok(loaded) = &mut result {
        loaded.receive_secrets(&secrets).map_err(unreadable)?;
    }
    result.map_err(|message| printed_by_rank_0(cluster, Exit::Usage, message))
}

/// All ranks go on, or none: the lowest that refuses something tells why. A collective.
fn together<T>(cluster: &dyn Cluster, mine: Result<T, String>) -> Result<T> {
    agree(cluster, mine.map_err(RankError::Dataset)).map_err(|error| {
        let message = match error {
            JobError::Failed {
                rank: 0, message, ..
            } => message,
            JobError::Failed {
                rank,
                host,
                message,
                ..
            } => format!("rank {rank} on {host}: {message}"),
            _ => String::new(),
        };
        printed_by_rank_0(cluster, Exit::Usage, message)
    })
}

fn printed_by_rank_0(cluster: &dyn Cluster, exit: Exit, message: String) -> Stop {
    Stop {
        exit,
        message: if cluster.rank() == 0 {
            message
        } else {
            String::new()
        },
    }
}

/// Longest name of a folder that every file system takes, in characters of up to 4 bytes.
const MAX_NAME: usize = 60;

/// `results/<model>/<time>`
fn default_output(model: &str) -> PathBuf {
    let name: String = model
        .chars()
        .take(MAX_NAME)
        .map(|c| {
            if c.is_alphanumeric() || "-_.".contains(c) {
                c
            } else {
                '_'
            }
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
