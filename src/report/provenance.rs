//! Which binary made a result, on what, and of which work: `report.json` and `provenance.json` tell it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::host::machine::{Machine, Nic};
use crate::storage::{Client, System};

/// What stands where something is not known: a word, never null.
pub const UNKNOWN: &str = "unknown";

/// What this binary was built of.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Build {
    pub tool: String,
    /// Optional parts.
    pub features: Vec<String>,
    /// Versions of the libraries that can change a result.
    pub libraries: BTreeMap<String, String>,
}

impl Build {
    /// Of this binary.
    pub fn here() -> Self {
        let list = |text: &str| -> Vec<String> {
            let words = text.split(',').filter(|s| !s.is_empty());
            words.map(str::to_owned).collect()
        };
        #[allow(unused_mut)]
        let mut libraries: BTreeMap<String, String> = list(env!("DLIO_RS_LIBRARIES"))
            .iter()
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, version)| (name.to_owned(), version.to_owned()))
            .collect();
        #[cfg(feature = "hdf5")]
        {
            // The C library is the system's: its version shows when it is loaded.
            let (major, minor, micro) = hdf5_metno::library_version();
            libraries.insert("libhdf5".into(), format!("{major}.{minor}.{micro}"));
        }
        Build {
            tool: "dlio-rs".into(),
            features: list(env!("DLIO_RS_FEATURES")),
            libraries,
        }
    }

    /// Name and version of the library that moves a storage system's bytes; `none` for files.
    pub fn storage_library(&self, system: &System, client: Client) -> Library {
        let (name, version) = match system.library(client) {
            None => ("none", "none"),
            Some(name) if name == env!("CARGO_PKG_NAME") => (name, env!("CARGO_PKG_VERSION")),
            Some(name) => (name, self.libraries.get(name).map_or(UNKNOWN, |v| v)),
        };
        Library {
            name: name.into(),
            version: version.into(),
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Library {
    pub name: String,
    pub version: String,
}

/// Where a folder of the job lies on one host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFolder {
    pub host: String,
    /// What the job uses it for: `data` or `checkpoint`.
    pub folder: String,
    pub path: String,
    /// What is mounted there: a device or a server.
    pub source: String,
    pub fs_type: String,
    /// All hosts see the same folder.
    pub shared: bool,
}

/// Where the figures come from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Provenance {
    pub version: String,
    /// Commit of the source tree, where known.
    pub git_commit: String,
    /// `release` or `debug`.
    pub build_profile: String,
    /// The MPI library, as it names itself.
    pub mpi_library: String,
    /// `uname -srm` of rank 0's host.
    pub kernel: String,
    /// Host names in order of nodes.
    pub hosts: Vec<String>,
    pub ranks: usize,
    /// How ranks waited for each other after each step: `shared` or `mpi`.
    pub barrier: String,
    /// Who read: `threads` or `uring`.
    pub reader_engine: String,
    /// Why this engine.
    pub reader_engine_reason: String,
    /// CPUs that rank 0 may use.
    pub cpus_allowed: usize,
    /// How the launcher bound the ranks and what was done about it.
    pub affinity: String,
    /// CPUs on which rank 0's reader and writer threads run, as a list such as `0-3,8`.
    pub thread_cpus: String,
    /// Where the folders of the job lie, by host.
    pub folders: Vec<HostFolder>,
    /// Memory of rank 0's host, bytes.
    pub memory_bytes: u64,
    /// Wall-clock label.
    pub start: String,
    /// Wall-clock label.
    pub end: String,
    /// Command line, secrets removed.
    pub command_line: Vec<String>,
    /// Effective configuration, secrets removed.
    pub config: Value,
    /// What `--rules` found: `not_closed`, `edition`, `findings`; null without it. Stands beside the provenance in the
    /// report.
    #[serde(skip)]
    pub rules: Value,
    pub build: Build,
    /// Settings of the MPI library in the environment of rank 0.
    pub mpi_environment: BTreeMap<String, String>,
    pub storage_library: Library,
    /// The comparability hash of the workload: algorithm, allowlist, hash, keys; or the word `unknown`.
    pub core_config: Value,
    /// Keys that have another value than the workload's file gave them, with what set them.
    pub changed: BTreeMap<String, String>,
    /// Which run, as in its events.
    pub run: String,
}

/// Settings of the MPI library in this process's environment: what a user set, not what the launcher passes on.
pub fn mpi_environment() -> BTreeMap<String, String> {
    let of_launcher = [
        "OMPI_MCA_orte_",
        "OMPI_MCA_prte_",
        "OMPI_MCA_ess",
        "OMPI_MCA_pmix",
        "OMPI_MCA_initial_wdir",
        "OMPI_MCA_shmem_RUNTIME",
        "OMPI_MCA_mpi_oversubscribe",
    ];
    let of_user = ["OMPI_MCA_", "UCX_", "FI_", "MPICH_", "MPIR_", "I_MPI_"];
    std::env::vars_os()
        .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
        .filter(|(k, _)| of_user.iter().any(|p| k.starts_with(p)))
        .filter(|(k, _)| !of_launcher.iter().any(|p| k.starts_with(p)))
        .map(|(k, v)| match may_be_secret(&k, &v) {
            true => (k, "***".into()),
            false => (k, v),
        })
        .collect()
}

