//! Azure Blob Storage.
//!
//! Get Blob, Put Blob and Put Block are sent over [`Http`] directly; lists and the commit of blocks go through
//! azure_storage_blob. Source: Azure Blob Storage REST API.

use std::path::Path;
use std::sync::Arc;

use azure_core::http::RequestContent;
use azure_storage_blob::models::{BlobContainerClientListBlobsOptions, BlockLookupList};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::TryStreamExt;

use super::azure_auth::{Auth, Connection, Proof, VERSION};
use super::azure_sdk::{self, container, header};
use super::connection::Head;
use super::endpoint::Endpoint;
use super::failure::{Class, Failure};
use super::http::{Answered, Http};
use super::open::urls;
use super::url::{Url, encode_path, encode_query};
use super::{ObjectName, Page, Part, Prepared, Runtime, Service, xml_element};
use crate::config::StorageOptions;

/// Azure Blob Storage.
pub(super) struct Azure {
    account: String,
    http: Arc<Http>,
    auth: Auth,
    runtime: Runtime,
}

impl Azure {
    /// The service of an account and its endpoints. No request is made.
    ///
    /// Errors: endpoints, keys or connection strings that cannot be used, or that belong to another account.
    pub(super) fn new(
        account: &str,
        options: &StorageOptions,
        http: &Arc<Http>,
    ) -> Result<(Self, Vec<Url>), String> {
        let connection = match &options.connection_string {
            Some(text) => Connection::parse(text.expose())?,
            None => Connection::default(),
        };
        for (key, other) in [
            ("account_name", &options.account_name),
            ("connection_string", &connection.account),
        ] {
            if let Some(other) = other
                && other != account
            {
                return Err(format!(
                    "use the storage account {account}: storage.storage_options.{key} is of {other}\n  remedy: write az://{other}/container/prefix, or give {account}'s"
                ));
            }
        }
        let mut given = urls("blob_endpoint", &options.blob_endpoint.0, options)?;
        if given.is_empty() {
            given = urls("endpoint_url", &options.endpoint_url.0, options)?;
        }
        if given.is_empty() {
            let default = format!("https://{account}.blob.core.windows.net");
            let text = connection.blob_endpoint.clone().unwrap_or(default);
            given = urls("connection_string", &[text], options)?;
        }
        let this = Azure {
            account: account.into(),
            http: http.clone(),
            auth: Auth::new(account, options, &connection, http)?,
            runtime: Runtime::new()?,
        };
        Ok((this, given))
    }

    fn prepare(
        &self,
        method: &str,
        endpoint: &Endpoint,
        object: &ObjectName,
        query: &str,
        headers: &str,
        length: Option<usize>,
    ) -> Result<Prepared, Failure> {
        let proof = self.auth.proof(&self.runtime)?;
        let host = self.http.host(&endpoint.url);
        let mut head = String::with_capacity(512);
        head.push_str(method);
        head.push(' ');
        head.push_str(&endpoint.url.path);
        head.push('/');
        encode_path(&object.bucket, &mut head);
        head.push('/');
        encode_path(&object.key, &mut head);
        let mut divider = '?';
        let sas = match &proof {
            Proof::Query(sas) => sas,
            Proof::Header(_) => "",
        };
        for part in [query, sas] {
            if !part.is_empty() {
                head.push(divider);
                head.push_str(part);
                divider = '&';
            }
        }
        let authority = &host.authority;
        head.push_str(&format!(
            " HTTP/1.1\r\nhost: {authority}\r\nx-ms-version: {VERSION}\r\n{headers}"
        ));
        if let Proof::Header(value) = &proof {
            head.push_str(&format!("authorization: {value}\r\n"));
        }
        if let Some(length) = length {
            head.push_str(&format!("content-length: {length}\r\n"));
        }
        head.push_str("\r\n");
        Ok(Prepared {
            host,
            head: head.into_bytes(),
        })
    }

    fn exchange(&self, prepared: &Prepared, body: &[u8]) -> Result<Answered, Failure> {
        let has_body = !prepared.head.starts_with(b"HEAD");
        let answered = self
            .http
            .exchange(&prepared.host, &prepared.head, body, has_body)?;
        if answered.head.status >= 300 {
            return Err(failure_from_answer(&answered.head, &answered.body));
        }
        Ok(answered)
    }

    fn container(
        &self,
        endpoint: &Endpoint,
        name: &str,
    ) -> Result<azure_storage_blob::BlobContainerClient, Failure> {
        let proof = self.auth.proof(&self.runtime)?;
        container(&self.http, proof, &format!("{}/{name}", endpoint.url))
    }

