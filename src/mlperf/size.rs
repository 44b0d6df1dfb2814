//! How large a dataset the rules demand. Exact arithmetic: a `ceil` decides, so no rounding may precede it.
//!
//! Source: the size calculation of `mlpstorage`: a dataset of five times the memory of all hosts, and 500 steps per epoch.

use serde_json::Value;

use super::json::{at, number_text};
use super::rules::tables::Llm;

/// Steps that an epoch has at least.
pub const STEPS_PER_EPOCH: u64 = 500;

/// How many times the memory of all hosts a dataset holds at least.
pub const MEMORY_MULTIPLIER: u64 = 5;

/// More files than this and subfolders are advised, one per this many files.
pub const FILES_PER_SUBFOLDER: u128 = 10_000;

const GIB: u128 = 1 << 30;

/// A fraction without a sign, in lowest terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ratio {
    num: u128,
    den: u128,
}

impl Ratio {
    /// A whole number.
    pub fn whole(n: u128) -> Self {
        Ratio { num: n, den: 1 }
    }

    /// `num / den`; None for a zero denominator.
    pub fn new(num: u128, den: u128) -> Option<Self> {
        let (mut a, mut b) = (num, den);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        (den != 0).then(|| Ratio {
            num: num / a,
            den: den / a,
        })
    }

    /// The number that a decimal text such as `114660.07` or `1e3` says, exactly; None for anything else.
    pub fn decimal(text: &str) -> Option<Self> {
        let text = text.trim();
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let mantissa = mantissa.strip_prefix('+').unwrap_or(mantissa);
        let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = [whole, part].concat();
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let num: u128 = digits.parse().ok()?;
        let places = i32::try_from(part.len()).ok()?.checked_sub(exponent)?;
        let power = 10u128.checked_pow(places.unsigned_abs());
        if num == 0 {
            return Some(Ratio::whole(0));
        }
        if places >= 0 {
            Ratio::new(num, power?)
        } else {
            Some(Ratio::whole(num.checked_mul(power?)?))
        }
    }

    /// A JSON number, or text that is one, by its decimal digits; None for what is negative or no number.
    pub fn of(value: &Value) -> Option<Self> {
        Ratio::decimal(&number_text(value)?)
    }

    /// The product; None where it overflows.
    pub fn times(self, other: Ratio) -> Option<Self> {
        // Lowest terms crosswise first, so that only a product too large overflows.
        let a = Ratio::new(self.num, other.den)?;
        let b = Ratio::new(other.num, self.den)?;
        Ratio::new(a.num.checked_mul(b.num)?, a.den.checked_mul(b.den)?)
    }

    /// The quotient; None for a division by zero or where it overflows.
    pub fn over(self, other: Ratio) -> Option<Self> {
        self.times(Ratio::new(other.den, other.num)?)
    }

    /// The largest whole number that is not larger.
    pub fn floor(self) -> u128 {
        self.num / self.den
    }

    /// The smallest whole number that is not smaller.
    pub fn ceil(self) -> u128 {
        self.num.div_ceil(self.den)
    }

    /// True for 0.
    pub fn is_zero(self) -> bool {
        self.num == 0
    }

    /// The nearest double.
    pub fn to_f64(self) -> f64 {
        self.num as f64 / self.den as f64
    }
}

impl std::fmt::Display for Ratio {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.den == 1 {
            write!(f, "{}", self.num)
        } else {
            write!(f, "{}", self.to_f64())
        }
    }
}

/// Why no size can be computed. Messages fit after a place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// A key is absent, or is no positive number.
    #[error("{key} is {found}; the formula needs a number above 0\n  remedy: set {key}")]
    NotANumber {
        /// Dotted.
        key: &'static str,
        /// What is there.
        found: String,
    },
    /// Beyond every disk.
    #[error(
        "the numbers are too large: {what} overflows\n  remedy: check accelerators, memory and dataset.record_length_bytes"
    )]
    TooLarge {
        /// Which term.
        what: &'static str,
    },
}

/// Bytes of one sample, as the harness counts them and as DLIO does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordLength {
    /// mlpstorage's: what the formula takes.
    pub harness: Ratio,
    /// DLIO's: what throughput is computed from.
    pub dlio: Ratio,
    /// True where it is the sum over `dataset.parquet.columns`.
    pub from_columns: bool,
}

