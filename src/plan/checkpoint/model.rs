//! Element counts of a transformer's tensors.

use super::PlanError;
use crate::config::Model;

/// Element type of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DType {
    Int8,
    Uint8,
    Fp16,
    Bf16,
    Fp32,
    Fp64,
}

impl DType {
    /// From DLIO's word. `key` names the setting in the error.
    pub fn parse(key: &'static str, word: &str) -> Result<Self, PlanError> {
        Ok(match word {
            "int8" => DType::Int8,
            "uint8" => DType::Uint8,
            "fp16" => DType::Fp16,
            "bf16" => DType::Bf16,
            "fp32" => DType::Fp32,
            "fp64" => DType::Fp64,
            _ => {
                return Err(PlanError::DataType {
                    key,
                    word: word.into(),
                });
            }
        })
    }

    pub fn bytes(self) -> u64 {
        match self {
            DType::Int8 | DType::Uint8 => 1,
            DType::Fp16 | DType::Bf16 => 2,
            DType::Fp32 => 4,
            DType::Fp64 => 8,
        }
    }
}

/// The numbers that a transformer's tensors are made of. Units: elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    hidden: u128,
    ffn: u128,
    vocab: u128,
    layers: u128,
    kv: u128,
}

impl Sizes {
    /// Of a model; None when it has no transformer layers.
    ///
    /// Errors: [`PlanError::Zero`] without attention heads.
    pub fn new(model: &Model) -> Result<Option<Self>, PlanError> {
        let Some(layers) = u64::try_from(model.num_layers).ok().filter(|l| *l > 0) else {
            return Ok(None);
        };
        let t = &model.transformer;
        if t.num_attention_heads == 0 {
            return Err(PlanError::Zero {
                key: "model.transformer.num_attention_heads",
            });
        }
        // Every product below stays within 128 bits: three factors of at most 2^40 and a small constant.
        let bounded = [
            t.hidden_size,
            t.ffn_hidden_size,
            t.vocab_size,
            t.num_kv_heads,
            layers,
        ];
        if bounded.iter().any(|n| *n > 1 << 40) {
            return Err(PlanError::TooLarge);
        }
        Ok(Some(Sizes {
            hidden: t.hidden_size.into(),
            ffn: t.ffn_hidden_size.into(),
            vocab: t.vocab_size.into(),
            layers: layers.into(),
            kv: u128::from(t.hidden_size / t.num_attention_heads) * u128::from(t.num_kv_heads),
        }))
    }

    pub fn parameters(&self) -> u128 {
        let (h, f, v) = (self.hidden, self.ffn, self.vocab);
        let qkv = h * (h + 2 * self.kv);
        let block = h + qkv + h * h + h + 2 * f * h + f * h;
        v * h + block * self.layers + h + v * h
    }

    pub fn layers(&self) -> u64 {
        self.layers as u64
    }

    /// Elements of the tensors of layer `layer` (0: embedding, 1 to l: blocks, l + 1: head, l + 2: final norm) on one
    /// rank of `tensor` parallel ranks, sharded over `shards` data-parallel ones.
    pub fn layer(&self, layer: u64, tensor: u64, shards: u64) -> Vec<u128> {
        let (h, f, v) = (self.hidden, self.ffn, self.vocab);
        let (tp, sf) = (u128::from(tensor), u128::from(shards));
        let split = |n: u128| n / tp / sf;
        let l = self.layers();
        if layer == 0 || layer == l + 1 {
            vec![split(h * v)]
        } else if layer == l + 2 {
            vec![h / sf]
        } else {
            vec![
                h / sf,
                split(h * (h + 2 * self.kv)),
                split(h * h),
                h / sf,
                split(h * 2 * f),
                split(h * f),
            ]
        }
    }

    /// Elements of the optimizer's tensors on a rank, which holds `1 / shards` of the parameters.
    pub fn optimizer(&self, shards: u64) -> Vec<u128> {
        match self.parameters() / u128::from(shards) {
            0 => Vec::new(),
            n => [n, self.hidden * 5].repeat(3),
        }
    }
}
