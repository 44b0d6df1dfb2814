//! Amazon S3 and every server that speaks its protocol.
//!
//! GET, PUT and UploadPart are signed with aws-sigv4 and sent over [`Http`]; the rest goes through the SDK.
//! Source: Amazon S3 API reference; Signature Version 4.

mod answer;
mod delete;
mod keys;
mod moves;
mod sdk;
mod sign;

use std::path::Path;
use std::sync::Arc;

use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};

use self::keys::Keys;
use self::sign::Ask;
use super::Span;
use super::checksum::{Expected, Kind};
use super::endpoint::Endpoint;
use super::failure::{Class, Failure, Result};
use super::fetch::{Carrier, Fetch};
use super::head::Head;
use super::http::{Answered, Http};
use super::url::{Url, encode_query, urls};
use super::{ObjectName, Page, Part, Prepared, Runtime, Service, UploadMark, UploadPage, len_of};
use crate::storage::StoreSpec;
use crate::util::crc32c;

/// Checksum sent with uploads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    None,
    Crc32c,
    /// The SDK's default.
    Crc32,
    /// `Content-MD5`, which servers of every age take.
    Md5,
}

impl Sent {
    /// As requests name it; None where it is none of S3's.
    fn algorithm(self) -> Option<ChecksumAlgorithm> {
        match self {
            Sent::None | Sent::Md5 => None,
            Sent::Crc32c => Some(ChecksumAlgorithm::Crc32C),
            Sent::Crc32 => Some(ChecksumAlgorithm::Crc32),
        }
    }
}

/// What servers of one maker differ in.
pub(super) struct Dialect {
    /// Of their addresses.
    scheme: &'static str,
    /// Where they are when no endpoint is set; None: Amazon's of the region.
    endpoint: Option<&'static str>,
    /// Objects of one deletion.
    delete_batch: usize,
    /// They take Amazon's headers of checksums.
    takes_checksums: bool,
}

/// Amazon S3, and everything that speaks its protocol.
pub(super) static AMAZON: Dialect = Dialect {
    scheme: "s3",
    endpoint: None,
    delete_batch: 1000,
    takes_checksums: true,
};

/// Google Cloud Storage. Source: its documents, "XML API interoperability": there is no deletion of several objects, and
/// Content-MD5 is the checksum of an upload.
pub(super) static GOOGLE: Dialect = Dialect {
    scheme: "gs",
    endpoint: Some("https://storage.googleapis.com"),
    delete_batch: 1,
    takes_checksums: false,
};

/// Amazon S3.
pub(super) struct S3 {
    dialect: &'static Dialect,
    http: Arc<Http>,
    clients: Vec<(Url, aws_sdk_s3::Client)>,
    keys: Arc<Keys>,
    region: String,
    path_style: bool,
    sent: Sent,
    reads_checksums: bool,
    /// The SDK moves objects too.
    is_by_sdk: bool,
    runtime: Runtime,
}

impl S3 {
    /// The service of these options and its endpoints. No request is made to it.
    pub(super) fn new(
        dialect: &'static Dialect,
        spec: &StoreSpec,
        http: &Arc<Http>,
        carrier: &Carrier,
    ) -> Result<(Self, Vec<Url>), String> {
        let runtime = Runtime::new(carrier.moves_bytes())?;
        let options = &spec.options;
        let shared = runtime.wait(sdk::shared(options, carrier));
        let sent = sent(dialect, options.checksum.as_deref())?;
        let is_tls = options.secure.unwrap_or(true);
        let mut given = urls("endpoint_url", &options.endpoint_url.0, is_tls)?;
        if let (true, Some(endpoint)) = (given.is_empty(), dialect.endpoint) {
            given = urls("endpoint_url", &[endpoint.into()], is_tls)?;
        }
        let is_aws = given.is_empty();
        let urls = if is_aws {
            vec![runtime.wait(sdk::amazon(&shared))?]
        } else {
            given
        };
        // Amazon's own hosts know the bucket by name; other servers are mostly reached by one name or address.
        let path_style = options.s3_force_path_style.unwrap_or(!is_aws);
        let keys = Arc::new(Keys::new(shared.credentials_provider(), http));
        let clients = urls
            .iter()
            .map(|url| {
                let has_sums = sent.algorithm().is_some();
                let client = sdk::client(&shared, &keys, url, path_style, has_sums);
                (url.clone(), client)
            })
            .collect();
        let region = shared.region().map(ToString::to_string).unwrap_or_default();
        let this = S3 {
            dialect,
            http: http.clone(),
            clients,
            keys,
            region,
            path_style,
            sent,
            reads_checksums: spec.verify_checksums,
            is_by_sdk: carrier.moves_bytes(),
            runtime,
        };
        Ok((this, urls))
    }

