//! Runs that belong together: six of training, one or two of checkpointing. `check` and `report` group alike.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::leaf::{Kind, Leaf};

/// What the runs of a group share.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    /// The folder above them, without links.
    pub(crate) folder: PathBuf,
    /// mlpstorage's name of the model.
    pub(crate) model: Option<String>,
    /// Emulated accelerator; of trainings.
    pub(crate) accelerator: Option<String>,
    pub(crate) is_training: bool,
}

impl Key {
    fn of(leaf: &Leaf) -> Key {
        let is_training = leaf.kind() != Kind::Checkpointing;
        Key {
            folder: home(&leaf.real_path()),
            model: leaf.model(),
            accelerator: leaf.accelerator().filter(|_| is_training),
            is_training,
        }
    }

    pub(crate) fn name(&self) -> String {
        let model = self.model.as_deref().unwrap_or("unknown model");
        match &self.accelerator {
            Some(accelerator) => format!("{model} {accelerator}"),
            None => model.to_owned(),
        }
    }
}

/// The folder that a run's group has. mlpstorage's layout is `<model>/{datasize,datagen,run}/<time>` and
/// `<model>/<time>`: the folder above the phase; elsewhere the folder that holds the run.
fn home(path: &Path) -> PathBuf {
    let above = path.parent().unwrap_or(path);
    let phases = ["datasize", "datagen", "run"];
    let is_phase = phases.iter().any(|phase| above.ends_with(phase));
    let folder = if is_phase { above.parent() } else { None };
    folder.unwrap_or(above).to_owned()
}

/// Runs of one model (and accelerator) below one folder, by the time of their start.
#[derive(Debug)]
pub(crate) struct Group<T> {
    pub(crate) key: Key,
    pub(crate) runs: Vec<T>,
}

/// Sorts runs into groups; those of which nothing says what they did are left out.
pub(crate) fn groups<T: AsRef<Leaf>>(runs: impl IntoIterator<Item = T>) -> Vec<Group<T>> {
    let mut groups: BTreeMap<Key, Vec<T>> = BTreeMap::new();
    for run in runs {
        if run.as_ref().kind() != Kind::Unknown {
            groups.entry(Key::of(run.as_ref())).or_default().push(run);
        }
    }
    join_generators(&mut groups);
    let group = |(key, mut runs): (Key, Vec<T>)| {
        runs.sort_by_cached_key(|run| (run.as_ref().began(), run.as_ref().path.clone()));
        Group { key, runs }
    };
    groups.into_iter().map(group).collect()
}

/// A group that only generated has no accelerator: it joins the group of its model that ran, where there is exactly one.
fn join_generators<T: AsRef<Leaf>>(groups: &mut BTreeMap<Key, Vec<T>>) {
    let has_run = |runs: &[T]| {
        runs.iter()
            .any(|run| run.as_ref().kind() == Kind::TrainingRun)
    };
    let keys: Vec<Key> = groups.keys().cloned().collect();
    let (ran, only_generated): (Vec<Key>, Vec<Key>) = (keys.into_iter())
        .filter(|key| key.is_training)
        .partition(|key| has_run(&groups[key]));
    for key in only_generated {
        let fits = |other: &&Key| other.folder == key.folder && other.model == key.model;
        let hosts: Vec<&Key> = ran.iter().filter(fits).collect();
        if let [host] = hosts[..]
            && let Some(runs) = groups.remove(&key)
        {
            groups.entry(host.clone()).or_default().extend(runs);
        }
    }
}
