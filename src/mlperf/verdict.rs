//! What a check found, and what it makes of a run.

use serde::Serialize;

use super::NOT_CLOSED;
use super::editions::Edition;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    Pass,
    Fail,
    /// Somebody should look.
    Warn,
    Info,
    /// An input is missing.
    Skip,
}

impl Verdict {
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
    Closed,
    Open,
    Invalid,
}

/// What results of dlio-rs are: never CLOSED.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Category {
    /// No rule is violated.
    Open,
    /// A rule is violated.
    Invalid,
    /// The edition takes no submissions of this workload.
    #[serde(rename = "WHAT-IF")]
    WhatIf,
}

impl Category {
    pub fn word(self) -> &'static str {
        match self {
            Category::Open => "OPEN",
            Category::Invalid => "INVALID",
            Category::WhatIf => "WHAT-IF",
        }
    }
}

/// What one check says; the table of rules adds whose check it is.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    pub(crate) verdict: Verdict,
    /// The numbers; for a skipped rule the input that is missing.
    pub(crate) what: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) remedy: Option<String>,
    /// What it makes of the parameters; None where it says nothing about them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) standing: Option<Standing>,
}

impl Outcome {
    /// With a remedy of its own in place of the rule's.
    pub(crate) fn remedy(&mut self, text: impl Into<String>) -> &mut Self {
        self.remedy = Some(text.into());
        self
    }

    /// With what it makes of the parameters.
    pub(crate) fn standing(&mut self, standing: Standing) -> &mut Self {
        self.standing = Some(standing);
        self
    }
}

/// What the check of one rule says.
#[derive(Debug, Default)]
pub(crate) struct Found(pub(crate) Vec<Outcome>);

impl Found {
    fn add(&mut self, verdict: Verdict, what: impl Into<String>) -> &mut Outcome {
        self.0.push(Outcome {
            verdict,
            what: what.into(),
            remedy: None,
            standing: None,
        });
        self.0.last_mut().expect("it was added just now")
    }

    pub(crate) fn pass(&mut self, what: impl Into<String>) -> &mut Outcome {
        self.add(Verdict::Pass, what)
    }

    /// It holds, as in a run that is CLOSED.
    pub(crate) fn closed(&mut self, what: impl Into<String>) -> &mut Outcome {
        self.pass(what).standing(Standing::Closed)
    }

    pub(crate) fn fail(&mut self, what: impl Into<String>) -> &mut Outcome {
        self.add(Verdict::Fail, what)
    }

    /// It is violated, so that the parameters qualify for nothing.
    pub(crate) fn invalid(&mut self, what: impl Into<String>) -> &mut Outcome {
        self.fail(what).standing(Standing::Invalid)
    }

    /// It holds, or else it is violated.
    pub(crate) fn holds(&mut self, holds: bool, what: impl Into<String>) -> &mut Outcome {
        self.add(if holds { Verdict::Pass } else { Verdict::Fail }, what)
    }

    /// Somebody should look.
    pub(crate) fn warn(&mut self, what: impl Into<String>) -> &mut Outcome {
        self.add(Verdict::Warn, what)
    }

    pub(crate) fn info(&mut self, what: impl Into<String>) -> &mut Outcome {
        self.add(Verdict::Info, what)
    }

    /// An input is missing: which, and where it is looked for.
    pub(crate) fn skip(&mut self, missing: &str) {
        self.add(Verdict::Skip, format!("missing: {missing}"));
    }
}

/// One rule, looked at.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// Upstream's number, such as `3.1.2` or `EDN-02`; a lower-case word for a check of dlio-rs's own.
    pub rule: &'static str,
    pub name: &'static str,
    #[serde(flatten)]
    pub(crate) outcome: Outcome,
}

impl std::ops::Deref for Finding {
    type Target = Outcome;
    fn deref(&self) -> &Outcome {
        &self.outcome
    }
}

/// One thing that was checked.
#[derive(Debug, Clone, Serialize)]
pub struct Assessment {
    /// `configuration`, `run`, `group`, `folder`.
    pub kind: &'static str,
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

    pub fn count(&self, verdict: Verdict) -> usize {
        let of = self.findings.iter().filter(|f| f.verdict == verdict);
        of.count()
    }

    /// What the parameters qualify for, in a sentence.
    pub fn standing_text(&self, edition: Edition) -> String {
        let as_far = match self.count(Verdict::Skip) {
            n if n > 0 && self.standing != Standing::Invalid => {
                format!(", as far as the inputs go ({n} skipped)")
            }
            _ => String::new(),
        };
        let what = match self.standing {
            Standing::Closed => {
                "the parameters are those of CLOSED, which only a run of unmodified DLIO can be"
            }
            Standing::Open => "the parameters qualify for OPEN",
            Standing::Invalid => "the parameters qualify for no category (INVALID)",
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
    pub not_closed: &'static str,
    pub violations: usize,
    /// In order of their paths.
    pub assessments: Vec<Assessment>,
}

impl Checked {
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
