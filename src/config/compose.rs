//! From one YAML or several to the tree of a workload: hydra's `defaults:` lists and `# @package` headers.
//!
//! Source: hydra 1.3 `_internal/defaults_list.py`, `core/default_element.py`, `_internal/config_repository.py`. Not
//! composed, but refused by name: references in a defaults list, and `_name_` and `_group_` in packages.

use std::collections::BTreeMap;

use serde_yaml::{Mapping, Value};

use super::error::ConfigError;
use super::origin::Origin;
use super::source::{Found, Place, Search};
use super::tree::{as_text, join, lookup, merge, nested};
use super::yaml;

/// The config group of workloads, which is also their package.
const GROUP: &str = "workload";

/// Deeper than any tree of defaults lists: one that includes itself has no end.
const MAX_DEPTH: usize = 20;

/// A composed workload.
pub(super) struct Composed {
    /// The `workload` node.
    pub(super) tree: Value,
    /// Where its values come from, by dotted key.
    pub(super) origins: BTreeMap<String, Origin>,
    /// What stands beside `workload`: hydra's own keys and others.
    pub(super) beside: Value,
    pub(super) warnings: Vec<String>,
}

/// Choices of config groups from the command line: `workload/optimizer=adam`, `+...`, `~...`.
#[derive(Debug, Clone, Default)]
pub(super) struct Choices {
    /// Changed options, by group.
    pub(super) changed: BTreeMap<String, String>,
    /// Added groups with their options.
    pub(super) added: Vec<(String, String)>,
    /// Deleted groups.
    pub(super) deleted: Vec<String>,
}

/// One entry of a defaults list.
#[derive(Debug, Clone)]
struct Entry {
    /// Optional files may be missing.
    is_optional: bool,
    /// It changes the choice of a group elsewhere.
    is_override: bool,
    /// Absolute: `workload/optimizer`.
    group: String,
    /// None for hydra's `null`; several are composed one after another.
    options: Vec<String>,
    /// The package of what it brings.
    package: String,
    /// False for a single config of the same group.
    is_group: bool,
}

enum Item {
    Own,
    Entry(Entry),
}

impl Item {
    /// A group that the command line adds.
    fn added(group: String, option: String) -> Item {
        Item::Entry(Entry {
            is_optional: false,
            is_override: false,
            package: group.replace('/', "."),
            group,
            options: vec![option],
            is_group: true,
        })
    }
}

/// A part of the result: a YAML without its defaults list, and its package.
struct Part {
    package: String,
    content: Value,
    origins: BTreeMap<String, Origin>,
}

struct Composer<'a> {
    search: &'a Search<'a>,
    choices: Choices,
    /// Groups whose choice was changed, and whether anything asked for them.
    used: BTreeMap<String, bool>,
}

