//! The section `storage.storage_options`.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// `storage.storage_options`
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct StorageOptions {
    /// Time to the first byte of a read.
    ///
    /// - Unit: seconds
    /// - Most: 1e9
    /// - DLIO: no such key.
    /// - Only: storage = model
    pub latency: f64,
    /// Uniform deviation of `latency`, to both sides.
    ///
    /// - Unit: seconds
    /// - Most: 1e9
    /// - DLIO: no such key.
    /// - Only: storage = model
    pub jitter: f64,
    /// Bandwidth that the ranks of a host share. 0: unlimited.
    ///
    /// - Unit: bytes per second
    /// - Most: 2^60
    /// - DLIO: no such key.
    /// - Only: storage = model
    pub bandwidth: f64,
    /// A rank whose reads have `slow_latency` in place of `latency`.
    ///
    /// - Unit: number of the rank, from 0
    /// - DLIO: no such key.
    /// - Only: storage = model
    pub slow_rank: Option<u64>,
    /// Time to the first byte of a read of `slow_rank`.
    ///
    /// - Unit: seconds
    /// - Most: 1e9
    /// - DLIO: no such key.
    /// - Only: storage = model
    pub slow_latency: f64,
    /// When `pause` begins, after the storage system was opened.
    ///
    /// - Unit: seconds
    /// - Most: 1e9
    /// - DLIO: no such key.
    /// - Only: storage = model
    pub pause_after: f64,
    /// For so long no read gets its first byte. 0: never.
    ///
    /// - Unit: seconds
    /// - Most: 1e9
    /// - DLIO: no such key.
    /// - Only: storage = model
    pub pause: f64,
    /// Key id.
    ///
    /// - Only: storage = s3, gcs, azure
    pub access_key_id: Option<Secret>,
    /// Secret key.
    ///
    /// - Only: storage = s3, gcs, azure
    pub secret_access_key: Option<Secret>,
    /// Session token of temporary credentials.
    ///
    /// - DLIO: no such key.
    /// - Only: storage = s3, gcs
    pub session_token: Option<Secret>,
    /// URL of the service, or a list of URLs: each request goes to the one with the fewest requests in flight.
    ///
    /// - DLIO: one URL.
    /// - Only: storage = s3, gcs, azure
    pub endpoint_url: Endpoints,
    /// Region.
    ///
    /// - Only: storage = s3, gcs, azure
    pub region: Option<String>,
    /// Bucket in the path instead of the host name.
    ///
    /// - Only: storage = s3, gcs
    pub s3_force_path_style: Option<bool>,
    /// Attempts of one request. Not set: 5.
    ///
    /// - Unit: attempts
    /// - Only: storage = s3, gcs, azure
    pub s3_max_attempts: Option<u64>,
    /// Profile of the credentials file.
    ///
    /// - Only: storage = s3, gcs
    pub s3_profile: Option<String>,
    /// Storage account, where the address does not name it.
    ///
    /// - DLIO: no such key.
    /// - Only: storage = azure
    pub account_name: Option<String>,
    /// Key of the account; a shared access signature is made with it here.
    ///
    /// - DLIO: no such key.
    /// - Only: storage = azure
    pub account_key: Option<Secret>,
    /// Shared access signature.
    ///
    /// - DLIO: no such key.
    /// - Only: storage = azure
    pub sas_token: Option<Secret>,
    /// Connection string; the keys above win over its parts.
    ///
    /// - DLIO: no such key.
    /// - Only: storage = azure
    pub connection_string: Option<Secret>,
    /// Tenant of Entra ID, for a service principal or a workload identity.
    ///
    /// - DLIO: no such key.
    /// - Only: storage = azure
    pub tenant_id: Option<String>,
    /// Client id of the service principal or workload identity.
    ///
    /// - DLIO: no such key.
    /// - Only: storage = azure
    pub client_id: Option<String>,
    /// Secret of the service principal.
    ///
    /// - DLIO: no such key.
    /// - Only: storage = azure
    pub client_secret: Option<Secret>,
    /// File with the token of a workload identity; each host reads its own.
    ///
    /// - DLIO: no such key.
    /// - Only: storage = azure
    pub federated_token_file: Option<String>,
    /// Where Entra ID gives tokens, with https. Not set: https://login.microsoftonline.com.
    ///
    /// - DLIO: no such key; `AZURE_AUTHORITY_HOST`.
    /// - Only: storage = azure
    pub authority_host: Option<String>,
    /// URL of the blob service, with the account where it is a path (Azurite, private clouds).
    ///
    /// - DLIO: no such key.
    /// - Only: storage = azure
    pub blob_endpoint: Endpoints,
    /// Longest time to make a connection, TLS included. Not set: 5.
    ///
    /// - Unit: seconds
    /// - DLIO: no such key.
    /// - Only: storage = s3, gcs, azure
    pub connect_timeout: Option<f64>,
    /// Time without a byte after which a request is lost. Not set: 30.
    ///
    /// - Unit: seconds
    /// - DLIO: no such key.
    /// - Only: storage = s3, gcs, azure
    pub read_timeout: Option<f64>,
    /// Longest time of one attempt of a request. 0 or not set: no limit.
    ///
    /// - Unit: seconds
    /// - DLIO: no such key.
    /// - Only: storage = s3, gcs, azure
    pub request_timeout: Option<f64>,
    /// Retries that a rank may make in a run. Not set: 1000.
    ///
    /// - Unit: retries
    /// - Most: 2^60
    /// - DLIO: no such key.
    /// - Only: storage = s3, gcs, azure
    pub retry_budget: Option<u64>,
    /// Time before the first retry; doubled for each further one, up to 20 s. Not set: 0.5.
    ///
    /// - Unit: seconds
    /// - DLIO: no such key.
    /// - Only: storage = s3, gcs, azure
    pub retry_delay: Option<f64>,
    /// Connections that a rank makes at the same time. Not set: 8.
    ///
    /// - Unit: connections
    /// - Most: 65536
    /// - DLIO: no such key.
    /// - Only: storage = s3, gcs, azure
    pub connect_ramp: Option<u64>,
    /// Ranges of one long read that are in flight together. Not set: 2.
    ///
    /// - Unit: requests
    /// - Most: 65536
    /// - DLIO: no such key.
    /// - Only: storage = s3, gcs, azure
    pub ranges_in_flight: Option<u64>,
    /// Size of an upload's first parts; later ones grow to 64 MiB. Not set: 8 MiB.
    ///
    /// - Unit: bytes
    /// - DLIO: no such key.
    /// - Only: storage = s3, gcs, azure
    pub part_size: Option<u64>,
    /// PEM file of certificate authorities to trust beside those of the system.
    ///
    /// - DLIO: no such key; `AWS_CA_BUNDLE`.
    /// - Only: storage = s3, gcs, azure
    pub ca_bundle: Option<String>,
    /// Check the server's certificate. false accepts any, and the report shows it. Not set: true.
    ///
    /// - DLIO: no such key.
    /// - Only: storage = s3, gcs, azure
    pub verify: Option<bool>,
    /// Proxy as `http://[user:password@]host:port`, in place of `https_proxy` and `http_proxy`.
    ///
    /// - DLIO: no such key.
    /// - Only: storage = s3, gcs, azure
    pub proxy: Option<Secret>,
    /// Proxy for endpoints with TLS.
    ///
    /// - DLIO: no such key.
    /// - Only: storage = s3, gcs, azure
    pub https_proxy: Option<Secret>,
    /// Proxy for endpoints without TLS.
    ///
    /// - DLIO: no such key.
    /// - Only: storage = s3, gcs, azure
    pub http_proxy: Option<Secret>,
    /// Hosts that are reached without a proxy, with those below them, divided by commas; `*`: all.
    ///
    /// - DLIO: no such key.
    /// - Only: storage = s3, gcs, azure
    pub no_proxy: Option<String>,
    /// Checksum of uploads: `none`, `crc32c`, `sdk` (CRC-32, the SDK's default), or `md5` (Content-MD5, for servers without the others). Not set: none.
    ///
    /// - DLIO: no such key.
    /// - Only: storage = s3, gcs
    pub checksum: Option<String>,
    /// TLS where the endpoint has no scheme. Not set: true.
    ///
    /// - DLIO: minio only.
    /// - Only: storage = s3, gcs, azure
    pub secure: Option<bool>,
    /// Whose code moves the bytes of objects: dlio-rs itself, or the SDK (aws-sdk-s3, azure_storage_blob) over hyper. One
    /// checks the other; `native` costs the client less. With `sdk` there are no figures of connections, and no proxy.
    ///
    /// - DLIO: no such key.
    /// - Only: storage = s3, gcs, azure
    pub client: Client,
    /// Client library.
    ///
    /// - DLIO: `s3dlio`, `s3torchconnector` or `minio`.
    /// - Effect: none; there is one native client.
    pub storage_library: Option<String>,
    /// Scheme of the addresses under `storage.storage_type=s3`: `az` reads them from Azure, `gs` from Google Cloud Storage.
    ///
    /// - DLIO: the MLCommons fork only.
    /// - Only: storage = s3, gcs, azure
    pub uri_scheme: Option<String>,
    /// Whole addresses as object keys.
    ///
    /// - Effect: refused when true; the key is the path.
    /// - Only: storage = s3, gcs, azure
    pub use_full_object_uri: Option<bool>,
    /// Objects or row groups in flight on each worker.
    ///
    /// - Unit: requests
    /// - Effect: none; reader.prefetch_size and reader.read_threads say it.
    pub prefetch_window: Option<u64>,
    /// Threads of a worker of DLIO.
    ///
    /// - Unit: threads
    /// - Effect: none; reader.read_threads says it.
    pub prefetch_workers: Option<u64>,
    /// Fetch objects ahead.
    ///
    /// - Effect: none; reader.prefetch_size says it.
    pub prefetch: Option<bool>,
    /// Start workers one after another.
    ///
    /// - Effect: none; storage.storage_options.connect_ramp limits how fast connections are made.
    pub stagger_workers: Option<bool>,
    /// Columns that are read. Empty or not set: all.
    ///
    /// - Only: dataset.format = parquet
    pub columns: Option<Vec<String>>,
    /// Row groups of one request.
    ///
    /// - Unit: row groups
    /// - Effect: none; reader.range_size limits a request.
    pub coalesce_rgs: Option<u64>,
    /// Requests in flight.
    ///
    /// - Unit: requests
    /// - Effect: none; reader.read_threads and storage.storage_options.ranges_in_flight say it.
    pub max_outstanding: Option<u64>,
    /// Bytes of a footer that are read at once.
    ///
    /// - Unit: bytes
    /// - Effect: none; a footer is read as it is.
    pub footer_cap: Option<u64>,
    /// Footers that are read together.
    ///
    /// - Unit: files
    /// - Effect: none; each file is opened when it is read.
    pub footer_batch_size: Option<u64>,
    /// What becomes of row groups: `raw` or `arrow`.
    ///
    /// - Effect: none; reader.decode says it.
    pub decode: Option<String>,
    /// Where decoded row groups go.
    ///
    /// - Effect: none; reader.decode says it.
    pub decode_output: Option<String>,
    /// Plan without I/O.
    ///
    /// - Effect: none; storage.storage_type=null reads nothing.
    pub simulate_io: Option<bool>,
    /// Time between two messages of a simulation.
    ///
    /// - Unit: seconds
    /// - Effect: none; there is no such simulation.
    pub sim_log_secs: Option<f64>,
}

