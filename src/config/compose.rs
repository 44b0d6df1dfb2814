//! From one YAML or several to the tree of a workload: hydra's `defaults:` lists and `# @package` headers.
//!
//! Source: hydra 1.3 `_internal/defaults_list.py`, `core/default_element.py`, `_internal/config_repository.py`. Not
//! composed, but refused by name: references in a defaults list, and `_name_` and `_group_` in packages.

use std::collections::BTreeMap;

use serde_yaml::{Mapping, Value};

use super::defaults::{Entry, GROUP, Item, header, items};
use super::error::{ConfigError, Wrong};
use super::origin::Origin;
use super::source::{Found, Place, Search};
use super::tree::{join, lookup, merge, nested};
use super::yaml;

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
            wrong: no_map(),
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
            wrong: e.wrong,
        })?;
        let refuse = |wrong: Wrong| {
            let (line, column) = places.get("defaults").copied().unwrap_or((1, 1));
            ConfigError::Yaml {
                path: place.to_string(),
                line,
                column,
                wrong,
            }
        };
        if !content.is_mapping() {
            return Err(refuse(no_map()));
        }
        if depth > MAX_DEPTH {
            let remedy = "remove the entry that leads back to this file";
            return Err(refuse(Wrong::new(
                "its defaults list includes itself",
                remedy,
            )));
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
                    Ok(wrong) => refuse(wrong),
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

    /// What one entry brings. The inner error has no place yet.
    fn entry(
        &mut self,
        mut entry: Entry,
        depth: usize,
    ) -> Result<Vec<Part>, Result<Wrong, ConfigError>> {
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
                let group = &entry.group;
                return Err(Ok(Wrong::new(
                    format!(
                        "the group {group} has no choice yet: ??? means that one must be given"
                    ),
                    format!("write {group}=OPTION"),
                )));
            }
            let name = option.strip_suffix(".yaml").unwrap_or(option);
            // An option in a folder belongs to the group of that folder.
            let (group, name) = match name.rsplit_once('/') {
                Some((folder, name)) => (format!("{}/{folder}", entry.group), name),
                None => (entry.group.clone(), name),
            };
            if group.split('/').any(|part| part == "..") {
                return Err(Ok(Wrong::new(
                    format!("{group}/{name}: a group stays below the configs"),
                    "leave the .. out, and move the file into the folder of its group",
                )));
            }
            match self.search.find(&group, name).map_err(Err)? {
                Some(found) => {
                    let below = self.expand(found, &group, &entry.package, false, depth + 1);
                    parts.extend(below.map_err(Err)?);
                }
                None if entry.is_optional => {}
                None => {
                    return Err(Ok(Wrong::new(
                        format!(
                            "its defaults list names {group}/{name}, and there is no {group}/{name}.yaml"
                        ),
                        "correct the name, or put the file there: configs of the same folder and of --config-dir are found",
                    )));
                }
            }
        }
        Ok(parts)
    }
}

/// What is no workload.
fn no_map() -> Wrong {
    Wrong::new(
        "a workload is a map of sections such as dataset and reader",
        "name the YAML of a workload; `dlio-rs configs` shows those that are built in",
    )
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
