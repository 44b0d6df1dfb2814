//! The rules on synthetic results, against what mlpstorage's own checks were seen to find in them.

mod bad_input;
mod groups;
mod published;
mod runs;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::mlperf::editions::Edition;
use crate::mlperf::verdict::{Assessment, Finding, Verdict};

/// A built-in workload, changed.
pub fn builtin(name: &str, change: impl FnOnce(&mut Value)) -> Value {
    let yaml = crate::config::builtin(name).unwrap();
    let mut workload = serde_json::to_value(crate::config::yaml::parse(yaml).unwrap().0).unwrap();
    change(&mut workload);
    workload
}

/// A run's folder to be written.
pub struct Made {
    pub summary: Value,
    pub workload: Value,
    pub words: Vec<String>,
    pub metadata: Value,
    pub prefix: &'static str,
}

impl Made {
    /// unet3d on 8 h100 and 512 GiB, 28000 files, as mlpstorage v2.0 would have had it run.
    pub fn unet3d() -> Made {
        Made {
            summary: json!({
                "start": "2026-01-31T12:00:00.000000",
                "num_accelerators": 8,
                "num_hosts": 1,
                "hostname": "n1",
                "metric": {
                    "train_au_percentage": [95.0, 95.0, 95.0, 95.0, 95.0],
                    "train_au_mean_percentage": 95.0,
                    "train_au_meet_expectation": "success",
                    "train_au_stdev_percentage": 0.0,
                    "train_throughput_samples_per_second": [160.0, 160.0, 160.0, 160.0, 160.0],
                    "train_throughput_mean_samples_per_second": 160.0,
                    "train_throughput_stdev_samples_per_second": 0.0,
                    "train_io_mean_MB_per_second": 22369.0,
                    "train_io_stdev_MB_per_second": 0.0,
                },
                "num_files_train": 28000,
                "num_files_eval": 0,
                "num_samples_per_file": 1,
                "host_cpu_count": [64],
                "host_memory_GB": [512.0],
                "epochs": 5,
                "end": "2026-01-31T12:10:00.000000",
            }),
            workload: builtin("unet3d_h100", |w| {
                w["dataset"]["data_folder"] = json!("/data/unet3d");
                w["dataset"]["num_files_train"] = json!(28000);
            }),
            words: [
                "workload=unet3d_h100",
                "++workload.dataset.num_files_train=28000",
                "++workload.dataset.data_folder=/data/unet3d",
            ]
            .map(str::to_owned)
            .to_vec(),
            metadata: json!({
                "benchmark_type": "training",
                "model": "unet3d",
                "command": "run",
                "accelerator": "h100",
                "parameters": {"dataset": {"num_files_train": "28000"}},
                "args": {"data_dir": "/data", "results_dir": "/results", "hosts": ["n1"]},
            }),
            prefix: "training_run",
        }
    }

    /// llama3-8b on 8 ranks, writing and reading so many checkpoints.
    pub fn llama3_8b(written: i64, read: i64) -> Made {
        let mut metric = json!({"checkpoint_size_GB": 105.0});
        for (n, word) in [(written, "save"), (read, "load")] {
            if n > 0 {
                metric[format!("{word}_checkpoint_io_mean_GB_per_second")] = json!(20.0);
                metric[format!("{word}_checkpoint_duration_mean_seconds")] = json!(5.0);
            }
        }
        let mut made = Made::unet3d();
        made.summary["metric"] = metric;
        made.workload = builtin("llama3_8b", |w| {
            w["checkpoint"]["checkpoint_folder"] = json!("/ck/llama3-8b");
            w["checkpoint"]["num_checkpoints_write"] = json!(written);
            w["checkpoint"]["num_checkpoints_read"] = json!(read);
        });
        made.words = vec![
            "workload=llama3_8b".into(),
            format!("++workload.checkpoint.num_checkpoints_read={read}"),
            format!("++workload.checkpoint.num_checkpoints_write={written}"),
            "++workload.checkpoint.checkpoint_folder=/ck/llama3-8b".into(),
        ];
        made.metadata = json!({
            "benchmark_type": "checkpointing",
            "model": "llama3-8b",
            "command": "run",
            "args": {"checkpoint_folder": "/ck", "results_dir": "/results"},
        });
        made.prefix = "checkpointing_run";
        made
    }

    pub fn at(mut self, start: &str, end: &str) -> Made {
        self.summary["start"] = json!(start);
        self.summary["end"] = json!(end);
        self
    }

    /// As Python's json writes it.
    pub fn write(&self, folder: &Path) {
        let config = folder.join("dlio_config");
        fs::create_dir_all(&config).unwrap();
        let put = |name: &str, text: String| fs::write(folder.join(name), text).unwrap();
        put("summary.json", format!("{:#}", self.summary));
        for name in ["0_output.json", "0_per_epoch_stats.json"] {
            put(name, "{}".into());
        }
        for name in ["stdout", "stderr"] {
            put(&format!("{}.{name}.log", self.prefix), "x".into());
        }
        put("dlio.log", "[OUTPUT] x".into());
        let mut metadata = self.metadata.clone();
        if metadata.get("parameters").is_some() {
            // mlpstorage keeps the whole workload.
            metadata["parameters"] = self.workload.clone();
        }
        let name = format!("{}_metadata.json", self.prefix);
        put(&name, metadata.to_string());
        // JSON is YAML.
        let yaml = |name: &str, value: Value| {
            fs::write(config.join(name), serde_yaml::to_string(&value).unwrap()).unwrap();
        };
        yaml("config.yaml", json!({"workload": self.workload}));
        yaml("overrides.yaml", json!(self.words));
        yaml("hydra.yaml", json!({"hydra": {}}));
    }
}

/// A folder with one run.
pub fn one(made: &Made) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("20260131_120000");
    made.write(&folder);
    (dir, folder)
}

/// What is found of one run.
pub fn assess(made: &Made, edition: Edition) -> Assessment {
    let (_dir, folder) = one(made);
    assess_folder(&folder, edition)
}

pub fn assess_folder(folder: &Path, edition: Edition) -> Assessment {
    let checked = super::engine::folder(folder, edition).unwrap();
    assert_eq!(checked.assessments.len(), 1);
    checked.assessments.into_iter().next().unwrap()
}

pub fn failed<'a>(assessment: &'a Assessment, rule: &str) -> Vec<&'a Finding> {
    let findings = assessment.findings.iter();
    let failed = findings.filter(|f| f.verdict == Verdict::Fail && f.rule == rule);
    failed.collect()
}

/// The first finding of a rule.
pub fn finding<'a>(assessment: &'a Assessment, rule: &str) -> Option<&'a Finding> {
    assessment.findings.iter().find(|f| f.rule == rule)
}

pub fn verdict(assessment: &Assessment, rule: &str) -> Option<Verdict> {
    finding(assessment, rule).map(|f| f.verdict)
}

/// Rules that failed, once each.
pub fn failures(assessment: &Assessment) -> Vec<&'static str> {
    let findings = assessment.findings.iter();
    let failed = findings.filter(|f| f.verdict == Verdict::Fail);
    let mut out: Vec<_> = failed.map(|f| f.rule).collect();
    out.dedup();
    out
}
