//! From YAML text, override words and the environment to a [`Workload`], with the origin of every value.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_yaml::{Mapping, Value};

use super::environment::{restore_checkpoint_scheme, take_environment};
use super::error::ConfigError;
use super::keys::{LEAVES, check_keys, coerce, typed};
use super::object;
use super::overrides::{self, Change, Override};
use super::source::{SHADOWING, Source, read_source};
use super::tree::{as_text, interpolate, lookup, redact, redact_word, set, take};
use super::{Secret, Workload, yaml};

/// What to load.
#[derive(Debug, Clone)]
pub struct LoadRequest {
    /// The YAML.
    pub source: Source,
    /// Override words as typed.
    pub words: Vec<String>,
    /// Unknown keys are warnings.
    pub allow_unknown: bool,
    /// The environment.
    pub env: BTreeMap<String, String>,
    /// Text of `./.env`.
    pub dotenv: Option<String>,
    /// Relative paths in messages start here.
    pub cwd: PathBuf,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// A word of the command line.
    CommandLine(String),
    /// A line of the YAML.
    File {
        /// Its path.
        path: String,
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// A variable of the environment.
    Environment(String),
    /// A variable of `.env`.
    DotEnv(String),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Origin::CommandLine(word) => write!(f, "command line word '{}'", redact_word(word)),
            Origin::File { path, line, column } => write!(f, "{path}:{line}:{column}"),
            Origin::Environment(variable) => write!(f, "environment {variable}"),
            Origin::DotEnv(variable) => write!(f, ".env {variable}"),
        }
    }
}

/// hydra's own words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hydra {
    /// `hydra.run.dir`
    pub run_dir: Option<String>,
    /// `hydra.output_subdir`; the inner None is hydra's `null`: no folder.
    pub output_subdir: Option<Option<String>>,
    /// All of them, verbatim.
    pub words: Vec<String>,
}

/// A loaded workload. The workload of a rank that got it broadcast holds stars in place of credentials.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Loaded {
    /// The typed configuration.
    pub workload: Workload,
    /// The composed `workload` node, credentials starred.
    pub tree: Value,
    /// Where each value that is not a default comes from, by dotted key.
    pub origins: BTreeMap<String, Origin>,
    /// What the user should know.
    pub warnings: Vec<String>,
    /// Override words, without hydra's own.
    pub words: Vec<String>,
    /// hydra's own words.
    pub hydra: Hydra,
    /// The workload's name.
    pub name: String,
}

/// Keys that DLIO has and ignores: accepted, with what to write instead.
const IGNORED: [(&str, &str); 4] = [
    (
        "dataset.record_length",
        "DLIO ignores this old name; write dataset.record_length_bytes",
    ),
    (
        "dataset.record_length_stdev",
        "DLIO ignores this old name; write dataset.record_length_bytes_stdev",
    ),
    (
        "dataset.record_length_resize",
        "DLIO ignores this old name; write dataset.record_length_bytes_resize",
    ),
    ("logging", "DLIO ignores this section"),
];

/// Keys whose value sets the stdev of another.
const STDEVS: [(&str, &str); 3] = [
    ("train.computation_time_stdev", "train.computation_time"),
    ("evaluation.eval_time_stdev", "evaluation.eval_time"),
    ("reader.preprocess_time_stdev", "reader.preprocess_time"),
];

