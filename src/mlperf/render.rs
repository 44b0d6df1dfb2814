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
    shown(value.map(|v| format!("{v:.decimals$}")))
}

fn shown(value: Option<impl ToString>) -> String {
    value.map_or_else(|| ABSENT.into(), |v| v.to_string())
}

fn series(values: &[Option<f64>], decimals: usize) -> String {
    let words: Vec<String> = values.iter().map(|v| number(*v, decimals)).collect();
    shown((!words.is_empty()).then(|| words.join(" ")))
}

fn sample(value: Option<&Sample>, unit: &str, decimals: usize) -> String {
    shown(value.map(|s| {
        let spread = s.spread_percent.map(|p| format!(", spread {p:.2} %"));
        format!(
            "{:.decimals$} {unit} (population stdev {:.decimals$}, n = {}{})",
            s.mean,
            s.stdev_population,
            s.n,
            spread.unwrap_or_default()
        )
    }))
}

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
            table.row([&run.path, kind, &shown(run.model.as_deref()), &hash(run)]);
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
    shown(run.core_config.as_ref().map(|c| c.hash.as_str()))
}

/// What the group did, on what, whose.
pub(super) fn title(g: &Group) -> String {
    let what = match g.kind {
        Kind::TrainingRun => "training",
        _ => "checkpointing",
    };
    let mut title = format!("{what} {}", shown(g.model.as_deref()));
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
    let status = match g.complete {
        true => "complete: the figures are those that a report publishes",
        false => "not publishable",
    };
    let mut out = match style {
        Style::Text => format!("{title}: {status}\n"),
        Style::Markdown => format!("## {title}\n\n{status}\n\n"),
    };
    out += &rendered(&runs(g), style);
    if style == Style::Markdown {
        out.push('\n');
    }
    let mut items = Vec::new();
    if let Some(t) = &g.training {
        let read = sample(t.read_gib_per_second.as_ref(), "GiB/s", 3);
        let au = sample(t.au_percent.as_ref(), "%", 2);
        let rate = sample(t.samples_per_second.as_ref(), "samples/s", 2);
        items.push(format!("mean of {}", t.basis));
        items.push(format!("Read B/W (GiB/s): {read}"));
        items.push(format!("AU: {au}"));
        items.push(format!("throughput: {rate}"));
        let means = t.means.iter();
        items.extend(means.map(|(name, value)| format!("{name}: {}", number(*value, 4))));
    }
    if let Some(c) = &g.checkpointing {
        let (size, instances) = (number(c.size_gib, 3), shown(c.dp_instances));
        items.push(format!(
            "checkpoint of {size} GiB, mode {}, {instances} data-parallel instance(s)",
            c.mode
        ));
        direction("Write", c.write.as_ref(), &mut items);
        direction("Read", c.read.as_ref(), &mut items);
    }
    items.extend(
        g.reasons
            .iter()
            .map(|text| format!("not publishable: {text}")),
    );
    for run in g.runs.iter().map(|run| &run.run) {
        let absent = run.absent.iter();
        items.extend(absent.map(|absence| format!("{ABSENT} in {}: {absence}", run.path)));
    }
    out + &items
        .iter()
        .map(|text| item(text, style))
        .collect::<String>()
}

fn direction(name: &str, result: Option<&DirectionResult>, items: &mut Vec<String>) {
    let Some(d) = result else {
        return items.push(format!("{name}: none"));
    };
    let stdev = |s: Option<Sample>| {
        let text = s.map(|s| {
            let (stdev, min, max) = (s.stdev_population, s.min, s.max);
            format!(" (population stdev {stdev:.3}, {min:.3} to {max:.3})")
        });
        text.unwrap_or_default()
    };
    items.push(format!(
        "{name} B/W: {} GiB/s{}; {name} Duration: {} s{}; {} operations",
        number(d.means.gib_per_second, 3),
        stdev(d.throughputs),
        number(d.means.duration_seconds, 3),
        stdev(d.durations),
        d.means.operations
    ));
    if d.means.slowest_rank_seconds.is_some() {
        let rate = number(d.means.slowest_rank_gib_per_second, 3);
        let time = number(d.means.slowest_rank_seconds, 3);
        items.push(format!(
            "{name} by the slowest rank: {rate} GiB/s, {time} s"
        ));
    }
}

fn runs(g: &Group) -> Table {
    let own = match g.kind {
        Kind::TrainingRun => "epochs|AU %|AU % per epoch|samples/s|MiB/s|GiB/s|hash",
        _ => "writes|GiB/s|s|slowest s|reads|GiB/s|s|slowest s|hash",
    };
    let columns: Vec<&str> = "run|part|ranks|hosts"
        .split('|')
        .chain(own.split('|'))
        .collect();
    let mut table = Table::new(&columns);
    for run in &g.runs {
        let role = run.role.word();
        let run = &run.run;
        let mut row = vec![shown(run.timestamp.as_deref()), role.into()];
        row.extend([run.accelerators, run.hosts].map(shown));
        if let Some(t) = &run.training {
            row.extend([
                shown(run.epochs),
                number(t.au_mean_percent, 2),
                series(&t.au_percent, 2),
                number(t.samples_per_second, 2),
                number(t.io_mib_per_second, 2),
                number(t.io_gib_per_second, 3),
            ]);
        }
        if let Some(c) = &run.checkpoints {
            for d in [&c.save, &c.load] {
                let means = d.as_ref().map(|d| d.means.clone()).unwrap_or_default();
                row.push(means.operations.to_string());
                let (rate, time) = (means.gib_per_second, means.duration_seconds);
                row.extend([rate, time, means.slowest_rank_seconds].map(|x| number(x, 3)));
            }
        }
        row.push(hash(run));
        table.rows.push(row);
    }
    table
}
