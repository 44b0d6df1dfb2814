//! Runs that belong together: rules 2.1.17 to 2.1.23 and 4.7.1.

use super::checkpointing::written_and_read;
use crate::mlperf::editions::{CHECKPOINTS, TRAINING_RUNS, WRITE_READ_GAP_S};
use crate::mlperf::facts::Facts;
use crate::mlperf::foreign::{Loose, Metadata};
use crate::mlperf::group::Group;
use crate::mlperf::hash::{keys_that_differ, work};
use crate::mlperf::leaf::Kind;
use crate::mlperf::verdict::Found;

type Runs<'a> = Group<&'a Facts>;

fn of_kind<'a>(group: &Runs<'a>, kind: Kind) -> Vec<&'a Facts> {
    let runs = group.runs.iter().copied();
    runs.filter(|facts| facts.kind == kind).collect()
}

/// Rule 2.1.17.
pub(super) fn six_runs(group: &Runs, out: &mut Found) {
    let n = of_kind(group, Kind::TrainingRun).len();
    if n == TRAINING_RUNS {
        out.pass(format!("{n} runs: a warm-up and five measured ones"));
        return;
    }
    let remedy = match n > TRAINING_RUNS {
        true => "keep 6 consecutive runs",
        false => "run until there are 6 consecutive runs",
    };
    out.fail(format!(
        "{n} run(s); exactly {TRAINING_RUNS} are expected, the first of which is the warm-up"
    ))
    .remedy(remedy);
}

/// Rule 2.1.18.
pub(super) fn pauses(group: &Runs, out: &mut Found) {
    let runs = of_kind(group, Kind::TrainingRun);
    let mut largest = 0.0f64;
    for pair in runs.windows(2) {
        let (a, b) = (&pair[0].leaf, &pair[1].leaf);
        let gap = a
            .began()
            .zip(b.began())
            .map(|(a, b)| (b - a).as_seconds_f64());
        let shorter = a.duration_s().zip(b.duration_s()).map(|(a, b)| a.min(b));
        match gap.zip(shorter) {
            Some((gap, shorter)) if gap < 2.0 * shorter => largest = largest.max(gap),
            Some((gap, shorter)) => {
                let (from, to, most) = (a.name(), b.name(), 2.0 * shorter);
                out.fail(format!(
                    "{gap:.0} s from {from} to {to}; less than {most:.0} s (twice the shorter run) is expected"
                ));
            }
            None => {
                let (a, b) = (a.path.display(), b.path.display());
                out.skip(&format!("times of {a} or {b}"));
            }
        }
    }
    if out.0.is_empty() && runs.len() > 1 {
        out.pass(format!("at most {largest:.0} s from one run to the next"));
    }
}

/// The rates that are published, of the measured runs.
pub(super) fn spread(group: &Runs, out: &mut Found) {
    let measured = of_kind(group, Kind::TrainingRun).into_iter().skip(1);
    let rate = |facts: &Facts| facts.leaf.metric("train_io_mean_MB_per_second").number();
    let rates: Vec<f64> = measured.filter_map(rate).collect();
    let least = rates.iter().copied().fold(f64::INFINITY, f64::min);
    let most = rates.iter().copied().fold(0.0, f64::max);
    if rates.len() < 2 || least <= 0.0 {
        return;
    }
    let n = rates.len();
    let what = format!("{least:.1} to {most:.1} MiB/s in {n} measured run(s)");
    match 100.0 * (most / least - 1.0) {
        apart if most > 1.05 * least => out.warn(format!("{what}: {apart:.1} % apart")),
        _ => out.pass(what),
    };
}

/// All runs of a group measure the same thing.
pub(super) fn same_work(group: &Runs, out: &mut Found) {
    let is_measured =
        |facts: &&&Facts| matches!(facts.kind, Kind::TrainingRun | Kind::Checkpointing);
    let runs: Vec<&&Facts> = group.runs.iter().filter(is_measured).collect();
    let Some((first, others)) = runs.split_first().filter(|(_, others)| !others.is_empty()) else {
        return;
    };
    let wanted = work(&first.leaf);
    for facts in others {
        let (a, b) = (facts.leaf.name(), first.leaf.name());
        let has = work(&facts.leaf);
        if has != wanted {
            let unset = "not set".to_owned();
            let of = |key: &str| {
                let [has, wanted] = [&has, &wanted].map(|of| of.get(key).unwrap_or(&unset));
                format!("{key} is {has}, not {wanted}")
            };
            let differs = keys_that_differ(&wanted, &has).into_iter();
            let list = differs.take(6).map(of).collect::<Vec<_>>().join(", ");
            out.fail(format!(
                "{a} differs from {b} in what the comparability hash holds: {list}"
            ));
            return;
        }
        if (facts.accelerators, facts.hosts) != (first.accelerators, first.hosts) {
            out.fail(format!(
                "{a} and {b} ran on different numbers of accelerators or hosts"
            ));
            return;
        }
    }
    out.pass(format!("{} runs are configured alike", runs.len()));
}

/// Rule 2.1.23.
pub(super) fn one_or_two(group: &Runs, out: &mut Found) {
    let n = of_kind(group, Kind::Checkpointing).len();
    out.holds(n <= 2, format!("{n} run(s); 1 or 2 are expected"));
}

/// Rule 4.7.1, of all runs.
pub(super) fn write_then_read(group: &Runs, out: &mut Found) {
    let runs = of_kind(group, Kind::Checkpointing);
    let of = |facts: &&Facts| written_and_read(&facts.parameters).unwrap_or((0, 0));
    let counts: Vec<(u64, u64)> = runs.iter().map(of).collect();
    let sum = |of: fn(&(u64, u64)) -> u64| counts.iter().map(of).fold(0u64, u64::saturating_add);
    let (written, read, n) = (sum(|c| c.0), sum(|c| c.1), runs.len());
    out.holds(
        (written, read) == (CHECKPOINTS, CHECKPOINTS),
        format!("{written} written and {read} read in {n} run(s); {CHECKPOINTS} each are expected"),
    );
    if let ([first, second], [(w1, r1), (w2, r2)]) = (&runs[..], &counts[..]) {
        if *r1 > 0 || *w2 > 0 {
            let (a, b) = (first.leaf.name(), second.leaf.name());
            out.fail(format!(
                "{a} writes {w1} and reads {r1}, {b} writes {w2} and reads {r2}"
            ))
            .remedy("write 10 in the first run and read 10 in the second");
        } else {
            gap(first, second, out);
        }
    }
}

/// From the end of the writes to the start of the reads, by mlpstorage's own clock where it kept one: the launch takes time too.
fn gap(first: &Facts, second: &Facts, out: &mut Found) {
    let clock = |facts: &Facts, of: fn(&Metadata) -> &Loose| of(facts.leaf.metadata()?).time();
    let end = clock(first, |m| &m.invocation_end_time).or_else(|| first.leaf.end());
    let start = clock(second, |m| &m.invocation_start_time).or_else(|| second.leaf.start());
    let Some((end, start)) = end.zip(start) else {
        return out.skip("the end of the writes or the start of the reads (summary.json)");
    };
    let gap = (start - end).as_seconds_f64();
    let what = format!("{gap:.1} s from the end of the writes to the start of the reads");
    if gap > WRITE_READ_GAP_S {
        out.fail(format!(
            "{what}; at most {WRITE_READ_GAP_S:.0} s are allowed"
        ))
        .remedy("start the reads at once, or both in one run");
    } else if gap < 0.0 {
        out.warn(what + ": the clocks of the two runs differ")
            .remedy("set the clocks of the hosts right");
    } else {
        out.pass(what);
    }
}