/// Composes the workload that a search names.
pub(super) fn compose(search: &Search, choices: &Choices) -> Result<Composed, ConfigError> {
    let primary = search.primary()?;
    let mut warnings = Vec::new();
    warnings.extend(search.shadowed(&primary.place));
    let mut composer = Composer {
        search,
        choices: choices.clone(),
        used: choices.changed.keys().map(|g| (g.clone(), false)).collect(),
    };
    for group in &choices.deleted {
        composer.used.insert(group.clone(), false);
    }
    let place = primary.place.clone();
    let parts = composer.expand(primary, GROUP, GROUP, true, 0)?;
    if let Some((group, _)) = composer.used.iter().find(|(_, used)| !**used) {
        return Err(ConfigError::rule(
            group,
            "no defaults list of the workload chooses an option of this group",
            format!("add it to one, or write +{group}=OPTION"),
        ));
    }
    let mut root = Value::Mapping(Mapping::new());
    let mut origins = BTreeMap::new();
    for part in parts {
        for (key, origin) in part.origins {
            let at = join(&part.package, &key);
            // What a value replaces has no place any more.
            if lookup(&part.content, &key).is_some_and(|value| !value.is_mapping()) {
                let below = format!("{at}.");
                let gone = |(old, _): &(&String, _)| old.starts_with(&below);
                let replaced = origins.range(below.clone()..).take_while(gone);
                let replaced: Vec<String> = replaced.map(|(old, _)| old.clone()).collect();
                for old in replaced {
                    origins.remove(&old);
                }
            }
            origins.insert(at, origin);
        }
        merge(&mut root, nested(&part.package, part.content));
    }
    let map = root
        .as_mapping_mut()
        .expect("the root is a map from the start");
    let mut tree = map
        .shift_remove(GROUP)
        .unwrap_or_else(|| Value::Mapping(Mapping::new()));
    let mut prefix = "workload.";
    // A whole config, as hydra saves one, holds the node once more.
    if let Some(map) = tree.as_mapping()
        && map.len() == 1
        && map.contains_key(GROUP)
    {
        tree = tree[GROUP].clone();
        prefix = "workload.workload.";
    }
    if !tree.is_mapping() {
        return Err(ConfigError::Yaml {
            path: place.to_string(),
            line: 1,
            column: 1,
            what: "a workload is a map of sections such as dataset and reader".into(),
        });
    }
    let origins = origins
        .into_iter()
        .filter_map(|(key, origin)| Some((key.strip_prefix(prefix)?.to_string(), origin)))
        .collect();
    Ok(Composed {
        tree,
        origins,
        beside: root,
        warnings,
    })
}

impl Composer<'_> {
    /// A config and what its defaults list brings, in the order of composition.
    fn expand(
        &mut self,
        found: Found,
        group: &str,
        package: &str,
        is_primary: bool,
        depth: usize,
    ) -> Result<Vec<Part>, ConfigError> {
        let Found { text, place } = found;
        let (mut content, places) = yaml::parse(&text).map_err(|e| ConfigError::Yaml {
            path: place.to_string(),
            line: e.line,
            column: e.column,
            what: e.what,
        })?;
        let refuse = |what: String| {
            let (line, column) = places.get("defaults").copied().unwrap_or((1, 1));
            ConfigError::Yaml {
                path: place.to_string(),
                line,
                column,
                what,
            }
        };
        if !content.is_mapping() {
            let what = "a workload is a map of sections such as dataset and reader";
            return Err(refuse(what.into()));
        }
        if depth > MAX_DEPTH {
            return Err(refuse("its defaults list includes itself".into()));
        }
        let package = match header(&text).map_err(&refuse)? {
            Some(header) => header,
            None => package.to_string(),
        };
        let list = content
            .as_mapping_mut()
            .and_then(|map| map.shift_remove("defaults"));
        let mut items = items(list.as_ref(), group, &package).map_err(&refuse)?;
        if is_primary {
            let added = self.choices.added.iter().cloned();
            items.extend(added.map(|(group, option)| Item::added(group, option)));
        }
        self.keep_overrides(&items);
        let mut own = Some(Part {
            package: package.clone(),
            origins: origins_of(&places, &place),
            content,
        });
        let mut parts = Vec::new();
        // From the last to the first, as hydra: what stands later may change the choices of what stands before.
        for item in items.into_iter().rev() {
            let brought = match item {
                Item::Own => own.take().into_iter().collect(),
                Item::Entry(entry) if entry.is_override => continue,
                Item::Entry(entry) => self.entry(entry, depth).map_err(|e| match e {
                    Ok(what) => refuse(what),
                    Err(error) => error,
                })?,
            };
            parts.push(brought);
        }
        Ok(parts.into_iter().rev().flatten().collect())
    }

    /// Overrides of a defaults list change choices that nothing above it has changed.
    fn keep_overrides(&mut self, items: &[Item]) {
        for item in items {
            if let Item::Entry(entry) = item
                && entry.is_override
                && !self.choices.changed.contains_key(&entry.group)
            {
                let option = entry.options.first().cloned().unwrap_or_default();
                self.choices.changed.insert(entry.group.clone(), option);
                self.used.insert(entry.group.clone(), false);
            }
        }
    }

    /// What one entry brings. The inner error is a sentence that has no place yet.
    fn entry(
        &mut self,
        mut entry: Entry,
        depth: usize,
    ) -> Result<Vec<Part>, Result<String, ConfigError>> {
        if entry.is_group {
            if self.choices.deleted.contains(&entry.group) {
                self.used.insert(entry.group, true);
                return Ok(Vec::new());
            }
            if let Some(option) = self.choices.changed.get(&entry.group) {
                self.used.insert(entry.group.clone(), true);
                entry.options = vec![option.clone()];
                entry.options.retain(|option| option != "null");
            }
        }
        let mut parts = Vec::new();
        for option in &entry.options {
            if option == "???" {
                return Err(Ok(format!(
                    "the group {} has no choice yet: ??? means that one must be given; write {0}=OPTION",
                    entry.group
                )));
            }
            let name = option.strip_suffix(".yaml").unwrap_or(option);
            // An option in a folder belongs to the group of that folder.
            let (group, name) = match name.rsplit_once('/') {
                Some((folder, name)) => (format!("{}/{folder}", entry.group), name),
                None => (entry.group.clone(), name),
            };
            if group.split('/').any(|part| part == "..") {
                return Err(Ok(format!(
                    "{group}/{name}: a group stays below the configs"
                )));
            }
            match self.search.find(&group, name).map_err(Err)? {
                Some(found) => {
                    let below = self.expand(found, &group, &entry.package, false, depth + 1);
                    parts.extend(below.map_err(Err)?);
                }
                None if entry.is_optional => {}
                None => {
                    return Err(Ok(format!(
                        "its defaults list names {group}/{name}, and there is no {group}/{name}.yaml; configs of the same folder and of --config-dir are found"
                    )));
                }
            }
        }
        Ok(parts)
    }
}

