//! Proof of identity for Azure: a SAS that was given, one signed here with the account's key, or an Entra ID token.
//!
//! Source: Azure Storage documents, "Create a service SAS"; azure_identity.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use azure_core::cloud::{CloudConfiguration, CustomConfiguration};
use azure_core::credentials::TokenCredential;
use azure_core::http::{ClientOptions, RetryOptions, Transport};
use azure_identity::{
    AzureCliCredential, ClientAssertionCredentialOptions, ClientSecretCredential,
    ClientSecretCredentialOptions, ManagedIdentityCredential, ManagedIdentityCredentialOptions,
    WorkloadIdentityCredential, WorkloadIdentityCredentialOptions,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use parking_lot::Mutex;
use sha2::Sha256;

use super::super::Runtime;
use super::super::failure::{Class, Failure, Result};
use super::super::fetch::Carrier;
use super::super::url::encode_query;
use super::sdk::{Over, Proof, VERSION};
use crate::storage::{Secret, StorageOptions, ring};

/// How long a signature made here holds. It is renewed while the job runs.
const LIFETIME: Duration = Duration::from_secs(3600);
/// What a signature made here allows: read, create, write, delete and list within one container.
const RIGHTS: &str = "rcwdl";
/// A signature or token is renewed this long before its end.
const EARLY: Duration = Duration::from_secs(600);
/// What an Entra ID token is asked for.
const SCOPE: &str = "https://storage.azure.com/.default";
/// Account and key of every Azurite and of the older emulator; public.
const EMULATOR: (&str, &str) = (
    "devstoreaccount1",
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
);

/// The parts of a connection string.
#[derive(Default)]
pub(super) struct Connection {
    pub account: Option<String>,
    pub key: Option<Secret>,
    pub sas: Option<Secret>,
    pub blob_endpoint: Option<String>,
}

impl Connection {
    /// Reads `Name=value;...`.
    ///
    /// Errors: a part without a value. The text itself is never shown.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut this = Connection::default();
        let (mut protocol, mut suffix) = ("https".to_string(), "core.windows.net".to_string());
        for part in text.split(';').map(str::trim).filter(|p| !p.is_empty()) {
            let (name, value) = part.split_once('=').ok_or(
                "storage.storage_options.connection_string has a part without a value\n  remedy: copy it whole from the portal",
            )?;
            let value = value.trim();
            match name.trim().to_ascii_lowercase().as_str() {
                "accountname" => this.account = Some(value.into()),
                "accountkey" => this.key = Some(Secret::new(value)),
                "sharedaccesssignature" => this.sas = Some(Secret::new(value)),
                "blobendpoint" => this.blob_endpoint = Some(value.into()),
                "defaultendpointsprotocol" => protocol = value.into(),
                "endpointsuffix" => suffix = value.into(),
                "usedevelopmentstorage" if value.eq_ignore_ascii_case("true") => {
                    this.account = Some(EMULATOR.0.into());
                    this.key = Some(Secret::new(EMULATOR.1));
                    this.blob_endpoint = Some(format!("http://127.0.0.1:10000/{}", EMULATOR.0));
                }
                // Endpoints of queues, tables and files.
                _ => {}
            }
        }
        if this.blob_endpoint.is_none()
            && let Some(account) = &this.account
        {
            this.blob_endpoint = Some(format!("{protocol}://{account}.blob.{suffix}"));
        }
        Ok(this)
    }
}

/// Where proofs come from.
pub(super) struct Auth {
    source: Source,
    /// By container; one of "" is good for all.
    kept: Mutex<HashMap<String, (Proof, chrono::DateTime<chrono::Utc>)>>,
}

enum Source {
    Sas(Arc<str>),
    Key {
        account: String,
        key: Vec<u8>,
    },
    Entra {
        who: Principal,
        transport: Arc<Over>,
    },
}

