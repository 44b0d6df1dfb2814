//! Numbers of DLIO's own formulas, cross-checked against its class for selected ranks.

use super::*;
use crate::config::{CheckpointMode, Workload};

/// Name, layers, hidden, ffn, heads, kv heads, vocabulary.
type Shape = (&'static str, i64, u64, u64, u64, u64, u64);

const B7: Shape = ("7b", 32, 4096, 11008, 32, 32, 32000);
const B8: Shape = ("8b", 32, 4096, 14336, 32, 8, 128256);
const B70: Shape = ("70b", 80, 8192, 28672, 128, 8, 128256);
const B405: Shape = ("405b", 126, 16384, 53248, 128, 8, 128256);
const T1: Shape = ("1t", 128, 25872, 98304, 192, 32, 128256);

fn workload(shape: Shape, tp: u64, pp: u64, zero: u64, data: Option<i64>) -> Workload {
    let mut w = Workload::default();
    let (name, layers, hidden, ffn, heads, kv, vocab) = shape;
    w.model.name = name.into();
    w.model.kind = Some("transformer".into());
    w.model.num_layers = layers;
    let t = &mut w.model.transformer;
    t.hidden_size = hidden;
    t.ffn_hidden_size = ffn;
    t.num_attention_heads = heads;
    t.num_kv_heads = kv;
    t.vocab_size = vocab;
    let p = &mut w.model.parallelism;
    p.tensor = tp;
    p.pipeline = pp;
    p.zero_stage = zero;
    if let Some(data) = data {
        p.data = data;
        w.checkpoint.mode = CheckpointMode::Subset;
    }
    w
}

fn plan(w: &Workload, ranks: usize) -> CheckpointPlan {
    CheckpointPlan::new(&w.model, w.checkpoint.mode, ranks).unwrap()
}

/// Parallelism (tp, pp, zero, data of a subset), ranks, parameters, then bytes: model, optimizer, total; files; then
/// rank 0's model, optimizer and files.
type Row = (
    Shape,
    (u64, u64, u64, Option<i64>),
    usize,
    u128,
    [u64; 3],
    u64,
    [u64; 2],
    usize,
);

#[rustfmt::skip]
const ROWS: [Row; 14] = [
    (B8, (1, 1, 3, None), 8, 8030261248, [16060522496, 96365101056, 112425623552], 16, [2007565312, 12045637632], 2),
    (B8, (1, 1, 3, None), 1, 8030261248, [16060522496, 96363380736, 112423903232], 2, [16060522496, 96363380736], 2),
    (B70, (8, 1, 3, None), 64, 69882617856, [139783700480, 838622871552, 978406572032], 128, [2184120320, 13103482368], 2),
    (B70, (8, 1, 3, Some(8)), 8, 69882617856, [17472962560, 104827858944, 122300821504], 16, [2184120320, 13103482368], 2),
    (B70, (8, 4, 1, None), 64, 69882617856, [139783700480, 838622871552, 978406572032], 728, [4499570688, 13103482368], 22),
    (B70, (8, 4, 1, None), 32, 69882617856, [139783700480, 838607142912, 978390843392], 696, [4499570688, 26206473216], 22),
    (B405, (8, 32, 1, None), 512, 405853388800, [811764809728, 4870743982080, 5682508791808], 1544, [3713269760, 9513171840], 6),
    (B405, (8, 32, 1, None), 256, 405853388800, [811764809728, 4870492323840, 5682257133568], 1288, [3713269760, 19025360640], 6),
    (B405, (8, 32, 1, Some(2)), 8, 405853388800, [29706158080, 76105374720, 105811532800], 48, [3713269760, 9513171840], 6),
    (T1, (8, 64, 1, None), 1024, 1183035102480, [2366163292416, 14198010802176, 16564174094592], 2072, [5425047936, 13865244924], 4),
    (T1, (8, 64, 1, None), 512, 1183035102480, [2366163292416, 14197216014336, 16563379306752], 1560, [5425047936, 27728937528], 4),
    (T1, (8, 64, 1, Some(2)), 8, 1183035102480, [43400383488, 110921959392, 154322342880], 32, [5425047936, 13865244924], 4),
    (B7, (1, 1, 1, None), 8, 6738415616, [13476831232, 80862953472, 94339784704], 9, [13476831232, 10107869184], 2),
    (B7, (1, 1, 3, None), 8, 6738415616, [13476831232, 80862953472, 94339784704], 16, [1684603904, 10107869184], 2),
];

#[test]
fn published_models_have_dlios_sizes_to_the_byte() {
    for (shape, (tp, pp, zero, data), ranks, parameters, bytes, files, first, first_files) in ROWS {
        let plan = plan(&workload(shape, tp, pp, zero, data), ranks);
        let t = plan.totals();
        let name = format!("{} on {ranks} ranks", shape.0);
        assert_eq!(plan.parameters(), parameters, "{name}");
        assert_eq!(
            [t.model_bytes, t.optimizer_bytes, t.bytes()],
            bytes,
            "{name}"
        );
        assert_eq!(t.dlio_bytes, bytes[2], "{name}");
        assert_eq!(t.files, files, "{name}");
        let rank0 = plan.rank(0);
        assert_eq!(
            [
                rank0.bytes_of(State::Layers),
                rank0.bytes_of(State::Optimizer)
            ],
            first,
            "{name}"
        );
        assert_eq!(rank0.files.len(), first_files, "{name}");
        assert_eq!(t.rank_bytes[0], first[0] + first[1], "{name}");
    }
}

#[test]
fn with_zero_1_the_second_replica_writes_optimizer_state_only() {
    for (shape, pp, ranks, bytes) in [
        (B405, 32, 512, 9513171840),
        (T1, 64, 1024, 13865244924),
        (B70, 4, 64, 13103482368),
    ] {
        let plan = plan(&workload(shape, 8, pp, 1, None), ranks);
        let last = plan.rank(ranks as u64 - 1);
        assert_eq!((last.bytes(), last.files.len()), (bytes, 1));
        assert!(last.files[0].name.starts_with("zero_pp_rank_1_mp_rank_"));
    }
}

fn small(tp: u64, pp: u64, zero: u64) -> Workload {
    workload(("small", 5, 64, 96, 4, 2, 100), tp, pp, zero, None)
}

fn names(plan: &RankPlan) -> Vec<&str> {
    plan.files.iter().map(|f| f.name.as_str()).collect()
}

#[test]
fn zero_2_writes_once_what_dlio_counts_for_every_replica() {
    let t = plan(&small(1, 1, 2), 4).totals();
    let once = plan(&small(1, 1, 1), 4).totals();
    assert_eq!(t.bytes(), once.bytes());
    assert_eq!(t.dlio_bytes, t.bytes() + 3 * t.model_bytes);
}

#[test]
fn legacy_keys_give_int8_tensors() {
    let mut w = Workload::default();
    w.model.model_size_bytes = 0;
    w.model.num_layers = 4;
    w.model.layer_parameters = vec![1000, 0, 30];
    w.model.optimization_groups = vec![7, 0, 5];
    w.model.parallelism.pipeline = 2;
    w.model.parallelism.zero_stage = 1;
    let p = plan(&w, 2);
    assert_eq!(
        names(&p.rank(1)),
        [
            "layer_3-model_1_model_states",
            "layer_4-model_1_model_states",
            "zero_pp_rank_0_mp_rank_1_optim_states"
        ]
    );
    let keys: Vec<_> = p.rank(0).files[2]
        .tensors
        .iter()
        .map(|t| (t.group.clone(), t.key.clone(), t.elements))
        .collect();
    let g = |s: &str| Some(s.to_owned());
    assert_eq!(
        keys,
        [
            (g("0"), "a".into(), 7),
            (g("0"), "b".into(), 7),
            (g("2"), "a".into(), 5),
            (g("2"), "b".into(), 5),
            (None, "combined".into(), 12)
        ]
    );
    assert_eq!(p.totals().bytes(), 4 * 1030 + 2 * 36);
    assert_eq!(p.totals().dlio_bytes, 0);
}

#[test]
fn a_flat_model_is_one_blob_of_the_first_rank() {
    let mut w = Workload::default();
    w.model.model_size_bytes = 4034713312;
    let p = plan(&w, 4);
    let t = p.totals();
    assert_eq!(
        (t.bytes(), t.files, t.dlio_bytes),
        (4034713312, 1, 4034713312)
    );
    assert_eq!(names(&p.rank(0)), ["model_states-0"]);
    assert_eq!(t.min_median_max(), [0, 0, 4034713312]);
}

#[test]
fn nonsense_is_refused() {
    let mut w = small(1, 1, 1);
    w.model.model_datatype = "fp8".into();
    let text = CheckpointPlan::new(&w.model, w.checkpoint.mode, 1)
        .unwrap_err()
        .to_string();
    assert!(text.contains("model.model_datatype=fp8"), "{text}");
    let mut w = small(1, 1, 1);
    w.model.transformer.num_attention_heads = 0;
    assert!(CheckpointPlan::new(&w.model, w.checkpoint.mode, 1).is_err());
    let mut w = small(1, 1, 1);
    w.model.transformer.hidden_size = 1 << 39;
    assert_eq!(
        CheckpointPlan::new(&w.model, w.checkpoint.mode, 1),
        Err(PlanError::TooLarge)
    );
    let mut w = small(1, 1, 1);
    w.model.parallelism.tensor = u64::MAX / 2;
    w.model.parallelism.pipeline = 3;
    assert_eq!(
        CheckpointPlan::new(&w.model, w.checkpoint.mode, 8),
        Err(PlanError::TooLarge)
    );
}