    fn client(&self, endpoint: &Endpoint) -> &aws_sdk_s3::Client {
        self.clients
            .iter()
            .find(|(url, _)| *url == endpoint.url)
            .or(self.clients.first())
            .map(|(_, client)| client)
            .expect("one client per endpoint")
    }

    /// One request with its whole answer.
    ///
    /// Errors: an answer that is no success, or an error under a status of success.
    fn ask(
        &self,
        endpoint: &Endpoint,
        object: &ObjectName,
        ask: &Ask,
        body: &[&[u8]],
    ) -> Result<Answered> {
        let exchange = |prepared: &Prepared| {
            let has_body = ask.method != "HEAD";
            self.http
                .exchange(&prepared.host, &prepared.head, body, has_body)
        };
        let mut answered = exchange(&self.prepare(endpoint, object, ask)?)?;
        if let Some(elsewhere) = self.redirected(endpoint, &answered.head, ask) {
            endpoint.count_request(ask.operation());
            answered = exchange(&elsewhere?)?;
        }
        let is_success = matches!(answered.head.status, 200..300);
        // An error under a status of success is in the body.
        if is_success && answered.body.is_empty() {
            return Ok(answered);
        }
        let failure = self.failure(&answered.head, &answered.body);
        if is_success && failure.code.is_empty() {
            return Ok(answered);
        }
        Err(failure)
    }

    /// Headers of a GET.
    fn headers_of(&self, range: Span) -> Vec<(&'static str, String)> {
        match range {
            Some((from, end)) => vec![("range", format!("bytes={from}-{}", end - 1))],
            None if self.reads_checksums => vec![("x-amz-checksum-mode", "ENABLED".into())],
            None => Vec::new(),
        }
    }

    fn checksum_of(&self, body: &[&[u8]]) -> Option<(&'static str, String)> {
        let (name, value) = match self.sent {
            Sent::None => return None,
            Sent::Md5 => return Some(("content-md5", delete::content_md5(body))),
            Sent::Crc32c => {
                let crc = body.iter().fold(0, |crc, piece| crc32c::append(crc, piece));
                ("x-amz-checksum-crc32c", crc)
            }
            Sent::Crc32 => {
                let mut crc = crc32fast::Hasher::new();
                body.iter().for_each(|piece| crc.update(piece));
                ("x-amz-checksum-crc32", crc.finalize())
            }
        };
        Some((name, to_base64(&value.to_be_bytes())))
    }

    /// PUT of a body; gives the answer's head and the checksum that was sent.
    fn send(
        &self,
        endpoint: &Endpoint,
        object: &ObjectName,
        query: &str,
        body: &[&[u8]],
    ) -> Result<(Head, Option<String>)> {
        let checksum = self.checksum_of(body);
        let headers: Vec<_> = checksum.iter().cloned().collect();
        let ask = Ask {
            method: "PUT",
            query,
            headers: &headers,
            len: Some(len_of(body)),
        };
        let answered = self.ask(endpoint, object, &ask, body)?;
        Ok((answered.head, checksum.map(|(_, value)| value)))
    }
}

impl Service for S3 {
    fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    fn object(&self, path: &Path) -> Result<ObjectName, String> {
        let uri = path.to_str().ok_or("its name is no UTF-8")?;
        let scheme = self.dialect.scheme;
        let rest = uri
            .strip_prefix(scheme)
            .and_then(|rest| rest.strip_prefix("://"))
            .ok_or_else(|| {
                format!("it is in another service\n  remedy: write {scheme}://bucket/prefix")
            })?;
        Ok(ObjectName::of(uri, rest))
    }

    fn get(&self, endpoint: &Endpoint, object: &ObjectName, range: Span) -> Result<Prepared> {
        let headers = self.headers_of(range);
        self.prepare(endpoint, object, &Ask::get(&headers))
    }

    fn fetch(&self, endpoint: &Endpoint, object: &ObjectName, range: Span) -> Option<Fetch> {
        self.is_by_sdk
            .then(|| self.sdk_fetch(endpoint, object, range))
    }

    fn redirect(
        &self,
        endpoint: &Endpoint,
        answer: &Head,
        range: Span,
    ) -> Option<Result<Prepared>> {
        let headers = self.headers_of(range);
        self.redirected(endpoint, answer, &Ask::get(&headers))
    }

    fn put(&self, endpoint: &Endpoint, object: &ObjectName, body: &[&[u8]]) -> Result<()> {
        if self.is_by_sdk {
            return self.sdk_put(endpoint, object, body);
        }
        self.send(endpoint, object, "", body).map(|_| ())
    }

