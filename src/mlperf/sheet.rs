//! Figures as comma-separated values: the columns of MLPerf Storage's results, then our own.

use super::NOT_CLOSED;
use super::figures::{Means, RunFigures};
use super::leaf::Kind;
use super::results::{Figures, Group, GroupRun};
use super::sample::Sample;
use super::table::Table;

/// Columns of MLPerf Storage's results, some of which only the organisation knows.
const PUBLISHED: &str = "Public ID|Organization|Division|Benchmark Type|Model|Name|Description|Type|Access Protocol|\
    Availability|RU's|Integrated Client Storage (TiB)|Usable Capacity (TiB)|Provisioned Power (W)|\
    Training - Accelerator Type|Training - # Client Nodes|Training - Code|Training - Logs|\
    Training - # Simulated Accelerators|Training - Read B/W (GiB/s)|Checkpointing - Checkpoint Mode|\
    Checkpointing - # Client Nodes|Checkpointing - DP Instances|Checkpointing - Code|Checkpointing - Logs|\
    Checkpointing - Write B/W (GiB/s)|Checkpointing - Write Duration (secs)|Checkpointing - Read B/W (GiB/s)|\
    Checkpointing - Read Duration (secs)";

/// Our own, each with [`OWN`] in front.
const OURS: &str = "Row|Path|Timestamp|Part|Runs|Complete|Reasons|Comparability Hash|Epochs|AU (%)|AU stdev (%)|\
    AU per epoch (%)|AU meets expectation|Throughput (samples/s)|Throughput stdev (samples/s)|Read B/W (MiB/s)|\
    Read B/W stdev (GiB/s)|Read B/W spread (%)|Checkpoint size (GiB)|Writes|Reads|\
    Write Duration of the slowest rank (s)|Write B/W by the slowest rank (GiB/s)|\
    Read Duration of the slowest rank (s)|Read B/W by the slowest rank (GiB/s)|Statement";

const OWN: &str = "dlio-rs - ";

/// A row under construction: cells by the names of their columns.
struct Row<'a> {
    columns: &'a [String],
    cells: Vec<String>,
}

impl Row<'_> {
    /// Nothing where there is no value.
    fn set(&mut self, column: &str, cell: Option<impl ToString>) {
        let at = self.columns.iter().position(|c| c == column);
        debug_assert!(at.is_some(), "{column}");
        if let (Some(at), Some(cell)) = (at, cell) {
            self.cells[at] = cell.to_string();
        }
    }

    /// Under our own heading.
    fn own(&mut self, column: &str, cell: Option<impl ToString>) {
        self.set(&format!("{OWN}{column}"), cell);
    }
}

/// One row per group (`Row` is `result`), each followed by its runs (`run`). Absent figures are empty.
pub fn table(figures: &Figures) -> Table {
    let mut columns: Vec<String> = PUBLISHED.split('|').map(str::to_owned).collect();
    columns.extend(OURS.split('|').map(|c| format!("{OWN}{c}")));
    let trainings = figures.groups.iter().filter_map(|g| g.training.as_ref());
    let means: std::collections::BTreeSet<&String> =
        trainings.flat_map(|t| t.means.keys()).collect();
    columns.extend(means.into_iter().cloned());
    let mut rows = Vec::new();
    for group in &figures.groups {
        rows.extend(result(group, &columns));
        rows.extend(
            group
                .runs
                .iter()
                .map(|run| single(run, group.kind, &columns)),
        );
    }
    Table { columns, rows }
}

fn begin<'a>(columns: &'a [String], run: &RunFigures, kind: Kind) -> Row<'a> {
    let mut row = Row {
        columns,
        cells: vec![String::new(); columns.len()],
    };
    let prefix = if kind == Kind::TrainingRun {
        "Training"
    } else {
        "Checkpointing"
    };
    row.set("Organization", run.organisation.as_deref());
    row.set("Division", run.division);
    row.set("Benchmark Type", Some(prefix.to_lowercase()));
    row.set("Model", run.model.as_deref());
    row.set("Name", run.system.as_deref());
    row.set("Access Protocol", Some(run.access));
    row.set(&format!("{prefix} - # Client Nodes"), run.hosts);
    if kind == Kind::TrainingRun {
        row.set("Training - Accelerator Type", run.accelerator.as_deref());
        row.set("Training - # Simulated Accelerators", run.accelerators);
    }
    row.own(
        "Comparability Hash",
        run.core_config.as_ref().map(|c| &c.hash),
    );
    row.own("Statement", Some(NOT_CLOSED));
    row
}