/// Loads a workload.
pub fn load(request: &LoadRequest) -> Result<Loaded, ConfigError> {
    let shadowing = request.env.get(SHADOWING).is_some_and(|v| v == "1");
    let (text, path, name) = read_source(&request.source, shadowing)?;
    let (mut root, places) = yaml::parse(&text).map_err(|e| ConfigError::Yaml {
        path: path.clone(),
        line: e.line,
        column: e.column,
        what: e.what,
    })?;
    let mut prefix = "";
    if let Some(map) = root.as_mapping()
        && map.len() == 1
        && map.contains_key("workload")
    {
        root = root["workload"].clone();
        prefix = "workload.";
    }
    if !root.is_mapping() {
        return Err(ConfigError::Yaml {
            path,
            line: 1,
            column: 1,
            what: "a workload is a mapping of sections".into(),
        });
    }
    let mut origins: BTreeMap<String, Origin> = places
        .into_iter()
        .filter_map(|(key, (line, column))| {
            Some((
                key.strip_prefix(prefix)?.to_string(),
                Origin::File {
                    path: path.clone(),
                    line,
                    column,
                },
            ))
        })
        .collect();
    let mut words = Vec::new();
    let mut warnings = Vec::new();
    if shadowing
        && let Source::Named {
            config_dir: Some(dir),
            ..
        } = &request.source
    {
        let theirs = dir.join("workload").join(format!("{name}.yaml"));
        if theirs.exists() && theirs.display().to_string() != path {
            warnings.push(format!(
                "{SHADOWING}=1: the workload is the built-in {name}, as DLIO's own would be, and not {}",
                theirs.display()
            ));
        }
    }
    let hydra = apply_words(
        &mut root,
        &request.words,
        &mut words,
        &mut origins,
        &mut warnings,
    )?;
    let mut dump = root.clone();
    redact(&mut dump);

    let mut tree = root;
    interpolate(&mut tree, &request.env)?;
    rename_old_sections(&mut tree, &mut origins);
    if lookup(&tree, "storage.storage_type").is_some_and(Value::is_null) {
        // The storage system `null` is a word that YAML and hydra take for no value.
        set(
            &mut tree,
            "storage.storage_type",
            Value::String("null".into()),
        );
    }
    fold_stdevs(&mut tree, &mut origins);
    take_ignored(&mut tree, &origins, &mut warnings);
    take_environment(&mut tree, request, &mut origins);
    let schema = serde_json::to_value(Workload::default()).expect("defaults become JSON");
    check_keys(
        &tree,
        &schema,
        &origins,
        request.allow_unknown,
        &mut warnings,
    )?;
    coerce(&mut tree, &schema, "", &mut warnings);
    let mut workload = typed(&tree, &origins)?;
    object::keep_whole_sets(&mut workload, &origins);
    object::refuse_credentials(&workload)?;
    let folder = &mut workload.dataset.data_folder;
    while folder.len() > 1 && folder.ends_with('/') && !folder.ends_with("://") {
        folder.pop();
    }
    restore_checkpoint_scheme(&mut workload, &request.env);
    Ok(Loaded {
        workload,
        tree: dump,
        origins,
        warnings,
        words,
        hydra,
        name,
    })
}

fn apply_words(
    root: &mut Value,
    typed: &[String],
    words: &mut Vec<String>,
    origins: &mut BTreeMap<String, Origin>,
    warnings: &mut Vec<String>,
) -> Result<Hydra, ConfigError> {
    let mut hydra = Hydra::default();
    for word in typed {
        let bad = |what: String| ConfigError::Word {
            word: redact_word(word),
            what,
        };
        let change = overrides::parse(word).map_err(bad)?;
        if let Some(key) = change.path.strip_prefix("hydra.") {
            hydra.words.push(word.clone());
            let (Change::Set(value) | Change::Add(value)) = &change.change else {
                continue;
            };
            match key {
                "run.dir" => hydra.run_dir = Some(as_text(value)),
                "output_subdir" => {
                    hydra.output_subdir = Some((!value.is_null()).then(|| as_text(value)))
                }
                "verbose" | "job.chdir" | "mode" => {}
                _ => warnings.push(format!("hydra.{key} has no effect here")),
            }
            continue;
        }
        overrides::apply(root, &change).map_err(bad)?;
        let mut shown = word.clone();
        if redact_word(word) != *word {
            shown = redact_word(word);
        }
        note_origin(origins, &change, &shown);
        words.push(shown);
    }
    Ok(hydra)
}

fn note_origin(origins: &mut BTreeMap<String, Origin>, change: &Override, word: &str) {
    match &change.change {
        Change::Delete => {
            origins.remove(&change.path);
        }
        Change::Set(value) | Change::Add(value) => {
            origins.insert(change.path.clone(), Origin::CommandLine(word.into()));
            if let Value::Mapping(map) = value {
                for key in map.keys() {
                    origins.insert(
                        format!("{}.{}", change.path, as_text(key)),
                        Origin::CommandLine(word.into()),
                    );
                }
            }
        }
    }
}

