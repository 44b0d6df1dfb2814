//! From YAML text, override words and the environment to a [`Workload`], with the origin of every value.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_yaml::{Mapping, Value};

use super::error::ConfigError;
use super::overrides::{self, Change, Override};
use super::yaml;
use super::{Secret, Workload};

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

/// The built-in config whose name is most alike.
pub fn nearest_builtin(name: &str) -> String {
    nearest(name, builtin_names().iter().map(String::as_str))
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
const SHADOWING: &str = "DLIO_RS_HYDRA_SHADOWING";

/// Environment variables that stand in for keys which neither the command line nor the YAML sets.
const VARIABLES: [(&str, &str); 19] = [
    ("DLIO_OUTPUT_FOLDER", "output.folder"),
    ("DLIO_STORAGE_TYPE", "storage.storage_type"),
    ("DLIO_BUCKET", "storage.storage_root"),
    (
        "DLIO_STORAGE_LIBRARY",
        "storage.storage_options.storage_library",
    ),
    ("AWS_ACCESS_KEY_ID", "storage.storage_options.access_key_id"),
    (
        "AWS_SECRET_ACCESS_KEY",
        "storage.storage_options.secret_access_key",
    ),
    ("AWS_SESSION_TOKEN", "storage.storage_options.session_token"),
    // DLIO: a list of endpoints overrides the single one. The service's own variable wins over the general one.
    ("S3_ENDPOINT_URIS", "storage.storage_options.endpoint_url"),
    (
        "AWS_ENDPOINT_URL_S3",
        "storage.storage_options.endpoint_url",
    ),
    ("AWS_ENDPOINT_URL", "storage.storage_options.endpoint_url"),
    ("AWS_REGION", "storage.storage_options.region"),
    ("AWS_DEFAULT_REGION", "storage.storage_options.region"),
    ("AWS_PROFILE", "storage.storage_options.s3_profile"),
    ("AWS_CA_BUNDLE", "storage.storage_options.ca_bundle"),
    (
        "AZURE_STORAGE_ACCOUNT",
        "storage.storage_options.account_name",
    ),
    ("AZURE_STORAGE_KEY", "storage.storage_options.account_key"),
    (
        "AZURE_STORAGE_SAS_TOKEN",
        "storage.storage_options.sas_token",
    ),
    (
        "AZURE_STORAGE_CONNECTION_STRING",
        "storage.storage_options.connection_string",
    ),
    (
        "AZURE_BLOB_ENDPOINT",
        "storage.storage_options.blob_endpoint",
    ),
];

const SECRET_KEYS: [&str; 5] = [
    "secret_access_key",
    "session_token",
    "account_key",
    "sas_token",
    "connection_string",
];

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

/// Keys whose values are lists or maps of their own.
const LEAVES: [&str; 4] = [
    "train.computation_time",
    "evaluation.eval_time",
    "reader.preprocess_time",
    "dataset.parquet.columns",
];

/// A word as it may be shown: credentials are starred.
pub fn redact_word(word: &str) -> String {
    match word.split_once('=') {
        Some((key, _)) if SECRET_KEYS.iter().any(|secret| key.ends_with(secret)) => {
            format!("{key}=***")
        }
        _ => word.to_string(),
    }
}

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
    let folder = &mut workload.dataset.data_folder;
    while folder.len() > 1 && folder.ends_with('/') && !folder.ends_with("://") {
        folder.pop();
    }
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

fn read_source(source: &Source, shadowing: bool) -> Result<(String, String, String), ConfigError> {
    let read = |path: &Path| {
        std::fs::read_to_string(path).map_err(|e| ConfigError::Unreadable {
            path: path.display().to_string(),
            cause: e.to_string(),
            remedy: "check the path; a built-in config is named as workload=NAME".into(),
        })
    };
    match source {
        Source::File(path) => {
            let name = path
                .file_stem()
                .map_or_else(String::new, |s| s.to_string_lossy().into_owned());
            Ok((read(path)?, path.display().to_string(), name))
        }
        Source::Named { name, config_dir } => {
            if let Some(dir) = config_dir {
                let path = dir.join("workload").join(format!("{name}.yaml"));
                let is_shadowed = shadowing && SHIPPED_BY_DLIO.contains(&name.as_str());
                if path.exists() && !is_shadowed {
                    return Ok((read(&path)?, path.display().to_string(), name.clone()));
                }
            }
            match builtin(name) {
                Some(text) => Ok((text.into(), format!("configs/{name}.yaml"), name.clone())),
                None => {
                    let names = builtin_names();
                    let nearest = nearest_builtin(name);
                    let place = config_dir.as_ref().map_or_else(String::new, |dir| {
                        format!("{} and in ", dir.join("workload").display())
                    });
                    Err(ConfigError::Unreadable {
                        path: format!("workload={name}"),
                        cause: format!("there is no {name}.yaml in {place}the built-in configs"),
                        remedy: format!("nearest: {nearest}; all: {}", names.join(", ")),
                    })
                }
            }
        }
    }
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

fn as_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => serde_yaml::to_string(other)
            .unwrap_or_default()
            .trim()
            .to_string(),
    }
}

