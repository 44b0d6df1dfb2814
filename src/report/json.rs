//! `report.json`: every figure of the run with its unit and the identifier of its formula.
//!
//! The formulas behind the identifiers are in `docs/metrics.md`.

use serde_json::{Value, json};

use crate::config::Workload;
use crate::metrics::summary::JobSummary;

use super::figures;
use super::provenance::Provenance;
use super::shown::Shown;

/// The whole report as a JSON value; what people read of it stands under `shown`.
pub fn report_json(
    workload: &Workload,
    s: &JobSummary,
    provenance: &Provenance,
    warnings: &[String],
) -> Value {
    let report = figures::report(Some(workload), s, provenance, warnings);
    let shown = json!(Shown::of(&report));
    let mut file = report.into_json();
    file["shown"] = shown;
    file
}

#[cfg(test)]
mod tests {
    use super::super::dlio::tests::{job, workload};
    use super::*;

    /// Every object with a `value` has a unit and a formula that docs/metrics.md explains.
    fn check(v: &Value, docs: &str, seen: &mut usize) {
        match v {
            Value::Object(o) => {
                if o.contains_key("value") {
                    assert!(o["unit"].is_string(), "{v}");
                    let id = o["formula"].as_str().unwrap();
                    assert!(
                        docs.contains(&format!("`{id}`")),
                        "docs/metrics.md lacks {id}"
                    );
                    *seen += 1;
                }
                o.values().for_each(|x| check(x, docs, seen));
            }
            Value::Array(a) => a.iter().for_each(|x| check(x, docs, seen)),
            _ => {}
        }
    }

    #[test]
    fn every_metric_has_unit_and_documented_formula() {
        let mut job = job();
        job.checkpoint = Some(super::super::checkpoint::tests::summary());
        let v = report_json(&workload(), &job, &Provenance::default(), &["w".into()]);
        let mut seen = 0;
        check(&v, include_str!("../../docs/metrics.md"), &mut seen);
        assert!(seen > 40, "{seen}");
        assert_eq!(v["train"]["au_mean"]["value"], 40.0);
        // 16 samples of 1 MiB per second.
        assert_eq!(v["train"]["throughput_mean_gib"]["value"], 16.0 / 1024.0);
        assert_eq!(v["train"]["throughput_mean_gb"]["value"], 0.016777216);
        assert_eq!(v["order_digest"], "0000000000000000");
        // Two steps of (20 wait, 100 compute) in the window of each epoch.
        assert_eq!(v["au_storage"]["value"], 100.0 * 400.0 / 480.0);
        assert_eq!(v["stages"][0]["max"], 20_000_000);
        assert!(v["rules"].is_null());
        let checked = Provenance {
            rules: json!({"findings": [{"rule": "R3"}]}),
            ..Provenance::default()
        };
        let v = report_json(&workload(), &job, &checked, &[]);
        assert_eq!(v["rules"]["findings"][0]["rule"], "R3");
        assert_eq!(v["epochs"][0]["served_by_storage"], "UNKNOWN");
    }
}
