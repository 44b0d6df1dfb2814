//! The dataset as files on a storage system: paths, manifest, presence.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::failure::RankError;
use super::generate::split_of;
use crate::config::{SizeLaw, StorageType, Workload};
use crate::format::{Element, FileSpec, Format};
use crate::plan::Split;
use crate::plan::dataset::DatasetPlan;
use crate::plan::fill::FillSource;
use crate::storage::Storage;

/// Name of the manifest in the data folder.
pub const MANIFEST: &str = ".dlio-rs-manifest.json";

/// What a dataset generated here is made of. Written last, so its presence means completeness.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this file's layout.
    pub schema: u32,
    /// Version of the writer.
    pub dlio_rs: String,
    /// Format word.
    pub format: String,
    /// Training files.
    pub num_files_train: u64,
    /// Evaluation files.
    pub num_files_eval: u64,
    /// Samples per file.
    pub num_samples_per_file: u64,
    /// Bytes of a sample.
    pub record_length_bytes: f64,
    /// Standard deviation of it.
    pub record_length_bytes_stdev: f64,
    /// Shape of a sample.
    pub record_dims: Vec<u64>,
    /// numpy dtype.
    pub record_element_type: String,
    /// Subfolders.
    pub num_subfolders_train: u64,
    /// Subfolders.
    pub num_subfolders_eval: u64,
    /// First part of file names.
    pub file_prefix: String,
    /// Seed of the contents.
    pub fill_seed: u64,
    /// Law of the dimensions.
    pub size_law: SizeLaw,
    /// Ranks that generated it (part of the law only for `fork`).
    pub ranks: u64,
}

impl Manifest {
    fn of(workload: &Workload, train: u64, valid: u64, ranks: u64) -> Self {
        let d = &workload.dataset;
        Manifest {
            schema: 1,
            dlio_rs: env!("CARGO_PKG_VERSION").into(),
            format: d.format.word().into(),
            num_files_train: train,
            num_files_eval: valid,
            num_samples_per_file: d.num_samples_per_file,
            record_length_bytes: d.record_length_bytes,
            record_length_bytes_stdev: d.record_length_bytes_stdev,
            record_dims: d.record_dims.clone(),
            record_element_type: d.record_element_type.clone(),
            num_subfolders_train: d.num_subfolders_train,
            num_subfolders_eval: d.num_subfolders_eval,
            file_prefix: d.file_prefix.clone(),
            fill_seed: d.fill_seed,
            size_law: d.size_law,
            ranks,
        }
    }

    /// Keys whose values differ, as `key: there != here`. A reader (`reads_only`) may use fewer files than there are.
    fn differences(&self, wanted: &Manifest, reads_only: bool) -> Vec<String> {
        let (Ok(there), Ok(here)) = (serde_json::to_value(self), serde_json::to_value(wanted))
        else {
            return vec!["manifest: cannot be compared".into()];
        };
        let Some(there) = there.as_object() else {
            return Vec::new();
        };
        there
            .iter()
            .filter(|(key, value)| match key.as_str() {
                "dlio_rs" | "schema" => false,
                "ranks" => wanted.size_law == SizeLaw::Fork && here[key.as_str()] != **value,
                // What is inside the files matters to who writes them, not to who reads them.
                "fill_seed" => !reads_only && here[key.as_str()] != **value,
                "num_files_train" | "num_files_eval" if reads_only => {
                    value.as_u64().unwrap_or(0) < here[key.as_str()].as_u64().unwrap_or(0)
                }
                _ => here[key.as_str()] != **value,
            })
            .map(|(key, value)| {
                format!(
                    "dataset.{key}: the dataset has {value}, the workload wants {}",
                    here[key.as_str()]
                )
            })
            .collect()
    }
}

/// Where the files of a workload are.
pub struct DatasetFiles {
    root: PathBuf,
    /// `train/`
    pub train: DatasetPlan,
    /// `valid/`
    pub valid: DatasetPlan,
    /// Files that the workload uses, of those that exist.
    pub used: (u64, u64),
    manifest: Manifest,
    workload: Workload,
}

