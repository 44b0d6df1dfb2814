//! The dataset as arithmetic: names, folders, dimensions of file i.

use std::fmt::Write;

use super::Split;
use super::mt19937::Mt19937;
use crate::config::SizeLaw;

/// Shape of one sample of a file, without the sample axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dims(Inner);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Inner {
    Pair([u64; 2]),
    List(Vec<u64>),
}

impl Dims {
    /// The lengths of the axes.
    pub fn as_slice(&self) -> &[u64] {
        match &self.0 {
            Inner::Pair(pair) => pair,
            Inner::List(list) => list,
        }
    }

    pub fn elements(&self) -> u64 {
        self.as_slice().iter().product()
    }
}

/// What names and shapes of a dataset's files are made of.
#[derive(Debug, Clone, PartialEq)]
pub struct DatasetSpec {
    /// First part of file names.
    pub prefix: String,
    /// Extension of file names.
    pub extension: String,
    /// Subfolders of `train/`; 0 and 1: none.
    pub subfolders_train: u64,
    /// Subfolders of `valid/`; 0 and 1: none.
    pub subfolders_valid: u64,
    pub samples_per_file: u64,
    /// Shape of a sample; empty: a square of `record_len` elements.
    pub record_dims: Vec<u64>,
    /// Elements of a sample without `record_dims`; may be fractional.
    pub record_len: f64,
    /// Standard deviation of it.
    pub record_len_stdev: f64,
    pub element_bytes: u64,
    /// How files get their dimensions where there is a standard deviation.
    pub size_law: SizeLaw,
    /// Files are listed by number instead of by path.
    pub names_in_order: bool,
}

/// `int(sqrt(record_length_bytes))`: both sides of a sample that has no `record_dims`.
fn base_dim(dataset: &DatasetSpec) -> u64 {
    dataset.record_len.sqrt() as u64
}

/// The dimensions of every file in the order of generation (train, then valid): an endless stream in constant memory.
///
/// Source: DLIO `utils/config.py::get_dimension`: with a stdev, two normal draws per file from numpy's legacy
/// generator, seed 10 on every rank (`upstream`) or 10 + rank (`fork`).
pub struct Shapes {
    fixed: Option<Dims>,
    mean: f64,
    stdev: f64,
    random: Mt19937,
}

impl Shapes {
    /// The stream as `rank` sees it (the rank matters to `fork` only).
    pub fn new(dataset: &DatasetSpec, rank: usize) -> Self {
        let seed = match dataset.size_law {
            SizeLaw::Upstream => 10,
            SizeLaw::Fork => 10 + rank as u64,
        };
        let d = base_dim(dataset);
        let stdev = dataset.record_len_stdev / 2.0 / dataset.record_len.sqrt();
        let fixed = if !dataset.record_dims.is_empty() {
            Some(Dims(Inner::List(dataset.record_dims.clone())))
        } else if stdev > 0.0 {
            None
        } else {
            Some(Dims(Inner::Pair([d, d])))
        };
        Shapes {
            fixed,
            mean: d as f64,
            stdev,
            random: Mt19937::new(seed),
        }
    }
}

impl Iterator for Shapes {
    type Item = Dims;

    fn next(&mut self) -> Option<Dims> {
        if let Some(dims) = &self.fixed {
            return Some(dims.clone());
        }
        // A negative draw truncates towards zero and is then raised to one, as Python's max(int(z), 1) does.
        let mut side = || (self.random.normal(self.mean, self.stdev) as i64).max(1) as u64;
        let pair = [side(), side()];
        Some(Dims(Inner::Pair(pair)))
    }
}

/// The dimensions of every file of a dataset with a stdev, 8 bytes per file: for reading files in any order.
pub struct SideTable(Vec<[u32; 2]>);

