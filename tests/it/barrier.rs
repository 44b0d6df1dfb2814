//! How ranks wait for each other after each step: it changes no order, no step, no file and no figure of virtual time.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::support::*;

const BARRIERS: [&str; 2] = ["mpi", "shared"];

fn files_below(folder: &Path, into: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        into.insert(path.display().to_string());
        if path.is_dir() {
            files_below(&path, into);
        }
    }
}

/// Times of the steps of an epoch.
fn times_of(epoch: &Value) -> Value {
    let of = |name: &str| {
        assert!(!epoch[name]["block1"].as_array().unwrap().is_empty());
        epoch[name].clone()
    };
    ["load", "proc", "compute"].into_iter().map(of).collect()
}

/// What a run leaves, without wall-clock labels and the host's free memory: summary, order digest, steps, names of files.
fn left_by(ranks: usize, barrier: &str) -> (Value, Value, Value, BTreeSet<String>) {
    let scratch = Scratch::new();
    let mut command = mpirun(ranks);
    command.args([
        "workload=quickstart",
        "workflow.generate_data=false",
        "storage.storage_type=model",
        "storage.storage_options.latency=0.02",
        "dataset.num_files_train=83",
        "reader.batch_size=2",
        "reader.read_threads=2",
        "train.epochs=3",
        "train.computation_time={type: normal, mean: 0.01, stdev: 0.003}",
        "--virtual-time",
        "--quiet",
    ]);
    command.arg(format!("cluster.barrier={barrier}"));
    command.arg("--output").arg(scratch.path("out"));
    run(command).ok();
    let out = scratch.path("out");
    let mut summary = json(&out.join("summary.json"));
    for label in ["start", "end", "host_meminfo"] {
        summary[label].take();
    }
    let report = json(&out.join("report.json"));
    assert_eq!(report["provenance"]["barrier"], barrier);
    let steps: Vec<Value> = (0..ranks)
        .map(|rank| json(&out.join(format!("{rank}_output.json"))))
        .map(|rank| Value::from_iter((1..=3).map(|epoch| times_of(&rank[epoch.to_string()]))))
        .collect();
    let mut files = BTreeSet::new();
    files_below(&out, &mut files);
    let prefix = out.display().to_string();
    let files = files.iter().map(|f| f.replace(&prefix, "")).collect();
    (summary, report["order_digest"].clone(), steps.into(), files)
}

#[test]
fn every_barrier_gives_the_same_order_steps_files_and_virtual_times() {
    for ranks in [1, 2, 5, 8] {
        let [mpi, shared] = BARRIERS.map(|barrier| left_by(ranks, barrier));
        assert_eq!(mpi, shared, "{ranks} ranks");
    }
}

#[test]
fn a_rank_that_fails_in_an_epoch_ends_all_with_every_barrier() {
    for barrier in BARRIERS {
        let scratch = Scratch::new();
        // Three steps of two samples on each of five ranks: no sample is dropped.
        let words = small(&scratch, 30);
        let mut command = mpirun(2);
        command
            .args(&words)
            .args(["workflow.train=false", "--quiet"]);
        run(command).ok();
        // Found when it is read, and by one of five ranks.
        let data = std::fs::read_dir(scratch.path("data/train")).unwrap();
        let file = data.map(|e| e.unwrap().path()).max().unwrap();
        let bytes = vec![0x55; std::fs::metadata(&file).unwrap().len() as usize];
        std::fs::write(&file, bytes).unwrap();
        let mut command = mpirun(5);
        command.args(&words).arg("workflow.generate_data=false");
        command.args(["reader.decode=verify", "--quiet"]);
        command.arg(format!("cluster.barrier={barrier}"));
        let name = file.file_name().unwrap().to_str().unwrap();
        run(command).fails(1, &["rank ", " failed to ", name]);
    }
}

/// Nice values of the threads of a process, main thread first and then those with this name's beginning, as the kernel has them.
fn nice_values(pid: u32, name: &str) -> (i64, Vec<i64>) {
    let nice_of = |task: &str| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/task/{task}/stat"));
        let stat = stat.unwrap_or_default();
        let (head, fields) = stat.rsplit_once(')').unwrap_or_default();
        // The nice value is field 19; the name is field 2.
        let nice = fields.split_whitespace().nth(16);
        let is_named = head
            .split_once('(')
            .is_some_and(|(_, n)| n.starts_with(name));
        (
            is_named,
            nice.map_or(i64::MAX, |nice| nice.parse().unwrap()),
        )
    };
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let tasks = tasks.map(|task| task.unwrap().file_name().into_string().unwrap());
    let named = tasks
        .map(|task| nice_of(&task))
        .filter(|(is_named, _)| *is_named);
    (
        nice_of(&pid.to_string()).1,
        named.map(|(_, nice)| nice).collect(),
    )
}

#[test]
fn reader_threads_go_after_the_main_thread() {
    let scratch = Scratch::new();
    let mut command = solo();
    command.args(small(&scratch, 8));
    command.args(["reader.read_threads=2", "train.computation_time=600"]);
    command.args(["train.epochs=1", "--quiet"]);
    let mut child = start(command);
    let pid = child.id();
    wait_for(60, || {
        let (main, readers) = nice_values(pid, "reader-");
        readers == [(main + 10).min(19); 2]
    });
    child.kill().unwrap();
    child.wait().unwrap();
}