impl StorageOptions {
    /// The credentials among the options, in a fixed order, for carrying them between ranks.
    pub fn secrets_mut(&mut self) -> [&mut Option<Secret>; 10] {
        [
            &mut self.access_key_id,
            &mut self.secret_access_key,
            &mut self.session_token,
            &mut self.account_key,
            &mut self.sas_token,
            &mut self.connection_string,
            &mut self.client_secret,
            &mut self.proxy,
            &mut self.https_proxy,
            &mut self.http_proxy,
        ]
    }
}

/// Endpoint URLs: a text (which commas may divide) or a list in the YAML.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Endpoints(pub Vec<String>);

impl JsonSchema for Endpoints {
    fn schema_name() -> Cow<'static, str> {
        "Endpoints".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["string", "array"], "items": {"type": "string"}})
    }
}

impl Serialize for Endpoints {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [] => serializer.serialize_none(),
            [one] => serializer.serialize_str(one),
            more => more.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Endpoints {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Endpoints;
            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("a URL or a list of URLs")
            }
            fn visit_unit<E>(self) -> Result<Endpoints, E> {
                Ok(Endpoints::default())
            }
            fn visit_none<E>(self) -> Result<Endpoints, E> {
                Ok(Endpoints::default())
            }
            fn visit_str<E>(self, text: &str) -> Result<Endpoints, E> {
                let urls = text.split(',').map(|url| url.trim().to_string());
                Ok(Endpoints(urls.filter(|url| !url.is_empty()).collect()))
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(
                self,
                mut items: A,
            ) -> Result<Endpoints, A::Error> {
                let urls = std::iter::from_fn(|| items.next_element().transpose());
                urls.collect::<Result<_, _>>().map(Endpoints)
            }
        }
        deserializer.deserialize_any(Visitor)
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
