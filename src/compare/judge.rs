//! How one figure of two runs is judged.

use serde_json::Value;

use super::comparison::{Item, Verdict};
use super::stats::Significance;
use super::tolerance::{Demand, Direction, Tolerance};
use crate::mlperf::leaf::Leaf;

pub(super) struct Job<'a> {
    pub(super) a: &'a Leaf,
    pub(super) b: &'a Leaf,
    pub(super) tolerance: &'a Tolerance,
    pub(super) items: Vec<Item>,
}

pub(super) struct Rule {
    pub(super) tolerance: f64,
    /// In points of the figure itself instead of percent of the first run's.
    pub(super) points: bool,
    /// Differences below this, in the figure's unit, do not count.
    pub(super) floor: f64,
    /// None: neither way is worse.
    pub(super) more_is_better: Option<bool>,
}

impl Rule {
    /// So many percent, whichever way.
    pub(super) fn percent(tolerance: f64) -> Rule {
        Rule {
            tolerance,
            points: false,
            floor: 0.0,
            more_is_better: None,
        }
    }
}

impl Job<'_> {
    pub(super) fn push_skip(
        &mut self,
        figure: &str,
        unit: &'static str,
        a: impl Into<Value>,
        b: impl Into<Value>,
        why: String,
    ) {
        self.items.push(Item {
            figure: figure.into(),
            unit,
            a: a.into(),
            b: b.into(),
            note: Some(why),
            ..Item::default()
        });
    }

    pub(super) fn lacking(a: bool, b: bool, what: &str) -> String {
        let who = match (a, b) {
            (true, true) => "neither run has",
            (true, false) => "the first run lacks",
            _ => "the second run lacks",
        };
        format!("{who} {what}")
    }

    pub(super) fn number(
        &mut self,
        figure: &str,
        unit: &'static str,
        (a, b): (Option<f64>, Option<f64>),
        source: &str,
        rule: &Rule,
        significance: Option<Result<Significance, String>>,
    ) {
        let (Some(x), Some(y)) = (a, b) else {
            let why = Self::lacking(a.is_none(), b.is_none(), source);
            return self.push_skip(figure, unit, a, b, why);
        };
        let change = match rule.points {
            true => y - x,
            false if x == y => 0.0,
            false => 100.0 * (y - x) / x.abs(),
        };
        let worse = rule.more_is_better.is_none_or(|more| (y < x) == more);
        let p = significance.as_ref().and_then(|s| s.as_ref().ok());
        let is_chance = p.is_some_and(|s| s.p_value >= self.tolerance.alpha);
        let excuse = if (y - x).abs() <= rule.floor {
            Some("below the floor".into())
        } else if self.tolerance.direction == Direction::Worse && !worse {
            Some("better".into())
        } else if self.tolerance.only_significant && is_chance {
            Some(format!("not significant at {}", self.tolerance.alpha))
        } else {
            None
        };
        let is_far = change.abs() > rule.tolerance;
        let note = excuse.filter(|_| is_far);
        let beyond = is_far && note.is_none();
        self.items.push(Item {
            figure: figure.into(),
            unit,
            a: x.into(),
            b: y.into(),
            // From 0 to something is no percentage.
            difference: change.is_finite().then_some(change),
            difference_unit: match rule.points {
                true => "percentage points",
                false => "%",
            },
            tolerance: Some(rule.tolerance),
            verdict: match beyond {
                true => Verdict::Beyond,
                false => Verdict::Within,
            },
            note,
            significance,
        });
    }

    pub(super) fn equal(
        &mut self,
        figure: &str,
        (a, b): (Value, Value),
        source: &str,
        demand: Demand,
    ) {
        if a.is_null() || b.is_null() {
            let why = Self::lacking(a.is_null(), b.is_null(), source);
            return self.push_skip(figure, "", a, b, why);
        }
        let verdict = match (a == b, demand) {
            (true, _) => Verdict::Within,
            (false, Demand::Equal) => Verdict::Beyond,
            (false, Demand::Ignore) => Verdict::Noted,
        };
        let note = match verdict {
            Verdict::Within => "equal",
            _ => "different",
        };
        self.items.push(Item {
            figure: figure.into(),
            a,
            b,
            verdict,
            note: Some(note.into()),
            ..Item::default()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(tolerance: &Tolerance, a: f64, b: f64, rule: &Rule, p: Option<f64>) -> Item {
        let leaf = Leaf::default();
        let mut job = Job {
            a: &leaf,
            b: &leaf,
            tolerance,
            items: Vec::new(),
        };
        let test = p.map(|p_value| {
            Ok(Significance {
                test: "welch_t",
                n: [5, 5],
                statistic: 0.0,
                p_value,
            })
        });
        job.number("x", "s", (Some(a), Some(b)), "", rule, test);
        job.items.remove(0)
    }

    #[test]
    fn five_percent_is_within_and_more_is_not() {
        use Verdict::{Beyond, Within};
        let both = Tolerance::default();
        let worse = Tolerance {
            direction: Direction::Worse,
            ..both.clone()
        };
        let sure = Tolerance {
            only_significant: true,
            ..both.clone()
        };
        let (more, less) = (Some(true), Some(false));
        for (t, a, b, more_is_better, floor, p, expected) in [
            (&both, 100.0, 95.0, more, 0.0, None, Within),
            (&both, 100.0, 94.9, more, 0.0, None, Beyond),
            (&both, 100.0, 105.1, more, 0.0, None, Beyond),
            (&both, 0.0, 0.0, more, 0.0, None, Within),
            (&both, 0.1, 0.2, less, 0.1, None, Within),
            (&both, 0.1, 0.3, less, 0.1, None, Beyond),
            (&worse, 100.0, 120.0, more, 0.0, None, Within),
            (&worse, 100.0, 80.0, more, 0.0, None, Beyond),
            (&worse, 100.0, 120.0, less, 0.0, None, Beyond),
            // Bytes have no better: any difference counts.
            (&worse, 100.0, 120.0, None, 0.0, None, Beyond),
            (&sure, 100.0, 80.0, more, 0.0, Some(0.2), Within),
            (&sure, 100.0, 80.0, more, 0.0, Some(0.01), Beyond),
            (&sure, 100.0, 80.0, more, 0.0, None, Beyond),
        ] {
            let rule = Rule {
                tolerance: 5.0,
                points: false,
                floor,
                more_is_better,
            };
            let item = judged(t, a, b, &rule, p);
            assert_eq!(item.verdict, expected, "{a} {b} {more_is_better:?} {p:?}");
            // From nothing to something is beyond every percentage, and none.
            let item = judged(&both, 0.0, 1.0, &rule, None);
            assert_eq!(item.difference, None);
        }
    }
}
