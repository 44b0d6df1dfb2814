//! Where a run lies in a submission's tree.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::super::Edition;
use super::super::figures;
use super::super::leaf::{Kind, Leaf};
use super::super::tree::Tree;

/// A run and its place.
#[derive(Debug, Clone)]
pub struct Placed<'a> {
    /// The run.
    pub leaf: &'a Leaf,
    /// What it did.
    pub kind: Kind,
    /// mlpstorage's name of its model.
    pub model: String,
    /// Below `results/<system>`.
    pub place: PathBuf,
}

/// Places of all runs, runs that have none in this layout (with the reason), and what forbids packaging.
#[allow(clippy::type_complexity)]
pub fn place(
    tree: &Tree,
    edition: Edition,
) -> (Vec<Placed<'_>>, Vec<(PathBuf, String)>, Vec<String>) {
    let (mut placed, mut left_out, mut violations) = (Vec::new(), Vec::new(), Vec::new());
    for (path, cause) in &tree.unreadable {
        violations.push(format!("{}: cannot be listed: {cause}", path.display()));
    }
    let mut taken: BTreeMap<PathBuf, PathBuf> = BTreeMap::new();
    for leaf in &tree.leaves {
        let path = leaf.path.display();
        let kind = figures::kind(leaf);
        if kind == Kind::Unknown && figures::of(leaf).is_ok() {
            let why = "it is a benchmark that has nothing to do with DLIO";
            left_out.push((leaf.path.clone(), why.into()));
            continue;
        }
        let Some(model) = leaf.model().filter(|m| super::is_name(m)) else {
            violations.push(format!(
                "{path}: nothing tells its model: neither dlio_config/config.yaml nor a metadata file has a name that can be a folder's"
            ));
            continue;
        };
        let Some(time) = leaf.timestamp().or_else(|| leaf.start()) else {
            violations.push(format!(
                "{path}: nothing tells its time: the folder's name is not YYYYMMDD_HHMMSS and summary.json has no start"
            ));
            continue;
        };
        let phase = match kind {
            Kind::TrainingRun => format!("training/{model}/run"),
            Kind::TrainingDatagen => format!("training/{model}/datagen"),
            Kind::TrainingDatasize if edition == Edition::V2 => {
                left_out.push((
                    leaf.path.clone(),
                    "the tree of v2.0 has no place for a sizing".into(),
                ));
                continue;
            }
            Kind::TrainingDatasize => format!("training/{model}/datasize"),
            Kind::Checkpointing => format!("checkpointing/{model}"),
            Kind::Unknown => {
                violations.push(format!("{path}: nothing tells what it did"));
                continue;
            }
        };
        let place = PathBuf::from(phase).join(time.format("%Y%m%d_%H%M%S").to_string());
        if let Some(other) = taken.insert(place.clone(), leaf.path.clone()) {
            violations.push(format!(
                "{path}: has the same place {} as {}: two runs of one second; package them apart",
                place.display(),
                other.display()
            ));
        }
        placed.push(Placed {
            leaf,
            kind,
            model,
            place,
        });
    }
    (placed, left_out, violations)
}
