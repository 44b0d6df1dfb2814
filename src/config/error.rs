//! What is wrong with a configuration, for the person who wrote it.

/// What is wrong, and what to do about it. Whoever knows the place adds it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}\n  remedy: {remedy}")]
pub struct Wrong {
    pub what: String,
    pub remedy: String,
}

impl Wrong {
    pub(super) fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Wrong {
            what: what.into(),
            remedy: remedy.into(),
        }
    }
}

/// A configuration that cannot be used. The message says the thing, the place, the cause and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {path}: {cause}\n  remedy: {remedy}")]
    Unreadable {
        path: String,
        cause: String,
        remedy: String,
    },
    /// A file of which nothing came.
    #[error(
        "read {path}: {cause}\n  remedy: if it is a pipe, let something write into it; else look at its file system (df, dmesg)"
    )]
    Silent {
        path: String,
        /// What was waited for, and how long.
        cause: String,
    },
    /// Text that is no YAML.
    #[error("{path}:{line}:{column}: invalid YAML: {wrong}")]
    Yaml {
        path: String,
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        wrong: Wrong,
    },
    /// A word of the command line that is no override.
    #[error("command line word '{word}': {wrong}")]
    Word { word: String, wrong: Wrong },
    #[error("{}\n  remedy: correct the name (`dlio-rs explain` lists all keys), or pass --allow-unknown-keys to ignore it as DLIO does", .0.join("\n"))]
    UnknownKeys(Vec<String>),
    /// A value of the wrong type.
    #[error("{place}{key}: {wrong}")]
    Type {
        /// Where the value stands, with `: ` behind it; may be empty.
        place: String,
        key: String,
        wrong: Wrong,
    },
    /// Values of the wrong type.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Types(Vec<ConfigError>),
    /// Values that contradict a rule.
    #[error("{key}: {what}\n  remedy: {remedy}")]
    Rule {
        key: String,
        what: String,
        remedy: String,
    },
}

impl ConfigError {
    pub(super) fn rule(key: &str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        ConfigError::Rule {
            key: key.into(),
            what: what.into(),
            remedy: remedy.into(),
        }
    }

    /// Refuses 0.
    pub(super) fn positive(key: &str, value: u64) -> Result<(), Self> {
        if value == 0 {
            return Err(ConfigError::rule(key, "is 0", "set it to 1 or more"));
        }
        Ok(())
    }
}