/// Open MPI hands other variables on inside of its own (`mca_base_env_list` holds `NAME=value`).
fn may_be_secret(name: &str, value: &str) -> bool {
    const WORDS: &str = "SECRET|PASSWORD|TOKEN|CREDENTIAL|ACCESS_KEY|ENV_LIST";
    let text = format!("{name} {value}").to_uppercase();
    value.contains('=') || WORDS.split('|').any(|word| text.contains(word))
}

fn known(value: &Option<impl Serialize>) -> Value {
    value.as_ref().map_or_else(|| UNKNOWN.into(), |v| json!(v))
}

fn nic(n: &Nic) -> Value {
    json!({"name": n.name, "speed_mbit_per_second": known(&n.speed_mbit), "model": known(&n.model)})
}

/// A host's facts; what is not known is the word `unknown`.
pub fn machine_json(m: &Machine) -> Value {
    json!({
        "model": known(&m.model),
        "cpu_model": known(&m.cpu_model),
        "cpu_sockets": known(&m.cpu_sockets),
        "cpu_cores": known(&m.cpu_cores),
        "architecture": known(&m.architecture),
        "os_name": known(&m.os_name),
        "os_version": known(&m.os_version),
        "kernel": known(&m.kernel),
        "nics": m.nics.iter().map(nic).collect::<Vec<_>>(),
        "sysctl": m.sysctl,
    })
}

/// Content of `provenance.json`, in the shape of MLPerf Storage's `mlps-run-provenance/1`, which allows no other keys. It
/// says that dlio-rs ran, and that DLIO did not.
pub fn run_provenance(p: &Provenance) -> Value {
    let is_hashed = p.core_config.is_object();
    let core = if is_hashed {
        p.core_config.clone()
    } else {
        json!({"algorithm": "core-config-v1", "allowlist": UNKNOWN, "hash": UNKNOWN, "keys": []})
    };
    let (library, library_tag) = match (&*p.storage_library.name, &*p.storage_library.version) {
        ("none" | "", _) => (json!({"name": "none"}), "n/a"),
        (_, version) => (
            json!(p.storage_library),
            if version == UNKNOWN {
                UNKNOWN
            } else {
                "package-metadata"
            },
        ),
    };
    json!({
        "schema": "mlps-run-provenance/1",
        "rules_edition": UNKNOWN,
        "layout_version": 3,
        "tool": {
            "name": "dlio-rs",
            "version": p.version,
            "git_sha": p.git_commit,
            "code_image": UNKNOWN,
        },
        "dlio": {
            "version": UNKNOWN,
            "source": "re-implementation: dlio-rs; DLIO did not run",
            "commit": UNKNOWN,
        },
        "storage_library": library,
        "core_config": core,
        "stamped_at": chrono::Utc::now().format("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "stamped_by": format!("dlio-rs {}", p.version),
        "provenance": {
            "rules_edition": UNKNOWN,
            "layout_version": "tool-constant",
            "tool": "runtime",
            "dlio": "declared",
            "storage_library": library_tag,
            "core_config": if is_hashed { "runtime" } else { UNKNOWN },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_within_variables_are_starred() {
        assert!(may_be_secret("OMPI_MCA_mca_base_env_list", "A;B"));
        assert!(may_be_secret("OMPI_MCA_x", "AWS_SECRET_ACCESS_KEY=s"));
        assert!(may_be_secret("UCX_X", "my-token"));
        assert!(!may_be_secret("OMPI_MCA_btl", "vader,self"));
        assert!(!may_be_secret("UCX_TLS", "rc,sm"));
    }

    fn no_null(v: &Value) -> bool {
        match v {
            Value::Null => false,
            Value::Array(list) => list.iter().all(no_null),
            Value::Object(map) => map.values().all(no_null),
            _ => true,
        }
    }

    #[test]
    fn what_is_unknown_is_a_word() {
        let p = run_provenance(&Provenance::default());
        assert!(no_null(&p), "{p}");
        assert_eq!(p["core_config"]["hash"], "unknown");
        assert_eq!(p["storage_library"], json!({"name": "none"}));
        // The schema's keys, and no others.
        let keys = |v: &Value| v.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        let stamps = [
            "rules_edition",
            "layout_version",
            "tool",
            "dlio",
            "storage_library",
            "core_config",
        ];
        assert_eq!(keys(&p["provenance"]), stamps);
        let all = [
            &["schema"],
            &stamps[..],
            &["stamped_at", "stamped_by", "provenance"],
        ]
        .concat();
        assert_eq!(keys(&p), all);
        assert_eq!(
            keys(&p["tool"]),
            ["name", "version", "git_sha", "code_image"]
        );
        assert_eq!(keys(&p["dlio"]), ["version", "source", "commit"]);
        assert!(no_null(&machine_json(&Machine {
            nics: vec![Nic::default()],
            ..Machine::default()
        })));
    }

    #[test]
    fn the_binary_knows_its_libraries() {
        let build = Build::here();
        // The lock file is the truth.
        let lock = include_str!("../../Cargo.lock");
        let entry = format!("name = \"mpi\"\nversion = \"{}\"", build.libraries["mpi"]);
        assert!(lock.contains(&entry), "{build:?}");
        assert_eq!(build.features.contains(&"s3".into()), cfg!(feature = "s3"));
        assert_eq!(
            build.libraries.contains_key("aws-sdk-s3"),
            cfg!(feature = "s3")
        );
        assert_eq!(
            build.storage_library(Default::default(), Client::Sdk).name,
            "none"
        );
        let s3 = System::of_word("s3").expect("S3 has a row");
        assert_eq!(
            build.storage_library(s3, Client::Native).version,
            env!("CARGO_PKG_VERSION")
        );
    }
}
