//! The dataset as files on a storage system: paths, presence, sizes.

mod presence;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::context::JobContext;
use super::events::Events;
use super::failure::{RankError, Result, agree};
use super::manifest::{MANIFEST, MANIFEST_LIMIT, Manifest, Purpose};
use super::names::{self, Listed};
use super::wire;
use crate::config::{ImageEncoding, SizeLaw, VerifyContent, Workload};
use crate::format::{Companion, Element, FileSpec, Format, FormatOptions};
use crate::plan::Split;
use crate::plan::dataset::{DatasetPlan, DatasetSpec, Dims, SideTable};
use crate::plan::fill::FillSource;
use crate::report::Event;
use crate::storage::{Storage, StorageError};

pub(super) use presence::{GROUPS, LARGE};

/// Sizes of files that a rank draws to compare contents, at most: a few seconds.
const MOST_DRAWS: u64 = 100_000_000;

/// Where the files of a workload are.
pub struct DatasetFiles {
    root: PathBuf,
    pub train: DatasetPlan,
    pub valid: DatasetPlan,
    /// Files that the workload uses, of those that exist.
    pub used: (u64, u64),
    manifest: Manifest,
    workload: Workload,
    spec: DatasetSpec,
    options: Arc<FormatOptions>,
    element: Element,
    fill: FillSource,
    min_file_len: u64,
    /// What the workload means a file of another writer to hold; 0 where files were made here, or have any size.
    nominal_len: u64,
    /// A manifest says how files are encoded: what one holds tells its length.
    is_exact: bool,
    /// Bytes of every file, where that is known and they all have the same.
    exact_file_len: Option<u64>,
    /// Sides of every file, made when first needed.
    sides: OnceLock<SideTable>,
    /// Ranks that generated the files, which sizes drawn as `fork` depend on.
    generated_by: usize,
    /// Names of training and evaluation files, where a listing found them.
    names: Option<Listed>,
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
    /// A collective. Errors: the manifest cannot be read, or does not fit the workload.
    pub fn to_read(job: &JobContext, storage: &dyn Storage) -> Result<Self> {
        let (cluster, workload) = (job.cluster, job.workload);
        if workload.dataset.listing && storage.system().has_bytes {
            let names = names::list(job, storage)?;
            return agree(cluster, Self::listed(workload, cluster.size(), names));
        }
        let this = Self::to_generate(workload, cluster.size());
        // Read once: thousands of ranks would ask for the same file at the same time.
        let mine = if cluster.rank() == 0 && storage.system().has_bytes {
            let _task = job.doing("read", &this.manifest_path());
            this.read_manifest(storage)
        } else {
            Ok(None)
        };
        let mine = agree(cluster, mine)?;
        let mut bytes = serde_json::to_vec(&mine).expect("plain data becomes JSON");
        cluster.broadcast(&mut bytes);
        let found = serde_json::from_slice(&bytes)
            .map_err(|e| RankError::Dataset(format!("receive rank 0's manifest: {e}")))
            .and_then(|found| this.fit(workload, cluster.size(), found));
        agree(cluster, found)
    }

    /// The files that a listing found, by whomever they were written.
    fn listed(workload: &Workload, ranks: usize, names: Listed) -> Result<Self, RankError> {
        let [train, valid] = [&names[0], &names[1]].map(|names| names.len());
        let this = Self::with_counts(workload, train, valid, ranks);
        Ok(DatasetFiles {
            names: Some(names),
            ..this.fit(workload, ranks, None)?
        })
    }

    /// Bytes of memory of the names, where a listing found them.
    pub fn names_memory(&self) -> u64 {
        let names = self.names.iter().flatten();
        names.map(|names| names.memory()).sum()
    }

    /// Says when there are more files than the workload wants, as DLIO does.
    pub fn warn_of_more(&self, events: &mut Events) {
        let Some([train, _]) = &self.names else {
            return;
        };
        if train.len() > self.used.0 {
            events.emit(Event::Warning(format!(
                "{} holds {} training files and dataset.num_files_train is {}: the first of them are used",
                self.root.display(),
                train.len(),
                self.used.0
            )));
        }
    }

