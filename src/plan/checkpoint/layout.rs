//! Which rank writes which files with which tensors.

use super::PlanError;
use super::model::{DType, Sizes};
use crate::config::{CheckpointMode, Model};

/// Name of the folder of one checkpoint inside the checkpoint folder.
pub fn folder_name(epoch: u64, step: u64) -> String {
    format!("global_epoch{epoch}_step{step}")
}

/// Which part of the training state a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// The flat blob of models that are no transformers.
    Model,
    /// Weights of transformer layers.
    Layers,
    Optimizer,
}

/// One tensor of one dimension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorPlan {
    /// Key of the inner dictionary that holds it; None: it stands in the outer one. Tensors of a group follow each other.
    pub group: Option<String>,
    pub key: String,
    /// Element type.
    pub dtype: DType,
    /// Elements; never 0.
    pub elements: u64,
}

impl TensorPlan {
    pub fn bytes(&self) -> u64 {
        self.elements * self.dtype.bytes()
    }
}

/// One file of a rank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePlan {
    /// Name without folder and extension.
    pub name: String,
    pub state: State,
    /// In the order of the file.
    pub tensors: Vec<TensorPlan>,
}

impl FilePlan {
    /// Bytes of all tensors, the container not counted.
    pub fn bytes(&self) -> u64 {
        self.tensors.iter().map(TensorPlan::bytes).sum()
    }
}

/// Everything that one rank writes, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RankPlan {
    /// Model, then layers, then optimizer.
    pub files: Vec<FilePlan>,
}

impl RankPlan {
    /// Bytes of the tensors of one kind of state.
    pub fn bytes_of(&self, state: State) -> u64 {
        self.files
            .iter()
            .filter(|f| f.state == state)
            .map(FilePlan::bytes)
            .sum()
    }

    pub fn bytes(&self) -> u64 {
        self.files.iter().map(FilePlan::bytes).sum()
    }
}

/// A job's checkpoint in numbers. Units: bytes of tensors.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Model and layers.
    pub model_bytes: u64,
    pub optimizer_bytes: u64,
    /// Files of all ranks.
    pub files: u64,
    /// Bytes of every rank, in rank order.
    pub rank_bytes: Vec<u64>,
    /// DLIO's model part of `dlio_bytes`.
    pub dlio_model_bytes: u64,
    /// What DLIO would report: zero stage 2 counts the weights of all data-parallel ranks though one writes them, a
    /// flat model counts once, legacy groups and layers not at all.
    pub dlio_bytes: u64,
}

impl Totals {
    pub fn bytes(&self) -> u64 {
        self.model_bytes + self.optimizer_bytes
    }

    /// Smallest, median (of an even number: the lower of the middle two) and largest number of bytes over ranks.
    pub fn min_median_max(&self) -> [u64; 3] {
        let mut sorted = self.rank_bytes.clone();
        sorted.sort_unstable();
        match sorted.len() {
            0 => [0; 3],
            n => [sorted[0], sorted[(n - 1) / 2], sorted[n - 1]],
        }
    }
}

/// Where a rank stands in the parallel job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Among the data-parallel replicas.
    pub data: u64,
    /// Among the pipeline stages.
    pub pipeline: u64,
    /// Among the tensor- and pipeline-parallel ranks of one replica.
    pub model: u64,
}

/// The checkpoint of a whole job.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckpointPlan {
    ranks: u64,
    tensor: u64,
    pipeline: u64,
    data: u64,
    zero_stage: u64,
    sizes: Option<Sizes>,
    model_dtype: DType,
    optimizer_dtype: DType,
    /// Bytes of the flat blob; 0: none.
    flat_bytes: u64,
    legacy_layers: Vec<u64>,
    legacy_groups: Vec<u64>,
}