    fn commit(
        &self,
        endpoint: &Endpoint,
        object: &ObjectName,
        blocks: Vec<Vec<u8>>,
    ) -> Result<(), Failure> {
        let blob = self
            .container(endpoint, &object.bucket)?
            .blob_client(&object.key)
            .block_blob_client();
        let list = BlockLookupList {
            latest: Some(blocks),
            ..BlockLookupList::default()
        };
        let content = RequestContent::try_from(list).map_err(azure_sdk::failure)?;
        self.runtime
            .wait(blob.commit_block_list(content, None))
            .map(|_| ())
            .map_err(azure_sdk::failure)
    }
}

/// Ids of one blob's blocks must have one length; the upload's name keeps two uploads apart.
fn block_id(upload: &str, number: u32) -> String {
    format!("{upload}-{number:08}")
}

impl Service for Azure {
    fn name(&self) -> &'static str {
        "azure"
    }

    fn object(&self, path: &Path) -> Result<ObjectName, String> {
        let uri = path.to_str().ok_or("its name is no UTF-8")?;
        let form = "it is not on Azure\n  remedy: write az://account/container/prefix";
        let rest = uri.strip_prefix("az://").ok_or(form)?;
        let (account, rest) = rest.split_once('/').ok_or(form)?;
        if account != self.account {
            return Err(format!(
                "it is in another account than {}\n  remedy: keep all folders in one account",
                self.account
            ));
        }
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        Ok(ObjectName {
            uri: uri.into(),
            bucket: bucket.into(),
            key: key.into(),
        })
    }

    fn get(
        &self,
        endpoint: &Endpoint,
        object: &ObjectName,
        range: Option<(u64, u64)>,
    ) -> Result<Prepared, Failure> {
        let headers = match range {
            Some((from, end)) => format!("range: bytes={from}-{}\r\n", end - 1),
            None => String::new(),
        };
        self.prepare("GET", endpoint, object, "", &headers, None)
    }

    fn put(&self, endpoint: &Endpoint, object: &ObjectName, body: &[u8]) -> Result<(), Failure> {
        let kind = "x-ms-blob-type: BlockBlob\r\n";
        let prepared = self.prepare("PUT", endpoint, object, "", kind, Some(body.len()))?;
        self.exchange(&prepared, body).map(|_| ())
    }

    fn begin_upload(&self, _: &Endpoint, _: &ObjectName) -> Result<String, Failure> {
        Ok(format!(
            "{:08x}{:016x}",
            std::process::id(),
            crate::clock::now_ns()
        ))
    }

    fn put_part(
        &self,
        endpoint: &Endpoint,
        object: &ObjectName,
        upload: &str,
        number: u32,
        body: &[u8],
    ) -> Result<Part, Failure> {
        let tag = block_id(upload, number);
        let mut query = String::from("comp=block&blockid=");
        encode_query(&STANDARD.encode(&tag), &mut query);
        let prepared = self.prepare("PUT", endpoint, object, &query, "", Some(body.len()))?;
        self.exchange(&prepared, body)?;
        Ok(Part {
            number,
            tag,
            checksum: None,
        })
    }

    fn complete(
        &self,
        endpoint: &Endpoint,
        object: &ObjectName,
        _: &str,
        parts: &[Part],
    ) -> Result<(), Failure> {
        let blocks = parts.iter().map(|part| part.tag.clone().into_bytes());
        self.commit(endpoint, object, blocks.collect())
    }

    /// Blocks cannot be deleted: a commit of none forgets them, and the empty blob that it makes goes away. Where a
    /// blob was there before, it stays, and the service forgets the blocks after a week.
    fn abort(&self, endpoint: &Endpoint, object: &ObjectName, _: &str) -> Result<(), Failure> {
        if self.len(endpoint, object)?.is_some() {
            return Ok(());
        }
        self.commit(endpoint, object, Vec::new())?;
        self.delete(endpoint, &object.bucket, std::slice::from_ref(&object.key))
    }

    fn len(&self, endpoint: &Endpoint, object: &ObjectName) -> Result<Option<u64>, Failure> {
        let prepared = self.prepare("HEAD", endpoint, object, "", "", None)?;
        match self.exchange(&prepared, &[]) {
            Ok(answered) => answered
                .head
                .get("content-length")
                .and_then(|len| len.trim().parse().ok())
                .map(Some)
                .ok_or_else(|| {
                    Failure::new(Class::ServerError, "the answer does not say its length")
                }),
            Err(failure) if failure.is_not_found() && failure.code != "ContainerNotFound" => {
                Ok(None)
            }
            Err(failure) => Err(failure),
        }
    }

    // The service's batches need a body of many requests that the crate does not build; deletions run one by one.
    fn delete_batch(&self) -> usize {
        1
    }

    fn delete(&self, endpoint: &Endpoint, bucket: &str, keys: &[String]) -> Result<(), Failure> {
        for key in keys {
            let object = ObjectName {
                uri: String::new(),
                bucket: bucket.into(),
                key: key.clone(),
            };
            let prepared = self.prepare("DELETE", endpoint, &object, "", "", Some(0))?;
            match self.exchange(&prepared, &[]) {
                Err(failure) if failure.is_not_found() && failure.code != "ContainerNotFound" => {}
                other => {
                    other?;
                }
            }
        }
        Ok(())
    }

    fn list(
        &self,
        endpoint: &Endpoint,
        folder: &ObjectName,
        from: Option<String>,
    ) -> Result<Page, Failure> {
        let options = BlobContainerClientListBlobsOptions {
            prefix: (!folder.key.is_empty()).then(|| folder.key.clone()),
            marker: from,
            ..BlobContainerClientListBlobsOptions::default()
        };
        let container = self.container(endpoint, &folder.bucket)?;
        let page = self.runtime.wait(async {
            let mut pages = container.list_blobs(Some(options))?.into_pages();
            match pages.try_next().await? {
                Some(page) => page.into_model().map(Some),
                None => Ok(None),
            }
        });
        let Some(page) = page.map_err(azure_sdk::failure)? else {
            return Ok(Page::default());
        };
        let objects = page.blob_items.into_iter().filter_map(|blob| {
            let len = blob.properties.and_then(|p| p.content_length).unwrap_or(0);
            Some((blob.name?, len))
        });
        Ok(Page {
            objects: objects.collect(),
            next: page.next_marker.filter(|marker| !marker.is_empty()),
        })
    }

    fn failure(&self, head: &Head, body: &[u8]) -> Failure {
        failure_from_answer(head, body)
    }

    fn remedy(&self, failure: &Failure, object: &ObjectName) -> String {
        remedy(failure, &object.bucket)
    }
}