impl SideTable {
    /// The dimensions of `files` files (train, then valid) that `ranks` ranks generated.
    pub fn new(dataset: &DatasetSpec, files: u64, ranks: usize) -> Self {
        let streams = match dataset.size_law {
            SizeLaw::Upstream => 1,
            SizeLaw::Fork => ranks.max(1),
        };
        let mut sides = vec![[0; 2]; files as usize];
        for rank in 0..streams {
            let own = sides.iter_mut().zip(Shapes::new(dataset, rank)).enumerate();
            for (file, (to, dims)) in own {
                if let [a, b] = *dims.as_slice()
                    && file % streams == rank
                {
                    *to = [a as u32, b as u32];
                }
            }
        }
        SideTable(sides)
    }

    /// The dimensions of a file.
    pub fn dims(&self, file: u64) -> Dims {
        let [a, b] = self.0[file as usize];
        Dims(Inner::Pair([u64::from(a), u64::from(b)]))
    }
}

/// One split of a dataset.
#[derive(Debug, Clone)]
pub struct DatasetPlan {
    split: Split,
    files: u64,
    subfolders: u64,
    digits: usize,
    folder_digits: usize,
    prefix: String,
    extension: String,
    samples_per_file: u64,
    nominal: Dims,
    element_bytes: u64,
    names_in_order: bool,
}

fn digits(n: u64) -> usize {
    n.to_string().len()
}

impl DatasetPlan {
    /// A split of `files` files; the count is part of the names.
    pub fn new(dataset: &DatasetSpec, split: Split, files: u64) -> Self {
        let subfolders = match split {
            Split::Train => dataset.subfolders_train,
            Split::Valid => dataset.subfolders_valid,
        };
        let mut equal = dataset.clone();
        equal.record_len_stdev = 0.0;
        DatasetPlan {
            split,
            files,
            subfolders: if subfolders > 1 { subfolders } else { 0 },
            digits: digits(files),
            folder_digits: digits(subfolders),
            prefix: dataset.prefix.clone(),
            extension: dataset.extension.clone(),
            samples_per_file: dataset.samples_per_file,
            nominal: Shapes::new(&equal, 0)
                .next()
                .expect("the stream of shapes is endless"),
            element_bytes: dataset.element_bytes,
            names_in_order: dataset.names_in_order,
        }
    }

    pub fn files(&self) -> u64 {
        self.files
    }

    pub fn samples_per_file(&self) -> u64 {
        self.samples_per_file
    }

    /// Dimensions of a sample when no stdev is given.
    pub fn nominal_dims(&self) -> &Dims {
        &self.nominal
    }

    /// Bytes of a sample when no stdev is given: the product of its dimensions and its element size.
    pub fn sample_bytes_nominal(&self) -> u64 {
        self.nominal.elements() * self.element_bytes
    }

    /// Appends the path of file `index` below the data folder, such as `train/img_00_of_12.npz`.
    ///
    /// Source: DLIO `data_generator/data_generator.py`: the index is padded to the width of the count, and
    /// subfolder `index mod n` to the width of n.
    pub fn write_name(&self, index: u64, out: &mut String) {
        let folder = self.split.folder();
        let written = if self.subfolders > 0 {
            write!(
                out,
                "{folder}/{:0w$}/",
                index % self.subfolders,
                w = self.folder_digits
            )
        } else {
            write!(out, "{folder}/")
        };
        let written = written.and_then(|()| {
            write!(
                out,
                "{}_{index:0w$}_of_{}.{}",
                self.prefix,
                self.files,
                self.extension,
                w = self.digits
            )
        });
        written.expect("writing to a String cannot fail");
    }

