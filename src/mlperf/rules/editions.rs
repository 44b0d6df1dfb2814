//! The comparability class of a run: rule EDN-02.

use crate::mlperf::facts::Facts;
use crate::mlperf::hash::{AllowList, CoreConfig};
use crate::mlperf::leaf::Kind;
use crate::mlperf::verdict::{Found, Standing};
use crate::report::provenance::UNKNOWN;

/// Rule EDN-02.
pub(super) fn class(facts: &Facts, out: &mut Found) {
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
        return out.skip("the parameters of the run");
    };
    let (hash, edition, accelerator) = (&config.hash, facts.edition, facts.accelerator.as_deref());
    match edition.class(model, accelerator, hash) {
        Some(class) => out.closed(format!("{hash}: class {}", class.id)),
        None => {
            let on = accelerator.unwrap_or("without accelerator");
            out.info(format!(
                "{hash}: no class of {edition} for {model} {on}; CLOSED demands one"
            ))
            .standing(Standing::Open)
        }
    };
}