    /// These files as the manifest that was found tells them.
    fn fit(
        mut self,
        workload: &Workload,
        ranks: usize,
        found: Option<Manifest>,
    ) -> Result<Self, RankError> {
        if let Some(found) = found {
            let purpose = match workload.reader.verify_content {
                VerifyContent::Off => Purpose::Read,
                _ => Purpose::Compare,
            };
            let differences = found.differences(&self.manifest, purpose);
            if !differences.is_empty() {
                return Err(RankError::Dataset(format!(
                    "use the dataset in {}: it was generated with other settings\n  {}\n  remedy: set the workload to the dataset's values, choose another dataset.data_folder, or generate again",
                    self.root.display(),
                    differences.join("\n  ")
                )));
            }
            let generated_by = found.ranks as usize;
            let is_exact = found.layout == self.manifest.layout;
            self = Self::with_counts(workload, found.num_files_train, found.num_files_eval, ranks);
            self.generated_by = generated_by;
            self.fill = FillSource::shrinking(found.fill_seed, wire::shrink(workload));
            self.is_exact = is_exact;
            if is_exact && workload.dataset.record_length_bytes_stdev == 0.0 {
                self.exact_file_len = self.encoded_len(&self.nominal_spec());
            }
            if !is_exact {
                // Compressed in another way, for example.
                self.min_file_len = 1;
            }
        } else {
            // Files of other writers have any size: what is inside them tells whether they are whole.
            let spec = self.nominal_spec();
            let format = wire::format_row(workload).format;
            if workload.dataset.record_length_bytes_stdev == 0.0 {
                self.nominal_len = format.map_or(0, |format| format.nominal_len(&spec));
            }
            self.min_file_len = 1;
        }
        self.check_draws()?;
        Ok(self)
    }

    /// The sizes of files that ranks drew for themselves come one after another from each rank's generator: to know those of
    /// any file, all are drawn.
    ///
    /// Errors: it would take too long.
    fn check_draws(&self) -> Result<(), RankError> {
        let workload = &self.workload;
        let is_needed = workload.reader.verify_content != VerifyContent::Off
            && workload.dataset.record_length_bytes_stdev > 0.0
            && self.spec.size_law == SizeLaw::Fork;
        let files = self.train.files().saturating_add(self.valid.files());
        let ranks = self.generated_by;
        if !is_needed || files.saturating_mul(ranks as u64) <= MOST_DRAWS {
            return Ok(());
        }
        Err(RankError::Dataset(format!(
            "compare contents of the dataset in {}: {ranks} ranks drew the sizes of its {files} files (dataset.size_law=fork), and each rank would have to draw all of them again for every one of those\n  remedy: set reader.verify_content=off, or generate the dataset with dataset.size_law=upstream or with fewer ranks",
            self.root.display(),
        )))
    }

    fn encoded_len(&self, spec: &FileSpec) -> Option<u64> {
        wire::format_row(&self.workload).format?.encoded_len(spec)
    }

    fn with_counts(workload: &Workload, train: u64, valid: u64, ranks: usize) -> Self {
        let d = &workload.dataset;
        let options = Arc::new(wire::format_options(workload));
        let spec = wire::dataset_spec(workload);
        let element = Element::parse(&d.record_element_type).unwrap_or(Element::BYTE);
        let fill = FillSource::shrinking(d.fill_seed, wire::shrink(workload));
        let plan = DatasetPlan::new(&spec, Split::Train, train);
        let min_file_len = match wire::format_row(workload).format {
            Some(format) if d.record_length_bytes_stdev == 0.0 => format.min_len(&FileSpec {
                sample_dims: plan.nominal_dims().as_slice(),
                samples: d.num_samples_per_file,
                element,
                fill: fill.file(0),
                file: 0,
                options: &options,
            }),
            _ => 1,
        };
        DatasetFiles {
            root: workload.data_root(),
            train: plan,
            valid: DatasetPlan::new(&spec, Split::Valid, valid),
            used: (d.num_files_train.min(train), d.num_files_eval.min(valid)),
            manifest: Manifest::of(workload, train, valid, ranks as u64),
            workload: workload.clone(),
            spec,
            options,
            element,
            fill,
            min_file_len,
            nominal_len: 0,
            is_exact: false,
            exact_file_len: None,
            sides: OnceLock::new(),
            generated_by: ranks,
            names: None,
        }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

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
        match &self.names {
            Some([train, valid]) => {
                let names = if split == Split::Train { train } else { valid };
                text.push_str(split.folder());
                text.push('/');
                text.push_str(names.get(index));
            }
            None => self.split(split).write_name(index, &mut text),
        }
        *path = PathBuf::from(text);
    }

