//! Where the YAML comes from: a file, a folder of workloads, or the built-in ones.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::{ConfigError, Wrong};

static BUILTIN: include_dir::Dir = include_dir::include_dir!("$CARGO_MANIFEST_DIR/configs");

/// Where the YAML is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// `workload=NAME`: `DIR/workload/NAME.yaml`, then the built-in configs.
    Named {
        /// Its name.
        name: String,
        /// The folder of `--config-dir`.
        config_dir: Option<PathBuf>,
    },
}

/// Names of the built-in configs.
pub fn builtin_names() -> Vec<String> {
    let names = BUILTIN
        .files()
        .filter_map(|f| Some(f.path().file_stem()?.to_str()?.to_string()));
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// Text of a built-in config.
pub fn builtin(name: &str) -> Option<&'static str> {
    BUILTIN.get_file(format!("{name}.yaml"))?.contents_utf8()
}

/// Workloads that DLIO's own package holds among those that are built in here. Its folder precedes `--config-dir` in
/// hydra's search, so under DLIO these names never mean the file of `--config-dir`.
const SHIPPED_BY_DLIO: [&str; 13] = [
    "bert_v100",
    "cosmoflow_a100",
    "cosmoflow_h100",
    "cosmoflow_v100",
    "default",
    "dlrm",
    "resnet50_a100",
    "resnet50_h100",
    "resnet50_tf",
    "resnet50_v100",
    "unet3d_a100",
    "unet3d_h100",
    "unet3d_v100",
];

/// Set to 1: DLIO's order of search.
pub(super) const SHADOWING: &str = "DLIO_RS_HYDRA_SHADOWING";

/// Larger than any workload.
const MAX_FILE: u64 = 16 << 20;

/// Where a text stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    File(PathBuf),
    BuiltIn(String),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::File(path) => write!(f, "{}", path.display()),
            Place::BuiltIn(name) => write!(f, "configs/{name}.yaml"),
        }
    }
}

/// A YAML as it was found.
pub(super) struct Found {
    pub(super) text: String,
    pub(super) place: Place,
}

/// Where configs are looked for.
pub(super) struct Search<'a> {
    pub(super) source: &'a Source,
    /// DLIO's order: its own workloads first.
    pub(super) shadowing: bool,
    /// How long a file may be silent.
    pub(super) patience: Duration,
}

impl Search<'_> {
    /// The name of the workload.
    pub(super) fn name(&self) -> String {
        match self.source {
            Source::Named { name, .. } => name.clone(),
            Source::File(path) => path
                .file_stem()
                .map_or_else(String::new, |s| s.to_string_lossy().into_owned()),
        }
    }

    /// The workload's own YAML.
    pub(super) fn primary(&self) -> Result<Found, ConfigError> {
        let (name, config_dir) = match self.source {
            Source::File(path) => return read(path, self.patience),
            Source::Named { name, config_dir } => (name, config_dir),
        };
        if let Some(found) = self.find("workload", name)? {
            return Ok(found);
        }
        let place = config_dir.as_ref().map_or_else(String::new, |dir| {
            format!("{} and in ", dir.join("workload").display())
        });
        let names = builtin_names();
        let near = near(name, names.iter().map(String::as_str))
            .map_or_else(String::new, |name| format!("{name} is probably meant; "));
        Err(ConfigError::Unreadable {
            path: format!("workload={name}"),
            cause: format!("there is no {name}.yaml in {place}the built-in configs"),
            remedy: format!("{near}all: {}", names.join(", ")),
        })
    }

    /// The option `name` of a config group, such as `workload` or `workload/optimizer`.
    pub(super) fn find(&self, group: &str, name: &str) -> Result<Option<Found>, ConfigError> {
        let built_in = || {
            let text = builtin(name).filter(|_| group == "workload")?;
            let place = Place::BuiltIn(name.into());
            let text = text.into();
            Some(Found { text, place })
        };
        if self.shadowing && SHIPPED_BY_DLIO.contains(&name) {
            return Ok(built_in());
        }
        let root = match self.source {
            Source::Named { config_dir, .. } => config_dir.clone(),
            // Its folder is the group `workload`.
            Source::File(path) => match path.parent() {
                Some(folder) => match group.strip_prefix("workload") {
                    Some(rest) => {
                        let path = folder.join(rest.trim_start_matches('/'));
                        let path = path.join(format!("{name}.yaml"));
                        return Ok(read_where_it_is(&path, self.patience)?.or_else(built_in));
                    }
                    None => folder.parent().map(Path::to_path_buf),
                },
                None => None,
            },
        };
        let path = root.map(|root| root.join(group).join(format!("{name}.yaml")));
        let found = path.map(|path| read_where_it_is(&path, self.patience));
        Ok(found.transpose()?.flatten().or_else(built_in))
    }

    /// A warning where `--config-dir` has a file that DLIO's own of that name stands before.
    pub(super) fn shadowed(&self, found: &Place) -> Option<String> {
        let Source::Named {
            name,
            config_dir: Some(dir),
        } = self.source
        else {
            return None;
        };
        let theirs = dir.join("workload").join(format!("{name}.yaml"));
        let is_there = || patiently(&theirs, self.patience, Path::exists).unwrap_or(false);
        let is_shadowed = self.shadowing && *found != Place::File(theirs.clone()) && is_there();
        is_shadowed.then(|| {
            format!(
                "{SHADOWING}=1: the workload is the built-in {name}, as DLIO's own would be, and not {}",
                theirs.display()
            )
        })
    }
}

