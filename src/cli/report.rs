//! `dlio-rs report`: one run shown again, and the published figures of one run, of many, or of whole trees.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{Result, Stop, out, output};
use crate::compare::{self, tolerance::Tolerance};
use crate::mlperf::leaf::Leaf;
use crate::mlperf::render::{self, Style};
use crate::mlperf::results::{self, Figures};
use crate::mlperf::show::{self, Run};
use crate::mlperf::table::Table;
use crate::mlperf::{NO_RUNS, NOT_CLOSED, sheet, tree};
use crate::report::html::{self, Words};

/// In which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Form {
    /// Tables for people.
    #[default]
    Text,
    /// One JSON object with every figure.
    Json,
    /// One line per figure.
    Csv,
    /// Tables as Markdown.
    Markdown,
}

/// Of which runs, and in which form.
#[derive(Debug, Clone, Args)]
pub struct ReportArgs {
    /// Folders of runs (of dlio-rs, DLIO or mlpstorage), or folders above them
    #[arg(required = true, value_name = "RUN_DIR")]
    pub places: Vec<PathBuf>,
    /// How to print
    #[arg(long, default_value = "text")]
    pub format: Form,
    /// Write to this file instead of the standard output
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Write a page with charts to this file, too: of one run, or of several on top of each other
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

/// What is printed as JSON.
#[derive(Serialize)]
struct Report<'a> {
    schema: &'static str,
    not_closed: &'static str,
    /// Of which kind standard deviations are.
    stdev: &'static str,
    #[serde(flatten)]
    figures: &'a Figures,
    /// The run itself, where one was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<&'a Run>,
}

/// Prints or writes the figures. Runs that cannot be read are named, and make the status 1.
pub(super) fn print(args: &ReportArgs) -> Result<()> {
    if let Some(file) = args.output.as_deref().filter(|file| is_of_a_run(file)) {
        return Err(taken("--output", file));
    }
    if let Some(file) = &args.html {
        write_page(file, &args.places)?;
    }
    let figures = results::read(&args.places);
    let run = one_run(&args.places);
    let tables = |style| {
        let shown = run.as_ref().map(|run| show::render(run, style) + "\n");
        shown.unwrap_or_default() + &render::all(&figures, style)
    };
    let text = match args.format {
        Form::Text => tables(Style::Text),
        Form::Json => output::json(&Report {
            schema: "dlio-rs/figures/2",
            not_closed: NOT_CLOSED,
            stdev: "population, as DLIO's",
            figures: &figures,
            run: run.as_ref(),
        })?,
        Form::Csv => run
            .as_ref()
            .map_or_else(|| sheet::table(&figures).csv(), Run::csv),
        Form::Markdown => tables(Style::Markdown),
    };
    match &args.output {
        Some(file) => write(file, &text)?,
        None => out(&text)?,
    }
    if figures.unreadable.is_empty() {
        return Ok(());
    }
    let named = figures.unreadable.iter();
    let named = named.map(|u| format!("read {}: {}", u.path, u.cause));
    Err(Stop::failed(named.collect::<Vec<_>>().join("\ndlio-rs: ")))
}

fn taken(option: &str, file: &Path) -> Stop {
    Stop::usage(format!(
        "report {option} {}: it is there and lies in the folder of a run, whose files are not overwritten\n  remedy: name another file",
        file.display()
    ))
}

fn write(file: &Path, text: &str) -> Result<()> {
    crate::storage::write_file(file, text.as_bytes()).map_err(|e| {
        Stop::failed(format!(
            "write {}: {e}\n  remedy: check that the folder exists and is writable",
            file.display()
        ))
    })
}

/// The page of all runs at or below the places; the first of several is compared with each other.
fn write_page(file: &Path, places: &[PathBuf]) -> Result<()> {
    let is_page = file.file_name().is_some_and(|name| name == html::FILE);
    if is_of_a_run(file) && !is_page {
        return Err(taken("--html", file));
    }
    let mut leaves = Vec::new();
    for place in places {
        let tree = tree::leaves(place).map_err(|e| {
            Stop::usage(format!(
                "read {}: {e}\n  remedy: give the folder of a run",
                place.display()
            ))
        })?;
        leaves.extend(tree.leaves);
    }
    let [first, others @ ..] = leaves.as_slice() else {
        return Err(Stop::usage(format!(
            "report --html: {NO_RUNS}\n  remedy: give the folder of a run"
        )));
    };
    let comparisons = others.iter().map(|other| {
        let compared = compare::runs::compare(first, other, &Tolerance::default());
        let table = match compared {
            Ok(comparison) => compare::text::figures(&comparison),
            Err(why) => {
                let mut table = Table::new(&["not compared"]);
                table.row([&why]);
                table
            }
        };
        Words {
            title: format!("{} against {}", first.path.display(), other.path.display()),
            columns: table.columns,
            rows: table.rows,
        }
    });
    let comparisons: Vec<Words> = comparisons.collect();
    let runs: Vec<Run> = leaves.iter().map(show::of).collect();
    let views: Vec<_> = runs.iter().map(Run::view).collect();
    write(file, &html::page(&views, &comparisons))
}

/// The run whose own folder was given, and nothing else.
fn one_run(places: &[PathBuf]) -> Option<Run> {
    match places {
        [place] if Leaf::is_run(place) => Some(show::of(&Leaf::read(place))),
        _ => None,
    }
}

/// True for a file that is there and lies in a run's folder.
fn is_of_a_run(file: &Path) -> bool {
    let Ok(file) = file.canonicalize() else {
        return false;
    };
    let Some(folder) = file.parent() else {
        return false;
    };
    // One called like the report of dlio-rs makes no run of a folder: it may be what this verb wrote.
    let is_run = |folder: &Path| {
        let leaf = Leaf::read(folder);
        let named = ["summary.json", "dlio.log"]
            .iter()
            .any(|name| leaf.files.contains(*name));
        named || leaf.config_folder.is_some() || !leaf.metadata.is_empty() || leaf.is_ours()
    };
    let is_configuration =
        |above: &Path| Leaf::read(above).config_folder.as_deref() == Some(folder);
    is_run(folder) || folder.parent().is_some_and(is_configuration)
}
