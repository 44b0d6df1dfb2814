//! The sentence that names what to look at first: a function of the breakdown and of how hosts and ranks differ.

use crate::metrics::breakdown::{Breakdown, Line, Slices};
use crate::metrics::summary::JobSummary;
use crate::stage::{Blame, Part};

/// A loss below this is none, percent of AU's window.
const SMALL: f64 = 1.0;

/// A host or rank is named when it waited this many times as long as the median of the others.
const SLOW: f64 = 2.0;

/// The largest loss. Oversleep stands under `compute` in AU and counts for the harness here.
fn largest(b: &Breakdown) -> (Line, f64) {
    Line::all()
        .filter(|line| *line != Line::Compute)
        .map(|line| match line {
            Line::Harness => (line, b.percent[line] + b.overshoot_percent),
            _ => (line, b.percent[line]),
        })
        .max_by(|x, y| x.1.total_cmp(&y.1))
        .expect("there are lines besides computation")
}

pub(super) fn sentence(s: &JobSummary) -> String {
    let b = &s.breakdown;
    if b.window_s() <= 0.0 && b.percent[Line::Uncounted] <= 0.0 {
        return "Nothing was trained, so no bottleneck can be named.".into();
    }
    let (line, percent) = largest(b);
    let label = line.label();
    if percent < SMALL {
        return format!(
            "No bottleneck: the accelerators computed for {:.1} % of AU's window; the largest loss is {label} with {percent:.2} %.",
            b.percent[Line::Compute]
        );
    }
    let whose = match line.blame() {
        Some(Blame::Client) => " on the client",
        _ => "",
    };
    let culprit = culprit(s, line);
    // Ranks wait for each other because one is slow: its own loss is what to look at.
    let advice = match &culprit {
        Some((_, Some(own))) if line == Line::Barrier => own.advice(),
        _ => line.advice(),
    };
    let named = culprit.map_or(String::new(), |(text, _)| format!(" {text};"));
    format!("Bottleneck: {label}{whose} took {percent:.1} % of AU's window;{named} {advice}.")
}

/// A host, or on one host a rank, that lost far more than the others.
struct Member {
    name: String,
    seconds: Slices,
}

/// Who is slow, in words, and what that one lost most by.
fn culprit(s: &JobSummary, line: Line) -> Option<(String, Option<Line>)> {
    let members = if s.hosts.len() > 1 {
        hosts(s)
    } else {
        ranks(s)
    };
    let own = |m: &Member| match line {
        // The one that the others wait for is the one that waits least.
        Line::Barrier => lost(&m.seconds),
        _ => m.seconds[line],
    };
    let slow = members.iter().max_by(|a, b| own(a).total_cmp(&own(b)))?;
    let mut others: Vec<f64> = (members.iter())
        .filter(|m| !std::ptr::eq(*m, slow))
        .map(own)
        .collect();
    others.sort_by(f64::total_cmp);
    let median = *others.get(others.len() / 2)?;
    let is_far = own(slow) > SLOW * median;
    let is_much = own(slow) - median > SMALL / 100.0 * s.breakdown.window_s();
    if !(is_far && is_much) {
        return None;
    }
    let cause = Line::all()
        .filter(|l| !matches!(l, Line::Compute | Line::Barrier | Line::Uncounted))
        .max_by(|a, b| slow.seconds[*a].total_cmp(&slow.seconds[*b]));
    let what = match (line, cause) {
        (Line::Wait(Part::Io), _) | (Line::Barrier, Some(Line::Wait(Part::Io))) => {
            "waited for storage".to_string()
        }
        (Line::Barrier, Some(cause)) => format!("lost time by {}", cause.label()),
        _ => format!("lost time by {}", line.label()),
    };
    let (scale, unit) = if own(slow) < 1.0 {
        (1e3, "ms")
    } else {
        (1.0, "s")
    };
    let text = format!(
        "{} {what} for {:.1} {unit}, the others {:.1} {unit}",
        slow.name,
        own(slow) * scale,
        median * scale
    );
    Some((text, cause))
}

/// Seconds that a member lost by itself.
fn lost(seconds: &Slices) -> f64 {
    seconds.total() - seconds[Line::Compute] - seconds[Line::Barrier]
}

