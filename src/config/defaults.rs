//! The entries of hydra's `defaults:` lists, and `# @package` headers.
//!
//! Source: hydra 1.3 `_internal/defaults_list.py`, `core/default_element.py`.

use serde_yaml::Value;

use super::error::Wrong;
use super::tree::as_text;

/// The config group of workloads, which is also their package.
pub(super) const GROUP: &str = "workload";

/// One entry of a defaults list.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Optional files may be missing.
    pub(super) is_optional: bool,
    /// It changes the choice of a group elsewhere.
    pub(super) is_override: bool,
    /// Absolute: `workload/optimizer`.
    pub(super) group: String,
    /// None for hydra's `null`; several are composed one after another.
    pub(super) options: Vec<String>,
    /// The package of what it brings.
    pub(super) package: String,
    /// False for a single config of the same group.
    pub(super) is_group: bool,
}

/// What a place of a defaults list brings.
pub(super) enum Item {
    /// `_self_`: the config that has the list.
    Own,
    Entry(Entry),
}

impl Item {
    /// A group that the command line adds.
    pub(super) fn added(group: String, option: String) -> Item {
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

/// The package of the header `# @package X`; an empty one is the root.
pub(super) fn header(text: &str) -> Result<Option<String>, Wrong> {
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
            return Err(Wrong::new(
                "its header @package has no name, or more than one",
                "write '# @package NAME', or leave the line out",
            ));
        }
        let package = plain_package(package)?;
        if !(package.is_empty() || package == GROUP || package.starts_with("workload.")) {
            return Err(Wrong::new(
                format!(
                    "'# @package {package}' puts it beside the workload, where nothing reads it"
                ),
                "write '# @package _global_' or leave the line out",
            ));
        }
        return Ok(Some(package));
    }
    Ok(None)
}

/// A package without `_global_`.
fn plain_package(package: &str) -> Result<String, Wrong> {
    if package.contains("_name_") || package.contains("_group_") {
        return Err(Wrong::new(
            format!("the package {package}: _name_ and _group_ are not known here"),
            "write the names themselves",
        ));
    }
    Ok(match package.strip_prefix("_global_") {
        Some(rest) => rest.trim_start_matches('.').into(),
        None => package.into(),
    })
}

/// The entries of a defaults list in a config of `group`, whose package is `package`.
pub(super) fn items(list: Option<&Value>, group: &str, package: &str) -> Result<Vec<Item>, Wrong> {
    let Some(list) = list else {
        return Ok(vec![Item::Own]);
    };
    let list = list.as_sequence().ok_or_else(|| {
        Wrong::new(
            "defaults is a list of configs",
            "write one, such as [base, _self_]",
        )
    })?;
    let mut items = Vec::new();
    for item in list {
        match item {
            Value::String(text) if text == "_self_" => {
                if items.iter().any(|item| matches!(item, Item::Own)) {
                    return Err(Wrong::new(
                        "_self_ stands in its defaults list twice",
                        "remove one of the two",
                    ));
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
                return Err(Wrong::new(
                    format!("'{}' is no entry of a defaults list", as_text(other)),
                    "write NAME or GROUP: OPTION",
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
fn config_entry(text: &str, group: &str, parent: &str) -> Result<Entry, Wrong> {
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
fn group_entry(key: &str, value: &Value, group: &str, parent: &str) -> Result<Entry, Wrong> {
    no_reference(key)?;
    let mut words: Vec<&str> = key.split_whitespace().collect();
    let name = words.pop().unwrap_or_default();
    let (path, package) = split_package(name);
    if let Some(other) = words
        .iter()
        .find(|w| !matches!(**w, "optional" | "override"))
    {
        return Err(Wrong::new(
            format!("{other}: no entry of a defaults list begins with it"),
            "write optional GROUP: OPTION, override GROUP: OPTION, or GROUP: OPTION",
        ));
    }
    let options = match value {
        Value::Null => Vec::new(),
        Value::String(option) => vec![option.clone()],
        Value::Sequence(several) if several.iter().all(Value::is_string) => {
            several.iter().map(as_text).collect()
        }
        other => {
            return Err(Wrong::new(
                format!("{key}: {} is no option", as_text(other)),
                "write a name, or a list of names",
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

fn no_reference(text: &str) -> Result<(), Wrong> {
    if text.contains("${") {
        return Err(Wrong::new(
            format!("{text}: references in a defaults list are not known here"),
            "write the option itself",
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
fn package_of(package: Option<&str>, path: &str, parent: &str) -> Result<String, Wrong> {
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