fn redact(value: &mut Value) {
    match value {
        Value::Mapping(map) => {
            for (key, value) in map.iter_mut() {
                if key.as_str().is_some_and(|key| SECRET_KEYS.contains(&key)) {
                    *value = Value::String("***".into());
                } else {
                    redact(value);
                }
            }
        }
        Value::Sequence(items) => items.iter_mut().for_each(redact),
        _ => {}
    }
}

fn lookup<'v>(tree: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.').try_fold(tree, |node, part| node.get(part))
}

fn set(tree: &mut Value, path: &str, value: Value) {
    let change = Override {
        path: path.into(),
        change: Change::Set(value),
    };
    // Setting never fails; only adding and deleting do.
    let _ = overrides::apply(tree, &change);
}

fn take(tree: &mut Value, path: &str) -> Option<Value> {
    let (folder, key) = path
        .rsplit_once('.')
        .map_or((None, path), |(f, k)| (Some(f), k));
    let node = match folder {
        Some(folder) => folder
            .split('.')
            .try_fold(tree, |node, part| node.get_mut(part))?,
        None => tree,
    };
    node.as_mapping_mut()?.shift_remove(key)
}

/// Replaces `${a.b}` by that key's value and `${oc.env:X}` by a variable.
fn interpolate(tree: &mut Value, env: &BTreeMap<String, String>) -> Result<(), ConfigError> {
    let root = tree.clone();
    let resolve = |name: &str| -> Option<Value> {
        if let Some(variable) = name.strip_prefix("oc.env:") {
            let (variable, default) = variable
                .split_once(',')
                .map_or((variable, None), |(v, d)| (v, Some(d)));
            return env
                .get(variable.trim())
                .map(String::as_str)
                .or(default)
                .map(|text| yaml::plain(text.trim()));
        }
        lookup(&root, name.strip_prefix("workload.").unwrap_or(name)).cloned()
    };
    walk_text(tree, &mut |text| {
        let mut out = text.to_string();
        // Two levels of references are enough for any workload; more would be a loop.
        for _ in 0..8 {
            let Some(start) = out.find("${") else { break };
            let Some(end) = out[start..].find('}').map(|e| start + e) else {
                break;
            };
            let name = out[start + 2..end].to_string();
            let value = resolve(&name).ok_or_else(|| ConfigError::Word {
                word: out.clone(),
                what: format!("${{{name}}} names no key and no variable that is set"),
            })?;
            if start == 0 && end + 1 == out.len() {
                return Ok(value);
            }
            out.replace_range(start..=end, &as_text(&value));
        }
        Ok(Value::String(out))
    })
}

fn walk_text(
    value: &mut Value,
    change: &mut dyn FnMut(&str) -> Result<Value, ConfigError>,
) -> Result<(), ConfigError> {
    match value {
        Value::String(text) if text.contains("${") => *value = change(text)?,
        Value::Sequence(items) => items
            .iter_mut()
            .try_for_each(|item| walk_text(item, change))?,
        Value::Mapping(map) => map
            .iter_mut()
            .try_for_each(|(_, item)| walk_text(item, change))?,
        _ => {}
    }
    Ok(())
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

fn take_environment(
    tree: &mut Value,
    request: &LoadRequest,
    origins: &mut BTreeMap<String, Origin>,
) {
    let dotenv = request
        .dotenv
        .as_deref()
        .map(parse_dotenv)
        .unwrap_or_default();
    for (variable, key) in VARIABLES {
        if lookup(tree, key).is_some_and(|value| !value.is_null()) {
            continue;
        }
        let (text, origin) = if let Some(text) = request.env.get(variable).filter(|t| !t.is_empty())
        {
            (text, Origin::Environment(variable.into()))
        } else if let Some(text) = dotenv.get(variable).filter(|t| !t.is_empty()) {
            (text, Origin::DotEnv(variable.into()))
        } else {
            continue;
        };
        set(tree, key, Value::String(text.clone()));
        origins.insert(key.into(), origin);
    }
}

/// `KEY=VALUE` lines, `#` comments, quotes around values.
fn parse_dotenv(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.strip_prefix("export ").unwrap_or(line).split_once('='))
        .map(|(key, value)| {
            (
                key.trim().into(),
                value.trim().trim_matches(['"', '\'']).into(),
            )
        })
        .collect()
}