/// Who asks Entra ID for tokens, where the options name somebody.
#[derive(Default)]
struct Principal {
    tenant: Option<String>,
    client: Option<String>,
    secret: Option<Secret>,
    token_file: Option<String>,
    /// Where tokens are given, for all of them.
    cloud: Arc<CloudConfiguration>,
}

impl Auth {
    /// By what the options hold: a SAS, else a key, else Entra ID.
    ///
    /// Errors: a key that is no base64.
    pub(super) fn new(
        account: &str,
        options: &StorageOptions,
        connection: &Connection,
        carrier: &Carrier,
    ) -> Result<Self, String> {
        let sas = options.sas_token.as_ref();
        let key = options.account_key.as_ref();
        let (sas, key) = match (sas, key) {
            (None, None) => (connection.sas.as_ref(), connection.key.as_ref()),
            given => given,
        };
        let source = if let Some(sas) = sas {
            Source::Sas(sas.expose().trim().trim_start_matches('?').into())
        } else if let Some(key) = key {
            Source::Key {
                account: account.into(),
                key: STANDARD.decode(key.expose().trim()).map_err(|_| {
                    "storage.storage_options.account_key is no base64\n  remedy: copy the key whole, with the = at its end"
                })?,
            }
        } else {
            Source::Entra {
                who: Principal {
                    tenant: options.tenant_id.clone(),
                    client: options.client_id.clone(),
                    secret: options.client_secret.clone(),
                    token_file: options.federated_token_file.clone(),
                    cloud: Arc::new(cloud(options)),
                },
                transport: Arc::new(Over::new(carrier.clone())),
            }
        };
        Ok(Auth {
            source,
            kept: Mutex::default(),
        })
    }

    /// A proof that holds for a while in one container. `is_tls`: it will not go over plain http.
    pub(super) fn proof(&self, container: &str, is_tls: bool, runtime: &Runtime) -> Result<Proof> {
        let now = chrono::Utc::now();
        let whose = match &self.source {
            Source::Key { .. } => container,
            Source::Sas(_) | Source::Entra { .. } => "",
        };
        // Another task of this thread may hold it, and wait for Entra ID.
        let mut kept = ring::lock(&self.kept);
        if let Some((proof, end)) = kept.get(whose)
            && now + EARLY < *end
        {
            return Ok(proof.clone());
        }
        let (proof, end) = match &self.source {
            Source::Sas(sas) => return Ok(Proof::Query(sas.clone())),
            Source::Key { account, key } => {
                let end = now + LIFETIME;
                let sas = container_sas(account, container, key, is_tls, end);
                (Proof::Query(sas.into()), end)
            }
            Source::Entra { who, transport } => runtime.wait(token(who, transport.clone()))?,
        };
        kept.insert(whose.into(), (proof.clone(), end));
        Ok(proof)
    }
}

impl Auth {
    /// The service says that a proof has run out: true when another can be made.
    pub(super) fn forget(&self) -> bool {
        ring::lock(&self.kept).clear();
        !matches!(self.source, Source::Sas(_))
    }
}

/// Signs a service SAS for one container that lasts until `end`.
fn container_sas(
    account: &str,
    container: &str,
    key: &[u8],
    is_tls: bool,
    end: chrono::DateTime<chrono::Utc>,
) -> String {
    let protocols = if is_tls { "https" } else { "https,http" };
    let end = end.format("%Y-%m-%dT%H:%M:%SZ").to_string();
    // Source: "String-to-sign" of a service SAS, version 2020-12-06 and later. Start, policy, IP range, snapshot, scope and
    // the five headers of answers stay empty.
    let text = format!(
        "{RIGHTS}\n\n{end}\n/blob/{account}/{container}\n\n\n{protocols}\n{VERSION}\nc\n\n\n\n\n\n\n"
    );
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text.as_bytes());
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    let mut query = format!("sv={VERSION}&sr=c&sp={RIGHTS}&se=");
    encode_query(&end, &mut query);
    query.push_str("&spr=");
    encode_query(protocols, &mut query);
    query.push_str("&sig=");
    encode_query(&signature, &mut query);
    query
}

