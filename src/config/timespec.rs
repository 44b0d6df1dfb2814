//! DLIO's time specification: a number, or a map that names a distribution.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// What `computation_time`, `eval_time` and `preprocess_time` may say. Units: seconds.
///
/// Source: DLIO `utils/utility.py::sleep`. A draw's absolute value is used; 0 means no wait.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Distribution {
    /// Always `mean`.
    Constant {
        /// Seconds.
        mean: f64,
    },
    /// Normal with `mean` and `stdev`.
    Normal {
        /// Seconds.
        mean: f64,
        /// Seconds.
        stdev: f64,
    },
    /// Uniform over `[min, max)`.
    Uniform {
        /// Seconds.
        min: f64,
        /// Seconds.
        max: f64,
    },
    /// Gamma with `shape` and `scale`.
    Gamma {
        /// Dimensionless.
        shape: f64,
        /// Seconds.
        scale: f64,
    },
    /// Exponential with `scale`.
    Exponential {
        /// Seconds.
        scale: f64,
    },
    /// Poisson with `lam`: whole seconds.
    Poisson {
        /// Expected seconds.
        lam: f64,
    },
}

/// A time specification of a workload; [`Distribution::Constant`] 0 when absent.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct TimeSpec(pub Distribution);

impl Default for TimeSpec {
    fn default() -> Self {
        TimeSpec(Distribution::Constant { mean: 0.0 })
    }
}

impl JsonSchema for TimeSpec {
    fn schema_name() -> Cow<'static, str> {
        "TimeSpec".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["number", "object"], "format": "time"})
    }
}

struct Spec;

impl<'de> Visitor<'de> for Spec {
    type Value = TimeSpec;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("seconds (0.323), or a map such as {type: normal, mean: 0.3, stdev: 0.01}")
    }
    fn visit_i64<E: de::Error>(self, v: i64) -> Result<TimeSpec, E> {
        self.visit_f64(v as f64)
    }
    fn visit_u64<E: de::Error>(self, v: u64) -> Result<TimeSpec, E> {
        self.visit_f64(v as f64)
    }
    fn visit_f64<E: de::Error>(self, mean: f64) -> Result<TimeSpec, E> {
        if mean.is_finite() {
            Ok(TimeSpec(Distribution::Constant { mean }))
        } else {
            Err(E::custom("the time is not finite"))
        }
    }
    fn visit_unit<E: de::Error>(self) -> Result<TimeSpec, E> {
        Ok(TimeSpec::default())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<TimeSpec, A::Error> {
        let mut kind: Option<String> = None;
        let mut numbers: Vec<(String, f64)> = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "type" => kind = map.next_value()?,
                "mean" | "stdev" | "min" | "max" | "shape" | "scale" | "lam" => {
                    let value: Option<f64> = map.next_value()?;
                    if let Some(value) = value {
                        numbers.push((key, value));
                    }
                }
                _ => {
                    return Err(de::Error::custom(format!(
                        "{key} is no part of a time (mean, stdev, min, max, shape, scale, lam)"
                    )));
                }
            }
        }
        let has = |name: &str| numbers.iter().any(|(key, _)| key == name);
        let need = |name: &str| {
            let found = numbers
                .iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| *value);
            found.ok_or_else(|| {
                de::Error::custom(format!(
                    "a time of type {} needs {name}",
                    kind.as_deref().unwrap_or("normal")
                ))
            })
        };
        Ok(TimeSpec(match kind.as_deref() {
            Some("normal") => Distribution::Normal {
                mean: need("mean")?,
                stdev: need("stdev")?,
            },
            Some("uniform") => Distribution::Uniform {
                min: need("min")?,
                max: need("max")?,
            },
            Some("gamma") => Distribution::Gamma {
                shape: need("shape")?,
                scale: need("scale")?,
            },
            Some("exponential") => Distribution::Exponential {
                scale: need("scale")?,
            },
            Some("poisson") => Distribution::Poisson { lam: need("lam")? },
            Some("constant") => Distribution::Constant {
                mean: need("mean")?,
            },
            Some(other) => {
                return Err(de::Error::custom(format!(
                    "time type {other} is unknown (normal, uniform, gamma, exponential, poisson); DLIO would not wait at all"
                )));
            }
            None if has("mean") && has("stdev") => Distribution::Normal {
                mean: need("mean")?,
                stdev: need("stdev")?,
            },
            None if has("mean") => Distribution::Constant {
                mean: need("mean")?,
            },
            None if numbers.is_empty() => Distribution::Constant { mean: 0.0 },
            None => {
                return Err(de::Error::custom(
                    "a time needs mean, or a type with its parameters",
                ));
            }
        }))
    }
}

impl<'de> Deserialize<'de> for TimeSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Spec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> Result<TimeSpec, String> {
        serde_yaml::from_str(text).map_err(|e: serde_yaml::Error| e.to_string())
    }

    #[test]
    fn every_form_of_dlio_is_read() {
        assert_eq!(spec("0.5").unwrap().0, Distribution::Constant { mean: 0.5 });
        assert_eq!(
            spec("{mean: 1}").unwrap().0,
            Distribution::Constant { mean: 1.0 }
        );
        assert_eq!(
            spec("{mean: 1, stdev: 2}").unwrap().0,
            Distribution::Normal {
                mean: 1.0,
                stdev: 2.0
            }
        );
        assert_eq!(
            spec("{type: uniform, min: 1, max: 2}").unwrap().0,
            Distribution::Uniform { min: 1.0, max: 2.0 }
        );
        assert_eq!(
            spec("{type: poisson, lam: 3}").unwrap().0,
            Distribution::Poisson { lam: 3.0 }
        );
        assert!(
            spec("{type: gamma, shape: 1}")
                .unwrap_err()
                .contains("needs scale")
        );
        assert!(spec("{type: cauchy}").unwrap_err().contains("exponential"));
        assert!(spec("fast").is_err());
    }

    #[test]
    fn what_is_written_is_read_again() {
        for d in [
            Distribution::Gamma {
                shape: 1.0,
                scale: 2.0,
            },
            Distribution::Constant { mean: 3.0 },
        ] {
            let text = serde_json::to_string(&TimeSpec(d.clone())).unwrap();
            assert_eq!(serde_json::from_str::<TimeSpec>(&text).unwrap().0, d);
        }
    }
}