/// `data_reader` is the old name of `reader` and wins when both exist.
fn rename_old_sections(tree: &mut Value, origins: &mut BTreeMap<String, Origin>) {
    if let Some(Value::Mapping(old)) = take(tree, "data_reader") {
        for (key, value) in old {
            set(tree, &format!("reader.{}", as_text(&key)), value);
        }
        let moved: Vec<_> = origins
            .iter()
            .filter_map(|(key, origin)| {
                Some((
                    format!("reader{}", key.strip_prefix("data_reader")?),
                    origin.clone(),
                ))
            })
            .collect();
        origins.extend(moved);
    }
    if let Some(library) = take(tree, "storage.storage_library")
        && lookup(tree, "storage.storage_options.storage_library").is_none()
        && !library.is_null()
    {
        set(tree, "storage.storage_options.storage_library", library);
    }
}

fn fold_stdevs(tree: &mut Value, origins: &mut BTreeMap<String, Origin>) {
    for (key, target) in STDEVS {
        let Some(stdev) = take(tree, key) else {
            continue;
        };
        let mut spec = match lookup(tree, target) {
            Some(Value::Mapping(map)) => map.clone(),
            Some(number @ Value::Number(_)) => {
                Mapping::from_iter([(Value::from("mean"), number.clone())])
            }
            _ => Mapping::new(),
        };
        spec.insert("stdev".into(), stdev);
        set(tree, target, Value::Mapping(spec));
        if let Some(origin) = origins.get(key).cloned() {
            origins.insert(format!("{target}.stdev"), origin);
        }
    }
}

fn take_ignored(tree: &mut Value, origins: &BTreeMap<String, Origin>, warnings: &mut Vec<String>) {
    // The columns of a parquet dataset have sizes of their own, whatever the old name says.
    let has_columns = lookup(tree, "dataset.parquet.columns").is_some();
    for (key, advice) in IGNORED {
        if take(tree, key).is_some() && !(has_columns && key == "dataset.record_length") {
            let place = origins
                .get(key)
                .map_or_else(String::new, |o| format!("{o}: "));
            warnings.push(format!("{place}{key} has no effect: {advice}"));
        }
    }
}

impl Loaded {
    /// The credentials, for the other ranks: the JSON of a workload carries only stars. Never to be logged.
    pub fn secrets_to_send(&mut self) -> Vec<u8> {
        let secrets = self.workload.storage.storage_options.secrets_mut();
        let texts = secrets.map(|s| s.as_ref().map(|s| s.expose().to_string()));
        serde_json::to_vec(&texts).expect("plain texts become JSON")
    }

    /// Puts credentials back that [`Loaded::secrets_to_send`] gave on rank 0.
    pub fn receive_secrets(&mut self, bytes: &[u8]) -> Result<(), serde_json::Error> {
        let texts: [Option<String>; 6] = serde_json::from_slice(bytes)?;
        let secrets = self.workload.storage.storage_options.secrets_mut();
        for (secret, text) in secrets.into_iter().zip(texts) {
            *secret = text.map(Secret::new);
        }
        Ok(())
    }

    /// The effective configuration as YAML, with each value's origin behind it. Credentials are starred.
    pub fn describe(&self) -> String {
        let mut out = String::new();
        let json = serde_json::to_value(&self.workload).unwrap_or_default();
        self.describe_map(&json, "", 0, &mut out);
        out
    }

    fn describe_map(&self, value: &serde_json::Value, path: &str, indent: usize, out: &mut String) {
        let Some(map) = value.as_object() else { return };
        for (key, value) in map {
            let at = if path.is_empty() {
                key.clone()
            } else {
                format!("{path}.{key}")
            };
            let pad = " ".repeat(indent);
            if value.is_object() && !LEAVES.contains(&at.as_str()) {
                out.push_str(&format!("{pad}{key}:\n"));
                self.describe_map(value, &at, indent + 2, out);
                continue;
            }
            let below = format!("{at}.");
            let origin = self.origins.get(&at).or_else(|| {
                self.origins
                    .range(below.clone()..)
                    .next()
                    .filter(|(k, _)| k.starts_with(&below))
                    .map(|(_, o)| o)
            });
            let origin = origin.map_or_else(|| "default".into(), Origin::to_string);
            out.push_str(&format!("{pad}{key}: {value}  # {origin}\n"));
        }
    }
}
