//! What a check found, and what it makes of a run.
//!
//! Two things are kept apart: what the rules as written say (the finding's verdict), and what the edition's own tools would
//! have done (`original`), which do not look at some rules and never reach others.

use serde::Serialize;

use super::{Edition, NOT_CLOSED};

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// It holds.
    Pass,
    /// It is violated.
    Fail,
    /// It holds, or is not decided here, and somebody should look.
    Warn,
    /// Nothing to hold.
    Info,
    /// An input is missing.
    Skip,
}

impl Verdict {
    /// `PASS`, `FAIL`, ...
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Pass => "PASS",
            Verdict::Fail => "FAIL",
            Verdict::Warn => "WARN",
            Verdict::Info => "INFO",
            Verdict::Skip => "SKIP",
        }
    }
}

/// What a run's parameters would qualify for by the rules, whoever made the run. Ordered: the worst is the largest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Standing {
    /// The rules of CLOSED hold.
    Closed,
    /// Only those of OPEN hold.
    Open,
    /// Neither.
    Invalid,
}

impl Standing {
    /// `CLOSED`, `OPEN`, `INVALID`.
    pub fn word(self) -> &'static str {
        match self {
            Standing::Closed => "CLOSED",
            Standing::Open => "OPEN",
            Standing::Invalid => "INVALID",
        }
    }

    /// The worst of what checks yielded: any INVALID, else any OPEN, else CLOSED.
    pub fn worst(of: impl IntoIterator<Item = Standing>) -> Standing {
        of.into_iter().max().unwrap_or(Standing::Closed)
    }
}

/// What results of dlio-rs are: never CLOSED.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Category {
    /// No rule is violated.
    #[serde(rename = "OPEN")]
    Open,
    /// A rule is violated.
    #[serde(rename = "INVALID")]
    Invalid,
    /// The edition takes no submissions of this workload.
    #[serde(rename = "WHAT-IF")]
    WhatIf,
}

impl Category {
    /// `OPEN`, `INVALID`, `WHAT-IF`.
    pub fn word(self) -> &'static str {
        match self {
            Category::Open => "OPEN",
            Category::Invalid => "INVALID",
            Category::WhatIf => "WHAT-IF",
        }
    }
}

/// What the edition's own tool makes of what was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Original {
    /// Nothing: it is content, or does not look.
    Silent,
    /// It has the check, which never fires.
    Dead,
    /// Its category check says so.
    Says(Standing),
    /// Its validator counts a violation.
    Violation,
    /// Its validator warns.
    Warning,
    /// It ends with an exception, for the whole tree.
    Crash,
    /// It leaves the run out.
    NotListed,
}

impl Original {
    /// This in v3.0, whose validator v2.0 does not have.
    pub fn in_v3(self, edition: Edition) -> Self {
        match edition {
            Edition::V2 => Original::Silent,
            Edition::V3 => self,
        }
    }
}

/// One rule, looked at.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// `R3`, `3.1.2`, `EDN-01`; where the rules have no number, a word.
    pub rule: &'static str,
    /// The rule's name.
    pub name: &'static str,
    /// How it ended.
    pub verdict: Verdict,
    /// The numbers; for a skipped rule the input that is missing.
    pub what: String,
    /// What would mend it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// What it makes of the parameters; None where it says nothing about them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standing: Option<Standing>,
    /// What the edition's own tool makes of it.
    pub original: Original,
}

impl Finding {
    /// A finding that the edition's tool does not make.
    pub fn new(
        rule: &'static str,
        name: &'static str,
        verdict: Verdict,
        what: impl Into<String>,
    ) -> Self {
        Finding {
            rule,
            name,
            verdict,
            what: what.into(),
            remedy: None,
            standing: None,
            original: Original::Silent,
        }
    }

    /// It holds.
    pub fn pass(rule: &'static str, name: &'static str, what: impl Into<String>) -> Self {
        Self::new(rule, name, Verdict::Pass, what)
    }

