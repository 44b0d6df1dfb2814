//! Where the YAML comes from: a file, a folder of workloads, or the built-in ones.

use std::path::{Path, PathBuf};

use super::error::ConfigError;

static BUILTIN: include_dir::Dir = include_dir::include_dir!("$CARGO_MANIFEST_DIR/configs");

/// Where the YAML is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// `workload=NAME`: `DIR/workload/NAME.yaml`, then the built-in configs.
    Named {
        /// Its name.
        name: String,
        /// The folder of `--config-dir`.
        config_dir: Option<PathBuf>,
    },
}

/// Names of the built-in configs.
pub fn builtin_names() -> Vec<String> {
    let names = BUILTIN
        .files()
        .filter_map(|f| Some(f.path().file_stem()?.to_str()?.to_string()));
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// Text of a built-in config.
pub fn builtin(name: &str) -> Option<&'static str> {
    BUILTIN.get_file(format!("{name}.yaml"))?.contents_utf8()
}

/// The built-in config whose name is most alike.
pub fn nearest_builtin(name: &str) -> String {
    nearest(name, builtin_names().iter().map(String::as_str))
}

/// Workloads that DLIO's own package holds among those that are built in here. Its folder precedes `--config-dir` in
/// hydra's search, so under DLIO these names never mean the file of `--config-dir`.
const SHIPPED_BY_DLIO: [&str; 13] = [
    "bert_v100",
    "cosmoflow_a100",
    "cosmoflow_h100",
    "cosmoflow_v100",
    "default",
    "dlrm",
    "resnet50_a100",
    "resnet50_h100",
    "resnet50_tf",
    "resnet50_v100",
    "unet3d_a100",
    "unet3d_h100",
    "unet3d_v100",
];

/// Set to 1: DLIO's order of search.
pub(super) const SHADOWING: &str = "DLIO_RS_HYDRA_SHADOWING";

pub(super) fn read_source(
    source: &Source,
    shadowing: bool,
) -> Result<(String, String, String), ConfigError> {
    let read = |path: &Path| {
        std::fs::read_to_string(path).map_err(|e| ConfigError::Unreadable {
            path: path.display().to_string(),
            cause: e.to_string(),
            remedy: "check the path; a built-in config is named as workload=NAME".into(),
        })
    };
    match source {
        Source::File(path) => {
            let name = path
                .file_stem()
                .map_or_else(String::new, |s| s.to_string_lossy().into_owned());
            Ok((read(path)?, path.display().to_string(), name))
        }
        Source::Named { name, config_dir } => {
            if let Some(dir) = config_dir {
                let path = dir.join("workload").join(format!("{name}.yaml"));
                let is_shadowed = shadowing && SHIPPED_BY_DLIO.contains(&name.as_str());
                if path.exists() && !is_shadowed {
                    return Ok((read(&path)?, path.display().to_string(), name.clone()));
                }
            }
            match builtin(name) {
                Some(text) => Ok((text.into(), format!("configs/{name}.yaml"), name.clone())),
                None => {
                    let names = builtin_names();
                    let nearest = nearest_builtin(name);
                    let place = config_dir.as_ref().map_or_else(String::new, |dir| {
                        format!("{} and in ", dir.join("workload").display())
                    });
                    Err(ConfigError::Unreadable {
                        path: format!("workload={name}"),
                        cause: format!("there is no {name}.yaml in {place}the built-in configs"),
                        remedy: format!("nearest: {nearest}; all: {}", names.join(", ")),
                    })
                }
            }
        }
    }
}

pub(super) fn nearest<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> String {
    names
        .max_by(|a, b| strsim::jaro_winkler(name, a).total_cmp(&strsim::jaro_winkler(name, b)))
        .unwrap_or("none")
        .to_string()
}
