//! From YAML text, override words and the environment to a [`Workload`], with the origin of every value.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_yaml::{Mapping, Value};

use super::coerce::{coerce, typed};
use super::compose::{Choices, Composed, compose};
use super::environment::{job_variables, restore_checkpoint_scheme, take_environment};
use super::error::{ConfigError, Wrong};
use super::folder;
use super::foreign;
use super::interpolate::Resolver;
use super::keys::check_keys;
use super::object;
use super::origin::{Origin, Origins, move_origins, place_of};
use super::overrides::{self, Change, Override};
use super::schema::{self, Kind};
use super::secret::{redact, redact_word};
use super::source::{SHADOWING, Search, Source};
use super::tree::{as_text, join, lookup, set, take, walk};
use super::{Workload, effect};
use crate::storage::Secret;

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
    /// Bytes of `./.env`.
    pub dotenv: Option<Vec<u8>>,
    /// `${hydra:runtime.cwd}`
    pub cwd: PathBuf,
    /// How long a file may be silent.
    pub patience: Duration,
}

impl LoadRequest {
    /// Of a YAML alone: without words, environment and unknown keys.
    pub(crate) fn of(source: Source) -> Self {
        LoadRequest {
            source,
            words: Vec::new(),
            allow_unknown: false,
            env: BTreeMap::new(),
            dotenv: None,
            cwd: ".".into(),
            patience: PATIENCE,
        }
    }
}

/// How long a file of the configuration may be silent, unless something else is said; and anything else of a job.
pub const PATIENCE: Duration = Duration::from_secs(120);

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
    /// Variables of rank 0's environment that the job obeys.
    pub variables: BTreeMap<String, String>,
}

/// Keys whose value sets the stdev of another.
const STDEVS: [(&str, &str); 3] = [
    ("train.computation_time_stdev", "train.computation_time"),
    ("evaluation.eval_time_stdev", "evaluation.eval_time"),
    ("reader.preprocess_time_stdev", "reader.preprocess_time"),
];

/// Loads a workload.
pub fn load(request: &LoadRequest) -> Result<Loaded, ConfigError> {
    let mut words = Words::parse(&request.words)?;
    let search = Search {
        source: &request.source,
        shadowing: request.env.get(SHADOWING).is_some_and(|v| v == "1"),
        patience: request.patience,
    };
    let name = search.name();
    let Composed {
        mut tree,
        mut origins,
        beside,
        mut warnings,
    } = compose(&search, &words.choices)?;
    words.take_beside(&beside, &mut warnings)?;
    words.apply(&mut tree, &mut origins)?;
    let mut dump = tree.clone();
    redact(&mut dump, "");

    let mut tree = resolve(&tree, request, &name, &origins, &mut words.hydra)?;
    prepare(&mut tree, request, &mut origins, &mut warnings)?;
    check_keys(&tree, &origins, request.allow_unknown, &mut warnings)?;
    coerce(&mut tree, &origins, &mut warnings)?;
    let mut workload = typed(&tree, &origins)?;
    object::keep_whole_sets(&mut workload, &origins);
    object::refuse_credentials(&workload)?;
    folder::normalise(&mut workload, request.env.get("HOME"))?;
    restore_checkpoint_scheme(&mut workload, &request.env);
    warnings.extend(effect::warnings(&tree, &workload, &origins));
    Ok(Loaded {
        workload,
        tree: dump,
        origins,
        warnings,
        words: words.shown,
        hydra: words.hydra,
        name,
        variables: job_variables(&request.env),
    })
}

/// The words of the command line, parsed.
#[derive(Default)]
struct Words {
    /// With the word as it may be shown.
    changes: Vec<(Override, String)>,
    choices: Choices,
    /// Without hydra's own.
    shown: Vec<String>,
    hydra: Hydra,
    unknown: Vec<String>,
}