impl CheckpointPlan {
    /// Of a model saved by `ranks` ranks; the parallelism has been validated.
    ///
    /// Errors: [`PlanError`].
    pub fn new(m: &Model, mode: CheckpointMode, ranks: usize) -> Result<Self, PlanError> {
        let p = &m.parallelism;
        for (key, n) in [
            ("model.parallelism.tensor", p.tensor),
            ("model.parallelism.pipeline", p.pipeline),
        ] {
            if n == 0 {
                return Err(PlanError::Zero { key });
            }
        }
        let ranks = ranks as u64;
        if p.tensor.checked_mul(p.pipeline).is_none() {
            return Err(PlanError::TooLarge);
        }
        let data = match (mode, u64::try_from(p.data)) {
            (CheckpointMode::Subset, Ok(data)) => data,
            _ => ranks / p.tensor.saturating_mul(p.pipeline),
        };
        let is_transformer = m.kind.as_deref() == Some("transformer");
        let plan = CheckpointPlan {
            ranks,
            tensor: p.tensor,
            pipeline: p.pipeline,
            data: data.max(1),
            zero_stage: p.zero_stage,
            sizes: Sizes::new(m)?,
            model_dtype: DType::parse("model.model_datatype", &m.model_datatype)?,
            optimizer_dtype: DType::parse("model.optimizer_datatype", &m.optimizer_datatype)?,
            flat_bytes: if is_transformer {
                0
            } else {
                m.model_size_bytes
            },
            legacy_layers: m.layer_parameters.clone(),
            legacy_groups: m.optimization_groups.clone(),
        };
        plan.fits()?;
        Ok(plan)
    }

    /// Refuses what would overflow: at most 8 bytes per element, three of the optimizer for one of the weights.
    fn fits(&self) -> Result<(), PlanError> {
        let sum = |list: &[u64]| list.iter().map(|n| u128::from(*n)).sum::<u128>();
        let replicas = self
            .ranks
            .div_ceil(self.tensor.saturating_mul(self.pipeline))
            .max(1);
        let (parameters, layers) = self
            .sizes
            .map_or((0, 0), |s| (s.parameters(), u128::from(s.layers())));
        let of_replica = 64 * parameters;
        let of_rank = u128::from(self.flat_bytes)
            + 3 * sum(&self.legacy_groups)
            + sum(&self.legacy_layers) * layers;
        let all = of_replica * u128::from(replicas) + of_rank * u128::from(self.ranks.max(1));
        if all >= 1 << 63 {
            return Err(PlanError::TooLarge);
        }
        Ok(())
    }

    /// Data-parallel replicas: of the whole job in subset mode.
    pub fn data(&self) -> u64 {
        self.data
    }

    /// Parameters of the model; 0 without transformer layers.
    pub fn parameters(&self) -> u128 {
        self.sizes.map_or(0, |s| s.parameters())
    }

    /// Where a rank stands.
    pub fn place(&self, rank: u64) -> Place {
        let model_ranks = self.tensor * self.pipeline;
        Place {
            data: rank / model_ranks,
            pipeline: rank / self.tensor % self.pipeline,
            model: rank % model_ranks,
        }
    }

    /// First and last layer of a pipeline stage; None when it has none.
    ///
    /// Layer 0 is on the first stage, the head and the final norm on the last; legacy layers have none of these.
    fn layers(&self, stage: u64) -> Option<(u64, u64)> {
        let l = self.sizes?.layers();
        let (q, m) = (l / self.pipeline, l % self.pipeline);
        // One past the last, so that a stage without layers needs no negative number.
        let (mut start, mut end) = if stage < m {
            let start = stage * (q + 1) + 1;
            (start, start + q + 1)
        } else {
            let start = m * (q + 1) + (stage - m) * q + 1;
            (start, start + q)
        };
        if self.legacy_layers.is_empty() {
            if stage == self.pipeline - 1 {
                end = l + 3;
            }
            if stage == 0 {
                start = 0;
            }
        }
        (start < end).then(|| (start, end - 1))
    }

    fn layer_tensors(&self, layer: u64, group: Option<&str>) -> Vec<TensorPlan> {
        let (counts, dtype): (Vec<u64>, _) = if self.legacy_layers.is_empty() {
            let shards = if self.zero_stage < 3 { 1 } else { self.data };
            let of_model = self
                .sizes
                .map_or_else(Vec::new, |s| s.layer(layer, self.tensor, shards));
            let counts = of_model.into_iter().map(|n| n as u64).collect();
            (counts, self.model_dtype)
        } else {
            let counts = self.legacy_layers.iter().map(|n| n / self.tensor);
            (counts.collect(), DType::Int8)
        };
        counts
            .iter()
            .enumerate()
            .filter(|(_, n)| **n > 0)
            .map(|(index, elements)| TensorPlan {
                group: group.map(str::to_owned),
                key: index.to_string(),
                dtype,
                elements: *elements,
            })
            .collect()
    }