    /// It is violated.
    pub fn fail(rule: &'static str, name: &'static str, what: impl Into<String>) -> Self {
        Self::new(rule, name, Verdict::Fail, what)
    }

    /// Somebody should look.
    pub fn warn(rule: &'static str, name: &'static str, what: impl Into<String>) -> Self {
        Self::new(rule, name, Verdict::Warn, what)
    }

    /// For information.
    pub fn info(rule: &'static str, name: &'static str, what: impl Into<String>) -> Self {
        Self::new(rule, name, Verdict::Info, what)
    }

    /// An input is missing.
    pub fn skip(rule: &'static str, name: &'static str, missing: impl Into<String>) -> Self {
        Self::new(rule, name, Verdict::Skip, missing)
    }

    /// With what would mend it.
    pub fn remedy(mut self, text: impl Into<String>) -> Self {
        self.remedy = Some(text.into());
        self
    }

    /// With what it makes of the parameters.
    pub fn standing(mut self, standing: Standing) -> Self {
        self.standing = Some(standing);
        self
    }

    /// With what the edition's tool makes of it.
    pub fn original(mut self, original: Original) -> Self {
        self.original = original;
        self
    }
}

/// What the edition's own tools would have reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tool {
    /// Which tool.
    pub name: &'static str,
    /// Its category; None where it lists no run or ends with an exception.
    pub category: Option<Standing>,
    /// Violations that its validator counts.
    pub violations: usize,
    /// Why there is no category.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// One thing that was checked: a configuration, a run, a group of runs, a tree.
#[derive(Debug, Clone, Serialize)]
pub struct Assessment {
    /// `configuration`, `run`, `group`, `tree`.
    pub kind: &'static str,
    /// Its path or name.
    pub subject: String,
    /// Model, accelerator, ranks, hosts, as far as known.
    pub facts: String,
    /// Every rule that was looked at.
    pub findings: Vec<Finding>,
    /// What the parameters qualify for by the rules.
    pub standing: Standing,
    /// What the edition's own tools would have reported.
    pub tool: Tool,
    /// What it is.
    pub category: Category,
}

impl Assessment {
    /// Sums the findings up. `submittable`: the edition takes submissions of this workload.
    pub fn new(
        edition: Edition,
        kind: &'static str,
        subject: String,
        facts: String,
        findings: Vec<Finding>,
        submittable: bool,
    ) -> Self {
        let standing = Standing::worst(findings.iter().filter_map(|f| f.standing));
        let failed = findings.iter().any(|f| f.verdict == Verdict::Fail);
        let category = match (submittable, failed || standing == Standing::Invalid) {
            (false, _) => Category::WhatIf,
            (true, true) => Category::Invalid,
            (true, false) => Category::Open,
        };
        let tool = Tool::of(edition, &findings);
        Assessment {
            kind,
            subject,
            facts,
            findings,
            standing,
            tool,
            category,
        }
    }

    /// How many rules ended so.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.findings
            .iter()
            .filter(|f| f.verdict == verdict)
            .count()
    }

    /// `by the rules of v2.0 its parameters would pass as CLOSED ...`
    pub fn standing_text(&self, edition: Edition) -> String {
        let as_far = match self.count(Verdict::Skip) {
            0 => String::new(),
            n => format!(", as far as the inputs tell ({n} skipped)"),
        };
        match self.standing {
            Standing::Closed => format!(
                "rules of {edition}: the parameters would pass as CLOSED if unmodified DLIO had made the run{as_far}"
            ),
            Standing::Open => {
                format!("rules of {edition}: the parameters qualify for OPEN{as_far}")
            }
            Standing::Invalid => {
                format!("rules of {edition}: the parameters qualify for no category (INVALID)")
            }
        }
    }
}

