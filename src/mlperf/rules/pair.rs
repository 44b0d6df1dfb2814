//! Checkpoints written by one run and read by another.

use chrono::{NaiveDateTime, TimeDelta};

use super::tables::{CHECKPOINTS, WRITE_READ_GAP_S};
use crate::mlperf::Edition;
use crate::mlperf::json::at;
use crate::mlperf::leaf::Leaf;
use crate::mlperf::verdict::{Finding, Original, Standing};

/// Ten writes and ten reads over all runs: (written, read) of each.
pub fn ten_and_ten(counts: &[(i64, i64)], edition: Edition) -> Finding {
    let (rule, name) = ("4.7.1", "tenWritesAndTenReads");
    let sum = |of: fn(&(i64, i64)) -> i64| counts.iter().map(of).fold(0i64, i64::saturating_add);
    let (written, read) = (sum(|c| c.0), sum(|c| c.1));
    let what = format!(
        "{written} written and {read} read in {} run(s)",
        counts.len()
    );
    if (written, read) == (CHECKPOINTS, CHECKPOINTS) {
        return Finding::pass(rule, name, what);
    }
    let alone = edition == Edition::V2 && counts.len() < 2;
    Finding::fail(
        rule,
        name,
        format!(
            "{what}; {CHECKPOINTS} each are expected{}",
            if alone {
                " (v2.0's tool does not count those of a single run)"
            } else {
                ""
            }
        ),
    )
    .remedy("write 10 and read 10, in one run or in two")
    .original(match edition {
        Edition::V2 if alone => Original::Silent,
        Edition::V2 => Original::Says(Standing::Invalid),
        Edition::V3 => Original::Violation,
    })
}

/// Two leaves: ten writes, then ten reads, and at most 30 s in between.
pub fn write_then_read(
    first: &Leaf,
    first_counts: (i64, i64),
    second: &Leaf,
    second_counts: (i64, i64),
    edition: Edition,
) -> Vec<Finding> {
    let (rule, name) = ("4.7.1", "writeThenRead");
    let mut out = Vec::new();
    let is_pair = first_counts.1 == 0 && second_counts.0 == 0;
    if !is_pair {
        out.push(
            Finding::fail(
                rule,
                name,
                format!(
                    "{} writes {} and reads {}, {} writes {} and reads {}",
                    first.name(),
                    first_counts.0,
                    first_counts.1,
                    second.name(),
                    second_counts.0,
                    second_counts.1
                ),
            )
            .remedy("write 10 in the first run and read 10 in the second")
            .original(Original::Violation.in_v3(edition)),
        );
        return out;
    }
    // mlpstorage's own clock where it kept one: the launch takes time too.
    let clock = |leaf: &Leaf, key: &str| {
        let text = at(leaf.metadata()?, key)?.as_str()?.to_owned();
        NaiveDateTime::parse_from_str(&text, "%Y-%m-%dT%H:%M:%S%.f").ok()
    };
    let end = clock(first, "invocation_end_time").or_else(|| first.end());
    let start = clock(second, "invocation_start_time").or_else(|| second.start());
    let (Some(end), Some(start)) = (end, start) else {
        out.push(Finding::skip(
            rule,
            "writeReadGap",
            "missing: the end of the writes or the start of the reads (summary.json)",
        ));
        return out;
    };
    let gap: TimeDelta = start - end;
    let gap = gap.as_seconds_f64();
    let what = format!("{gap:.1} s from the end of the writes to the start of the reads");
    out.push(if gap > WRITE_READ_GAP_S {
        Finding::fail(
            rule,
            "writeReadGap",
            format!("{what}; at most {WRITE_READ_GAP_S:.0} s are allowed"),
        )
        .remedy("start the reads at once, or both in one run")
        .original(Original::Violation.in_v3(edition))
    } else if gap < 0.0 {
        Finding::warn(
            rule,
            "writeReadGap",
            format!("{what}: the clocks of the two runs differ"),
        )
        .remedy("set the clocks of the hosts right")
        .original(Original::Warning.in_v3(edition))
    } else {
        Finding::pass(rule, "writeReadGap", what)
    });
    if let (Some(from), Some(to)) = (first.start(), second.end()) {
        out.push(Finding::info(
            "4.7.2",
            "checkpointTotalDuration",
            format!(
                "{:.1} s from the start of the writes to the end of the reads",
                (to - from).as_seconds_f64()
            ),
        ));
    }
    let slower = first.duration_s().zip(second.duration_s());
    if let (Some((a, b)), Some(x), Some(y)) = (slower, first.began(), second.began()) {
        let between = (y - x).as_seconds_f64() - a;
        let rule = ("2.1.24", "checkpointingTimestampGap");
        out.push(if between < a.max(b) {
            Finding::pass(rule.0, rule.1, format!("{between:.0} s between the runs"))
        } else {
            Finding::fail(
                rule.0,
                rule.1,
                format!(
                    "{between:.0} s between the runs; less than the slower of them ({:.0} s) is expected",
                    a.max(b)
                ),
            )
            .remedy("start the second run at once")
            .original(Original::Violation.in_v3(edition))
        });
    }
    out
}
