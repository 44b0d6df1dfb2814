//! With what the run was made, and how to make it again.

use std::fmt::Write as _;

use serde_json::Value;

use super::View;
use super::markup::{
    Cell, details, escape, list, listed, map, missing, number, paragraph, table, words,
};
use crate::util::text::shell_word;

/// More of `report.json` than this is not carried along, bytes of the address that holds it.
const MOST: usize = 700_000;

/// Hosts that are listed.
const HOSTS: usize = 128;

pub(super) fn section(run: &View) -> Option<String> {
    let report = run.report;
    let mut out = String::new();
    let words_of = list(report, "/provenance/command_line").iter();
    let words_of = words_of.filter_map(Value::as_str).map(shell_word);
    let mut command: Vec<String> = words_of.collect();
    if let Some(ranks) = number(report, "/provenance/ranks").filter(|n| *n > 1.0)
        && !command.is_empty()
    {
        command.insert(0, format!("mpirun -np {ranks}"));
    }
    if command.is_empty() {
        out += &missing("the command", "Only report.json of dlio-rs has it");
    } else {
        let _ = writeln!(out, "<pre>{}</pre>", escape(&command.join(" ")));
    }
    out += &changes(report);
    out += &facts(run);
    out += &hosts(report);
    out += &libraries(report);
    let config = report.pointer("/provenance/config");
    if let Some(config) = config.filter(|c| !c.is_null()) {
        let text = serde_json::to_string_pretty(config).unwrap_or_default();
        let text = format!("<pre>{}</pre>\n", escape(&text));
        out += &details("Whole configuration", &text);
    }
    out += &download(report);
    Some(out)
}

/// What was set beside the workload's own file.
fn changes(report: &Value) -> String {
    let Some(changed) = map(report, "/provenance/changed") else {
        return String::new();
    };
    if changed.is_empty() {
        return paragraph("The configuration is that of the workload's file, unchanged.");
    }
    let rows: Vec<Vec<Cell>> = changed
        .iter()
        .map(|(key, origin)| {
            let pointer = format!("/provenance/config/{}", key.replace('.', "/"));
            let value = report.pointer(&pointer).map(Value::to_string);
            let value = value.unwrap_or_else(|| "-".into());
            let origin = origin.as_str().unwrap_or_default();
            vec![Cell::word(key), Cell::word(value), Cell::word(origin)]
        })
        .collect();
    let title = "<p><strong>Set beside the workload's file</strong></p>\n";
    title.to_owned() + &table("key|value|from".split('|'), &rows)
}

fn facts(run: &View) -> String {
    let report = run.report;
    let provenance = "version|git_commit|build_profile|mpi_library|kernel|affinity|thread_cpus|barrier|start|end";
    let provenance = provenance
        .split('|')
        .map(|key| (key.replace('_', " "), format!("/provenance/{key}")));
    let others = [
        ("comparability hash", "/provenance/core_config/hash"),
        ("order digest", "/order_digest"),
        ("run", "/provenance/run"),
        ("storage library", "/provenance/storage_library/name"),
    ];
    let others = others.map(|(name, place)| (name.to_owned(), place.to_owned()));
    let row = |(name, place): (String, String)| {
        Some(vec![Cell::word(name), Cell::word(words(report, &place)?)])
    };
    let mut rows: Vec<Vec<Cell>> = provenance.chain(others).filter_map(row).collect();
    if report.pointer("/provenance/ranks").is_some() {
        let ranks = Cell::at(report, "/provenance/ranks", "");
        rows.push(vec![Cell::word("ranks"), ranks]);
    }
    for folder in list(report, "/provenance/folders") {
        let word = |key: &str| folder[key].as_str().unwrap_or("-");
        let [role, host, path] = ["folder", "host", "path"].map(word);
        let [fs_type, source] = ["fs_type", "source"].map(word);
        let place = format!("{path} on {fs_type} of {source}");
        rows.push(vec![
            Cell::word(format!("{role} folder on {host}")),
            Cell::word(place),
        ]);
    }
    if rows.is_empty() {
        return String::new();
    }
    table("fact|value".split('|'), &rows)
}

fn hosts(report: &Value) -> String {
    const COLUMNS: [(&str, &str, &str); 8] = [
        ("host", "name", ""),
        ("ranks", "ranks", ""),
        ("CPUs", "cpu_count", ""),
        ("memory", "memory", "B"),
        ("CPU", "machine/cpu_model", ""),
        ("system", "machine/os_name", ""),
        ("kernel", "machine/kernel", ""),
        ("medium", "medium", ""),
    ];
    let n = list(report, "/hosts").len();
    if n == 0 {
        return String::new();
    }
    let places = (0..n.min(HOSTS)).map(|i| format!("/hosts/{i}"));
    let more = match n.saturating_sub(HOSTS) {
        0 => String::new(),
        more => paragraph(&format!("{more} more in report.json")),
    };
    let hosts = listed(report, places, &COLUMNS);
    details(&format!("Hosts ({n})"), &(hosts + &more))
}

fn libraries(report: &Value) -> String {
    let Some(libraries) = map(report, "/provenance/build/libraries") else {
        return String::new();
    };
    let version = |version: &Value| Cell::word(version.as_str().unwrap_or_default());
    let rows: Vec<Vec<Cell>> = libraries
        .iter()
        .map(|(name, v)| vec![Cell::word(name), version(v)])
        .collect();
    details("Libraries", &table("library|version".split('|'), &rows))
}

/// `report.json` within the page; of large jobs without its tables of ranks and evidence.
fn download(report: &Value) -> String {
    if report.get("schema_version").is_none() {
        return String::new();
    }
    let whole = address(report);
    let (address, note) = if whole.len() <= MOST {
        (whole, "every value of it is in this page")
    } else {
        let mut short = report.clone();
        for (place, lists) in [
            ("", &["ranks", "evidence", "epochs", "hosts"][..]),
            ("/checkpoint", &["ranks"]),
        ] {
            if let Some(map) = short.pointer_mut(place).and_then(Value::as_object_mut) {
                map.retain(|key, _| !lists.contains(&key.as_str()));
            }
        }
        (
            self::address(&short),
            "without its lists of ranks, hosts, epochs and evidence, which are too long for a page; the folder of results has the whole",
        )
    };
    format!(
        "<p><a download=\"report.json\" href=\"{address}\">report.json</a>: {}</p>\n",
        escape(note)
    )
}

/// As an address of data: only what an address or an attribute cannot hold is encoded.
fn address(report: &Value) -> String {
    let text = report.to_string();
    let mut out = String::from("data:application/json;charset=utf-8,");
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~,:{}[]/();=".contains(&byte) {
            out.push(byte as char);
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_address_holds_no_quote() {
        assert_eq!(
            address(&json!({"a": "<\"é"})),
            "data:application/json;charset=utf-8,{%22a%22:%22%3C%5C%22%C3%A9%22}"
        );
    }
}