impl Tool {
    fn of(edition: Edition, findings: &[Finding]) -> Tool {
        let reason = |original| {
            findings
                .iter()
                .find(|f| f.original == original)
                .map(|f| f.what.clone())
        };
        let failure = match (reason(Original::NotListed), reason(Original::Crash)) {
            (Some(why), _) => Some(format!("it would leave the run out: {why}")),
            (None, Some(why)) => Some(format!(
                "it would end with an exception, for the whole tree: {why}"
            )),
            (None, None) => None,
        };
        let said = findings.iter().filter_map(|f| match f.original {
            Original::Says(standing) => Some(standing),
            _ => None,
        });
        Tool {
            name: match edition {
                Edition::V2 => "mlpstorage v2.0, report generator",
                Edition::V3 => "mlpstorage v3.0, run verifier and validator",
            },
            category: failure.is_none().then(|| Standing::worst(said)),
            violations: findings
                .iter()
                .filter(|f| f.original == Original::Violation)
                .count(),
            failure,
        }
    }

    /// One line.
    pub fn text(&self) -> String {
        let category = match (&self.failure, self.category) {
            (Some(why), _) => why.clone(),
            (None, category) => format!(
                "would call runs of unmodified DLIO {}",
                category.map_or("nothing", Standing::word)
            ),
        };
        match self.violations {
            0 => format!("{}: {category}", self.name),
            n => format!("{}: {category}; {n} violation(s)", self.name),
        }
    }
}

/// Everything that one call of `check` found. This is the layout of its JSON:
///
/// `schema` (1), `edition`, `not_closed` (the reservation), `violations` (findings that failed), `assessments`: a list of
/// {`kind`, `subject`, `facts`, `standing` CLOSED | OPEN | INVALID, `category` OPEN | INVALID | WHAT-IF, `tool` {`name`,
/// `category`, `violations`, `failure`?}, `findings`: a list of {`rule`, `name`, `verdict` PASS | FAIL | WARN | INFO | SKIP,
/// `what`, `remedy`?, `standing`?, `original`}}.
#[derive(Debug, Clone, Serialize)]
pub struct Checked {
    /// Version of this layout.
    pub schema: u32,
    /// Whose rules.
    pub edition: Edition,
    /// The reservation.
    pub not_closed: &'static str,
    /// Findings that failed.
    pub violations: usize,
    /// In order of their paths.
    pub assessments: Vec<Assessment>,
}

impl Checked {
    /// Counts.
    pub fn new(edition: Edition, assessments: Vec<Assessment>) -> Self {
        Checked {
            schema: 1,
            edition,
            not_closed: NOT_CLOSED,
            violations: assessments.iter().map(|a| a.count(Verdict::Fail)).sum(),
            assessments,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_check_decides() {
        use Standing::{Closed, Invalid, Open};
        assert_eq!(Standing::worst([]), Closed);
        assert_eq!(Standing::worst([Closed, Closed]), Closed);
        assert_eq!(Standing::worst([Closed, Open, Closed]), Open);
        assert_eq!(Standing::worst([Open, Invalid, Closed]), Invalid);
    }

    fn assess(findings: Vec<Finding>, submittable: bool) -> Assessment {
        Assessment::new(
            Edition::V2,
            "run",
            String::new(),
            String::new(),
            findings,
            submittable,
        )
    }

    #[test]
    fn nothing_is_ever_closed() {
        let closed = assess(
            vec![
                Finding::pass("R4", "overrides", "")
                    .standing(Standing::Closed)
                    .original(Original::Says(Standing::Closed)),
            ],
            true,
        );
        assert_eq!(closed.standing, Standing::Closed);
        assert_eq!(closed.category, Category::Open);
        assert!(closed.standing_text(Edition::V2).contains("if unmodified"));
        assert_eq!(assess(vec![], false).category, Category::WhatIf);
        let failed = assess(vec![Finding::fail("2.1.17", "runs", "")], true);
        assert_eq!(failed.category, Category::Invalid);
        // The category of the tool does not see what it does not look at.
        assert_eq!(failed.tool.category, Some(Standing::Closed));
    }

    #[test]
    fn a_crash_leaves_no_category() {
        let a = assess(
            vec![Finding::fail("x", "x", "why").original(Original::Crash)],
            true,
        );
        assert_eq!(a.tool.category, None);
        assert!(a.tool.text().contains("why"));
    }
}