fn hosts(s: &JobSummary) -> Vec<Member> {
    (s.hosts.iter().enumerate())
        .map(|(host, h)| {
            let mut sum = Slices::default();
            for rank in s.rank_table.iter().filter(|r| r.host == host) {
                for (sum, x) in sum.0.iter_mut().zip(rank.breakdown.seconds.0) {
                    *sum += x / h.ranks.max(1) as f64;
                }
            }
            Member {
                name: h.facts.name.clone(),
                seconds: sum,
            }
        })
        .collect()
}

fn ranks(s: &JobSummary) -> Vec<Member> {
    (s.rank_table.iter())
        .map(|r| Member {
            name: format!("rank {}", r.rank),
            seconds: r.breakdown.seconds,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::dlio::tests::job;
    use super::*;
    use crate::metrics::summary::HostSummary;

    fn with(lines: &[(Line, f64)]) -> JobSummary {
        let mut s = job();
        s.breakdown = breakdown(lines);
        s
    }

    /// A window of 10 s with these percentages.
    fn breakdown(lines: &[(Line, f64)]) -> Breakdown {
        let mut b = Breakdown::default();
        for (line, percent) in lines {
            b.percent[*line] = *percent;
            b.seconds[*line] = percent / 10.0;
        }
        b
    }

    #[test]
    fn the_largest_loss_is_named_with_its_owner() {
        let s = with(&[
            (Line::Compute, 80.0),
            (Line::Barrier, 15.0),
            (Line::Harness, 5.0),
        ]);
        assert!(sentence(&s).starts_with("Bottleneck: barrier took 15.0 %"));
        let s = with(&[(Line::Compute, 10.0), (Line::Wait(Part::Preprocess), 90.0)]);
        let text = sentence(&s);
        assert!(
            text.starts_with("Bottleneck: preprocess on the client took 90.0 %"),
            "{text}"
        );
        assert!(!text.contains("storage"), "{text}");
        let s = with(&[(Line::Compute, 99.6), (Line::Wait(Part::Io), 0.4)]);
        assert!(sentence(&s).starts_with("No bottleneck: the accelerators computed for 99.6 %"));
    }

    #[test]
    fn oversleep_is_the_harness() {
        let mut s = with(&[(Line::Compute, 97.0), (Line::Wait(Part::Io), 3.0)]);
        s.breakdown.overshoot_percent = 5.0;
        assert!(sentence(&s).starts_with("Bottleneck: harness on the client took 5.0 %"));
    }

    #[test]
    fn a_slow_host_is_named_though_the_others_wait_in_the_barrier() {
        let mut s = with(&[
            (Line::Compute, 1.0),
            (Line::Wait(Part::Io), 25.0),
            (Line::Barrier, 74.0),
        ]);
        let rank = s.rank_table[0].clone();
        let host = s.hosts[0].clone();
        s.rank_table = (0..4)
            .map(|i| {
                let mut r = rank.clone();
                (r.rank, r.host) = (i, i);
                r.breakdown = match i {
                    3 => breakdown(&[(Line::Compute, 1.0), (Line::Wait(Part::Io), 99.0)]),
                    _ => breakdown(&[
                        (Line::Compute, 1.0),
                        (Line::Wait(Part::Io), 1.0),
                        (Line::Barrier, 98.0),
                    ]),
                };
                r
            })
            .collect();
        s.hosts = (0..4)
            .map(|i| {
                let mut h: HostSummary = host.clone();
                (h.facts.name, h.ranks) = (format!("node{i}"), 1);
                h
            })
            .collect();
        let text = sentence(&s);
        assert!(
            text.contains("node3 waited for storage for 9.9 s, the others 0.1 s"),
            "{text}"
        );
        assert!(text.contains("percentiles of open and read"), "{text}");

        // The same, a thousand times as fast.
        let parts = s.rank_table.iter_mut().map(|r| &mut r.breakdown.seconds);
        for seconds in parts.chain([&mut s.breakdown.seconds]) {
            seconds.0.iter_mut().for_each(|x| *x /= 1e3);
        }
        let text = sentence(&s);
        assert!(
            text.contains("node3 waited for storage for 9.9 ms, the others 0.1 ms"),
            "{text}"
        );
    }
}
