//! `dlio-rs report`: the published figures of one run, of many, or of whole trees.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::{Exit, Stop};
use crate::mlperf::groups::{self, Figures};
use crate::mlperf::leaf::Leaf;
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
    let chosen = [
        (&args.json, "--json"),
        (&args.csv, "--csv"),
        (&args.markdown, "--markdown"),
    ];
    refuse(&chosen)?;
    let figures = groups::read(&args.places);
    let mut on_screen = false;
    type Form = fn(&Figures) -> String;
    let forms: [Form; 3] = [
        json_text,
        |f| sheet::table(f).csv(),
        |f| render::all(f, Style::Markdown),
    ];
    for ((file, _), text) in chosen.into_iter().zip(forms) {
        let Some(file) = file else { continue };
        if file.as_os_str() == "-" {
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

/// Outputs that cannot be: two on standard output, or one in place of a run's file.
fn refuse(chosen: &[(&Option<PathBuf>, &str)]) -> Result<(), Stop> {
    let mut on_screen = false;
    for (file, flag) in chosen {
        let Some(file) = file else { continue };
        if file.as_os_str() != "-" {
            if is_of_a_run(file) {
                return Err(Stop::usage(format!(
                    "{flag} {}: it is there and lies in the folder of a run, whose files are not overwritten\n  remedy: name another file",
                    file.display()
                )));
            }
        } else if std::mem::replace(&mut on_screen, true) {
            return Err(Stop::usage(format!(
                "{flag} -: standard output takes one form only\n  remedy: give the others a file"
            )));
        }
    }
    Ok(())
}

/// True for a file that is there and lies in a run's folder. One called like the report of dlio-rs makes no run of a folder:
/// it may be what this verb wrote.
fn is_of_a_run(file: &Path) -> bool {
    let Ok(file) = file.canonicalize() else {
        return false;
    };
    let Some(folder) = file.parent() else {
        return false;
    };
    let is_run = |folder: &Path| {
        let leaf = Leaf::read(folder);
        let telling = ["summary.json", "dlio.log"];
        telling.iter().any(|name| leaf.files.contains(*name))
            || leaf.config_files.is_some()
            || !leaf.metadata.is_empty()
            || leaf.is_ours()
    };
    let is_configuration =
        |above: &Path| Leaf::read(above).config_folder.as_deref() == Some(folder);
    is_run(folder) || folder.parent().is_some_and(is_configuration)
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
