//! DLIO's result files: `summary.json`, `<r>_output.json`, `<r>_per_epoch_stats.json`.
//!
//! Keys and their order are DLIO's; "GB" and "MB" in its keys are binary units. Source: DLIO
//! `utils/statscounter.py`.

use serde_json::{Map, Value, json};

use super::{checkpoint, python};
use crate::config::{MetricFormula, Workload};
use crate::host::facts::HostFacts;
use crate::metrics::au::block_au;
use crate::metrics::record::{BlockRecord, EpochRecord, RankRecord};
use crate::metrics::spec::MetricSpec;
use crate::metrics::summary::{JobSummary, PhaseSummary};
use crate::metrics::throughput::{
    block_throughput, eval_throughput, host_potential_caching, rank_potential_caching,
};
use crate::util::units::MIB;

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

fn pairs(list: &[(String, String)]) -> Value {
    let entries = list
        .iter()
        .map(|(k, v)| (k.clone(), Value::from(v.as_str())));
    entries.collect::<Map<_, _>>().into()
}

/// The nine keys of a phase, with `prefix` train or eval.
fn phase(metric: &mut Map<String, Value>, prefix: &str, p: &PhaseSummary, record_size: f64) {
    let t = &p.throughput;
    for (key, value) in [
        ("au_percentage", json!(p.au_percent.values)),
        ("au_mean_percentage", json!(p.au_percent.mean)),
        ("au_meet_expectation", json!(p.verdict())),
        ("au_stdev_percentage", json!(p.au_percent.stdev)),
        ("throughput_samples_per_second", json!(t.values)),
        ("throughput_mean_samples_per_second", json!(t.mean)),
        ("throughput_stdev_samples_per_second", json!(t.stdev)),
        ("io_mean_MB_per_second", json!(t.mean * record_size / MIB)),
        ("io_stdev_MB_per_second", json!(t.stdev * record_size / MIB)),
    ] {
        metric.insert(format!("{prefix}_{key}"), value);
    }
}

/// Text of `summary.json`; `start` and `end` are wall-clock labels. Never holds NaN: a job without
/// epochs has means of 0.
pub fn summary_json(w: &Workload, s: &JobSummary, start: &str, end: &str) -> String {
    let mut metric = Map::new();
    if let Some(c) = &s.checkpoint {
        checkpoint::summary_metrics(&mut metric, c);
    }
    if let Some(train) = &s.train {
        phase(&mut metric, "train", train, s.record_size_bytes);
    }
    if let Some(eval) = &s.eval {
        phase(&mut metric, "eval", eval, s.record_size_bytes);
    }
    let first = s.hosts.first().map(|h| &h.facts);
    let data = s.data_size_per_host_gib;
    let of_hosts = |f: &dyn Fn(&HostFacts) -> Value| -> Value {
        s.hosts.iter().map(|h| f(&h.facts)).collect()
    };
    let empty = Value::Object(Map::new());
    let summary = json!({
        "start": start,
        "num_accelerators": s.ranks,
        "num_hosts": s.hosts.len(),
        "hostname": first.map_or("", |h| h.name.as_str()),
        "metric": metric,
        "num_files_train": w.dataset.num_files_train,
        "num_files_eval": w.dataset.num_files_eval,
        "num_samples_per_file": w.dataset.num_samples_per_file,
        "host_cpu_count": of_hosts(&|h| json!(h.cpu_count)),
        "host_processor_name": "",
        "potential_caching": of_hosts(&|h| json!(host_potential_caching(data, h.memory_gib()))),
        "host_cpuinfo": first.map_or(empty.clone(), |h| pairs(&h.cpuinfo)),
        "host_meminfo": first.map_or(empty, |h| pairs(&h.meminfo)),
        "host_memory_GB": of_hosts(&|h| json!(h.memory_gib())),
        "data_size_per_host_GB": data,
        "epochs": s.epochs.len(),
        "end": end,
    });
    python::to_string(&summary)
}

fn steps(block: &BlockRecord, f: impl Fn(&crate::metrics::record::StepTime) -> u64) -> Value {
    block.steps.iter().map(|s| json!(seconds(f(s)))).collect()
}

/// Key, steps, samples per second, AU percent.
type Phase<'a> = (String, &'a BlockRecord, f64, f64);

/// Text of `<r>_output.json` of one rank.
pub fn output_json(
    record: &RankRecord,
    spec: &MetricSpec,
    host: &HostFacts,
    ranks: usize,
    local_ranks: usize,
) -> String {
    let memory = host.memory_gib();
    let data = spec.data_size_per_host_gib(local_ranks, ranks);
    let checkpoints = record.checkpoints.span.as_ref().map(|(start, end)| {
        json!({
            "start": start,
            "load": {}, "proc": {}, "throughput": {}, "au": {}, "compute": {},
            "end": end,
        })
    });
    python::object(|entry| {
        entry("host_memory_GB", &json!(memory));
        entry("host_cpu_count", &json!(host.cpu_count));
        entry("host_processor_name", &json!(""));
        let caching = rank_potential_caching(data, memory);
        entry("potential_caching", &json!(caching));
        entry("host_cpuinfo", &pairs(&host.cpuinfo));
        entry("host_meminfo", &pairs(&host.meminfo));
        let of_epoch = |e: &EpochRecord| output_epoch(e, spec);
        epochs(&record.epochs, of_epoch, checkpoints, entry);
        entry("hostname", &json!(host.name));
    })
}