impl Words {
    fn parse(typed: &[String]) -> Result<Self, ConfigError> {
        let mut words = Words::default();
        for word in typed {
            let shown = redact_word(word);
            let bad = |wrong| ConfigError::Word {
                word: shown.clone(),
                wrong,
            };
            let change = overrides::parse(word).map_err(bad)?;
            if change.path.starts_with("hydra.") || change.path.starts_with("hydra/") {
                words.hydra.words.push(word.clone());
                if let Change::Set(value) | Change::Add(value) = &change.change {
                    words.take_hydra(&change.path["hydra.".len()..], value);
                }
                continue;
            }
            words.shown.push(shown.clone());
            if change.path.contains('/') {
                let group = change.path.clone();
                match &change.change {
                    Change::Set(value) => {
                        words.choices.changed.insert(group, as_text(value));
                    }
                    Change::Add(value) => words.choices.added.push((group, as_text(value))),
                    Change::Delete => words.choices.deleted.push(group),
                }
                continue;
            }
            words.changes.push((change, shown));
        }
        Ok(words)
    }

    fn take_hydra(&mut self, key: &str, value: &Value) {
        match key {
            "run.dir" => self.hydra.run_dir = Some(as_text(value)),
            "output_subdir" => {
                self.hydra.output_subdir = Some((!value.is_null()).then(|| as_text(value)))
            }
            "verbose" | "job.chdir" | "mode" => {}
            _ => self.unknown.push(format!("hydra.{key} has no effect here")),
        }
    }

    /// What a YAML says beside `workload`. The command line wins.
    fn take_beside(
        &mut self,
        beside: &Value,
        warnings: &mut Vec<String>,
    ) -> Result<(), ConfigError> {
        for (key, value) in beside.as_mapping().into_iter().flatten() {
            let key = as_text(key);
            if key != "hydra" {
                return Err(ConfigError::rule(
                    &key,
                    "stands beside `workload`, where nothing reads it",
                    format!("write it as workload.{key}"),
                ));
            }
            let typed = std::mem::take(&mut self.hydra);
            let _ = walk::<()>(value, "", &mut |path, value| {
                self.take_hydra(path, value);
                Ok(())
            });
            self.hydra = Hydra {
                run_dir: typed.run_dir.or(self.hydra.run_dir.take()),
                output_subdir: typed.output_subdir.or(self.hydra.output_subdir.take()),
                words: typed.words,
            };
        }
        warnings.append(&mut self.unknown);
        Ok(())
    }

    fn apply(&self, tree: &mut Value, origins: &mut Origins) -> Result<(), ConfigError> {
        for (change, shown) in &self.changes {
            overrides::apply(tree, change).map_err(|wrong| ConfigError::Word {
                word: shown.clone(),
                wrong,
            })?;
            note_origin(origins, change, shown);
        }
        Ok(())
    }
}

fn note_origin(origins: &mut Origins, change: &Override, word: &str) {
    let below = format!("{}.", change.path);
    match &change.change {
        Change::Delete => {
            origins.remove(&change.path);
            origins.retain(|key, _| !key.starts_with(&below));
        }
        Change::Set(value) | Change::Add(value) => {
            if !value.is_mapping() {
                origins.retain(|key, _| !key.starts_with(&below));
            }
            let origin = Origin::CommandLine(word.into());
            let _ = walk::<()>(value, &change.path, &mut |path, _| {
                origins.insert(path.into(), origin.clone());
                Ok(())
            });
            origins.insert(change.path.clone(), origin);
        }
    }
}

/// The tree with its references resolved and without missing values.
fn resolve(
    tree: &Value,
    request: &LoadRequest,
    name: &str,
    origins: &Origins,
    hydra: &mut Hydra,
) -> Result<Value, ConfigError> {
    let resolver = Resolver {
        root: tree,
        env: &request.env,
        now: chrono::Local::now(),
        cwd: request.cwd.display().to_string(),
        name: name.into(),
    };
    let failed = |key: &str, wrong| ConfigError::Type {
        place: place_of(origins, key),
        key: key.into(),
        wrong,
    };
    let resolved = resolver.tree().map_err(|e| failed(&e.key, e.wrong))?;
    for (key, text) in [
        ("hydra.run.dir", &mut hydra.run_dir),
        (
            "hydra.output_subdir",
            hydra.output_subdir.as_mut().unwrap_or(&mut None),
        ),
    ] {
        if let Some(text) = text {
            let value = resolver
                .text(text, key)
                .map_err(|wrong| failed(key, wrong))?;
            *text = as_text(&value);
        }
    }
    walk(&resolved, "", &mut |key, value| {
        if value == "???" {
            let what = "it has no value yet: ??? means that one must be given";
            return Err(failed(key, Wrong::new(what, format!("write {key}=VALUE"))));
        }
        Ok(())
    })?;
    Ok(resolved)
}