impl RecordLength {
    /// Of a workload's parameters.
    ///
    /// `dataset.record_length_bytes`, else for parquet the sum over its columns of size times element bytes. There
    /// the harness counts 8 for float64 and int64, 1 for uint8 and bool and 4 for everything else, and DLIO the true bytes.
    ///
    /// Errors: neither is given, or it is no positive number.
    pub fn of(parameters: &Value) -> Result<Self, SizeError> {
        let key = "dataset.record_length_bytes";
        let columns = at(parameters, "dataset.format")
            .filter(|format| format.as_str() == Some("parquet"))
            .and_then(|_| at(parameters, "dataset.parquet.columns")?.as_array())
            .filter(|columns| !columns.is_empty());
        let sum = |bytes: fn(&str) -> u128| -> Option<Ratio> {
            let mut all = 0u128;
            for column in columns? {
                let dtype = column
                    .get("dtype")
                    .and_then(Value::as_str)
                    .unwrap_or("float32");
                let size = match column.get("size") {
                    None => 1,
                    Some(size) => u128::from(size.as_u64()?),
                };
                all = all.checked_add(size.checked_mul(bytes(dtype))?)?;
            }
            Some(Ratio::whole(all))
        };
        let said = at(parameters, key);
        let given = said.and_then(Ratio::of).filter(|n| !n.is_zero());
        let by_dlio = sum(dlio_element_bytes);
        match (given, said, sum(harness_element_bytes), by_dlio) {
            (Some(harness), _, _, dlio) => Ok(RecordLength {
                harness,
                dlio: dlio.unwrap_or(harness),
                from_columns: false,
            }),
            (None, None, Some(harness), Some(dlio)) if !harness.is_zero() => Ok(RecordLength {
                harness,
                dlio,
                from_columns: true,
            }),
            (None, said, ..) => Err(SizeError::NotANumber {
                key,
                found: said.map_or_else(|| "not set".into(), Value::to_string),
            }),
        }
    }
}

/// Source: mlpstorage's table of element sizes.
fn harness_element_bytes(dtype: &str) -> u128 {
    match dtype {
        "float64" | "int64" => 8,
        "uint8" | "bool" => 1,
        _ => 4,
    }
}

/// Source: DLIO's table of element sizes.
fn dlio_element_bytes(dtype: &str) -> u128 {
    match dtype {
        "float64" | "int64" | "uint64" => 8,
        "float16" | "int16" | "uint16" => 2,
        "uint8" | "int8" | "bool" => 1,
        _ => 4,
    }
}

/// What the formula takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// Memory of all hosts, bytes.
    pub memory_bytes: Ratio,
    /// Ranks = simulated accelerators.
    pub accelerators: u64,
    /// Samples of a file.
    pub samples_per_file: u64,
    /// Samples of a batch.
    pub batch_size: u64,
    /// Bytes of a sample.
    pub record: RecordLength,
}

impl Need {
    /// From a workload's parameters. Memory: bytes of all hosts together.
    ///
    /// Errors: a number that is missing or 0.
    pub fn of(
        parameters: &Value,
        accelerators: u64,
        memory_bytes: Ratio,
    ) -> Result<Self, SizeError> {
        let positive = |key: &'static str| match at(parameters, key) {
            None => Ok(1),
            Some(value) => Ratio::of(value)
                .filter(|n| n.den == 1 && n.num > 0)
                .and_then(|n| u64::try_from(n.num).ok())
                .ok_or_else(|| SizeError::NotANumber {
                    key,
                    found: value.to_string(),
                }),
        };
        Ok(Need {
            memory_bytes,
            accelerators,
            samples_per_file: positive("dataset.num_samples_per_file")?,
            batch_size: positive("reader.batch_size")?,
            record: RecordLength::of(parameters)?,
        })
    }
}

/// GiB per host times hosts, in bytes.
pub fn memory_of_hosts(gib_per_host: Ratio, hosts: u64) -> Option<Ratio> {
    gib_per_host
        .times(Ratio::whole(GIB))?
        .times(Ratio::whole(u128::from(hosts)))
}

/// Which of the two terms decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Term {
    /// Five times the memory.
    Memory,
    /// 500 steps.
    Steps,
}

/// The least dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DatasetSize {
    /// What it was computed from.
    pub need: Need,
    /// 5 x memory / bytes of a file.
    pub by_memory: Ratio,
    /// 500 x accelerators x batch size / samples of a file.
    pub by_steps: Ratio,
}