fn nearest<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> String {
    names
        .max_by(|a, b| strsim::jaro_winkler(name, a).total_cmp(&strsim::jaro_winkler(name, b)))
        .unwrap_or("none")
        .to_string()
}

fn check_keys(
    tree: &Value,
    schema: &serde_json::Value,
    origins: &BTreeMap<String, Origin>,
    allow: bool,
    warnings: &mut Vec<String>,
) -> Result<(), ConfigError> {
    let mut known = Vec::new();
    collect_keys(schema, "", &mut known);
    let mut unknown = Vec::new();
    find_unknown(tree, schema, "", &mut unknown);
    let mut messages: Vec<_> = unknown
        .into_iter()
        .map(|key| {
            let last = key.rsplit('.').next().unwrap_or(&key);
            let folder = key.rsplit_once('.').map_or("", |(folder, _)| folder);
            let near: Vec<_> = known
                .iter()
                .filter(|k| k.rsplit_once('.').map_or("", |(f, _)| f) == folder)
                .collect();
            // A key may stand in the wrong section: then the full name is compared.
            let in_section = nearest(last, near.iter().map(|k| k.rsplit('.').next().unwrap_or(k)));
            let suggestion = if near.is_empty() || strsim::jaro_winkler(last, &in_section) < 0.75 {
                known
                    .iter()
                    .max_by(|a, b| {
                        let score =
                            |k: &str| strsim::jaro_winkler(last, k.rsplit('.').next().unwrap_or(k));
                        score(a).total_cmp(&score(b))
                    })
                    .cloned()
                    .unwrap_or_default()
            } else if folder.is_empty() {
                in_section
            } else {
                format!("{folder}.{in_section}")
            };
            let place = origins
                .get(&key)
                .map_or_else(String::new, |o| format!("{o}: "));
            format!("{place}unknown key {key}; the nearest known name is {suggestion}")
        })
        .collect();
    if messages.is_empty() || allow {
        warnings.append(&mut messages);
        return Ok(());
    }
    Err(ConfigError::UnknownKeys(messages))
}

fn collect_keys(schema: &serde_json::Value, path: &str, out: &mut Vec<String>) {
    let Some(map) = schema.as_object() else {
        return;
    };
    for (key, value) in map {
        let at = if path.is_empty() {
            key.clone()
        } else {
            format!("{path}.{key}")
        };
        out.push(at.clone());
        if !LEAVES.contains(&at.as_str()) {
            collect_keys(value, &at, out);
        }
    }
}

fn find_unknown(tree: &Value, schema: &serde_json::Value, path: &str, out: &mut Vec<String>) {
    let (Some(map), Some(known)) = (tree.as_mapping(), schema.as_object()) else {
        return;
    };
    for (key, value) in map {
        let key = as_text(key);
        let at = if path.is_empty() {
            key.clone()
        } else {
            format!("{path}.{key}")
        };
        match known.get(&key) {
            None => out.push(at),
            Some(_) if LEAVES.contains(&at.as_str()) => {}
            Some(below) => find_unknown(value, below, &at, out),
        }
    }
}