/// An answer that is no success, by status, headers and the XML of its body.
pub(super) fn failure_from_answer(head: &Head, body: &[u8]) -> Failure {
    let text = String::from_utf8_lossy(body);
    let mut code = header(head, "x-ms-error-code");
    if code.is_empty() {
        code = xml_element(&text, "Code").unwrap_or_default();
    }
    let mut message = xml_element(&text, "Message").unwrap_or_default();
    // The service repeats request and time, each in a line of its own.
    message.truncate(message.find('\n').unwrap_or(message.len()));
    if let Some(detail) = xml_element(&text, "AuthenticationErrorDetail") {
        message.push_str(&format!(" ({detail})"));
    }
    if code.is_empty() && message.is_empty() && !text.trim().is_empty() {
        message = text
            .chars()
            .take(200)
            .collect::<String>()
            .trim()
            .to_string();
    }
    Failure {
        class: Class::of_status(head.status, &code),
        status: Some(head.status),
        code,
        message,
        request_id: header(head, "x-ms-request-id"),
    }
}

/// What to do about a failure, by Azure's codes.
fn remedy(failure: &Failure, container: &str) -> String {
    let keys = "storage.storage_options.account_key, sas_token or connection_string (or AZURE_STORAGE_KEY, AZURE_STORAGE_SAS_TOKEN, AZURE_STORAGE_CONNECTION_STRING)";
    match (failure.code.as_str(), failure.status) {
        ("NoCredentials", _) => format!("set {keys}, or run where Entra ID gives a token"),
        ("ContainerNotFound", _) => {
            format!("create the container {container}, or check dataset.data_folder")
        }
        ("AuthenticationFailed", _)
            if failure.message.contains("expired")
                || failure
                    .message
                    .contains("Signature not valid in the specified time frame")
                || failure.message.contains("ignature fields not well formed") =>
        {
            "the SAS has expired or is not valid yet: make a new one, and check this host's clock"
                .into()
        }
        (
            "AuthenticationFailed" | "InvalidAuthenticationInfo" | "NoAuthenticationInformation",
            _,
        ) => {
            format!("the key or SAS is wrong or has expired: check {keys}")
        }
        // Azurite's code for a wrong signature.
        ("AuthorizationFailure", _) if failure.message.contains("failed to authenticate") => {
            format!("the key or SAS is wrong or has expired: check {keys}")
        }
        (
            "AuthorizationFailure"
            | "AuthorizationPermissionMismatch"
            | "AuthorizationProtocolMismatch"
            | "AuthorizationResourceTypeMismatch"
            | "AuthorizationServiceMismatch",
            _,
        ) => format!(
            "they may not do this: grant read, write, list and delete on {container}, or check {keys}"
        ),
        ("AccountIsDisabled" | "ResourceNotFound", _) => {
            "check the account's name in az://account/container/prefix".into()
        }
        (_, Some(401 | 403)) => format!("check {keys}"),
        (_, Some(404)) => {
            "check dataset.data_folder and storage.storage_options.blob_endpoint".into()
        }
        _ => super::failure::remedy(failure),
    }
}
