//! The formula against figures of mlpstorage.

use super::*;
use serde_json::json;

struct Vector {
    record: &'static str,
    samples: u64,
    batch: u64,
    gib: &'static str,
    hosts: u64,
    accelerators: u64,
    by_memory: [u128; 2],
    by_steps: [u128; 2],
    files: [u128; 2],
    bytes: u128,
}

const UNET3D: (&str, u64, u64) = ("146600628", 1, 7);
const COSMOFLOW: (&str, u64, u64) = ("2828486", 1, 1);
const RESNET50: (&str, u64, u64) = ("114660.07", 1251, 400);
const RETINANET_B200: (&str, u64, u64) = ("322957", 1, 24);
const RETINANET_MI355: (&str, u64, u64) = ("322957", 1, 36);

#[allow(clippy::too_many_arguments)]
fn vector(
    (record, samples, batch): (&'static str, u64, u64),
    gib: &'static str,
    hosts: u64,
    accelerators: u64,
    by_memory: [u128; 2],
    by_steps: [u128; 2],
    files: [u128; 2],
    bytes: u128,
) -> Vector {
    Vector {
        record,
        samples,
        batch,
        gib,
        hosts,
        accelerators,
        by_memory,
        by_steps,
        files,
        bytes,
    }
}

/// Figures of mlpstorage's own function.
#[test]
fn sizes_are_those_of_the_harness() {
    let vectors = [
        vector(
            UNET3D,
            "512",
            1,
            8,
            [18750, 18751],
            [28000, 28000],
            [28000, 28000],
            4_104_817_584_000,
        ),
        vector(
            UNET3D,
            "128",
            1,
            4,
            [4687, 4688],
            [14000, 14000],
            [14000, 14000],
            2_052_408_792_000,
        ),
        vector(
            UNET3D,
            "256",
            4,
            16,
            [37500, 37501],
            [56000, 56000],
            [56000, 56000],
            8_209_635_168_000,
        ),
        vector(
            COSMOFLOW,
            "512",
            1,
            8,
            [971819, 971820],
            [4000, 4000],
            [971819, 971820],
            2_748_779_264_520,
        ),
        vector(
            RESNET50,
            "512",
            1,
            16,
            [19163, 19164],
            [2557, 2558],
            [19163, 19164],
            2_748_879_322_431,
        ),
        vector(
            RESNET50,
            "64",
            1,
            64,
            [2395, 2396],
            [10231, 10232],
            [10231, 10232],
            1_467_675_497_136,
        ),
        vector(
            RETINANET_B200,
            "512",
            1,
            8,
            [8511284, 8511285],
            [96000, 96000],
            [8511284, 8511285],
            2_748_779_069_745,
        ),
        vector(
            RETINANET_MI355,
            "754",
            4,
            16,
            [50136788, 50136789],
            [288000, 288000],
            [50136788, 50136789],
            16_192_026_965_073,
        ),
    ];
    for v in vectors {
        // Once as a number of JSON, once as text.
        for record in [
            serde_json::from_str(v.record).unwrap(),
            Value::from(v.record),
        ] {
            let parameters = json!({
                "dataset": {"num_samples_per_file": v.samples, "record_length_bytes": record},
                "reader": {"batch_size": v.batch},
            });
            let memory = memory_of_hosts(Ratio::decimal(v.gib).unwrap(), v.hosts).unwrap();
            let need = Need::of(&parameters, v.accelerators, memory).unwrap();
            let size = DatasetSize::new(need).unwrap();
            let both = |r: Ratio| [r.floor(), r.ceil()];
            let name = format!("{} {} x {}", v.record, v.gib, v.hosts);
            assert_eq!(both(size.by_memory), v.by_memory, "{name}");
            assert_eq!(both(size.by_steps), v.by_steps, "{name}");
            assert_eq!([size.files_floor(), size.files()], v.files, "{name}");
            assert_eq!(size.bytes(size.files()), Some(v.bytes), "{name}");
            let decided = if v.by_memory[1] > v.by_steps[1] {
                Term::Memory
            } else {
                Term::Steps
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
    let r = RecordLength::of(&p).unwrap();
    assert!(r.from_columns);
    assert_eq!(r.dlio, Ratio::whole(761));
    assert_eq!(r.harness, Ratio::whole(4 * (56 + 50 + 45) + 8 * 49));
    p["dataset"]["record_length_bytes"] = json!(761);
    let r = RecordLength::of(&p).unwrap();
    assert_eq!((r.harness, r.from_columns), (Ratio::whole(761), false));
}

#[test]
fn what_is_no_number_is_named() {
    for bad in [
        json!(0),
        json!(-3),
        json!("many"),
        json!([1]),
        json!({}),
        json!(true),
    ] {
        let p = json!({"dataset": {"record_length_bytes": bad}});
        assert!(matches!(
            RecordLength::of(&p),
            Err(SizeError::NotANumber { .. })
        ));
        let p = json!({"dataset": {"record_length_bytes": 1, "num_samples_per_file": bad}});
        assert!(Need::of(&p, 1, Ratio::whole(1)).is_err(), "{p}");
    }
    assert!(RecordLength::of(&json!({})).is_err());
    let p = json!({"dataset": {"record_length_bytes": 1e-300}});
    assert!(RecordLength::of(&p).is_err());
    let need = Need::of(
        &json!({"dataset": {"record_length_bytes": 1e-20}}),
        1,
        Ratio::whole(u128::MAX),
    );
    assert!(matches!(
        DatasetSize::new(need.unwrap()),
        Err(SizeError::TooLarge { .. })
    ));
}

#[test]
fn subfolders_are_advised_above_ten_thousand_files() {
    assert_eq!(
        [10_000, 10_001, 28_000, 50_136_789].map(subfolders),
        [0, 1, 2, 5013]
    );
}

/// Subsets of 8 by the rules' table: 70B 114 GB, 405B 94 GB, 1T 161 GB.
#[test]
fn checkpoint_shares_are_those_of_the_rules() {
    let total = |model: &str, ranks| {
        let llm = Llm::named(model).unwrap();
        harness_checkpoint_gb(llm, ranks).iter().sum::<f64>()
    };
    assert_eq!(total("llama3-8b", 8), 105.0);
    assert_eq!(total("llama3-70b", 64).round(), 911.0);
    assert_eq!(total("llama3-70b", 8).round(), 114.0);
    assert_eq!(total("llama3-405b", 8).round(), 94.0);
    assert_eq!(total("llama3-1t", 8).round(), 161.0);
    assert_eq!(total("llama3-405b", 512).round(), 5288.0);
}

#[test]
fn ranks_are_spread_in_whole_shares() {
    assert_eq!(ranks_of_hosts(10, 4), [3, 3, 2, 2]);
    assert_eq!(ranks_of_hosts(1, 2), [1, 0]);
}

/// A datasize that mlpstorage wrote for a published result of 2026 (one that still rounded down):
/// 184 GiB, one accelerator, 6738 files, 987795031464 bytes.
#[test]
fn a_published_datasize() {
    let parameters = json!({
        "dataset": {"num_samples_per_file": 1, "record_length_bytes": 146600628},
        "reader": {"batch_size": 7},
    });
    let memory = memory_of_hosts(Ratio::decimal("184.0").unwrap(), 1).unwrap();
    let size = DatasetSize::new(Need::of(&parameters, 1, memory).unwrap()).unwrap();
    assert_eq!([size.files_floor(), size.files()], [6738, 6739]);
    assert_eq!(size.bytes(6738), Some(987_795_031_464));
}
