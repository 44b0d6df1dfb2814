use super::*;
use crate::cluster::Solo;
use crate::metrics::au::tests::block;
use crate::metrics::histogram::StageHistograms;
use crate::metrics::record::EpochRecord;
use crate::metrics::reduce::{ReduceInput, reduce};
use crate::stage::{Parts, Stage};

pub(crate) fn workload() -> Workload {
    let mut w = Workload::default();
    w.workflow.evaluation = true;
    w.dataset.num_files_train = 12;
    w.dataset.num_files_eval = 2;
    w.dataset.record_length_bytes = 1048576.0;
    w.reader.batch_size = 4;
    w
}

pub(crate) fn record() -> RankRecord {
    RankRecord {
        rank: 0,
        epochs: (1..=2)
            .map(|epoch| EpochRecord {
                epoch,
                start: "s".into(),
                end: "e".into(),
                train_ns: 976_000_000,
                // C = 200 ms, T = 1000 - 500 = 500 ms: AU 40, 16 samples/s.
                blocks: vec![BlockRecord {
                    wait_parts: Parts([40_000_000, 0, 0, 0, 0, 0]),
                    nominal_ns: 200_000_000,
                    ..block(1000, &[(400, 100, 0), (20, 100, 10), (20, 100, 10)])
                }],
                // Window 1..2: C = 90, T = 400: 22.5; 2 samples in 0.5 s.
                eval: Some(block(500, &[(10, 90, 0), (10, 90, 0)])),
                ..EpochRecord::default()
            })
            .collect(),
        ..RankRecord::default()
    }
}

pub(crate) fn host() -> HostFacts {
    HostFacts {
        name: "node0".into(),
        cpu_count: 2,
        memory_bytes: 1 << 30,
        cpuinfo: vec![("vendor_id".into(), "X".into())],
        meminfo: vec![("MemTotal".into(), "1048576 kB".into())],
        ..HostFacts::default()
    }
}

pub(crate) fn job() -> JobSummary {
    let mut h = StageHistograms::new();
    h.record(Stage::BatchWait, 20_000_000);
    let (record, w, host) = (record(), workload(), host());
    let input = ReduceInput {
        record: &record,
        histograms: &h,
        spec: &MetricSpec::of(&w, 1),
        host: &host,
        limits: &Default::default(),
        planned_bytes: 0,
        checkpoint_device_counter_valid: false,
        combine_digests: |d| d[0],
    };
    reduce(&Solo::new("node0".into()), &input).unwrap().unwrap()
}

fn keys(v: &Value) -> Vec<&str> {
    v.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn summary_has_dlios_figures() {
    let text = summary_json(&workload(), &job(), "a", "b");
    let v: Value = serde_json::from_str(&text).unwrap();
    let m = &v["metric"];
    assert_eq!(m["train_au_percentage"], json!([40.0, 40.0]));
    assert_eq!(m["train_au_meet_expectation"], "fail");
    assert_eq!(m["train_io_mean_MB_per_second"], json!(16.0));
    assert_eq!(m["eval_au_mean_percentage"], json!(22.5));
    assert_eq!(m["eval_throughput_samples_per_second"], json!([4.0, 4.0]));
    assert_eq!(
        (&v["host_memory_GB"], &v["potential_caching"]),
        (&json!([1.0]), &json!([1]))
    );
    assert_eq!(v["data_size_per_host_GB"], json!(12.0 / 1024.0));
    assert_eq!(v["epochs"], 2);
    assert!(text.contains("\n    \"host_cpuinfo\": {\n        \"vendor_id\": \"X\"\n    }"));
    assert!(!text.contains("null"));
}

#[test]
fn output_has_dlios_figures() {
    let v: Value = serde_json::from_str(&output_json(
        &record(),
        &MetricSpec::of(&workload(), 1),
        &host(),
        1,
        1,
    ))
    .unwrap();
    let e = &v["1"];
    assert_eq!(e["load"]["block1"], json!([0.4, 0.02, 0.02]));
    assert_eq!(e["proc"]["eval"], json!([0.1, 0.1]));
    assert_eq!(e["throughput"], json!({"block1": 16.0, "eval": 4.0}));
    assert_eq!(e["au"], json!({"block1": 40.0, "eval": 22.5}));
}

#[test]
fn per_epoch_stats_are_dlios() {
    let v: Value = serde_json::from_str(&per_epoch_stats_json(&record(), 0)).unwrap();
    assert_eq!(
        keys(&v["2"]),
        ["start", "block1", "end", "duration", "eval"]
    );
    assert_eq!(v["2"]["duration"], "0.98");
    assert_eq!(v["2"]["block1"]["duration"], "1.00");
}

#[test]
fn metric_block_is_dlios() {
    let rule = format!("[METRIC] {}\n", "=".repeat(58));
    assert_eq!(
        metric_block(&job()),
        format!(
            "Averaged metric over all steps/epochs\n{rule}\
             [METRIC] Number of Simulated Accelerators: 1 \n\
             [METRIC] Training Accelerator Utilization [AU] (%): 40.0000 (0.0000)\n\
             [METRIC] Training Throughput (samples/second): 16.0000 (0.0000)\n\
             [METRIC] Training I/O Throughput (MiB/second): 16.0000 (0.0000)\n\
             [METRIC] train_au_meet_expectation: fail\n\
             [METRIC] Eval Accelerator Utilization [AU] (%): 22.5000 (0.0000)\n\
             [METRIC] Eval Throughput (samples/second): 4.000000 (0.000000)\n\
             [METRIC] Eval Throughput (MiB/second): 4.000000 (0.000000)\n\
             [METRIC] eval_au_meet_expectation: fail\n{rule}"
        )
    );
}
