//! How a verb prints facts: for people, or as one JSON object with its `schema`.

use clap::ValueEnum;
use serde::Serialize;

use super::{Result, Stop, out};

/// `--format`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object; its layout is named by `schema`.
    Json,
}

/// Prints facts in the form that was asked for.
pub(super) fn print<T: Serialize>(
    format: Format,
    facts: &T,
    text: impl FnOnce(&T) -> String,
) -> Result<()> {
    let text = match format {
        Format::Text => text(facts),
        Format::Json => json(facts)?,
    };
    out(&text)
}

/// Indented, with a line break at the end.
pub(super) fn json(facts: &impl Serialize) -> Result<String> {
    let text = serde_json::to_string_pretty(facts).map_err(|e| {
        Stop::failed(format!(
            "internal error: what was found cannot be written as JSON: {e}"
        ))
    })?;
    Ok(text + "\n")
}

/// A name and a figure on each line, for people.
#[derive(Default)]
pub(super) struct Lines(pub(super) String);

impl Lines {
    pub(super) fn add(&mut self, name: &str, figure: impl std::fmt::Display) {
        self.0 += &format!("{name:<20} {figure}\n");
    }
}
