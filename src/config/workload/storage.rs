//! The section `storage`, and values that must not be shown.

use serde::{Deserialize, Serialize};

use super::*;

/// `storage`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StorageSection {
    /// Default local_fs.
    pub storage_type: StorageType,
    /// Directory or bucket. Default `./`.
    pub storage_root: String,
    /// `storage.storage_options`
    pub storage_options: StorageOptions,
    /// Accepted; one native engine here.
    pub storage_library: Option<String>,
    /// Seconds between generation and reading on object stores. Default 0.
    pub post_generation_settle_seconds: f64,
}

impl Default for StorageSection {
    fn default() -> Self {
        StorageSection {
            storage_type: StorageType::LocalFs,
            storage_root: "./".into(),
            storage_options: StorageOptions::default(),
            storage_library: None,
            post_generation_settle_seconds: 0.0,
        }
    }
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

/// `storage.storage_options`
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct StorageOptions {
    /// model: seconds before the first byte of a read. Default 0.
    pub latency: f64,
    /// model: uniform +- this many seconds around `latency`. Default 0.
    pub jitter: f64,
    /// model: bytes per second, shared by the ranks of a node; 0: unlimited.
    pub bandwidth: f64,
    /// Object stores: key id.
    pub access_key_id: Option<String>,
    /// Object stores: secret key.
    pub secret_access_key: Option<Secret>,
    /// S3: session token of temporary credentials.
    pub session_token: Option<Secret>,
    /// S3: one URL or a list; each request goes to the one with the fewest requests in flight.
    pub endpoint_url: Endpoints,
    /// Object stores: region.
    pub region: Option<String>,
    /// S3: bucket in the path instead of the host name.
    pub s3_force_path_style: Option<bool>,
    /// S3 and Azure: attempts of one request. Default 5.
    pub s3_max_attempts: Option<u64>,
    /// S3: profile of the credentials file.
    pub s3_profile: Option<String>,
    /// Azure: storage account, where the address does not name it.
    pub account_name: Option<String>,
    /// Azure: key of the account; a SAS is signed with it here.
    pub account_key: Option<Secret>,
    /// Azure: shared access signature.
    pub sas_token: Option<Secret>,
    /// Azure: connection string; the keys above win over its parts.
    pub connection_string: Option<Secret>,
    /// Azure: URL of the blob service with the account in it where it is a path (Azurite, private clouds).
    pub blob_endpoint: Endpoints,
    /// Object stores: seconds for a connection to be made, TLS included. Default 5.
    pub connect_timeout: Option<f64>,
    /// Object stores: seconds without a byte before a request counts as lost. Default 30.
    pub read_timeout: Option<f64>,
    /// Object stores: seconds for one attempt of a request as a whole; 0: no limit. Default 0.
    pub request_timeout: Option<f64>,
    /// Object stores: retries that a rank may make in a run. Default 1000.
    pub retry_budget: Option<u64>,
    /// Object stores: seconds before the first retry; doubled for each further one, up to 20. Default 0.5.
    pub retry_delay: Option<f64>,
    /// Object stores: connections that a rank makes at the same time. Default 8.
    pub connect_ramp: Option<u64>,
    /// Object stores: ranges of one extent in flight. Default 2.
    pub ranges_in_flight: Option<u64>,
    /// Object stores: bytes of an upload's first parts (later ones grow to 64 MiB). Default 8 MiB.
    pub part_size: Option<u64>,
    /// Object stores: PEM file of certificate authorities to trust beside the system's.
    pub ca_bundle: Option<String>,
    /// Object stores: false accepts any certificate; the report shows it. Default true.
    pub verify: Option<bool>,
    /// Object stores: `http://[user:password@]host:port`, in place of HTTPS_PROXY and HTTP_PROXY.
    pub proxy: Option<Secret>,
    /// S3: checksum sent with uploads: `none`, `crc32c` or `sdk` (CRC-32, the SDK's default). Default none.
    pub checksum: Option<String>,
    /// TLS where the endpoint has no scheme.
    pub secure: Option<bool>,
    /// Accepted; one native engine here.
    pub storage_library: Option<String>,
    /// `s3`, `az`, `gs`, `file` or `direct`.
    pub uri_scheme: Option<String>,
    /// Keys are full URIs.
    pub use_full_object_uri: Option<bool>,
    /// Objects in flight per worker.
    pub prefetch_window: Option<u64>,
    /// Parquet: threads.
    pub prefetch_workers: Option<u64>,
    /// Accepted; no effect here.
    pub prefetch: Option<bool>,
    /// Spread the start of workers.
    pub stagger_workers: Option<bool>,
    /// Parquet: columns to read.
    pub columns: Option<Vec<String>>,
    /// Parquet: row groups per request.
    pub coalesce_rgs: Option<u64>,
    /// Parquet: requests in flight.
    pub max_outstanding: Option<u64>,
    /// Parquet: footer bytes read at once.
    pub footer_cap: Option<u64>,
    /// Parquet: footers read together.
    pub footer_batch_size: Option<u64>,
    /// Parquet: `raw` or `arrow`.
    pub decode: Option<String>,
    /// Parquet: accepted; no effect here.
    pub decode_output: Option<String>,
    /// Parquet: plan without I/O.
    pub simulate_io: Option<bool>,
    /// Parquet: seconds between simulation logs.
    pub sim_log_secs: Option<f64>,
}

impl StorageOptions {
    /// The credentials among the options, in a fixed order, for carrying them between ranks.
    pub fn secrets_mut(&mut self) -> [&mut Option<Secret>; 6] {
        [
            &mut self.secret_access_key,
            &mut self.session_token,
            &mut self.account_key,
            &mut self.sas_token,
            &mut self.connection_string,
            &mut self.proxy,
        ]
    }
}

/// Endpoint URLs: a text (which commas may divide) or a list in the YAML.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Endpoints(pub Vec<String>);

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
                let mut urls = Vec::new();
                while let Some(url) = items.next_element()? {
                    urls.push(url);
                }
                Ok(Endpoints(urls))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}