impl DatasetFiles {
    /// The files of `workload` for generation by `ranks` ranks.
    pub fn to_generate(workload: &Workload, ranks: usize) -> Self {
        let d = &workload.dataset;
        Self::with_counts(
            workload,
            d.num_files_generated.unwrap_or(d.num_files_train),
            d.num_files_eval,
            ranks,
        )
    }

    /// The files of `workload` for reading: the manifest, where there is one, says how many exist.
    ///
    /// Errors: the manifest cannot be read, or does not fit the workload.
    pub fn to_read(workload: &Workload, ranks: usize) -> Result<Self, RankError> {
        let mut this = Self::to_generate(workload, ranks);
        let has_files = !matches!(
            workload.storage_type_effective(),
            StorageType::Null | StorageType::Model
        );
        let found = if has_files {
            this.read_manifest()?
        } else {
            None
        };
        if let Some(found) = found {
            let differences = found.differences(&this.manifest, true);
            if !differences.is_empty() {
                return Err(RankError::Dataset(format!(
                    "use the dataset in {}: it was generated with other settings\n  {}\n  remedy: set the workload to the dataset's values, choose another dataset.data_folder, or generate again",
                    this.root.display(),
                    differences.join("\n  ")
                )));
            }
            this = Self::with_counts(workload, found.num_files_train, found.num_files_eval, ranks);
        }
        Ok(this)
    }

    fn with_counts(workload: &Workload, train: u64, valid: u64, ranks: usize) -> Self {
        let d = &workload.dataset;
        DatasetFiles {
            root: workload.data_root(),
            train: DatasetPlan::new(d, Split::Train, train),
            valid: DatasetPlan::new(d, Split::Valid, valid),
            used: (d.num_files_train.min(train), d.num_files_eval.min(valid)),
            manifest: Manifest::of(workload, train, valid, ranks as u64),
            workload: workload.clone(),
        }
    }

    /// The data folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The plan of a split.
    pub fn split(&self, split: Split) -> &DatasetPlan {
        match split {
            Split::Train => &self.train,
            Split::Valid => &self.valid,
        }
    }

    /// Writes the path of file `index` of a split over `path`, without allocating once it is long enough.
    pub fn path_of(&self, split: Split, index: u64, path: &mut PathBuf) {
        let mut text = std::mem::take(path)
            .into_os_string()
            .into_string()
            .unwrap_or_default();
        text.clear();
        text.push_str(&self.root.to_string_lossy());
        text.push('/');
        self.split(split).write_name(index, &mut text);
        *path = PathBuf::from(text);
    }

    /// The same for an index over train, then valid.
    pub fn path_of_global(&self, index: u64, path: &mut PathBuf) {
        let (split, index) = split_of(index, self.train.files());
        self.path_of(split, index, path);
    }

    /// Folders to make before generation; `train` and `valid` both exist even when one is empty, as in DLIO.
    pub fn folders(&self) -> Vec<PathBuf> {
        let mut all = vec![self.root.clone()];
        all.extend(
            self.train
                .folders()
                .chain(self.valid.folders())
                .map(|folder| self.root.join(folder)),
        );
        all
    }

    /// Bytes of all files, when every file has the same size.
    pub fn total_bytes(&self, format: &dyn Format) -> Option<u64> {
        let d = &self.workload.dataset;
        if d.record_length_bytes_stdev > 0.0 {
            return None;
        }
        let element = Element::parse(&d.record_element_type)?;
        let dims = self.train.nominal_dims();
        let spec = FileSpec {
            sample_dims: dims.as_slice(),
            samples: d.num_samples_per_file,
            element,
            fill: FillSource::new(d.fill_seed).file(0),
        };
        Some(format.encoded_len(&spec) * (self.train.files() + self.valid.files()))
    }

    fn manifest_path(&self) -> PathBuf {
        self.root.join(MANIFEST)
    }