    /// The same for an index over train, then valid.
    pub fn path_of_global(&self, index: u64, path: &mut PathBuf) {
        let (split, index) = split_of(index, self.train.files());
        self.path_of(split, index, path);
    }

    /// The path of such an index, for messages.
    pub fn shown(&self, index: u64) -> String {
        let mut path = PathBuf::new();
        self.path_of_global(index, &mut path);
        path.display().to_string()
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
        let companions = wire::format_row(&self.workload)
            .format
            .map_or(&[][..], |f| f.companions());
        if companions
            .iter()
            .any(|companion| matches!(companion, Companion::IndexFolder(_)))
        {
            let index = self.root.join("index");
            all.extend([index.clone(), index.join("train"), index.join("valid")]);
        }
        all
    }

    /// Bytes of all files, when every file has the same size.
    pub fn total_bytes(&self, format: &dyn Format) -> Option<u64> {
        if self.workload.dataset.record_length_bytes_stdev > 0.0 {
            return None;
        }
        let file = format.encoded_len(&self.nominal_spec())?;
        Some(self.with_companions(format, file))
    }

    /// Bytes that all files have at least: where sizes are random, three standard deviations of their sum below its mean; of
    /// compressed files what no compressor shrinks.
    pub fn least_bytes(&self, format: &dyn Format) -> u64 {
        let d = &self.workload.dataset;
        let files = (self.train.files() + self.valid.files()) as f64;
        let spread = 3.0 * d.record_length_bytes_stdev / d.record_length_bytes / files.sqrt();
        let mean = self.with_companions(format, format.least_len(&self.nominal_spec()));
        (mean as f64 * (1.0 - spread).max(0.0)) as u64
    }

    /// Bytes of the dataset where each data file has `file`.
    fn with_companions(&self, format: &dyn Format, file: u64) -> u64 {
        let spec = self.nominal_spec();
        let companions: u64 = (0..format.companions().len())
            .map(|which| format.companion_len(which, &spec))
            .sum();
        (file + companions).saturating_mul(self.train.files() + self.valid.files())
    }

    fn manifest_path(&self) -> PathBuf {
        self.root.join(MANIFEST)
    }

