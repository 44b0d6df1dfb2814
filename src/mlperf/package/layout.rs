//! Where a run lies in a submission's tree.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::super::Edition;
use super::super::figures;
use super::super::leaf::{Kind, Leaf};
use super::super::rules::group::Key;
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
    let mut groups: BTreeMap<String, BTreeSet<Key>> = BTreeMap::new();
    for leaf in &tree.leaves {
        let path = leaf.path.display();
        let kind = leaf.kind();
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
        let Some(time) = leaf.began() else {
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
        let key = Key::of(&leaf.path, kind, Some(model.clone()), leaf.accelerator());
        groups.entry(phase.clone()).or_default().insert(key);
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
    // In one folder, runs of two groups would be one group.
    for (phase, keys) in groups.into_iter().filter(|(_, keys)| keys.len() > 1) {
        let of: Vec<String> = keys
            .iter()
            .map(|key| format!("{} in {}", key.name(), key.folder.display()))
            .collect();
        violations.push(format!(
            "{phase} of a system has place for one group of runs, and there are {}: {}; package them apart, as systems of their own",
            of.len(),
            of.join(", ")
        ));
    }
    (placed, left_out, violations)
}