fn origins_of(places: &yaml::Places, place: &Place) -> BTreeMap<String, Origin> {
    places
        .iter()
        .filter(|(key, _)| !key.starts_with("defaults"))
        .map(|(key, &(line, column))| {
            let origin = match place {
                Place::File(path) => Origin::File {
                    path: path.display().to_string(),
                    line,
                    column,
                },
                Place::BuiltIn(name) => Origin::BuiltIn {
                    name: name.clone(),
                    line,
                    column,
                },
            };
            (key.clone(), origin)
        })
        .collect()
}

/// The package of the header `# @package X`; an empty one is the root.
fn header(text: &str) -> Result<Option<String>, String> {
    for line in text.lines().map(str::trim) {
        if line.is_empty() {
            continue;
        }
        let Some(comment) = line.strip_prefix('#').map(str::trim_start) else {
            break;
        };
        let Some(words) = comment.strip_prefix('@') else {
            break;
        };
        let mut words = words.split_whitespace();
        if words.next() != Some("package") {
            continue;
        }
        let package = words.next().unwrap_or_default();
        if words.next().is_some() || package.is_empty() {
            return Err("the header is '# @package NAME'".into());
        }
        let package = plain_package(package)?;
        if !(package.is_empty() || package == GROUP || package.starts_with("workload.")) {
            return Err(format!(
                "'# @package {package}' puts it beside the workload, where nothing reads it; write '# @package _global_' or leave the line out"
            ));
        }
        return Ok(Some(package));
    }
    Ok(None)
}

/// A package without `_global_`.
fn plain_package(package: &str) -> Result<String, String> {
    if package.contains("_name_") || package.contains("_group_") {
        return Err(format!(
            "the package {package}: _name_ and _group_ are not known here"
        ));
    }
    Ok(match package.strip_prefix("_global_") {
        Some(rest) => rest.trim_start_matches('.').into(),
        None => package.into(),
    })
}

