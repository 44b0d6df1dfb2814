//! What a storage system needs to know to be opened.

use std::borrow::Cow;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{StorageOptions, System, TimeModel};

/// A storage system to be opened.
#[derive(Debug, Clone, PartialEq)]
pub struct StoreSpec {
    /// Which.
    pub system: &'static System,
    /// The folder that it is opened for, as [`System::path`] gives it.
    pub folder: PathBuf,
    /// What becomes of the page cache where it stands before the system.
    pub pages: Pages,
    /// Of simulated systems.
    pub time: TimeModel,
    /// For object stores, like the fields below it.
    pub options: StorageOptions,
    /// `reader.range_size`
    pub range_size: Option<u64>,
    /// `checkpoint.parts_in_flight`
    pub parts_in_flight: Option<u64>,
    /// Whether whole objects that are read are compared with the checksum that the service gives.
    pub verify_checksums: bool,
}

/// What a store does about the page cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pages {
    #[default]
    Keep,
    /// The kernel is advised to forget a file's pages after the last byte was read or written, on the descriptor that is
    /// open for it.
    Forget,
    /// Reads leave no pages (`RWF_DONTCACHE`), and written files are forgotten.
    DontCache,
}

impl StoreSpec {
    /// A system with nothing said about it.
    pub fn new(system: &'static System, folder: PathBuf) -> Self {
        StoreSpec {
            system,
            folder,
            pages: Pages::default(),
            time: TimeModel::default(),
            options: StorageOptions::default(),
            range_size: None,
            parts_in_flight: None,
            verify_checksums: false,
        }
    }
}

/// Whose code moves the bytes of objects.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Client {
    /// dlio-rs: from the socket into the reader's memory.
    #[default]
    Native,
    /// The service's SDK, over hyper.
    Sdk,
}

/// A credential. It is never printed, dumped or sent anywhere by this type.
#[derive(Clone, PartialEq, Default)]
pub struct Secret(String);

impl Secret {
    /// A credential from where it was found.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The credential itself, for the one who signs with it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl JsonSchema for Secret {
    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "password"})
    }
}

impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("***")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Secret)
    }
}