impl DatasetSize {
    /// Errors: a term beyond 2^128.
    pub fn new(need: Need) -> Result<Self, SizeError> {
        let samples = Ratio::whole(u128::from(need.samples_per_file));
        let file = samples.times(need.record.harness);
        let by_memory = need
            .memory_bytes
            .times(Ratio::whole(u128::from(MEMORY_MULTIPLIER)))
            .and_then(|bytes| bytes.over(file?));
        let by_steps = Ratio::whole(u128::from(STEPS_PER_EPOCH))
            .times(Ratio::whole(u128::from(need.accelerators)))
            .and_then(|n| n.times(Ratio::whole(u128::from(need.batch_size))))
            .and_then(|n| n.over(samples));
        Ok(DatasetSize {
            need,
            by_memory: by_memory.ok_or(SizeError::TooLarge {
                what: "5 x memory / file bytes",
            })?,
            by_steps: by_steps.ok_or(SizeError::TooLarge {
                what: "500 x accelerators x batch size",
            })?,
        })
    }

    /// Files, by `ceil`: since release 3.0.43, and right for every edition.
    pub fn files(&self) -> u128 {
        self.by_memory.ceil().max(self.by_steps.ceil())
    }

    /// Files, by `floor`: v2.0 to release 3.0.42.
    pub fn files_floor(&self) -> u128 {
        self.by_memory.floor().max(self.by_steps.floor())
    }

    /// The larger term; a draw is decided by the steps, as in the harness.
    pub fn decided_by(&self) -> Term {
        if self.by_memory.ceil() > self.by_steps.ceil() {
            Term::Memory
        } else {
            Term::Steps
        }
    }

    /// Nominal bytes of `files` files, rounded down.
    pub fn bytes(&self, files: u128) -> Option<u128> {
        let samples = files.checked_mul(u128::from(self.need.samples_per_file))?;
        Some(
            Ratio::whole(samples)
                .times(self.need.record.harness)?
                .floor(),
        )
    }

    /// Steps of an epoch that `files` files give each accelerator.
    pub fn steps(&self, files: u128) -> Option<u128> {
        let samples = files.checked_mul(u128::from(self.need.samples_per_file))?;
        let step = u128::from(self.need.accelerators) * u128::from(self.need.batch_size);
        samples.checked_div(step)
    }

    /// The first term, with its numbers.
    pub fn by_memory_text(&self) -> String {
        format!(
            "5 x {} B memory / ({} samples x {} B) = {} -> {}",
            self.need.memory_bytes,
            self.need.samples_per_file,
            self.need.record.harness,
            Rounded(self.by_memory),
            self.by_memory.ceil()
        )
    }

    /// The second term, with its numbers.
    pub fn by_steps_text(&self) -> String {
        format!(
            "500 steps x {} accelerators x {} batch / {} samples = {} -> {}",
            self.need.accelerators,
            self.need.batch_size,
            self.need.samples_per_file,
            Rounded(self.by_steps),
            self.by_steps.ceil()
        )
    }
}

/// Six decimals where it is no whole number.
struct Rounded(Ratio);

impl std::fmt::Display for Rounded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.den {
            1 => write!(f, "{}", self.0.num),
            _ => write!(f, "{:.6}", self.0.to_f64()),
        }
    }
}

/// `dataset.num_subfolders_train` that is advised; 0: none.
pub fn subfolders(files: u128) -> u128 {
    if files > FILES_PER_SUBFOLDER {
        files / FILES_PER_SUBFOLDER
    } else {
        0
    }
}

/// GB that the harness counts for every rank's part of one checkpoint, by its table of model sizes.
///
/// ZeRO 1: a share of the optimizer, and for the ranks of the first replica one of the model; ZeRO 3: a share of both.
/// A share's denominator is the number of ranks, and in a subset that of the full job.
pub fn harness_checkpoint_gb(llm: &Llm, ranks: u64) -> Vec<f64> {
    let of = ranks.max(llm.closed_ranks) as f64;
    let (model, optimizer) = (llm.model_gb as f64, llm.optimizer_gb as f64);
    (0..ranks)
        .map(|rank| match llm.zero_stage {
            3 => (model + optimizer) / of,
            _ if rank < llm.ranks_per_replica => {
                optimizer / of + model / llm.ranks_per_replica as f64
            }
            _ => optimizer / of,
        })
        .collect()
}