    fn read_manifest(&self) -> Result<Option<Manifest>, RankError> {
        let path = self.manifest_path();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e)
                if matches!(
                    e.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(None);
            }
            Err(e) => {
                return Err(RankError::Dataset(format!(
                    "read manifest {}: {e}",
                    path.display()
                )));
            }
        };
        serde_json::from_str(&text).map(Some).map_err(|e| {
            RankError::Dataset(format!(
                "read manifest {}: {e}\n  remedy: delete it if the dataset is complete, or generate the dataset again",
                path.display()
            ))
        })
    }

    /// Generation into a folder that holds another dataset would mix the two.
    pub fn check_manifest_before_generation(&self, storage: &dyn Storage) -> Result<(), RankError> {
        if !storage.has_bytes() {
            return Ok(());
        }
        let Some(found) = self.read_manifest()? else {
            return Ok(());
        };
        let differences = found.differences(&self.manifest, false);
        if differences.is_empty() {
            return Ok(());
        }
        Err(RankError::Dataset(format!(
            "generate into {}: it holds a dataset of other settings\n  {}\n  remedy: choose another dataset.data_folder or delete that dataset",
            self.root.display(),
            differences.join("\n  ")
        )))
    }

    /// Writes the manifest; the dataset is complete.
    pub fn write_manifest(&self, storage: &dyn Storage) -> Result<(), RankError> {
        if !storage.has_bytes() {
            return Ok(());
        }
        let mut text =
            serde_json::to_string_pretty(&self.manifest).expect("plain data becomes JSON");
        text.push('\n');
        let path = self.manifest_path();
        let part = self.root.join(format!("{MANIFEST}.part"));
        std::fs::write(&part, text)
            .and_then(|()| std::fs::rename(&part, &path))
            .map_err(|e| RankError::Dataset(format!("write manifest {}: {e}", path.display())))
    }

    /// Checks a sample of the files that this rank answers for: present, and not shorter than planned.
    ///
    /// Every `listing_validation_interval`-th file and the last one (0: none), spread over the ranks.
    pub fn check_presence(
        &self,
        storage: &dyn Storage,
        rank: u64,
        ranks: u64,
    ) -> Result<(), RankError> {
        let interval = self.workload.dataset.listing_validation_interval;
        if interval == 0 || !storage.has_bytes() {
            return Ok(());
        }
        if storage.len(&self.root)?.is_none() {
            return Err(RankError::Dataset(format!(
                "find the dataset: {} does not exist\n  remedy: set dataset.data_folder to where it is, or generate it (workflow.generate_data=true)",
                self.root.display()
            )));
        }
        let evaluates = self.workload.workflow.evaluation;
        let mut path = PathBuf::new();
        for (split, used) in [
            (Split::Train, self.used.0),
            (Split::Valid, if evaluates { self.used.1 } else { 0 }),
        ] {
            if used == 0 {
                continue;
            }
            let checks = (used - 1) / interval + 2;
            for check in (rank..checks).step_by(ranks as usize) {
                let position = (check * interval).min(used - 1);
                let index = self.split(split).position_to_index(position);
                self.path_of(split, index, &mut path);
                match storage.len(&path)? {
                    None => return Err(self.missing(&path, split, used)),
                    Some(len) if len < self.min_file_len() => {
                        return Err(RankError::Dataset(format!(
                            "use {}: it has {len} bytes and its samples need {}\n  remedy: it is truncated or of another dataset; generate it again",
                            path.display(),
                            self.min_file_len()
                        )));
                    }
                    Some(_) => {}
                }
            }
        }
        Ok(())
    }

    fn missing(&self, path: &Path, split: Split, used: u64) -> RankError {
        let key = if split == Split::Train {
            "dataset.num_files_train"
        } else {
            "dataset.num_files_eval"
        };
        RankError::Dataset(format!(
            "find {}: it does not exist, though {key}={used} names it\n  remedy: the dataset has too few files or other names: generate it, lower {key}, or set dataset.num_files_generated to the number it was generated with (it is part of the names)",
            path.display()
        ))
    }

    /// Bytes that a file holds at least: its samples, when their size is fixed.
    pub fn min_file_len(&self) -> u64 {
        let d = &self.workload.dataset;
        if d.record_length_bytes_stdev > 0.0 || d.compression != crate::config::Compression::None {
            1
        } else {
            self.train.sample_bytes_nominal() * d.num_samples_per_file
        }
    }

    /// Deletes the manifest and the folders that are empty.
    pub fn remove_folders(&self, storage: &dyn Storage) -> Result<(), RankError> {
        storage.remove(&self.manifest_path())?;
        for folder in self.folders().iter().rev() {
            storage.remove_folder(folder)?;
        }
        Ok(())
    }
}
