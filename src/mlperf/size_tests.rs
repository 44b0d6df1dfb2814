//! The formula against figures of mlpstorage.

use super::*;
use serde_json::{Value, json};

/// Workload, bytes of a record, samples per file, batch size; GiB per host, hosts, accelerators; then by memory, by steps and
/// files, each rounded down and up; bytes. Figures of mlpstorage's own function; 184 GiB are those of a published result of 2026
/// that was still rounded down.
const VECTORS: &str = "\
unet3d 146600628 1 7         512 1 8   18750 18751       28000 28000   28000 28000       4104817584000
unet3d 146600628 1 7         128 1 4   4687 4688         14000 14000   14000 14000       2052408792000
unet3d 146600628 1 7         256 4 16  37500 37501       56000 56000   56000 56000       8209635168000
cosmoflow 2828486 1 1        512 1 8   971819 971820     4000 4000     971819 971820     2748779264520
resnet50 114660.07 1251 400  512 1 16  19163 19164       2557 2558     19163 19164       2748879322431
resnet50 114660.07 1251 400  64 1 64   2395 2396         10231 10232   10231 10232       1467675497136
retinanet 322957 1 24        512 1 8   8511284 8511285   96000 96000   8511284 8511285   2748779069745
unet3d 146600628 1 7         184 1 1   6738 6739         3500 3500     6738 6739     987941632092
retinanet 322957 1 36        754 4 16  50136788 50136789 288000 288000 50136788 50136789 16192026965073";

#[test]
fn sizes_are_those_of_the_harness() {
    for line in VECTORS.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let n = |at: usize| words[at].parse::<u128>().unwrap();
        let (record_text, gib) = (words[1], words[4]);
        let (samples, batch) = (n(2) as u64, n(3) as u64);
        let (hosts, accelerators) = (n(5) as u64, n(6) as u64);
        let (by_memory, by_steps, files, bytes) =
            ([n(7), n(8)], [n(9), n(10)], [n(11), n(12)], n(13));
        // Once as a number of JSON, once as text.
        for record in [
            serde_json::from_str(record_text).unwrap(),
            Value::from(record_text),
        ] {
            let parameters = json!({
                "dataset": {"num_samples_per_file": samples, "record_length_bytes": record},
                "reader": {"batch_size": batch},
            });
            let memory = memory_of_hosts(Ratio::decimal(gib).unwrap(), hosts).unwrap();
            let need = Need::of(&Parameters::of(&parameters), accelerators, memory).unwrap();
            let size = DatasetSize::new(need).unwrap();
            let both = |r: Ratio| [r.floor(), r.ceil()];
            let name = format!("{} {} x {}", record_text, gib, hosts);
            assert_eq!(both(size.by_memory), by_memory, "{name}");
            assert_eq!(both(size.by_steps), by_steps, "{name}");
            assert_eq!([size.files_floor(), size.files()], files, "{name}");
            assert_eq!(size.bytes(size.files()), Some(bytes), "{name}");
            let decided = match by_memory[1] > by_steps[1] {
                true => Term::Memory,
                false => Term::Steps,
            };
            assert_eq!(size.decided_by(), decided, "{name}");
        }
    }
}

#[test]
fn a_draw_is_decided_by_the_steps_and_a_whole_quotient_is_not_rounded_up() {
    let need = Need {
        memory_bytes: Ratio::whole(500),
        accelerators: 1,
        samples_per_file: 1,
        batch_size: 5,
        record: RecordLength {
            harness: Ratio::whole(1),
            dlio: Ratio::whole(1),
            from_columns: false,
        },
    };
    let size = DatasetSize::new(need).unwrap();
    assert_eq!(size.files(), 2500);
    assert_eq!(size.files_floor(), 2500);
    assert_eq!(size.decided_by(), Term::Steps);
    assert_eq!(size.steps(2500), Some(500));
}

/// 56 float32, 50 float16, 49 float64, 45 int8: 761 bytes for DLIO; the harness counts 4 for float16 and int8.
#[test]
fn parquet_columns_are_counted_by_both_tables() {
    let mut columns = Vec::new();
    for (dtype, n) in [
        ("float32", 56),
        ("float16", 50),
        ("float64", 49),
        ("int8", 45),
    ] {
        columns.extend((0..n).map(|_| json!({"dtype": dtype, "size": 1})));
    }
    let mut p = json!({"dataset": {"format": "parquet", "parquet": {"columns": columns}}});
    let r = RecordLength::of(&Parameters::of(&p)).unwrap();
    assert!(r.from_columns);
    assert_eq!(r.dlio, Ratio::whole(761));
    assert_eq!(r.harness, Ratio::whole(4 * (56 + 50 + 45) + 8 * 49));
    p["dataset"]["record_length_bytes"] = json!(761);
    let r = RecordLength::of(&Parameters::of(&p)).unwrap();
    assert_eq!((r.harness, r.from_columns), (Ratio::whole(761), false));
}

#[test]
fn what_is_no_number_is_named() {
    let record = |p: &Value| RecordLength::of(&Parameters::of(p));
    let need = |p: &Value, memory| Need::of(&Parameters::of(p), 1, Ratio::whole(memory));
    let is_unset =
        |e: SizeError, name: &str| matches!(e, SizeError::NotANumber { key, .. } if key == name);
    let bad = [
        json!(0),
        json!(-3),
        json!("many"),
        json!([1]),
        json!({}),
        json!(true),
    ];
    for bad in bad {
        let length = json!({"dataset": {"record_length_bytes": bad}});
        let name = "dataset.record_length_bytes";
        assert!(is_unset(record(&length).unwrap_err(), name));
        let samples = json!({
            "dataset": {"record_length_bytes": 1, "num_samples_per_file": bad},
            "reader": {"batch_size": 1},
        });
        let name = "dataset.num_samples_per_file";
        assert!(is_unset(need(&samples, 1).unwrap_err(), name));
        let batch = json!({"dataset": {"record_length_bytes": 1}, "reader": {"batch_size": bad}});
        assert!(is_unset(need(&batch, 1).unwrap_err(), "reader.batch_size"));
    }
    assert!(record(&json!({})).is_err());
    // As in a template that only generates.
    let only = json!({"dataset": {"record_length_bytes": 1}});
    assert!(is_unset(need(&only, 1).unwrap_err(), "reader.batch_size"));
    assert!(record(&json!({"dataset": {"record_length_bytes": 1e-300}})).is_err());
    let tiny = json!({"dataset": {"record_length_bytes": 1e-20}, "reader": {"batch_size": 1}});
    let size = DatasetSize::new(need(&tiny, u128::MAX).unwrap());
    assert!(matches!(size, Err(SizeError::TooLarge { .. })));
}

#[test]
fn subfolders_are_advised_above_ten_thousand_files() {
    let advised = [10_000, 10_001, 28_000, 50_136_789].map(subfolders);
    assert_eq!(advised, [0, 1, 2, 5013]);
}

#[test]
fn ranks_are_spread_in_whole_shares() {
    assert_eq!(ranks_of_hosts(10, 4), [3, 3, 2, 2]);
    assert_eq!(ranks_of_hosts(1, 2), [1, 0]);
}