    fn optimizer_tensors(&self) -> Vec<TensorPlan> {
        if self.legacy_groups.is_empty() {
            let model_ranks = self.tensor * self.pipeline;
            let shards = if self.zero_stage > 0 {
                self.data * model_ranks
            } else {
                model_ranks
            };
            let counts = self.sizes.map_or_else(Vec::new, |s| s.optimizer(shards));
            return counts
                .into_iter()
                .enumerate()
                .filter(|(_, n)| *n > 0)
                .map(|(index, elements)| TensorPlan {
                    group: None,
                    key: index.to_string(),
                    dtype: self.optimizer_dtype,
                    elements: elements as u64,
                })
                .collect();
        }
        let tensor = |group: Option<String>, key: &str, elements: u64| TensorPlan {
            group,
            key: key.into(),
            dtype: DType::Int8,
            elements,
        };
        let mut out = Vec::new();
        for (index, &elements) in self.legacy_groups.iter().enumerate() {
            if elements > 0 {
                out.extend(["a", "b"].map(|key| tensor(Some(index.to_string()), key, elements)));
            }
        }
        let combined = self.legacy_groups.iter().sum();
        if combined > 0 {
            out.push(tensor(None, "combined", combined));
        }
        out
    }

    /// What rank `rank` writes; nothing for ranks that do not.
    pub fn rank(&self, rank: u64) -> RankPlan {
        let place = self.place(rank);
        let mut files = Vec::new();
        if self.zero_stage == 0 && place.data > 0 {
            return RankPlan { files };
        }
        if self.flat_bytes > 0 {
            files.push(FilePlan {
                name: format!("model_states-{rank}"),
                state: State::Model,
                tensors: vec![TensorPlan {
                    group: None,
                    key: "a".into(),
                    dtype: DType::Int8,
                    elements: self.flat_bytes,
                }],
            });
        }
        self.layer_files(place, &mut files);
        let (d, m) = (place.data, place.model);
        files.push(FilePlan {
            name: format!("zero_pp_rank_{d}_mp_rank_{m}_optim_states"),
            state: State::Optimizer,
            tensors: self.optimizer_tensors(),
        });
        files.retain(|f| !f.tensors.is_empty());
        RankPlan { files }
    }

    fn layer_files(&self, place: Place, files: &mut Vec<FilePlan>) {
        let Some((first, last)) = self.layers(place.pipeline) else {
            return;
        };
        let (d, m) = (place.data, place.model);
        let by_stage = matches!(self.zero_stage, 1 | 2);
        if by_stage && d > 0 {
            return;
        }
        let mut push = |name: String, tensors: Vec<TensorPlan>| {
            files.push(FilePlan {
                name,
                state: State::Layers,
                tensors,
            });
        };
        if by_stage && self.pipeline > 1 {
            for layer in first..=last {
                let name = format!("layer_{layer}-model_{m}_model_states");
                push(name, self.layer_tensors(layer, None));
            }
            return;
        }
        let name = if by_stage {
            format!("model_{m}_model_states")
        } else {
            format!("zero_pp_rank_{d}_mp_rank_{m}_model_states")
        };
        let tensors = (first..=last)
            .flat_map(|layer| self.layer_tensors(layer, Some(&layer.to_string())))
            .collect();
        push(name, tensors);
    }

    /// The whole job in numbers. Cost: a microsecond or so per rank and tensor.
    pub fn totals(&self) -> Totals {
        let mut t = Totals::default();
        let mut counted_layers = 0;
        let mut counted_optimizer = 0;
        for rank in 0..self.ranks {
            let plan = self.rank(rank);
            let optimizer = plan.bytes_of(State::Optimizer);
            t.optimizer_bytes += optimizer;
            t.model_bytes += plan.bytes() - optimizer;
            t.files += plan.files.len() as u64;
            t.rank_bytes.push(plan.bytes());
            if self.legacy_groups.is_empty() {
                counted_optimizer += optimizer;
            }
            if self.legacy_layers.is_empty() {
                counted_layers += if self.zero_stage == 2 {
                    self.held_layer_bytes(rank)
                } else {
                    plan.bytes_of(State::Layers)
                };
            }
        }
        let counted_model = if self.flat_bytes > 0 {
            self.flat_bytes
        } else {
            counted_layers
        };
        t.dlio_model_bytes = counted_model;
        t.dlio_bytes = counted_model + counted_optimizer;
        t
    }

    /// Bytes of the layers that a rank holds, whether or not it writes them.
    fn held_layer_bytes(&self, rank: u64) -> u64 {
        let Some((first, last)) = self.layers(self.place(rank).pipeline) else {
            return 0;
        };
        (first..=last)
            .flat_map(|layer| self.layer_tensors(layer, None))
            .map(|t| t.bytes())
            .sum()
    }
}
