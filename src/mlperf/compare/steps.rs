//! Times of steps, which DLIO keeps too.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::json::Document;
use super::super::leaf::Leaf;

/// Seconds of every step by kind of time, of all ranks. Files that are no JSON hold none.
pub(super) fn steps(leaf: &Leaf) -> BTreeMap<&'static str, Vec<f64>> {
    let mut out: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
    let files = leaf.files.iter().filter(|name| {
        name.strip_suffix("_output.json")
            .is_some_and(|rank| !rank.is_empty() && rank.bytes().all(|b| b.is_ascii_digit()))
    });
    for name in files {
        let document = Document::json(&leaf.path.join(name));
        let epochs = document.value().and_then(Value::as_object);
        for (key, epoch) in epochs.into_iter().flatten() {
            if !key.bytes().all(|b| b.is_ascii_digit()) {
                continue;
            }
            for kind in ["load", "proc", "compute"] {
                let blocks = epoch.get(kind).and_then(Value::as_object);
                for (block, list) in blocks.into_iter().flatten() {
                    if block.starts_with("block") {
                        let list = list.as_array().into_iter().flatten();
                        out.entry(kind)
                            .or_default()
                            .extend(list.filter_map(Value::as_f64));
                    }
                }
            }
        }
    }
    out
}

/// The median, milliseconds.
pub(super) fn median_ms(seconds: &[f64]) -> Option<f64> {
    let mut sorted = seconds.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = sorted.get(middle)?;
    let median = if sorted.len() % 2 == 1 {
        *upper
    } else {
        (sorted[middle - 1] + upper) / 2.0
    };
    Some(median * 1e3)
}
