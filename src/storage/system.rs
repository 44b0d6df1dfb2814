//! The table of storage systems: one row each.

use super::row::{FILES, OBJECTS, System};
use super::{address, direct, mmap, model, null};

/// With it the SDKs find credentials and make control calls only.
const OWN_CLIENT: &str = env!("CARGO_PKG_NAME");

/// All storage systems; the first is the default.
pub static SYSTEMS: &[System] = &[
    FILES,
    System {
        word: "parallel_fs",
        about: "The same; DLIO names it but has no backend.",
        schemes: &[],
        form: "",
        open: Err("a mounted parallel file system is local_fs or direct_fs"),
        ..FILES
    },
    direct::SYSTEM,
    mmap::SYSTEM,
    null::SYSTEM,
    model::SYSTEM,
    System {
        word: "s3",
        about: "S3.",
        schemes: &["s3"],
        form: "s3://bucket/prefix",
        libraries: Some([OWN_CLIENT, "aws-sdk-s3"]),
        parse: address::s3,
        #[cfg(feature = "s3")]
        open: Ok(super::object::s3),
        #[cfg(not(feature = "s3"))]
        open: Err("build with --features s3"),
        ..OBJECTS
    },
    System {
        word: "gcs",
        about: "Google Cloud Storage, by the protocol of S3.",
        schemes: &["gs"],
        form: "gs://bucket/prefix",
        libraries: Some([OWN_CLIENT, "aws-sdk-s3"]),
        parse: address::gs,
        in_dlio: false,
        #[cfg(feature = "s3")]
        open: Ok(super::object::google),
        #[cfg(not(feature = "s3"))]
        open: Err("build with --features s3"),
        ..OBJECTS
    },
    System {
        word: "aistore",
        about: "AIStore.",
        schemes: &[],
        form: "",
        open: Err(
            "AIStore speaks S3: use storage.storage_type=s3 with its S3 endpoint as storage.storage_options.endpoint_url",
        ),
        ..OBJECTS
    },
    System {
        word: "azure",
        about: "Azure Blob.",
        schemes: &["az", "azure"],
        form: "az://account/container/prefix",
        libraries: Some([OWN_CLIENT, "azure_storage_blob"]),
        parse: address::azure,
        #[cfg(feature = "azure")]
        open: Ok(super::object::azure),
        #[cfg(not(feature = "azure"))]
        open: Err("build with --features azure"),
        ..OBJECTS
    },
];

impl System {
    /// The system of a word of the YAML.
    pub fn of_word(word: &str) -> Option<&'static System> {
        SYSTEMS.iter().find(|system| system.word == word)
    }

    /// The system that the scheme of a URI means.
    pub fn of_scheme(scheme: &str) -> Option<&'static System> {
        SYSTEMS
            .iter()
            .find(|system| system.schemes.contains(&scheme))
    }

    /// What is used when nothing is said; the scheme of an address may then choose another.
    pub fn is_default(&self) -> bool {
        *self == SYSTEMS[0]
    }
}

impl Default for &'static System {
    fn default() -> Self {
        &SYSTEMS[0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_schemes_name_one_system_each() {
        let words: Vec<_> = SYSTEMS.iter().map(|s| s.word).collect();
        let schemes: Vec<_> = SYSTEMS.iter().flat_map(|s| s.schemes).collect();
        for (at, word) in words.iter().enumerate() {
            assert!(!words[..at].contains(word), "{word}");
        }
        for (at, scheme) in schemes.iter().enumerate() {
            assert!(!schemes[..at].contains(scheme), "{scheme}");
        }
    }
}
