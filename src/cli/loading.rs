//! From words of the command line to a workload, on one rank or on all.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::words::WorkloadArgs;
use super::{Exit, Result, Stop, args, printed_by_rank_0};
use crate::cluster::Cluster;
use crate::config::{self, Address, LoadRequest, Loaded, Machine, Source, Workload};
use crate::host;

/// The workload as a job of this many ranks on this host has it.
pub(super) fn sized(loaded: &Loaded, ranks: usize) -> Result<Loaded> {
    let cpus = host::cpus::usable_cpus();
    let mut loaded = loaded.clone();
    loaded
        .size_threads(Machine { cpus, ranks }, false)
        .map_err(Stop::usage)?;
    Ok(loaded)
}

/// A place on a storage system, and the way to it: the defaults, the environment and these words.
pub(super) fn resolve(
    words: &[String],
    what: &'static str,
    place: &str,
) -> Result<(Workload, Address)> {
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
pub(super) fn load(
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
    let is_name = |w: &String| w.trim_start_matches('+').starts_with("workload=");
    if let Some(at) = words.iter().position(is_name) {
        let word = words.remove(at);
        let name = word.split_once('=').map_or("", |(_, name)| name);
        let name = name.trim_matches(['\'', '"']).to_string();
        return (Source::Named { name, config_dir }, Some((at, word)));
    }
    let is_file = |w: &String| !w.contains('=') && !w.starts_with('~');
    let name = "default".into();
    let source = match words.iter().position(is_file) {
        Some(at) => Source::File(PathBuf::from(words.remove(at))),
        None => Source::Named { name, config_dir },
    };
    (source, None)
}

/// Rank 0 loads and the others get what it read. A collective.
pub(super) fn load_everywhere(
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