    fn begin_upload(&self, endpoint: &Endpoint, object: &ObjectName) -> Result<String> {
        let request = self
            .client(endpoint)
            .create_multipart_upload()
            .bucket(&object.bucket)
            .key(&object.key)
            .set_checksum_algorithm(self.sent.algorithm());
        let begun = self.runtime.wait(request.send()).map_err(sdk::failure)?;
        begun
            .upload_id
            .ok_or_else(|| Failure::new(Class::ServerError, "the answer does not name the upload"))
    }

    fn put_part(
        &self,
        endpoint: &Endpoint,
        object: &ObjectName,
        upload: &str,
        number: u32,
        body: &[&[u8]],
    ) -> Result<Part> {
        if self.is_by_sdk {
            return self.sdk_put_part(endpoint, object, upload, number, body);
        }
        let mut query = format!("?partNumber={number}&uploadId=");
        encode_query(upload, &mut query);
        let (head, checksum) = self.send(endpoint, object, &query, body)?;
        let tag = head
            .get("etag")
            .ok_or_else(|| Failure::new(Class::ServerError, "the answer to a part has no ETag"))?;
        Ok(Part {
            number,
            tag: tag.to_string(),
            checksum,
        })
    }

    fn complete(
        &self,
        endpoint: &Endpoint,
        object: &ObjectName,
        upload: &str,
        parts: &[Part],
    ) -> Result<()> {
        let parts = parts.iter().map(|part| {
            let done = CompletedPart::builder()
                .part_number(part.number as i32)
                .e_tag(&part.tag);
            match self.sent {
                Sent::None | Sent::Md5 => done,
                Sent::Crc32c => done.set_checksum_crc32_c(part.checksum.clone()),
                Sent::Crc32 => done.set_checksum_crc32(part.checksum.clone()),
            }
            .build()
        });
        let upload_of = CompletedMultipartUpload::builder()
            .set_parts(Some(parts.collect()))
            .build();
        let request = self
            .client(endpoint)
            .complete_multipart_upload()
            .bucket(&object.bucket)
            .key(&object.key)
            .upload_id(upload)
            .multipart_upload(upload_of);
        self.runtime
            .wait(request.send())
            .map(|_| ())
            .map_err(sdk::failure)
    }

    fn abort(&self, endpoint: &Endpoint, object: &ObjectName, upload: &str) -> Result<()> {
        let request = self
            .client(endpoint)
            .abort_multipart_upload()
            .bucket(&object.bucket)
            .key(&object.key)
            .upload_id(upload);
        match self.runtime.wait(request.send()).map_err(sdk::failure) {
            Err(failure) if failure.is_not_found() => Ok(()),
            other => other.map(|_| ()),
        }
    }