/// Ranks of every host: whole shares, and one more for the first hosts.
pub fn ranks_of_hosts(ranks: u64, hosts: u64) -> Vec<u64> {
    (0..hosts)
        .map(|host| ranks / hosts + u64::from(host < ranks % hosts))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    struct Vector {
        record: &'static str,
        samples: u64,
        batch: u64,
        gib: &'static str,
        hosts: u64,
        accelerators: u64,
        by_memory: [u128; 2],
        by_steps: [u128; 2],
        files: [u128; 2],
        bytes: u128,
    }

    const UNET3D: (&str, u64, u64) = ("146600628", 1, 7);
    const COSMOFLOW: (&str, u64, u64) = ("2828486", 1, 1);
    const RESNET50: (&str, u64, u64) = ("114660.07", 1251, 400);
    const RETINANET_B200: (&str, u64, u64) = ("322957", 1, 24);
    const RETINANET_MI355: (&str, u64, u64) = ("322957", 1, 36);

    #[allow(clippy::too_many_arguments)]
    fn vector(
        (record, samples, batch): (&'static str, u64, u64),
        gib: &'static str,
        hosts: u64,
        accelerators: u64,
        by_memory: [u128; 2],
        by_steps: [u128; 2],
        files: [u128; 2],
        bytes: u128,
    ) -> Vector {
        Vector {
            record,
            samples,
            batch,
            gib,
            hosts,
            accelerators,
            by_memory,
            by_steps,
            files,
            bytes,
        }
    }

    /// Figures of mlpstorage's own function.
    #[test]
    fn sizes_are_those_of_the_harness() {
        let vectors = [
            vector(
                UNET3D,
                "512",
                1,
                8,
                [18750, 18751],
                [28000, 28000],
                [28000, 28000],
                4_104_817_584_000,
            ),
            vector(
                UNET3D,
                "128",
                1,
                4,
                [4687, 4688],
                [14000, 14000],
                [14000, 14000],
                2_052_408_792_000,
            ),
            vector(
                UNET3D,
                "256",
                4,
                16,
                [37500, 37501],
                [56000, 56000],
                [56000, 56000],
                8_209_635_168_000,
            ),
            vector(
                COSMOFLOW,
                "512",
                1,
                8,
                [971819, 971820],
                [4000, 4000],
                [971819, 971820],
                2_748_779_264_520,
            ),
            vector(
                RESNET50,
                "512",
                1,
                16,
                [19163, 19164],
                [2557, 2558],
                [19163, 19164],
                2_748_879_322_431,
            ),
            vector(
                RESNET50,
                "64",
                1,
                64,
                [2395, 2396],
                [10231, 10232],
                [10231, 10232],
                1_467_675_497_136,
            ),
            vector(
                RETINANET_B200,
                "512",
                1,
                8,
                [8511284, 8511285],
                [96000, 96000],
                [8511284, 8511285],
                2_748_779_069_745,
            ),
            vector(
                RETINANET_MI355,
                "754",
                4,
                16,
                [50136788, 50136789],
                [288000, 288000],
                [50136788, 50136789],
                16_192_026_965_073,
            ),
        ];
        for v in vectors {
            // Once as a number of JSON, once as text.
            for record in [
                serde_json::from_str(v.record).unwrap(),
                Value::from(v.record),
            ] {
                let parameters = json!({
                    "dataset": {"num_samples_per_file": v.samples, "record_length_bytes": record},
                    "reader": {"batch_size": v.batch},
                });
                let memory = memory_of_hosts(Ratio::decimal(v.gib).unwrap(), v.hosts).unwrap();
                let need = Need::of(&parameters, v.accelerators, memory).unwrap();
                let size = DatasetSize::new(need).unwrap();
                let both = |r: Ratio| [r.floor(), r.ceil()];
                let name = format!("{} {} x {}", v.record, v.gib, v.hosts);
                assert_eq!(both(size.by_memory), v.by_memory, "{name}");
                assert_eq!(both(size.by_steps), v.by_steps, "{name}");
                assert_eq!([size.files_floor(), size.files()], v.files, "{name}");
                assert_eq!(size.bytes(size.files()), Some(v.bytes), "{name}");
                let decided = if v.by_memory[1] > v.by_steps[1] {
                    Term::Memory
                } else {
                    Term::Steps
                };
                assert_eq!(size.decided_by(), decided, "{name}");
            }
        }
    }

    #[test]
    fn a_draw_is_decided_by_the_steps_and_a_whole_quotient_is_not_rounded_up() {
        let need = Need {
            memory_bytes: Ratio::whole(500),
            accelerators: 1,
            samples_per_file: 1,
            batch_size: 5,
            record: RecordLength {
                harness: Ratio::whole(1),
                dlio: Ratio::whole(1),
                from_columns: false,
            },
        };
        let size = DatasetSize::new(need).unwrap();
        assert_eq!(size.files(), 2500);
        assert_eq!(size.files_floor(), 2500);
        assert_eq!(size.decided_by(), Term::Steps);
        assert_eq!(size.steps(2500), Some(500));
    }

    /// 56 float32, 50 float16, 49 float64, 45 int8: 761 bytes for DLIO; the harness counts 4 for float16 and int8.
    #[test]
    fn parquet_columns_are_counted_by_both_tables() {
        let mut columns = Vec::new();
        for (dtype, n) in [
            ("float32", 56),
            ("float16", 50),
            ("float64", 49),
            ("int8", 45),
        ] {
            columns.extend((0..n).map(|_| json!({"dtype": dtype, "size": 1})));
        }
        let mut p = json!({"dataset": {"format": "parquet", "parquet": {"columns": columns}}});
        let r = RecordLength::of(&p).unwrap();
        assert!(r.from_columns);
        assert_eq!(r.dlio, Ratio::whole(761));
        assert_eq!(r.harness, Ratio::whole(4 * (56 + 50 + 45) + 8 * 49));
        p["dataset"]["record_length_bytes"] = json!(761);
        let r = RecordLength::of(&p).unwrap();
        assert_eq!((r.harness, r.from_columns), (Ratio::whole(761), false));
    }

    #[test]
    fn what_is_no_number_is_named() {
        for bad in [
            json!(0),
            json!(-3),
            json!("many"),
            json!([1]),
            json!({}),
            json!(true),
        ] {
            let p = json!({"dataset": {"record_length_bytes": bad}});
            assert!(matches!(
                RecordLength::of(&p),
                Err(SizeError::NotANumber { .. })
            ));
            let p = json!({"dataset": {"record_length_bytes": 1, "num_samples_per_file": bad}});
            assert!(Need::of(&p, 1, Ratio::whole(1)).is_err(), "{p}");
        }
        assert!(RecordLength::of(&json!({})).is_err());
        let p = json!({"dataset": {"record_length_bytes": 1e-300}});
        assert!(RecordLength::of(&p).is_err());
        let need = Need::of(
            &json!({"dataset": {"record_length_bytes": 1e-20}}),
            1,
            Ratio::whole(u128::MAX),
        );
        assert!(matches!(
            DatasetSize::new(need.unwrap()),
            Err(SizeError::TooLarge { .. })
        ));
    }

    #[test]
    fn decimals_are_exact() {
        assert_eq!(Ratio::decimal("114660.07"), Ratio::new(11466007, 100));
        assert_eq!(Ratio::decimal("1.5e3"), Some(Ratio::whole(1500)));
        assert_eq!(Ratio::decimal("25e-2"), Ratio::new(1, 4));
        for bad in ["", ".", "-1", "1.2.3", "inf", "nan", "0x10", "1e999", "é"] {
            assert_eq!(Ratio::decimal(bad), None, "{bad}");
        }
    }

    #[test]
    fn subfolders_are_advised_above_ten_thousand_files() {
        assert_eq!(
            [10_000, 10_001, 28_000, 50_136_789].map(subfolders),
            [0, 1, 2, 5013]
        );
    }

    /// Subsets of 8 by the rules' table: 70B 114 GB, 405B 94 GB, 1T 161 GB.
    #[test]
    fn checkpoint_shares_are_those_of_the_rules() {
        let total = |model: &str, ranks| {
            let llm = Llm::named(model).unwrap();
            harness_checkpoint_gb(llm, ranks).iter().sum::<f64>()
        };
        assert_eq!(total("llama3-8b", 8), 105.0);
        assert_eq!(total("llama3-70b", 64).round(), 911.0);
        assert_eq!(total("llama3-70b", 8).round(), 114.0);
        assert_eq!(total("llama3-405b", 8).round(), 94.0);
        assert_eq!(total("llama3-1t", 8).round(), 161.0);
        assert_eq!(total("llama3-405b", 512).round(), 5288.0);
    }

    #[test]
    fn ranks_are_spread_in_whole_shares() {
        assert_eq!(ranks_of_hosts(10, 4), [3, 3, 2, 2]);
        assert_eq!(ranks_of_hosts(1, 2), [1, 0]);
    }
}