/// Reads a file in a thread of its own: one that nobody writes to, or a file system that hangs, would keep the caller for ever.
///
/// Errors: [`ConfigError::Silent`] after `patience`.
pub fn patiently<T: Send + 'static>(
    path: &Path,
    patience: Duration,
    read: impl FnOnce(&Path) -> T + Send + 'static,
) -> Result<T, ConfigError> {
    let (sender, receiver) = std::sync::mpsc::channel();
    let silent = |cause: &str| ConfigError::Silent {
        path: path.display().to_string(),
        cause: cause.into(),
    };
    let file = path.to_path_buf();
    std::thread::Builder::new()
        .name("config".into())
        .spawn(move || sender.send(read(&file)))
        .map_err(|e| silent(&format!("no thread can be started for it: {e}")))?;
    receiver.recv_timeout(patience).map_err(|_| {
        silent(&format!(
            "its end did not come within {} s",
            patience.as_secs()
        ))
    })
}

/// The text of a file; None where there is none.
fn read_where_it_is(path: &Path, patience: Duration) -> Result<Option<Found>, ConfigError> {
    let is_there = patiently(path, patience, |path| path.exists())?;
    is_there.then(|| read(path, patience)).transpose()
}

/// The text of a file.
///
/// Errors: it cannot be read, is larger than any workload, or is not UTF-8.
fn read(path: &Path, patience: Duration) -> Result<Found, ConfigError> {
    let unreadable = |cause: String, remedy: &str| ConfigError::Unreadable {
        path: path.display().to_string(),
        cause,
        remedy: remedy.into(),
    };
    let all = |path: &Path| {
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path)?;
        file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = patiently(path, patience, all)?.map_err(|e: std::io::Error| {
        let remedy = "check the path; a built-in config is named as workload=NAME";
        unreadable(e.to_string(), remedy)
    })?;
    if bytes.len() as u64 > MAX_FILE {
        let cause = format!("it has more than {} MiB", MAX_FILE >> 20);
        return Err(unreadable(cause, "name the YAML of a workload"));
    }
    let text = String::from_utf8(bytes).map_err(|e| {
        let valid = &e.as_bytes()[..e.utf8_error().valid_up_to()];
        let line = valid.iter().filter(|&&b| b == b'\n').count() + 1;
        let start = valid.iter().rposition(|&b| b == b'\n').map_or(0, |i| i + 1);
        let column = String::from_utf8_lossy(&valid[start..]).chars().count() + 1;
        let byte = e.as_bytes()[valid.len()];
        ConfigError::Yaml {
            path: path.display().to_string(),
            line,
            column,
            wrong: Wrong::new(
                format!("the byte 0x{byte:02x} is no UTF-8"),
                "save the file as UTF-8",
            ),
        }
    })?;
    Ok(Found {
        text,
        place: Place::File(path.into()),
    })
}

/// How alike two names are: 1 for equal ones, 0 where their lengths alone make them less alike than [`NEAR`]. A single slip is
/// near in short names too.
pub(super) fn likeness(a: &str, b: &str) -> f64 {
    let (short, long) = (a.len().min(b.len()), a.len().max(b.len()));
    // A character has up to four bytes.
    if short * 4 < long {
        return 0.0;
    }
    let likeness = strsim::normalized_damerau_levenshtein(a, b);
    let is_slip = a.len().min(b.len()) > 2 && strsim::damerau_levenshtein(a, b) == 1;
    if is_slip {
        likeness.max(NEAR)
    } else {
        likeness
    }
}

/// The item of the highest score, the first of equal ones; None where none is near.
pub(super) fn best<T>(scored: impl Iterator<Item = (f64, T)>) -> Option<T> {
    scored
        .filter(|(score, _)| *score >= NEAR)
        .reduce(|best, next| if next.0 > best.0 { next } else { best })
        .map(|(_, item)| item)
}

/// Names less alike than this are not offered.
pub(super) const NEAR: f64 = 0.7;

/// The name that is most alike, where one is near.
pub fn near<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    best(names.map(|n| (likeness(name, n), n)))
}
