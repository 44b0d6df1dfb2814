//! What a check found, and what it makes of a run.

use serde::Serialize;

use super::NOT_CLOSED;
use super::editions::Edition;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// It holds.
    Pass,
    /// It is violated.
    Fail,
    /// Somebody should look.
    Warn,
    /// For information.
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

/// What one check says; the table of rules adds whose check it is.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) verdict: Verdict,
    pub(crate) what: String,
    pub(crate) remedy: Option<String>,
    pub(crate) standing: Option<Standing>,
}

impl Outcome {
    fn new(verdict: Verdict, what: impl Into<String>) -> Self {
        Outcome {
            verdict,
            what: what.into(),
            remedy: None,
            standing: None,
        }
    }

    /// It holds.
    pub(crate) fn pass(what: impl Into<String>) -> Self {
        Self::new(Verdict::Pass, what)
    }

    /// It is violated.
    pub(crate) fn fail(what: impl Into<String>) -> Self {
        Self::new(Verdict::Fail, what)
    }

    /// It holds, or else it is violated.
    pub(crate) fn holds(holds: bool, what: impl Into<String>) -> Self {
        Self::new(if holds { Verdict::Pass } else { Verdict::Fail }, what)
    }

    /// Somebody should look.
    pub(crate) fn warn(what: impl Into<String>) -> Self {
        Self::new(Verdict::Warn, what)
    }

    /// For information.
    pub(crate) fn info(what: impl Into<String>) -> Self {
        Self::new(Verdict::Info, what)
    }

    /// An input is missing: which, and where it is looked for.
    pub(crate) fn skip(missing: &str) -> Self {
        Self::new(Verdict::Skip, format!("missing: {missing}"))
    }

    /// With a remedy of its own in place of the rule's.
    pub(crate) fn remedy(mut self, text: impl Into<String>) -> Self {
        self.remedy = Some(text.into());
        self
    }

    /// With what it makes of the parameters.
    pub(crate) fn standing(mut self, standing: Standing) -> Self {
        self.standing = Some(standing);
        self
    }
}

/// One rule, looked at.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// Upstream's number, such as `3.1.2` or `EDN-02`; a lower-case word for a check of dlio-rs's own.
    pub rule: &'static str,
    /// The rule's name.
    pub name: &'static str,
    /// How it ended.
    pub verdict: Verdict,
    /// The numbers; for a skipped rule the input that is missing.
    pub what: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// What it makes of the parameters; None where it says nothing about them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standing: Option<Standing>,
}

/// One thing that was checked.
#[derive(Debug, Clone, Serialize)]
pub struct Assessment {
    /// `configuration`, `run`, `group`, `folder`.
    pub kind: &'static str,
    /// Its path or name.
    pub subject: String,
    /// Model, accelerator, ranks, hosts, as far as known.
    pub facts: String,
    /// Every rule that was looked at.
    pub findings: Vec<Finding>,
    /// What the parameters qualify for by the rules.
    pub standing: Standing,
    pub category: Category,
}

impl Assessment {
    /// Sums the findings up. `submittable`: the edition takes submissions of this workload.
    pub(crate) fn new(
        kind: &'static str,
        subject: String,
        facts: String,
        findings: Vec<Finding>,
        submittable: bool,
    ) -> Self {
        let standings = findings.iter().filter_map(|f| f.standing);
        let standing = standings.max().unwrap_or(Standing::Closed);
        let failed = findings.iter().any(|f| f.verdict == Verdict::Fail);
        let category = match (submittable, failed || standing == Standing::Invalid) {
            (false, _) => Category::WhatIf,
            (true, true) => Category::Invalid,
            (true, false) => Category::Open,
        };
        Assessment {
            kind,
            subject,
            facts,
            findings,
            standing,
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

    /// What the parameters qualify for, in a sentence.
    pub fn standing_text(&self, edition: Edition) -> String {
        let as_far = match self.count(Verdict::Skip) {
            0 => String::new(),
            n => format!(", as far as the inputs go ({n} skipped)"),
        };
        let what = match self.standing {
            Standing::Closed => {
                "the parameters are those of CLOSED, which only a run of unmodified DLIO can be"
            }
            Standing::Open => "the parameters qualify for OPEN",
            Standing::Invalid => {
                return format!(
                    "rules of {edition}: the parameters qualify for no category (INVALID)"
                );
            }
        };
        format!("rules of {edition}: {what}{as_far}")
    }
}

/// Everything that one call of `check` found; this is the layout of its JSON.
#[derive(Debug, Clone, Serialize)]
pub struct Checked {
    /// `dlio-rs/check/2`
    pub schema: &'static str,
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
            schema: "dlio-rs/check/2",
            edition,
            not_closed: NOT_CLOSED,
            violations: assessments.iter().map(|a| a.count(Verdict::Fail)).sum(),
            assessments,
        }
    }
}
