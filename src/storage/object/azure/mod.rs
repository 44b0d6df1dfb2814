//! Azure Blob Storage.
//!
//! Get Blob, Put Blob and Put Block are sent over [`Http`] directly; lists and the commit of blocks go through
//! azure_storage_blob. Source: Azure Blob Storage REST API.

mod answer;
mod auth;
mod batch;
mod moves;
mod sdk;

use std::path::Path;
use std::sync::Arc;

use azure_core::http::RequestContent;
use azure_storage_blob::models::{
    BlobContainerClientListBlobsOptions, BlockLookupList, ListBlobsIncludeItem,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::TryStreamExt;

use self::auth::{Auth, Connection};
use self::sdk::container;
use self::sdk::{Proof, VERSION};
use super::Span;
use super::endpoint::{Endpoint, Operation};
use super::failure::{Failure, Result};
use super::fetch::{Carrier, Fetch};
use super::head::Head;
use super::http::{Answered, Http};
use super::url::{Url, encode_path, encode_query, urls};
use super::{ObjectName, Page, Part, Prepared, Runtime, Service, UploadMark, UploadPage, len_of};
use crate::storage::StoreSpec;

/// Azure Blob Storage.
pub(super) struct Azure {
    account: String,
    http: Arc<Http>,
    carrier: Carrier,
    auth: Auth,
    runtime: Runtime,
}

impl Azure {
    /// The service of an account and its endpoints. No request is made.
    ///
    /// Errors: endpoints, keys or connection strings that cannot be used, or that belong to another account.
    pub(super) fn new(
        account: &str,
        spec: &StoreSpec,
        http: &Arc<Http>,
        carrier: &Carrier,
    ) -> Result<(Self, Vec<Url>), String> {
        let options = &spec.options;
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
        let is_tls = options.secure.unwrap_or(true);
        let mut given = urls("blob_endpoint", &options.blob_endpoint.0, is_tls)?;
        if given.is_empty() {
            given = urls("endpoint_url", &options.endpoint_url.0, is_tls)?;
        }
        if given.is_empty() {
            let default = format!("https://{account}.blob.core.windows.net");
            let text = connection.blob_endpoint.clone().unwrap_or(default);
            given = urls("connection_string", &[text], is_tls)?;
        }
        let this = Azure {
            account: account.into(),
            http: http.clone(),
            carrier: carrier.clone(),
            auth: Auth::new(account, options, &connection, carrier)?,
            runtime: Runtime::new(carrier.moves_bytes())?,
        };
        Ok((this, given))
    }

    fn proof(&self, endpoint: &Endpoint, container: &str) -> Result<Proof> {
        let is_tls = endpoint.url.is_tls;
        self.auth.proof(container, is_tls, &self.runtime)
    }

    fn prepare(
        &self,
        method: &str,
        endpoint: &Endpoint,
        object: &ObjectName,
        query: &str,
        headers: &str,
        length: Option<usize>,
    ) -> Result<Prepared> {
        let proof = self.proof(endpoint, &object.bucket)?;
        let host = self.http.host(&endpoint.url);
        let mut head = String::with_capacity(512);
        head.push_str(method);
        head.push(' ');
        head.push_str(&endpoint.url.path);
        head.push('/');
        encode_path(&object.bucket, &mut head);
        if !object.key.is_empty() {
            head.push('/');
            encode_path(&object.key, &mut head);
        }
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

    fn exchange(&self, prepared: &Prepared, body: &[&[u8]]) -> Result<Answered> {
        let has_body = !prepared.head.starts_with(b"HEAD");
        let answered = self
            .http
            .exchange(&prepared.host, &prepared.head, body, has_body)?;
        if answered.head.status >= 300 {
            return Err(self.failure(&answered.head, &answered.body));
        }
        Ok(answered)
    }

    fn container(
        &self,
        endpoint: &Endpoint,
        name: &str,
    ) -> Result<azure_storage_blob::BlobContainerClient> {
        let proof = self.proof(endpoint, name)?;
        container(&self.carrier, proof, &format!("{}/{name}", endpoint.url))
    }

    fn page(
        &self,
        endpoint: &Endpoint,
        folder: &ObjectName,
        from: Option<String>,
        include: Option<Vec<ListBlobsIncludeItem>>,
    ) -> Result<Page> {
        let options = BlobContainerClientListBlobsOptions {
            prefix: (!folder.key.is_empty()).then(|| folder.key.clone()),
            marker: from,
            include,
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
        let Some(page) = page.map_err(sdk::failure)? else {
            return Ok(Page::default());
        };
        let objects = page.blob_items.into_iter().filter_map(|blob| {
            let len = blob.properties.and_then(|p| p.content_length).unwrap_or(0);
            Some((blob.name?, len))
        });
        Ok(Page {
            objects: objects.collect(),
            folders: Vec::new(),
            next: page.next_marker.filter(|marker| !marker.is_empty()),
        })
    }

    fn commit(&self, endpoint: &Endpoint, object: &ObjectName, blocks: Vec<Vec<u8>>) -> Result<()> {
        let blob = self
            .container(endpoint, &object.bucket)?
            .blob_client(&object.key)
            .block_blob_client();
        let list = BlockLookupList {
            latest: Some(blocks),
            ..BlockLookupList::default()
        };
        let content = RequestContent::try_from(list).map_err(sdk::failure)?;
        self.runtime
            .wait(blob.commit_block_list(content, None))
            .map(|_| ())
            .map_err(sdk::failure)
    }
}

/// Ids of one blob's blocks must have one length; the upload's name keeps two uploads apart.
fn block_id(upload: &str, number: u32) -> String {
    format!("{upload}-{number:08}")
}

impl Service for Azure {
    fn runtime(&self) -> &Runtime {
        &self.runtime
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
        Ok(ObjectName::of(uri, rest))
    }

    fn get(&self, endpoint: &Endpoint, object: &ObjectName, range: Span) -> Result<Prepared> {
        let headers = match range {
            Some((from, end)) => format!("range: bytes={from}-{}\r\n", end - 1),
            None => String::new(),
        };
        self.prepare("GET", endpoint, object, "", &headers, None)
    }

    fn fetch(&self, endpoint: &Endpoint, object: &ObjectName, range: Span) -> Option<Fetch> {
        self.carrier
            .moves_bytes()
            .then(|| self.sdk_fetch(endpoint, object, range))
    }

    fn put(&self, endpoint: &Endpoint, object: &ObjectName, body: &[&[u8]]) -> Result<()> {
        if self.carrier.moves_bytes() {
            return self.sdk_put(endpoint, object, body);
        }
        let kind = "x-ms-blob-type: BlockBlob\r\n";
        let prepared = self.prepare("PUT", endpoint, object, "", kind, Some(len_of(body)))?;
        self.exchange(&prepared, body).map(|_| ())
    }

    fn name_upload(&self) -> Option<String> {
        let name = format!("{:08x}{:016x}", std::process::id(), crate::clock::now_ns());
        Some(name)
    }

    fn begin_upload(&self, _: &Endpoint, _: &ObjectName) -> Result<String> {
        Ok(self.name_upload().unwrap_or_default())
    }

    fn put_part(
        &self,
        endpoint: &Endpoint,
        object: &ObjectName,
        upload: &str,
        number: u32,
        body: &[&[u8]],
    ) -> Result<Part> {
        let tag = block_id(upload, number);
        if self.carrier.moves_bytes() {
            return self.sdk_put_part(endpoint, object, number, tag, body);
        }
        let mut query = String::from("comp=block&blockid=");
        encode_query(&STANDARD.encode(&tag), &mut query);
        let prepared = self.prepare("PUT", endpoint, object, &query, "", Some(len_of(body)))?;
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
    ) -> Result<()> {
        let blocks = parts.iter().map(|part| part.tag.clone().into_bytes());
        self.commit(endpoint, object, blocks.collect())
    }

    /// Blocks cannot be deleted: a commit of none forgets them, and the empty blob that it makes goes away. Where a
    /// blob was there before, it stays, and the service forgets the blocks after a week.
    fn abort(&self, endpoint: &Endpoint, object: &ObjectName, _: &str) -> Result<()> {
        if self.len(endpoint, object)?.is_some() {
            return Ok(());
        }
        self.commit(endpoint, object, Vec::new())?;
        self.delete(endpoint, object)
    }

    /// Blobs of which nothing but uncommitted blocks is there; such uploads have no names of their own.
    fn uploads(
        &self,
        endpoint: &Endpoint,
        folder: &ObjectName,
        from: Option<UploadMark>,
    ) -> Result<UploadPage> {
        let include = Some(vec![ListBlobsIncludeItem::UncommittedBlobs]);
        let marker = from.map(|(marker, _)| marker);
        let page = self.page(endpoint, folder, marker, include)?;
        let mut uploads = Vec::new();
        for (key, _) in page.objects.into_iter().filter(|(_, len)| *len == 0) {
            let object = ObjectName {
                uri: String::new(),
                bucket: folder.bucket.clone(),
                key,
            };
            endpoint.count_request(Operation::Control);
            if self.len(endpoint, &object)?.is_none() {
                uploads.push((object.key, "uncommitted blocks".into()));
            }
        }
        Ok(UploadPage {
            uploads,
            next: page.next.map(|marker| (marker, String::new())),
        })
    }

    fn len(&self, endpoint: &Endpoint, object: &ObjectName) -> Result<Option<u64>> {
        let found = if self.carrier.moves_bytes() {
            self.sdk_len(endpoint, object)
        } else {
            self.prepare("HEAD", endpoint, object, "", "", None)
                .and_then(|prepared| self.exchange(&prepared, &[]))
                .and_then(|answered| answered.announced_len())
        };
        match found {
            Ok(len) => Ok(Some(len)),
            Err(failure) if failure.is_not_found() && failure.code != "ContainerNotFound" => {
                Ok(None)
            }
            Err(failure) => Err(failure),
        }
    }

    fn delete(&self, endpoint: &Endpoint, object: &ObjectName) -> Result<()> {
        let deleted = if self.carrier.moves_bytes() {
            self.sdk_delete(endpoint, object)
        } else {
            self.prepare("DELETE", endpoint, object, "", "", Some(0))
                .and_then(|prepared| self.exchange(&prepared, &[]))
                .map(|_| ())
        };
        match deleted {
            Err(failure) if failure.is_not_found() && failure.code != "ContainerNotFound" => Ok(()),
            other => other,
        }
    }

    /// The SDK knows no batches.
    fn delete_batch(&self) -> usize {
        if self.carrier.moves_bytes() {
            1
        } else {
            batch::MOST
        }
    }

    fn delete_many(&self, endpoint: &Endpoint, bucket: &str, keys: &[String]) -> Result<()> {
        let proof = self.proof(endpoint, bucket)?;
        let folder = format!("{}/{bucket}", endpoint.url.path);
        let body = batch::request(&folder, keys, &proof);
        let object = ObjectName {
            uri: String::new(),
            bucket: bucket.into(),
            key: String::new(),
        };
        let prepared = self.prepare(
            "POST",
            endpoint,
            &object,
            "restype=container&comp=batch",
            batch::HEADERS,
            Some(body.len()),
        )?;
        let answered = self.exchange(&prepared, &[body.as_bytes()])?;
        batch::outcome(&answered.body, keys)
    }

    /// Azurite answers 500 to every batch whose requests are signed by a shared access signature.
    fn refuses_batches(&self, failure: &Failure) -> bool {
        failure.refuses_batches() || failure.status == Some(500)
    }

    fn list(
        &self,
        endpoint: &Endpoint,
        folder: &ObjectName,
        from: Option<String>,
        _: bool,
    ) -> Result<Page> {
        self.page(endpoint, folder, from, None)
    }

    fn failure(&self, head: &Head, body: &[u8]) -> Failure {
        answer::failure(head, body)
    }

    fn remedy(&self, failure: &Failure, object: &ObjectName) -> String {
        answer::remedy(failure, &object.bucket)
    }

    fn renew(&self, _: &Failure) -> bool {
        self.auth.forget()
    }
}
