//! Figures for the terminal and as Markdown.

use super::NOT_CLOSED;
use super::figures::RunFigures;
use super::leaf::Kind;
use super::results::{DirectionResult, Figures, Group};
use super::sample::Sample;
use super::table::Table;

/// Where the text goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Text,
    Markdown,
}

/// What stands for a figure that is not there.
pub const ABSENT: &str = "n/a";

/// A number with so many decimals, or [`ABSENT`].
pub fn number(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| ABSENT.into(), |v| format!("{v:.decimals$}"))
}

fn word(value: Option<&str>) -> String {
    value.unwrap_or(ABSENT).to_owned()
}

fn count(value: Option<u64>) -> String {
    value.map_or_else(|| ABSENT.into(), |n| n.to_string())
}

fn series(values: &[Option<f64>], decimals: usize) -> String {
    if values.is_empty() {
        return ABSENT.into();
    }
    let words: Vec<String> = values.iter().map(|v| number(*v, decimals)).collect();
    words.join(" ")
}

fn sample(value: Option<&Sample>, unit: &str, decimals: usize) -> String {
    let Some(s) = value else {
        return ABSENT.into();
    };
    let spread = s
        .spread_percent
        .map_or_else(String::new, |p| format!(", spread {p:.2} %"));
    format!(
        "{:.decimals$} {unit} (population stdev {:.decimals$}, n = {}{spread})",
        s.mean, s.stdev_population, s.n
    )
}

/// Everything that was found.
pub fn all(figures: &Figures, style: Style) -> String {
    let mut out = String::new();
    if style == Style::Markdown {
        out += "# Figures of MLPerf Storage runs\n\n";
    }
    for group in &figures.groups {
        out += &self::group(group, style);
        out.push('\n');
    }
    if !figures.without_figures.is_empty() {
        let mut table = Table::new(&["run without figures", "kind", "model", "hash"]);
        for run in &figures.without_figures {
            let kind = match run.kind {
                Kind::TrainingDatagen => "generation",
                Kind::TrainingDatasize => "sizing",
                _ => "another benchmark",
            };
            table.rows.push(vec![
                run.path.clone(),
                kind.into(),
                word(run.model.as_deref()),
                hash(run),
            ]);
        }
        out += &rendered(&table, style);
        out.push('\n');
    }
    for run in &figures.unreadable {
        out += &item(&format!("not read: {}: {}", run.path, run.cause), style);
    }
    out += NOT_CLOSED;
    out.push('\n');
    out
}

fn rendered(table: &Table, style: Style) -> String {
    match style {
        Style::Text => table.text(),
        Style::Markdown => table.markdown(),
    }
}

fn item(text: &str, style: Style) -> String {
    match style {
        Style::Text => format!("  {text}\n"),
        Style::Markdown => format!("- {text}\n"),
    }
}

fn hash(run: &RunFigures) -> String {
    word(run.core_config.as_ref().map(|c| c.hash.as_str()))
}

/// What the group did, on what, whose.
pub(super) fn title(g: &Group) -> String {
    let what = if g.kind == Kind::TrainingRun {
        "training"
    } else {
        "checkpointing"
    };
    let mut title = format!("{what} {}", word(g.model.as_deref()));
    if let Some(accelerator) = &g.accelerator {
        title += &format!(" on {accelerator}");
    }
    if let (Some(organisation), Some(system)) = (&g.organisation, &g.system) {
        title += &format!(", {organisation}, {system}");
    }
    title
}

