//! Times of steps, which DLIO keeps too.

use std::collections::BTreeMap;

use super::foreign::{Document, Output};
use super::leaf::Leaf;
use crate::metrics::series::Spread;
use crate::util::text::is_digits;

/// Kinds of time, for people and in DLIO's files.
pub(crate) const KINDS: [(&str, &str); 3] = [
    ("load", "load"),
    ("load + compute", "proc"),
    ("compute", "compute"),
];

/// Seconds of every step by kind of time, of all ranks. Files that are no JSON hold none.
pub(crate) fn steps(leaf: &Leaf) -> BTreeMap<&'static str, Vec<f64>> {
    let mut out: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
    let of_ranks = leaf
        .files
        .iter()
        .filter(|name| name.strip_suffix("_output.json").is_some_and(is_digits));
    for name in of_ranks {
        let document: Document<Output> = Document::json(&leaf.path.join(name));
        let epochs = document.value().into_iter().flat_map(|o| &o.epochs);
        for (_, epoch) in epochs.filter(|(key, _)| is_digits(key)) {
            for (kind, blocks) in [
                ("load", &epoch.load),
                ("proc", &epoch.proc),
                ("compute", &epoch.compute),
            ] {
                let steps = blocks.iter().filter(|(key, _)| key.starts_with("block"));
                let all = out.entry(kind).or_default();
                all.extend(steps.flat_map(|(_, list)| list));
            }
        }
    }
    out
}

/// The median, milliseconds.
pub(crate) fn median_ms(seconds: &[f64]) -> Option<f64> {
    let spread = Spread::of(seconds.iter().copied());
    (!seconds.is_empty()).then_some(spread.median * 1e3)
}
