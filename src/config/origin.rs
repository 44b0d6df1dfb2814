//! Where the value of a key comes from: what messages and `validate` name.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::secret::redact_word;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    CommandLine(String),
    /// A line of the YAML.
    File {
        path: String,
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    BuiltIn {
        name: String,
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    Environment(String),
    DotEnv(String),
    /// Sized by the machine; how.
    Machine(String),
}

impl Origin {
    /// True for what stands beside the file of the workload.
    pub(super) fn is_beside_file(&self) -> bool {
        !matches!(self, Origin::File { .. } | Origin::BuiltIn { .. })
    }

    /// True for what the user wrote for this workload.
    pub(super) fn is_users(&self) -> bool {
        matches!(self, Origin::CommandLine(_) | Origin::File { .. })
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Origin::CommandLine(word) => write!(f, "command line word '{}'", redact_word(word)),
            Origin::File { path, line, column } => write!(f, "{path}:{line}:{column}"),
            Origin::BuiltIn { name, line, column } => {
                write!(f, "configs/{name}.yaml:{line}:{column}")
            }
            Origin::Machine(how) => f.write_str(how),
            Origin::Environment(variable) => write!(f, "environment {variable}"),
            Origin::DotEnv(variable) => write!(f, ".env {variable}"),
        }
    }
}

/// Origins of values, by dotted key.
pub(super) type Origins = BTreeMap<String, Origin>;

/// Where a key stands, for the start of a message; of what brings it where it has no place of its own.
pub(super) fn place_of(origins: &Origins, key: &str) -> String {
    let mut at = key;
    loop {
        if let Some(origin) = origins.get(at) {
            return format!("{origin}: ");
        }
        match at.rsplit_once(['.', '[']) {
            Some((parent, _)) => at = parent,
            None => return String::new(),
        }
    }
}

/// Moves the origins of a key and of what is below it.
pub(super) fn move_origins(origins: &mut Origins, from: &str, to: &str) {
    let moved: Vec<_> = origins
        .iter()
        .filter_map(|(key, origin)| {
            let rest = key.strip_prefix(from)?;
            let is_below = rest.is_empty() || rest.starts_with(['.', '[']);
            is_below.then(|| (format!("{to}{rest}"), origin.clone()))
        })
        .collect();
    origins.extend(moved);
}