fn group(g: &Group, style: Style) -> String {
    let title = title(g);
    let status = if g.complete {
        "complete: the figures are those that a report publishes"
    } else {
        "not publishable"
    };
    let mut out = match style {
        Style::Text => format!("{title}: {status}\n"),
        Style::Markdown => format!("## {title}\n\n{status}\n\n"),
    };
    out += &rendered(&runs(g), style);
    if style == Style::Markdown {
        out.push('\n');
    }
    if let Some(t) = &g.training {
        out += &item(&format!("mean of {}", t.basis), style);
        for (name, text) in [
            (
                "Read B/W (GiB/s)",
                sample(t.read_gib_per_second.as_ref(), "GiB/s", 3),
            ),
            ("AU", sample(t.au_percent.as_ref(), "%", 2)),
            (
                "throughput",
                sample(t.samples_per_second.as_ref(), "samples/s", 2),
            ),
        ] {
            out += &item(&format!("{name}: {text}"), style);
        }
        for (name, value) in &t.means {
            out += &item(&format!("{name}: {}", number(*value, 4)), style);
        }
    }
    if let Some(c) = &g.checkpointing {
        out += &item(
            &format!(
                "checkpoint of {} GiB, mode {}, {} data-parallel instance(s)",
                number(c.size_gib, 3),
                c.mode,
                count(c.dp_instances)
            ),
            style,
        );
        for (name, result) in [("Write", &c.write), ("Read", &c.read)] {
            out += &direction(name, result.as_ref(), style);
        }
    }
    for text in &g.reasons {
        out += &item(&format!("not publishable: {text}"), style);
    }
    for run in &g.runs {
        for absence in &run.run.absent {
            out += &item(
                &format!(
                    "{ABSENT} in {}: {}: {}",
                    run.run.path, absence.figure, absence.reason
                ),
                style,
            );
        }
    }
    out
}

fn direction(name: &str, result: Option<&DirectionResult>, style: Style) -> String {
    let Some(d) = result else {
        return item(&format!("{name}: none"), style);
    };
    let stdev = |s: &Option<Sample>| {
        s.as_ref().map_or_else(String::new, |s| {
            format!(
                " (population stdev {:.3}, {:.3} to {:.3})",
                s.stdev_population, s.min, s.max
            )
        })
    };
    let mut out = item(
        &format!(
            "{name} B/W: {} GiB/s{}; {name} Duration: {} s{}; {} operations",
            number(d.means.gib_per_second, 3),
            stdev(&d.throughputs),
            number(d.means.duration_seconds, 3),
            stdev(&d.durations),
            d.means.operations
        ),
        style,
    );
    if d.means.slowest_rank_seconds.is_some() {
        out += &item(
            &format!(
                "{name} by the slowest rank: {} GiB/s, {} s",
                number(d.means.slowest_rank_gib_per_second, 3),
                number(d.means.slowest_rank_seconds, 3)
            ),
            style,
        );
    }
    out
}

fn runs(g: &Group) -> Table {
    let common = ["run", "part", "ranks", "hosts"];
    let training = [
        "epochs",
        "AU %",
        "AU % per epoch",
        "samples/s",
        "MiB/s",
        "GiB/s",
        "hash",
    ];
    let checkpoints = [
        "writes",
        "GiB/s",
        "s",
        "slowest s",
        "reads",
        "GiB/s",
        "s",
        "slowest s",
        "hash",
    ];
    let own: &[&str] = if g.kind == Kind::TrainingRun {
        &training
    } else {
        &checkpoints
    };
    let mut table = Table::new(&[&common, own].concat());
    for run in &g.runs {
        let role = run.role.word();
        let run = &run.run;
        let mut row = vec![
            word(run.timestamp.as_deref()),
            role.into(),
            count(run.accelerators),
            count(run.hosts),
        ];
        if let Some(t) = &run.training {
            row.extend([
                count(run.epochs),
                number(t.au_mean_percent, 2),
                series(&t.au_percent, 2),
                number(t.samples_per_second, 2),
                number(t.io_mib_per_second, 2),
                number(t.io_gib_per_second, 3),
            ]);
        }
        if let Some(c) = &run.checkpoints {
            for d in [&c.save, &c.load] {
                let d = d.as_ref();
                row.extend([
                    d.map_or(0, |d| d.means.operations).to_string(),
                    number(d.and_then(|d| d.means.gib_per_second), 3),
                    number(d.and_then(|d| d.means.duration_seconds), 3),
                    number(d.and_then(|d| d.means.slowest_rank_seconds), 3),
                ]);
            }
        }
        row.push(hash(run));
        table.rows.push(row);
    }
    table
}
