//! What a storage system needs to know to be opened.

use std::borrow::Cow;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{System, TimeModel};

/// A storage system to be opened.
#[derive(Debug, Clone, PartialEq)]
pub struct StoreSpec {
    /// Which.
    pub system: &'static System,
    /// The folder that it is opened for, as [`System::path`] gives it.
    pub folder: PathBuf,
    /// What becomes of the page cache where it stands before the system.
    pub pages: Pages,
    /// For `model`.
    pub time: TimeModel,
    /// For object stores.
    pub object: ObjectSpec,
}

/// What a store does about the page cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pages {
    /// Nothing.
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
            object: ObjectSpec::default(),
        }
    }
}

/// What object stores need: each key of `storage.storage_options` that they act upon, under its name.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ObjectSpec {
    /// Key id.
    pub access_key_id: Option<Secret>,
    /// Secret key.
    pub secret_access_key: Option<Secret>,
    /// S3: session token of temporary credentials.
    pub session_token: Option<Secret>,
    /// URLs.
    pub endpoint_url: Vec<String>,
    /// Region.
    pub region: Option<String>,
    /// S3: bucket in the path instead of the host name.
    pub s3_force_path_style: Option<bool>,
    /// Attempts of one request.
    pub s3_max_attempts: Option<u64>,
    /// S3: profile of the credentials file.
    pub s3_profile: Option<String>,
    /// Azure: storage account.
    pub account_name: Option<String>,
    /// Azure: key of the account.
    pub account_key: Option<Secret>,
    /// Azure: shared access signature.
    pub sas_token: Option<Secret>,
    /// Azure: connection string.
    pub connection_string: Option<Secret>,
    /// Azure: tenant of a service principal or workload identity.
    pub tenant_id: Option<String>,
    /// Azure: the principal's client id.
    pub client_id: Option<String>,
    /// Azure: the principal's secret.
    pub client_secret: Option<Secret>,
    /// Azure: file with a workload identity's token.
    pub federated_token_file: Option<String>,
    /// Azure: where tokens are given.
    pub authority_host: Option<String>,
    /// Azure: URLs of the blob service.
    pub blob_endpoint: Vec<String>,
    /// Seconds for a connection to be made.
    pub connect_timeout: Option<f64>,
    /// Seconds without a byte before a request counts as lost.
    pub read_timeout: Option<f64>,
    /// Seconds for one attempt of a request as a whole; 0: no limit.
    pub request_timeout: Option<f64>,
    /// Retries that a rank may make in a run.
    pub retry_budget: Option<u64>,
    /// Seconds before the first retry.
    pub retry_delay: Option<f64>,
    /// Connections made at the same time.
    pub connect_ramp: Option<u64>,
    /// Bytes of one GET; 0: the whole extent.
    pub range_size: Option<u64>,
    /// GETs of one extent in flight.
    pub ranges_in_flight: Option<u64>,
    /// Bytes of an upload's first parts.
    pub part_size: Option<u64>,
    /// Parts of an upload in flight.
    pub parts_in_flight: Option<u64>,
    /// URL of the proxy for endpoints with TLS.
    pub https_proxy: Option<Secret>,
    /// URL of the proxy for the others.
    pub http_proxy: Option<Secret>,
    /// Hosts that are reached without one.
    pub no_proxy: Option<String>,
    /// PEM file of certificate authorities.
    pub ca_bundle: Option<String>,
    /// False accepts any certificate.
    pub verify: Option<bool>,
    /// S3: checksum sent with uploads.
    pub checksum: Option<String>,
    /// Checksums that come with whole objects are compared.
    pub verify_checksums: bool,
    /// TLS where the endpoint has no scheme.
    pub secure: Option<bool>,
    /// Whose code moves the bytes.
    pub client: Client,
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
