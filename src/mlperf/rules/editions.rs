//! The comparability class of a run: rule EDN-02.

use crate::mlperf::facts::Facts;
use crate::mlperf::hash::{AllowList, CoreConfig};
use crate::mlperf::leaf::Kind;
use crate::mlperf::verdict::{Outcome, Standing};
use crate::report::provenance::UNKNOWN;

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