/// The entries of a defaults list in a config of `group`, whose package is `package`.
fn items(list: Option<&Value>, group: &str, package: &str) -> Result<Vec<Item>, String> {
    let Some(list) = list else {
        return Ok(vec![Item::Own]);
    };
    let list = list
        .as_sequence()
        .ok_or("defaults is a list of configs, such as [base, _self_]")?;
    let mut items = Vec::new();
    for item in list {
        match item {
            Value::String(text) if text == "_self_" => {
                if items.iter().any(|item| matches!(item, Item::Own)) {
                    return Err("_self_ stands in its defaults list twice".into());
                }
                items.push(Item::Own);
            }
            Value::String(text) => items.push(Item::Entry(config_entry(text, group, package)?)),
            Value::Mapping(map) if map.len() == 1 => {
                let (key, value) = map.iter().next().expect("it has one");
                let entry = group_entry(&as_text(key), value, group, package)?;
                items.push(Item::Entry(entry));
            }
            other => {
                return Err(format!(
                    "'{}' is no entry of a defaults list; write NAME or GROUP: OPTION",
                    as_text(other)
                ));
            }
        }
    }
    // Without `_self_`, a config comes after what its list brings.
    if !items.iter().any(|item| matches!(item, Item::Own)) {
        items.push(Item::Own);
    }
    Ok(items)
}

/// `base`, `/db/base`, `base@package`.
fn config_entry(text: &str, group: &str, parent: &str) -> Result<Entry, String> {
    no_reference(text)?;
    let (path, package) = split_package(text);
    let (folder, name) = path.rsplit_once('/').map_or(("", path), |(f, n)| (f, n));
    let folder = if path.starts_with('/') && folder.is_empty() {
        "/"
    } else {
        folder
    };
    Ok(Entry {
        is_optional: false,
        is_override: false,
        group: absolute(folder, group),
        options: vec![name.into()],
        package: package_of(package, folder, parent)?,
        is_group: false,
    })
}

/// `optimizer: adam`, `optional optimizer: adam`, `override /optimizer: adam`, `optimizer@package: [a, b]`.
fn group_entry(key: &str, value: &Value, group: &str, parent: &str) -> Result<Entry, String> {
    no_reference(key)?;
    let mut words: Vec<&str> = key.split_whitespace().collect();
    let name = words.pop().unwrap_or_default();
    let (path, package) = split_package(name);
    if let Some(other) = words
        .iter()
        .find(|w| !matches!(**w, "optional" | "override"))
    {
        return Err(format!(
            "{other}: an entry begins with optional or override"
        ));
    }
    let options = match value {
        Value::Null => Vec::new(),
        Value::String(option) => vec![option.clone()],
        Value::Sequence(several) if several.iter().all(Value::is_string) => {
            several.iter().map(as_text).collect()
        }
        other => {
            return Err(format!(
                "{key}: {}: an option is a text or a list of texts",
                as_text(other)
            ));
        }
    };
    for option in &options {
        no_reference(option)?;
    }
    Ok(Entry {
        is_optional: words.contains(&"optional"),
        is_override: words.contains(&"override"),
        group: absolute(path, group),
        options,
        package: package_of(package, path, parent)?,
        is_group: true,
    })
}

fn no_reference(text: &str) -> Result<(), String> {
    if text.contains("${") {
        return Err(format!(
            "{text}: references in a defaults list are not known here; write the option itself"
        ));
    }
    Ok(())
}

fn split_package(text: &str) -> (&str, Option<&str>) {
    text.split_once('@')
        .map_or((text, None), |(path, package)| (path, Some(package)))
}

/// A group as seen from another; a leading slash makes it absolute.
fn absolute(path: &str, group: &str) -> String {
    match path.strip_prefix('/') {
        Some(path) => path.into(),
        None if path.is_empty() => group.into(),
        None => format!("{group}/{path}"),
    }
}

/// The package of what an entry brings: its own, else its group, both below the package of the config it stands in.
fn package_of(package: Option<&str>, path: &str, parent: &str) -> Result<String, String> {
    let own = match package {
        Some("_here_") => return Ok(parent.into()),
        Some(package) if package.starts_with("_global_") => return plain_package(package),
        Some(package) => plain_package(package)?,
        None => path.trim_start_matches('/').replace('/', "."),
    };
    Ok(match (parent, own.as_str()) {
        (parent, "") => parent.into(),
        ("", own) => own.into(),
        (parent, own) => format!("{parent}.{own}"),
    })
}