    fn read_manifest(&self, storage: &dyn Storage) -> Result<Option<Manifest>, RankError> {
        let path = self.manifest_path();
        let mut bytes = vec![0; MANIFEST_LIMIT];
        match storage.head(&path, &mut bytes) {
            Ok(len) => bytes.truncate(len),
            Err(StorageError::Missing { .. }) => return Ok(None),
            Err(StorageError::Io { source, .. })
                if source.kind() == std::io::ErrorKind::NotADirectory =>
            {
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        }
        Manifest::parse(&bytes).map(Some).map_err(|cause| {
            RankError::Dataset(format!("read manifest {}: {cause}", path.display()))
        })
    }

    /// Generation into a folder that holds another dataset would mix the two. Rank 0 only.
    pub fn check_manifest_before_generation(&self, storage: &dyn Storage) -> Result<(), RankError> {
        if !storage.system().has_bytes {
            return Ok(());
        }
        let Some(found) = self.read_manifest(storage)? else {
            return Ok(());
        };
        let differences = found.differences(&self.manifest, Purpose::Generate);
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
        if !storage.system().has_bytes {
            return Ok(());
        }
        let mut text =
            serde_json::to_string_pretty(&self.manifest).expect("plain data becomes JSON");
        text.push('\n');
        let path = self.manifest_path();
        let mut writer = storage.create(&path)?;
        writer
            .write(text.as_bytes())
            .map_err(|e| StorageError::writing(&path, 0, e))?;
        writer.finish()?;
        Ok(())
    }

    /// Bytes that a file holds at least, when it was made here and its samples have a fixed size.
    pub fn min_file_len(&self) -> u64 {
        self.min_file_len
    }

    /// Bytes of every file, where a manifest tells that they all have the same.
    pub fn exact_file_len(&self) -> Option<u64> {
        self.exact_file_len
    }

    /// Bytes of a sample as DLIO counts them, when no stdev is given.
    pub fn sample_bytes(&self) -> u64 {
        self.train.sample_bytes_nominal()
    }

    /// What the YAML says of the format.
    pub fn options(&self) -> &Arc<FormatOptions> {
        &self.options
    }

    /// From now on files are bare bytes: see [`Format::is_bare`].
    pub(super) fn read_as_bare(&mut self) {
        let mut options = (*self.options).clone();
        options.image_encoding = ImageEncoding::Raw;
        self.options = Arc::new(options);
    }

    /// Index of a file of a split over train, then valid.
    pub fn global_index(&self, split: Split, index: u64) -> u64 {
        match split {
            Split::Train => index,
            Split::Valid => self.train.files() + index,
        }
    }

    /// Dimensions of the samples of a file. With a stdev the first call draws those of all files.
    pub fn dims_of(&self, split: Split, index: u64) -> Dims {
        let d = &self.workload.dataset;
        if d.record_length_bytes_stdev == 0.0 {
            return self.train.nominal_dims().clone();
        }
        let files = self.train.files() + self.valid.files();
        self.sides
            .get_or_init(|| SideTable::new(&self.spec, files, self.generated_by))
            .dims(self.global_index(split, index))
    }

    /// What the first training file holds, where sizes are the configured ones.
    pub fn nominal_spec(&self) -> FileSpec<'_> {
        self.spec(Split::Train, 0, self.train.nominal_dims())
    }

    /// What a file of these dimensions holds.
    pub fn spec<'a>(&'a self, split: Split, index: u64, dims: &'a Dims) -> FileSpec<'a> {
        let file = self.global_index(split, index);
        let len = self.sample_bytes() as f64 * self.workload.dataset.num_samples_per_file as f64;
        FileSpec {
            sample_dims: dims.as_slice(),
            samples: self.workload.dataset.num_samples_per_file,
            element: self.element,
            fill: self.fill.file_of(file, len),
            file,
            options: &self.options,
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

/// Which split a global file index belongs to, and its index there.
pub fn split_of(index: u64, train_files: u64) -> (Split, u64) {
    if index < train_files {
        (Split::Train, index)
    } else {
        (Split::Valid, index - train_files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_sizes_add_up_to_no_less_than_is_said() {
        let mut workload = Workload::default();
        let d = &mut workload.dataset;
        d.record_length_bytes = 146_600_628.0;
        d.record_length_bytes_stdev = 68_341_808.0;
        for files in [1, 3, 168, 5000] {
            workload.dataset.num_files_train = files;
            let of = DatasetFiles::to_generate(&workload, 1);
            let format = wire::format_row(&workload).format.unwrap();
            let drawn: u64 = (0..files)
                .map(|file| of.dims_of(Split::Train, file).elements())
                .sum();
            let least = of.least_bytes(format);
            assert!(least <= drawn, "{files} files: {least} {drawn}");
            let far = files > 100 && least < drawn / 10 * 8;
            assert!(!far, "{files} files: {least} {drawn}");
            assert_eq!(of.total_bytes(format), None);
        }
    }
}
