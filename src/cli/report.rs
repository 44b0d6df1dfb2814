//! `dlio-rs report`: the published figures of one run, of many, or of whole trees.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::{Exit, Stop};
use crate::mlperf::groups::{self, Figures};
use crate::mlperf::render::{self, Style};
use crate::mlperf::{NOT_CLOSED, sheet};
use crate::report::python;

/// Of which runs, and in which form.
#[derive(Debug, Clone, Args)]
pub struct ReportArgs {
    /// Folders of runs (of dlio-rs, DLIO or mlpstorage), or folders above them
    #[arg(required = true, value_name = "RUN_DIR")]
    pub places: Vec<PathBuf>,
    /// Write every figure as JSON; `-`: standard output, instead of the tables
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the columns of MLPerf Storage's results and ours as CSV; `-`: standard output
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// Write the tables as Markdown; `-`: standard output
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
}

/// Prints or writes the figures. Runs that cannot be read are named, and make the status 1.
pub(super) fn print(args: &ReportArgs) -> Result<(), Stop> {
    let figures = groups::read(&args.places);
    let mut on_screen = false;
    type Form = fn(&Figures) -> String;
    let outputs: [(&Option<PathBuf>, &str, Form); 3] = [
        (&args.json, "--json", json_text),
        (&args.csv, "--csv", |f| sheet::table(f).csv()),
        (&args.markdown, "--markdown", |f| {
            render::all(f, Style::Markdown)
        }),
    ];
    for (file, flag, text) in outputs {
        let Some(file) = file else { continue };
        if file.as_os_str() == "-" {
            if on_screen {
                return Err(Stop::usage(format!(
                    "{flag} -: standard output takes one form only\n  remedy: give the others a file"
                )));
            }
            print!("{}", text(&figures));
            on_screen = true;
        } else {
            write(file, &text(&figures))?;
        }
    }
    if !on_screen {
        print!("{}", render::all(&figures, Style::Text));
    }
    if figures.unreadable.is_empty() {
        return Ok(());
    }
    let named: Vec<String> = figures
        .unreadable
        .iter()
        .map(|u| format!("read {}: {}", u.path, u.cause))
        .collect();
    Err(Stop {
        exit: Exit::Failed,
        message: named.join("\ndlio-rs: "),
    })
}

/// Writes a text that a user asked for.
pub(super) fn write(file: &Path, text: &str) -> Result<(), Stop> {
    std::fs::write(file, text).map_err(|e| Stop {
        exit: Exit::Failed,
        message: format!(
            "write {}: {e}; check that the folder exists and is writable",
            file.display()
        ),
    })
}

fn json_text(figures: &Figures) -> String {
    let value = json!({
        "schema": "dlio-rs-figures/1",
        "statement": NOT_CLOSED,
        "stdev": "population, as DLIO's",
        "groups": figures.groups,
        "without_figures": figures.without_figures,
        "unreadable": figures.unreadable,
    });
    python::to_string(&value) + "\n"
}