/// The entries of epochs, by their numbers. What belongs to all checkpoints of a job stands in the place of epoch 1, as in DLIO.
fn epochs(
    epochs: &[EpochRecord],
    value_of: impl Fn(&EpochRecord) -> Value,
    mut checkpoints: Option<Value>,
    entry: &mut dyn FnMut(&str, &Value),
) {
    for e in epochs {
        let first = checkpoints.take_if(|_| e.epoch == 1);
        entry(&e.epoch.to_string(), &first.unwrap_or_else(|| value_of(e)));
    }
    if let Some(checkpoints) = checkpoints {
        entry("1", &checkpoints);
    }
}

/// What `<r>_output.json` holds of an epoch.
fn output_epoch(e: &EpochRecord, spec: &MetricSpec) -> Value {
    let formula = spec.formula;
    let names = (1..=e.blocks.len()).map(|b| format!("block{b}"));
    let mut phases: Vec<Phase> = names
        .zip(&e.blocks)
        .map(|(name, b)| {
            let window = spec.train;
            let rate = block_throughput(formula, b, window, spec.batch_size);
            (name, b, rate, block_au(formula, b, window))
        })
        .collect();
    if let Some(b) = &e.eval {
        let rate = eval_throughput(b, spec.batch_size_eval);
        let au = block_au(formula, b, spec.eval);
        phases.push(("eval".into(), b, rate, au));
    }
    let map = |f: &dyn Fn(&Phase) -> Value| -> Value {
        let entries = phases.iter().map(|p| (p.0.clone(), f(p)));
        entries.collect::<Map<_, _>>().into()
    };
    json!({
        "load": map(&|p| steps(p.1, |s| s.load_ns)),
        "proc": map(&|p| steps(p.1, |s| s.proc_ns)),
        "throughput": map(&|p| json!(p.2)),
        "au": map(&|p| json!(p.3)),
        "compute": map(&|p| steps(p.1, |s| s.compute_ns)),
        "host_meminfo": pairs(&e.host_meminfo.pairs()),
        "end": e.end,
    })
}

fn two_decimals(ns: u64) -> Value {
    json!(format!("{:.2}", seconds(ns)))
}

/// Text of `<r>_per_epoch_stats.json` of one rank. Durations are strings with two decimals, as DLIO's, but those of
/// checkpoints are numbers. `size_bytes` is DLIO's size of a checkpoint of the whole job.
pub fn per_epoch_stats_json(record: &RankRecord, size_bytes: u64) -> String {
    let checkpoints = &record.checkpoints;
    let saved = |epoch: u64, block: u64| {
        (checkpoints.records.iter())
            .filter(move |r| r.epoch == epoch && r.number == block)
            .map(|r| checkpoint::epoch_entry(r, size_bytes))
    };
    let timed = |b: &BlockRecord| json!({"start": b.start, "end": b.end, "duration": two_decimals(b.wall_ns)});
    let of_epoch = |e: &EpochRecord| {
        let mut epoch = Map::new();
        epoch.insert("start".into(), json!(e.start));
        for (i, b) in e.blocks.iter().enumerate() {
            epoch.insert(format!("block{}", i + 1), timed(b));
            epoch.extend(saved(e.epoch, i as u64 + 1));
        }
        epoch.insert("end".into(), json!(e.end));
        epoch.insert("duration".into(), two_decimals(e.train_ns));
        if let Some(b) = &e.eval {
            epoch.insert("eval".into(), timed(b));
        }
        epoch.into()
    };
    let all = checkpoints.span.as_ref().map(|(start, end)| {
        let mut epoch = Map::new();
        epoch.insert("start".into(), json!(start));
        epoch.extend((checkpoints.records.iter()).map(|r| checkpoint::epoch_entry(r, size_bytes)));
        epoch.insert("end".into(), json!(end));
        Value::from(epoch)
    });
    python::object(|entry| epochs(&record.epochs, of_epoch, all, entry))
}

/// The metric block of `dlio.log`, from its first line to its last rule, with a final line break.
/// Units: samples per second, MiB per second.
pub fn metric_block(s: &JobSummary) -> String {
    const RULE: &str = "[METRIC] ==========================================================\n";
    let unit = match s.formula {
        MetricFormula::V3 => "MiB",
        MetricFormula::V2 => "MB",
    };
    let mib = s.record_size_bytes / MIB;
    let phase = |p: &PhaseSummary, name: &str, key: &str, io: &str, digits: usize| {
        let (a, t) = (&p.au_percent, &p.throughput);
        format!(
            "[METRIC] {name} Accelerator Utilization [AU] (%): {:.4} ({:.4})\n\
             [METRIC] {name} Throughput (samples/second): {:.digits$} ({:.digits$})\n\
             [METRIC] {name} {io} ({unit}/second): {:.digits$} ({:.digits$})\n\
             [METRIC] {key}_au_meet_expectation: {}\n",
            a.mean,
            a.stdev,
            t.mean,
            t.stdev,
            t.mean * mib,
            t.stdev * mib,
            p.verdict()
        )
    };
    let mut out = format!("Averaged metric over all steps/epochs\n{RULE}");
    out += &format!("[METRIC] Number of Simulated Accelerators: {} \n", s.ranks);
    if let Some(p) = &s.train {
        out += &phase(p, "Training", "train", "I/O Throughput", 4);
    }
    if let Some(c) = &s.checkpoint {
        out += &checkpoint::metric_lines(c, s.formula);
    }
    if let Some(p) = &s.eval {
        out += &phase(p, "Eval", "eval", "Throughput", 6);
    }
    out + RULE
}

#[cfg(test)]
#[path = "dlio_tests.rs"]
pub(crate) mod tests;