    fn len(&self, endpoint: &Endpoint, object: &ObjectName) -> Result<Option<u64>> {
        if self.is_by_sdk {
            return self.sdk_len(endpoint, object);
        }
        let ask = Ask {
            method: "HEAD",
            ..Ask::default()
        };
        match self.ask(endpoint, object, &ask, &[]) {
            Ok(answered) => answered.announced_len().map(Some),
            Err(failure) if failure.is_not_found() => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    fn uploads(
        &self,
        endpoint: &Endpoint,
        folder: &ObjectName,
        from: Option<UploadMark>,
    ) -> Result<UploadPage> {
        let (key, upload) = from.unzip();
        let request = self
            .client(endpoint)
            .list_multipart_uploads()
            .bucket(&folder.bucket)
            .prefix(&folder.key)
            .set_key_marker(key)
            .set_upload_id_marker(upload);
        let page = self.runtime.wait(request.send()).map_err(sdk::failure)?;
        let pair =
            |key: Option<&str>, upload: Option<&str>| Some((key?.to_string(), upload?.to_string()));
        Ok(UploadPage {
            uploads: page
                .uploads()
                .iter()
                .filter_map(|u| pair(u.key(), u.upload_id()))
                .collect(),
            next: pair(page.next_key_marker(), page.next_upload_id_marker())
                .filter(|_| page.is_truncated() == Some(true)),
        })
    }

    fn delete(&self, endpoint: &Endpoint, object: &ObjectName) -> Result<()> {
        let ask = Ask {
            method: "DELETE",
            ..Ask::default()
        };
        let deleted = if self.is_by_sdk {
            self.sdk_delete(endpoint, object)
        } else {
            self.ask(endpoint, object, &ask, &[]).map(|_| ())
        };
        match deleted {
            Err(failure) if failure.is_not_found() && failure.code != "NoSuchBucket" => Ok(()),
            other => other,
        }
    }

    fn delete_batch(&self) -> usize {
        self.dialect.delete_batch
    }

    fn delete_many(&self, endpoint: &Endpoint, bucket: &str, keys: &[String]) -> Result<()> {
        if self.is_by_sdk {
            return self.sdk_delete_many(endpoint, bucket, keys);
        }
        let body = delete::request(keys);
        let body = body.as_bytes();
        let object = ObjectName {
            uri: format!("{}://{bucket}", self.dialect.scheme),
            bucket: bucket.into(),
            key: String::new(),
        };
        let headers = [("content-md5", delete::content_md5(&[body]))];
        let ask = Ask {
            method: "POST",
            query: "?delete=",
            headers: &headers,
            len: Some(body.len()),
        };
        let answered = self.ask(endpoint, &object, &ask, &[body])?;
        delete::outcome(&answered.body, keys.len())
    }

    fn list(
        &self,
        endpoint: &Endpoint,
        folder: &ObjectName,
        from: Option<String>,
        one_level: bool,
    ) -> Result<Page> {
        let request = self
            .client(endpoint)
            .list_objects_v2()
            .bucket(&folder.bucket)
            .prefix(&folder.key)
            .set_delimiter(one_level.then(|| "/".to_string()))
            .set_continuation_token(from);
        let page = self.runtime.wait(request.send()).map_err(sdk::failure)?;
        let objects = page
            .contents()
            .iter()
            .filter_map(|o| Some((o.key()?.to_string(), o.size()?.max(0) as u64)))
            .collect();
        let folders = page.common_prefixes().iter();
        Ok(Page {
            folders: folders
                .filter_map(|p| Some(p.prefix()?.to_string()))
                .collect(),
            objects,
            next: page.next_continuation_token,
        })
    }

    fn failure(&self, head: &Head, body: &[u8]) -> Failure {
        answer::failure(head, body)
    }

    fn remedy(&self, failure: &Failure, object: &ObjectName) -> String {
        answer::remedy(failure, &object.bucket, &self.region)
    }

    fn renew(&self, _: &Failure) -> bool {
        self.keys.renew(&self.runtime)
    }

    fn checksum(&self, head: &Head) -> Option<Expected> {
        if let Some(expected) = google_checksum(head) {
            return Some(expected);
        }
        // A composite checksum is one over the parts' checksums, not over the bytes.
        if head
            .get("x-amz-checksum-type")
            .is_some_and(|kind| kind != "FULL_OBJECT")
        {
            return None;
        }
        [
            ("x-amz-checksum-crc32c", Kind::Crc32c),
            ("x-amz-checksum-crc32", Kind::Crc32),
        ]
        .into_iter()
        .find_map(|(name, kind)| {
            let value = from_base64(head.get(name)?).filter(|value| value.len() == 4)?;
            Some(Expected {
                value,
                header: name.into(),
                kind,
            })
        })
    }
}

/// What is sent with uploads under this word.
///
/// Errors: the service does not take it.
fn sent(dialect: &Dialect, word: Option<&str>) -> Result<Sent, String> {
    let sent = match word {
        Some("crc32c") => Sent::Crc32c,
        Some("sdk") => Sent::Crc32,
        Some("md5") => Sent::Md5,
        _ => Sent::None,
    };
    if matches!(sent, Sent::Crc32 | Sent::Crc32c) && !dialect.takes_checksums {
        return Err(format!(
            "use storage.storage_options.checksum={} on {}://: the service takes no such header\n  remedy: set it to md5 or none",
            word.unwrap_or_default(),
            dialect.scheme
        ));
    }
    Ok(sent)
}

/// `x-goog-hash: crc32c=n03x6A==,md5=...`, in one line or two.
fn google_checksum(head: &Head) -> Option<Expected> {
    let lines = head
        .headers
        .iter()
        .filter(|(name, _)| name == "x-goog-hash");
    let value = lines
        .flat_map(|(_, value)| value.split(','))
        .find_map(|part| part.trim().strip_prefix("crc32c="))?;
    Some(Expected {
        value: from_base64(value).filter(|value| value.len() == 4)?,
        header: "x-goog-hash".into(),
        kind: Kind::Crc32c,
    })
}

fn to_base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn from_base64(text: &str) -> Option<Vec<u8>> {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD
        .decode(text.trim())
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_sdk() {
        // Source: RFC 3720 B.4 for CRC-32C of 32 zero bytes (8a9136aa); PNG's CRC-32 of "IEND" (ae426082).
        assert_eq!(to_base64(&crc32c::of(&[0; 32]).to_be_bytes()), "ipE2qg==");
        assert_eq!(crc32fast::hash(b"IEND"), 0xae42_6082);
    }
}
