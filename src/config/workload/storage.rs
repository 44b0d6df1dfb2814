//! The section `storage`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::storage::StorageOptions;
use crate::storage::System;

section! {
    /// `storage`
    pub struct StorageSection {
        /// The storage system. A `://` address in `dataset.data_folder` decides over it.
        ///
        /// - DLIO: `local_fs`, `s3`, `aistore`; `direct_fs` in the MLCommons fork. `mmap`, `null`, `model` and `azure` are of dlio-rs.
        #[serde(with = "word")]
        #[schemars(schema_with = "word::schema")]
        pub storage_type: &'static System = <&System>::default(),
        /// Folder that `dataset.data_folder` is relative to, or the bucket.
        pub storage_root: String = "./".into(),
        /// Options of a storage system: credentials, endpoints, limits.
        pub storage_options: StorageOptions = StorageOptions::default(),
        /// Client library.
        ///
        /// - DLIO: the MLCommons fork only; the same as `storage.storage_options.storage_library`.
        /// - Effect: none; there is one native client.
        pub storage_library: Option<String> = None,
        /// Time between generation and reading on an object store that shows new objects late.
        ///
        /// - Unit: seconds
        /// - Most: 1e9
        /// - DLIO: the MLCommons fork only.
        /// - Only: storage = s3, gcs, azure
        pub post_generation_settle_seconds: f64 = 0.0,
    }
}

/// A storage system as its word.
mod word {
    use std::sync::LazyLock;

    use schemars::{Schema, SchemaGenerator, json_schema};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use serde_json::{Value, json};

    use crate::storage::{SYSTEMS, System};

    pub(super) fn serialize<S: Serializer>(
        system: &&'static System,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(system.word)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<&'static System, D::Error> {
        static WORDS: LazyLock<Vec<&str>> =
            LazyLock::new(|| SYSTEMS.iter().map(|system| system.word).collect());
        let word = String::deserialize(deserializer)?;
        System::of_word(&word).ok_or_else(|| D::Error::unknown_variant(&word, &WORDS))
    }

    /// Each row of the table with what it is.
    pub(super) fn schema(_: &mut SchemaGenerator) -> Schema {
        let words: Vec<Value> = SYSTEMS
            .iter()
            .map(|s| json!({"type": "string", "const": s.word, "description": s.about}))
            .collect();
        json_schema!({"oneOf": words})
    }
}
