//! What is wrong with a configuration, for the person who wrote it.

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
    #[error("{path}:{line}:{column}: invalid YAML: {what}")]
    Yaml {
        path: String,
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        what: String,
    },
    /// A word of the command line that is no override.
    #[error("command line word '{word}': {what}")]
    Word { word: String, what: String },
    #[error("{}\n  remedy: correct the name, or pass --allow-unknown-keys to ignore it as DLIO does", .0.join("\n"))]
    UnknownKeys(Vec<String>),
    /// A value of the wrong type.
    #[error("{place}{key}: {what}")]
    Type {
        /// Where the value stands, with `: ` behind it; may be empty.
        place: String,
        key: String,
        what: String,
    },
    /// Values of the wrong type, each with its place.
    #[error("{}", .0.join("\n"))]
    Types(Vec<String>),
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
}
