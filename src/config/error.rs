//! What is wrong with a configuration, for the person who wrote it.

/// A configuration that cannot be used. The message says the thing, the place, the cause and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("cannot read {path}: {cause}\n  remedy: {remedy}")]
    Unreadable {
        /// The file.
        path: String,
        /// What the system said.
        cause: String,
        /// What to do.
        remedy: String,
    },
    /// A file of which nothing came.
    #[error(
        "read {path}: {cause}\n  remedy: if it is a pipe, let something write into it; else look at its file system (df, dmesg)"
    )]
    Silent {
        /// The file.
        path: String,
        /// What was waited for, and how long.
        cause: String,
    },
    /// Text that is no YAML.
    #[error("{path}:{line}:{column}: invalid YAML: {what}")]
    Yaml {
        /// The file.
        path: String,
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// What is wrong.
        what: String,
    },
    /// A word of the command line that is no override.
    #[error("command line word '{word}': {what}")]
    Word {
        /// The word.
        word: String,
        /// What is wrong.
        what: String,
    },
    /// Keys that nobody knows.
    #[error("{}\n  remedy: correct the name, or pass --allow-unknown-keys to ignore it as DLIO does", .0.join("\n"))]
    UnknownKeys(Vec<String>),
    /// A value of the wrong type.
    #[error("{place}{key}: {what}")]
    Type {
        /// Where the value stands, with `: ` behind it; may be empty.
        place: String,
        /// Its key.
        key: String,
        /// What is wrong with it.
        what: String,
    },
    /// Values of the wrong type, each with its place.
    #[error("{}", .0.join("\n"))]
    Types(Vec<String>),
    /// Values that contradict a rule.
    #[error("{key}: {what}\n  remedy: {remedy}")]
    Rule {
        /// The key or keys.
        key: String,
        /// Which rule.
        what: String,
        /// What to do.
        remedy: String,
    },
}

impl ConfigError {
    /// A broken rule.
    pub(super) fn rule(key: &str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        ConfigError::Rule {
            key: key.into(),
            what: what.into(),
            remedy: remedy.into(),
        }
    }
}