    /// Folders to make, relative to the data folder.
    pub fn folders(&self) -> impl Iterator<Item = String> + '_ {
        let folder = self.split.folder();
        std::iter::once(folder.to_string()).chain(
            (0..self.subfolders).map(move |s| format!("{folder}/{s:0w$}", w = self.folder_digits)),
        )
    }

    /// File index at a position of DLIO's file list: by name within each subfolder, subfolder after subfolder; with
    /// `skip_listing` by index.
    pub fn position_to_index(&self, position: u64) -> u64 {
        let s = self.subfolders;
        if s == 0 || self.names_in_order {
            return position;
        }
        // The first files mod s subfolders have one file more than the others.
        let (small, large_count) = (self.files / s, self.files % s);
        let in_large = large_count * (small + 1);
        if position < in_large {
            position / (small + 1) + position % (small + 1) * s
        } else {
            let rest = position - in_large;
            large_count + rest / small + rest % small * s
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat() -> DatasetSpec {
        DatasetSpec {
            prefix: "img".into(),
            extension: "npz".into(),
            subfolders_train: 0,
            subfolders_valid: 0,
            samples_per_file: 1,
            record_dims: Vec::new(),
            record_len: 65536.0,
            record_len_stdev: 0.0,
            element_bytes: 1,
            size_law: SizeLaw::Upstream,
            names_in_order: false,
        }
    }

    fn unet3d() -> DatasetSpec {
        DatasetSpec {
            record_len: 146_600_628.0,
            record_len_stdev: 68_341_808.0,
            ..flat()
        }
    }

    // Reference values drawn with numpy's RandomState(10).
    #[test]
    fn unet3d_dimensions_are_upstreams() {
        let sizes: Vec<u64> = Shapes::new(&unet3d(), 3)
            .take(168)
            .map(|d| d.elements())
            .collect();
        assert_eq!(
            sizes[..4],
            [224_093_125, 93_582_835, 139_625_640, 159_581_528]
        );
        assert_eq!(sizes.iter().sum::<u64>(), 25_285_981_919);
        assert_eq!(
            (*sizes.iter().min().unwrap(), *sizes.iter().max().unwrap()),
            (46_888_650, 301_601_979)
        );
        let shapes: Vec<_> = Shapes::new(&unet3d(), 0).take(6).collect();
        assert_eq!(shapes[4].as_slice(), [12119, 11614]);
        assert_eq!(shapes[5].as_slice(), [13329, 15502]);
    }

    #[test]
    fn cosmoflow_dimensions_are_upstreams() {
        let dataset = DatasetSpec {
            record_len: 2_828_486.0,
            record_len_stdev: 71_311.0,
            ..flat()
        };
        let shapes: Vec<_> = Shapes::new(&dataset, 0)
            .take(4)
            .map(|d| [d.as_slice()[0], d.as_slice()[1]])
            .collect();
        assert_eq!(
            shapes,
            [[1709, 1696], [1648, 1680], [1694, 1665], [1686, 1683]]
        );
    }

    #[test]
    fn names_are_dlios() {
        let name = |dataset: &DatasetSpec, files, index| {
            let mut out = String::new();
            DatasetPlan::new(dataset, Split::Train, files).write_name(index, &mut out);
            out
        };
        let flat = flat();
        assert_eq!(name(&flat, 64, 0), "train/img_00_of_64.npz");
        assert_eq!(name(&flat, 8, 7), "train/img_7_of_8.npz");
        assert_eq!(name(&flat, 10, 3), "train/img_03_of_10.npz");
        let nested = DatasetSpec {
            subfolders_train: 10,
            ..flat.clone()
        };
        assert_eq!(name(&nested, 64, 63), "train/03/img_63_of_64.npz");
        let one = DatasetSpec {
            subfolders_train: 1,
            ..flat
        };
        assert_eq!(name(&one, 64, 63), "train/img_63_of_64.npz");
    }

    #[test]
    fn positions_follow_sorted_paths() {
        for subfolders in [0, 2, 3, 7] {
            for files in 1..60 {
                let dataset = DatasetSpec {
                    subfolders_train: subfolders,
                    ..flat()
                };
                let plan = DatasetPlan::new(&dataset, Split::Train, files);
                let path = |index| {
                    let mut out = String::new();
                    plan.write_name(index, &mut out);
                    out
                };
                let mut sorted: Vec<String> = (0..files).map(path).collect();
                sorted.sort();
                let listed: Vec<String> = (0..files)
                    .map(|p| path(plan.position_to_index(p)))
                    .collect();
                assert_eq!(listed, sorted, "{files} files in {subfolders} subfolders");
            }
        }
    }
}