/// Brings other names and places of values to those of the fields.
fn prepare(
    tree: &mut Value,
    request: &LoadRequest,
    origins: &mut Origins,
    warnings: &mut Vec<String>,
) -> Result<(), ConfigError> {
    rename_old_sections(tree, origins);
    foreign::translate(tree, origins, warnings)?;
    folder::refuse_none(tree, origins)?;
    if lookup(tree, "storage.storage_type").is_some_and(Value::is_null) {
        // The storage system `null` is a word that YAML and hydra take for no value.
        set(tree, "storage.storage_type", Value::from("null"));
    }
    if let Some(name @ (Value::String(_) | Value::Number(_))) = tree.get("model").cloned() {
        // DLIO's documentation until 2024.
        set(tree, "model.name", name);
        if let Some(origin) = origins.get("model").cloned() {
            origins.insert("model.name".into(), origin);
        }
    }
    fold_stdevs(tree, origins);
    foreign::take_ignored(tree, origins, warnings);
    take_environment(tree, &request.env, request.dotenv.as_deref(), origins)
}

/// `data_reader` is the old name of `reader` and wins when both exist.
fn rename_old_sections(tree: &mut Value, origins: &mut Origins) {
    if let Some(Value::Mapping(old)) = take(tree, "data_reader") {
        for (key, value) in old {
            set(tree, &format!("reader.{}", as_text(&key)), value);
        }
        move_origins(origins, "data_reader", "reader");
    }
    if let Some(library) = take(tree, "storage.storage_library")
        && lookup(tree, "storage.storage_options.storage_library").is_none()
        && !library.is_null()
    {
        set(tree, "storage.storage_options.storage_library", library);
        let to = "storage.storage_options.storage_library";
        move_origins(origins, "storage.storage_library", to);
    }
}

fn fold_stdevs(tree: &mut Value, origins: &mut Origins) {
    for (key, target) in STDEVS {
        let Some(stdev) = take(tree, key) else {
            continue;
        };
        let mut spec = match lookup(tree, target) {
            Some(Value::Mapping(map)) => map.clone(),
            Some(number @ (Value::Number(_) | Value::String(_))) => {
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

impl Loaded {
    /// The credentials, for the other ranks: the JSON of a workload carries only stars. Never to be logged.
    pub fn secrets_to_send(&mut self) -> Vec<u8> {
        let secrets = self.workload.storage.storage_options.secrets_mut();
        let texts = secrets.map(|s| s.as_ref().map(|s| s.expose().to_string()));
        serde_json::to_vec(&texts).expect("plain texts become JSON")
    }

    /// Puts credentials back that [`Loaded::secrets_to_send`] gave on rank 0.
    pub fn receive_secrets(&mut self, bytes: &[u8]) -> Result<(), serde_json::Error> {
        let texts: Vec<Option<String>> = serde_json::from_slice(bytes)?;
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

    /// Keys that did not get their value from the file of the workload, with what set them; secrets removed.
    pub fn changed(&self) -> BTreeMap<String, String> {
        let beside = self.origins.iter().filter(|(_, o)| o.is_beside_file());
        beside
            .map(|(key, o)| (key.clone(), o.to_string()))
            .collect()
    }

    fn describe_map(&self, value: &serde_json::Value, path: &str, indent: usize, out: &mut String) {
        let Some(map) = value.as_object() else { return };
        for (key, value) in map {
            let at = join(path, key);
            let pad = " ".repeat(indent);
            if value.is_object() && schema::key(&at).is_some_and(|key| key.kind == Kind::Section) {
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
