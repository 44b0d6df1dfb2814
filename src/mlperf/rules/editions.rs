//! What a run says of edition, comparability class and DLIO: rules EDN-01 to EDN-03.

use crate::mlperf::editions::is_edition;
use crate::mlperf::facts::Facts;
use crate::mlperf::foreign::{Document, Stamp};
use crate::mlperf::hash::{AllowList, CoreConfig};
use crate::mlperf::leaf::Kind;
use crate::mlperf::verdict::{Outcome, Standing};
use crate::report::provenance::UNKNOWN;

/// What `provenance.json` says; Err: what is to be said instead.
fn stamp(facts: &Facts) -> Result<Stamp, Outcome> {
    match Document::json(&facts.leaf.path.join("provenance.json")) {
        Document::Absent => Err(Outcome::skip("provenance.json")),
        Document::Broken(why) => {
            Err(Outcome::fail(format!("provenance.json: {why}")).remedy("restore the file"))
        }
        Document::Read(stamp) => Ok(stamp),
    }
}

/// Rule EDN-01.
pub(super) fn known(facts: &Facts) -> Vec<Outcome> {
    vec![match stamp(facts) {
        Err(outcome) => outcome,
        Ok(stamp) => match stamp.rules_edition.text() {
            None | Some(UNKNOWN) => Outcome::skip("rules_edition: provenance.json declares none"),
            Some(edition) => {
                Outcome::holds(is_edition(edition), format!("rules edition {edition}"))
            }
        },
    }]
}

/// Rule EDN-02.
pub(super) fn class(facts: &Facts) -> Vec<Outcome> {
    let config = if facts.is_before {
        let list = match facts.kind {
            Kind::Checkpointing => AllowList::Checkpointing,
            _ => AllowList::Training,
        };
        Some(CoreConfig::of(&facts.raw, list))
    } else {
        CoreConfig::of_leaf(&facts.leaf)
    };
    let config = config.filter(|config| config.hash != UNKNOWN);
    let (Some(config), Some(model)) = (config, facts.model.as_deref()) else {
        return vec![Outcome::skip("the parameters of the run")];
    };
    let hash = &config.hash;
    vec![match facts
        .edition
        .class(model, facts.accelerator.as_deref(), hash)
    {
        Some(class) => {
            Outcome::pass(format!("{hash}: class {}", class.id)).standing(Standing::Closed)
        }
        None => Outcome::info(format!(
            "{hash}: no class of {} for {model} {}; CLOSED demands one",
            facts.edition,
            facts
                .accelerator
                .as_deref()
                .unwrap_or("without accelerator")
        ))
        .standing(Standing::Open),
    }]
}

/// Rule EDN-03.
pub(super) fn dlio_revision(facts: &Facts) -> Vec<Outcome> {
    vec![match stamp(facts) {
        Err(outcome) => outcome,
        Ok(stamp) => {
            let source = stamp.dlio.source.text().unwrap_or(UNKNOWN);
            match stamp.dlio.commit.text() {
                None | Some(UNKNOWN) => {
                    Outcome::skip(&format!("the commit of DLIO (source: {source})"))
                }
                Some(commit) => {
                    let known = &facts.edition.rules().dlio_revisions;
                    if known.iter().any(|one| one == commit) {
                        Outcome::pass(commit)
                    } else {
                        Outcome::warn(format!(
                            "{commit} ({source}) is none of the {} of {}",
                            known.len(),
                            facts.edition
                        ))
                    }
                }
            }
        }
    }]
}