/// None for a group without runs, which there is none of.
fn result(g: &Group, columns: &[String]) -> Option<Vec<String>> {
    let mut row = begin(columns, &g.runs.first()?.run, g.kind);
    row.own("Row", Some("result"));
    row.own("Runs", Some(g.runs.len()));
    row.own("Complete", Some(g.complete));
    row.own("Reasons", Some(g.reasons.join("; ")));
    let hash = |r: &GroupRun| {
        r.run
            .core_config
            .as_ref()
            .map_or("unknown".into(), |c| c.hash.clone())
    };
    let hashes: std::collections::BTreeSet<String> = g.runs.iter().map(hash).collect();
    row.own("Comparability Hash", Some(Vec::from_iter(hashes).join(" ")));
    if let Some(t) = &g.training {
        let mean = |s: &Option<Sample>| Some(s.as_ref()?.mean);
        let stdev = |s: &Option<Sample>| Some(s.as_ref()?.stdev_population);
        row.set("Training - Read B/W (GiB/s)", mean(&t.read_gib_per_second));
        row.own("Read B/W stdev (GiB/s)", stdev(&t.read_gib_per_second));
        row.own(
            "Read B/W spread (%)",
            t.read_gib_per_second
                .as_ref()
                .and_then(|s| s.spread_percent),
        );
        row.own("AU (%)", mean(&t.au_percent));
        row.own("AU stdev (%)", stdev(&t.au_percent));
        row.own("Throughput (samples/s)", mean(&t.samples_per_second));
        row.own("Throughput stdev (samples/s)", stdev(&t.samples_per_second));
        row.own("AU meets expectation", Some(t.au_met));
        for (name, value) in &t.means {
            row.set(name, *value);
        }
    }
    if let Some(c) = &g.checkpointing {
        row.set("Checkpointing - Checkpoint Mode", Some(c.mode));
        row.set("Checkpointing - DP Instances", c.dp_instances);
        row.own("Checkpoint size (GiB)", c.size_gib);
        direction(&mut row, "Write", c.write.as_ref().map(|d| &d.means));
        direction(&mut row, "Read", c.read.as_ref().map(|d| &d.means));
    }
    Some(row.cells)
}

fn single(GroupRun { role, run }: &GroupRun, kind: Kind, columns: &[String]) -> Vec<String> {
    let mut row = begin(columns, run, kind);
    row.own("Row", Some("run"));
    row.own("Path", Some(&run.path));
    row.own("Timestamp", run.timestamp.as_deref());
    row.own("Part", Some(role.word()));
    row.own("Epochs", run.epochs);
    if let Some(t) = &run.training {
        row.set("Training - Read B/W (GiB/s)", t.io_gib_per_second);
        row.own("Read B/W (MiB/s)", t.io_mib_per_second);
        row.own("AU (%)", t.au_mean_percent);
        let epoch = |v: &Option<f64>| v.map_or_else(String::new, |v| v.to_string());
        let epochs: Vec<String> = t.au_percent.iter().map(epoch).collect();
        row.own("AU per epoch (%)", Some(epochs.join(" ")));
        row.own("AU meets expectation", t.au_meet_expectation);
        row.own("Throughput (samples/s)", t.samples_per_second);
        row.own("Throughput stdev (samples/s)", t.samples_per_second_stdev);
    }
    if let Some(c) = &run.checkpoints {
        row.set("Checkpointing - Checkpoint Mode", Some(c.mode));
        row.own("Checkpoint size (GiB)", c.size_gib);
        direction(&mut row, "Write", c.save.as_ref().map(|d| &d.means));
        direction(&mut row, "Read", c.load.as_ref().map(|d| &d.means));
    }
    row.cells
}

fn direction(row: &mut Row<'_>, word: &str, means: Option<&Means>) {
    row.own(&format!("{word}s"), Some(means.map_or(0, |m| m.operations)));
    let Some(m) = means else { return };
    row.set(
        &format!("Checkpointing - {word} B/W (GiB/s)"),
        m.gib_per_second,
    );
    row.set(
        &format!("Checkpointing - {word} Duration (secs)"),
        m.duration_seconds,
    );
    row.own(
        &format!("{word} Duration of the slowest rank (s)"),
        m.slowest_rank_seconds,
    );
    row.own(
        &format!("{word} B/W by the slowest rank (GiB/s)"),
        m.slowest_rank_gib_per_second,
    );
}