/// Brings values to the types of their fields where the field leaves no doubt: `4.0` for a count, `True` in quotes for
/// a flag, a number for a name, DLIO's `off` and `on` for a shuffle, one word for a list of words.
fn coerce(tree: &mut Value, schema: &serde_json::Value, path: &str, warnings: &mut Vec<String>) {
    use serde_json::Value as Json;
    if LEAVES.contains(&path) {
        return;
    }
    if let (Value::Mapping(map), Json::Object(known)) = (&mut *tree, schema) {
        // A null section or key is an absent one.
        map.retain(|_, value| !value.is_null());
        for (key, value) in map.iter_mut() {
            let key = as_text(key);
            let at = if path.is_empty() {
                key.clone()
            } else {
                format!("{path}.{key}")
            };
            if let Some(below) = known.get(&key) {
                coerce(value, below, &at, warnings);
            }
        }
        return;
    }
    if path == "reader.file_shuffle" || path == "reader.sample_shuffle" {
        let word = match &*tree {
            Value::Bool(true) => "seed".to_string(),
            Value::Bool(false) => "off".to_string(),
            other => as_text(other).to_ascii_lowercase(),
        };
        if word == "off" && path == "reader.file_shuffle" {
            warnings.push("reader.file_shuffle=off is off here; DLIO takes any explicit value, also off, for shuffling".into());
        }
        *tree = Value::String(if word == "false" { "off".into() } else { word });
        return;
    }
    if path == "profiling.iostat_devices"
        && let Value::String(word) = &*tree
    {
        *tree = Value::Sequence(vec![Value::String(word.clone())]);
        return;
    }
    let is_flag = matches!(schema, Json::Bool(_)) || FLAGS.contains(&path);
    let is_name = matches!(schema, Json::String(_)) || NAMES.contains(&path);
    match &*tree {
        Value::String(text) if is_flag => match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => *tree = Value::Bool(true),
            "false" | "0" | "no" | "off" => *tree = Value::Bool(false),
            _ => {}
        },
        Value::Number(n) if is_flag && (n.as_u64() == Some(0) || n.as_u64() == Some(1)) => {
            *tree = Value::Bool(n.as_u64() == Some(1));
        }
        Value::Bool(on) if path == "reader.verify_content" => {
            *tree = Value::String(if *on { "full" } else { "off" }.into());
        }
        Value::Bool(false)
            if path == "dataset.compression" || path == "dataset.parquet.compression" =>
        {
            *tree = Value::String("none".into())
        }
        Value::Number(_) | Value::Bool(_) if is_name => *tree = Value::String(as_text(tree)),
        Value::Number(n) if schema.is_i64() || schema.is_u64() || schema.is_null() => {
            if let Some(float) = n.as_f64()
                && n.is_f64()
                && float.fract() == 0.0
                && float.abs() < 9e15
            {
                *tree = Value::from(float as i64);
            }
        }
        _ => {}
    }
}

/// Optional flags and names, whose default does not show their type.
const FLAGS: [&str; 10] = [
    "workflow.debug",
    "storage.storage_options.verify",
    "storage.storage_options.s3_force_path_style",
    "storage.storage_options.secure",
    "storage.storage_options.use_full_object_uri",
    "storage.storage_options.prefetch",
    "storage.storage_options.stagger_workers",
    "storage.storage_options.simulate_io",
    "dataset.skip_listing",
    "dataset.keep_files",
];
const NAMES: [&str; 15] = [
    "model.type",
    "output.folder",
    "storage.storage_options.access_key_id",
    "storage.storage_options.secret_access_key",
    "storage.storage_options.region",
    "storage.storage_options.session_token",
    "storage.storage_options.account_name",
    "storage.storage_options.account_key",
    "storage.storage_options.sas_token",
    "storage.storage_options.connection_string",
    "storage.storage_options.s3_profile",
    "storage.storage_options.ca_bundle",
    "storage.storage_options.checksum",
    "dataset.data_gen_method",
    "dataset.parquet.partition_by",
];

fn typed(tree: &Value, origins: &BTreeMap<String, Origin>) -> Result<Workload, ConfigError> {
    serde_path_to_error::deserialize(tree).map_err(|e| {
        let path = e.path().to_string();
        let place = origins
            .get(&path)
            .or_else(|| {
                path.rsplit_once('.')
                    .and_then(|(folder, _)| origins.get(folder))
            })
            .map_or_else(|| "configuration".into(), Origin::to_string);
        let is_secret = SECRET_KEYS.iter().any(|secret| path.ends_with(secret));
        let what = if is_secret {
            "a text is expected".into()
        } else {
            e.inner().to_string()
        };
        ConfigError::Type {
            place,
            key: path,
            what,
        }
    })
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
        let texts: [Option<String>; 5] = serde_json::from_slice(bytes)?;
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