/// The cloud that the options name. It is always named to the SDK, which would look into this rank's own environment.
fn cloud(options: &StorageOptions) -> CloudConfiguration {
    match &options.authority_host {
        None => CloudConfiguration::AzurePublic,
        Some(host) => {
            let mut custom = CustomConfiguration::default();
            custom.authority_host.clone_from(host);
            custom.into()
        }
    }
}

/// An Entra ID token: of the service principal or workload identity that the options name, or by what this host has, a
/// managed identity or else the Azure CLI.
async fn token(
    who: &Principal,
    transport: Arc<Over>,
) -> Result<(Proof, chrono::DateTime<chrono::Utc>)> {
    let client_options = || ClientOptions {
        transport: Some(Transport::new(transport.clone())),
        retry: RetryOptions::none(),
        cloud: Some(who.cloud.clone()),
        ..ClientOptions::default()
    };
    let mut sources: Vec<(&str, azure_core::Result<Arc<dyn TokenCredential>>)> = Vec::new();
    if let (Some(tenant), Some(client), Some(secret)) = (&who.tenant, &who.client, &who.secret) {
        let options = ClientSecretCredentialOptions {
            client_options: client_options(),
        };
        let secret = secret.expose().trim().to_string();
        let made =
            ClientSecretCredential::new(tenant, client.clone(), secret.into(), Some(options));
        sources.push((
            "service principal",
            made.map(|c| c as Arc<dyn TokenCredential>),
        ));
    } else if let Some(file) = &who.token_file {
        let made = WorkloadIdentityCredential::new(Some(WorkloadIdentityCredentialOptions {
            credential_options: ClientAssertionCredentialOptions {
                client_options: client_options(),
            },
            client_id: who.client.clone(),
            tenant_id: who.tenant.clone(),
            token_file_path: Some(file.into()),
        }));
        sources.push((
            "workload identity",
            made.map(|c| c as Arc<dyn TokenCredential>),
        ));
    } else {
        let made = ManagedIdentityCredential::new(Some(ManagedIdentityCredentialOptions {
            client_options: client_options(),
            ..ManagedIdentityCredentialOptions::default()
        }));
        sources.push((
            "managed identity",
            made.map(|c| c as Arc<dyn TokenCredential>),
        ));
        let made = AzureCliCredential::new(None);
        sources.push(("Azure CLI", made.map(|c| c as Arc<dyn TokenCredential>)));
    }
    let mut tried = Vec::new();
    for (name, source) in sources {
        let got = match source {
            Ok(credential) => credential.get_token(&[SCOPE], None).await,
            Err(error) => Err(error),
        };
        match got {
            Ok(token) => {
                let end = chrono::DateTime::from_timestamp(token.expires_on.unix_timestamp(), 0)
                    .unwrap_or_default();
                let header = format!("Bearer {}", token.token.secret());
                return Ok((Proof::Header(header.into()), end));
            }
            Err(error) => tried.push(format!("{name}: {error}")),
        }
    }
    Err(Failure {
        code: "NoCredentials".into(),
        ..Failure::new(
            Class::Permanent,
            format!("find credentials: {}", tried.join("; ")),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::http::for_tests;
    use super::*;

    #[test]
    fn a_container_sas_is_signed_as_azures_own_library_signs_it() {
        // Source: azure-storage-blob 12.31.1 (Python), generate_container_sas with these values and version 2021-12-02.
        let end = chrono::DateTime::parse_from_rfc3339("2030-01-02T03:04:05Z").unwrap();
        let key = STANDARD.decode(EMULATOR.1).unwrap();
        for (is_tls, signature) in [
            (true, "xGmeOUuE7WGYqo3yF3hNbmIF791%2BlKD7FbkZIMQ1Ozo%3D"),
            (false, "JjRRc7A8XOvpdJvdwMxTHfJo0/1BzBNg0CPDHaYrEFg%3D"),
        ] {
            let sas = container_sas(EMULATOR.0, "my-data", &key, is_tls, end.to_utc());
            // Its quoting leaves slashes as they are.
            let sas = sas.replace("%2F", "/");
            assert!(sas.ends_with(&format!("&sig={signature}")), "{sas}");
            // One container, no more than is needed.
            assert!(sas.contains("&sr=c&sp=rcwdl&"), "{sas}");
        }
    }

    /// Blanks and line ends around what was copied are no part of it.
    #[test]
    fn keys_and_signatures_are_trimmed() {
        let (http, runtime) = (for_tests(), Runtime::new(false).unwrap());
        let proof = |options: &StorageOptions| {
            let auth = Auth::new(
                "a",
                options,
                &Connection::default(),
                &Carrier::Own(http.clone()),
            )
            .unwrap();
            match auth.proof("x", true, &runtime) {
                Ok(Proof::Query(sas)) => sas.to_string(),
                _ => panic!("no SAS"),
            }
        };
        let of_key = |key: &str| {
            let options = StorageOptions {
                account_key: Some(Secret::new(key)),
                ..StorageOptions::default()
            };
            let sas = proof(&options);
            sas.split("&se=").next().unwrap().to_owned()
        };
        assert_eq!(of_key(&format!(" {}\n", EMULATOR.1)), of_key(EMULATOR.1));
        let options = StorageOptions {
            sas_token: Some(Secret::new("?sv=1&sig=2\r\n")),
            ..StorageOptions::default()
        };
        assert_eq!(proof(&options), "sv=1&sig=2");
    }

    /// A signature is good for its container only, and for an hour.
    #[test]
    fn each_container_has_a_signature_of_its_own() {
        let options = StorageOptions {
            account_key: Some(Secret::new(EMULATOR.1)),
            ..StorageOptions::default()
        };
        let http = for_tests();
        let auth = Auth::new(
            "a",
            &options,
            &Connection::default(),
            &Carrier::Own(http.clone()),
        )
        .unwrap();
        let runtime = Runtime::new(false).unwrap();
        let of = |container: &str| match auth.proof(container, true, &runtime) {
            Ok(Proof::Query(sas)) => sas.to_string(),
            _ => panic!("no SAS"),
        };
        assert_ne!(of("x"), of("y"));
        assert_eq!(of("x"), of("x"));
        let ends = auth.kept.lock();
        let latest = chrono::Utc::now() + LIFETIME;
        assert_eq!(ends.len(), 2);
        assert!(
            ends.values()
                .all(|(_, end)| *end <= latest && LIFETIME <= Duration::from_secs(3600))
        );
    }

    #[test]
    fn connection_strings_are_taken_apart() {
        let c = Connection::parse("DefaultEndpointsProtocol=https;AccountName=a;AccountKey=a2V5PT0=;EndpointSuffix=core.windows.net").unwrap();
        assert_eq!(c.account.as_deref(), Some("a"));
        assert_eq!(c.key.unwrap().expose(), "a2V5PT0=");
        assert_eq!(
            c.blob_endpoint.as_deref(),
            Some("https://a.blob.core.windows.net")
        );
        let c =
            Connection::parse("BlobEndpoint=https://b.example/x;SharedAccessSignature=sv=1&sig=2")
                .unwrap();
        assert_eq!(c.sas.unwrap().expose(), "sv=1&sig=2");
        assert_eq!(c.blob_endpoint.as_deref(), Some("https://b.example/x"));
        let c = Connection::parse("UseDevelopmentStorage=true").unwrap();
        assert_eq!(c.account.as_deref(), Some("devstoreaccount1"));
        assert!(Connection::parse("AccountKey").is_err());
    }
}
