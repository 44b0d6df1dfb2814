//! Amazon S3 and every server that speaks its protocol.
//!
//! GET, PUT and UploadPart are signed with aws-sigv4 and sent over [`Http`]; the rest goes through the SDK.
//! Source: Amazon S3 API reference; Signature Version 4.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sdk_s3::types::{
    ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart, Delete, ObjectIdentifier,
};
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;
use parking_lot::Mutex;

use super::checksum::{Expected, Kind};
use super::connection::Head;
use super::endpoint::Endpoint;
use super::failure::{Class, Failure};
use super::http::Http;
use super::open::urls;
use super::s3_sdk;
use super::url::{Url, encode_path, encode_query};
use super::{ObjectName, Page, Part, Prepared, Runtime, Service, xml_element};
use crate::config::StorageOptions;

/// Credentials are asked for again this long before they expire.
const EARLY: Duration = Duration::from_secs(300);

/// Checksum sent with uploads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    None,
    Crc32c,
    /// The SDK's default.
    Crc32,
}

/// Amazon S3.
pub(super) struct S3 {
    http: Arc<Http>,
    clients: Vec<(Url, aws_sdk_s3::Client)>,
    provider: Option<SharedCredentialsProvider>,
    identity: Mutex<Option<(Identity, Option<SystemTime>)>>,
    region: String,
    path_style: bool,
    sent: Sent,
    reads_checksums: bool,
    runtime: Runtime,
}

impl S3 {
    /// The service of these options and its endpoints. No request is made to it.
    pub(super) fn new(
        options: &StorageOptions,
        http: &Arc<Http>,
        reads_checksums: bool,
    ) -> Result<(Self, Vec<Url>), String> {
        let region = options.region.clone().unwrap_or_else(|| "us-east-1".into());
        let given = urls("endpoint_url", &options.endpoint_url.0, options)?;
        let is_aws = given.is_empty();
        let urls = if is_aws {
            let url = Url::parse(&format!("https://s3.{region}.amazonaws.com"), true)?;
            vec![url]
        } else {
            given
        };
        // Amazon's own hosts know the bucket by name; other servers are mostly reached by one name or address.
        let path_style = options.s3_force_path_style.unwrap_or(!is_aws);
        let runtime = Runtime::new()?;
        let (clients, provider) =
            runtime.wait(s3_sdk::clients(options, http, &urls, &region, path_style));
        let this = S3 {
            http: http.clone(),
            clients: urls.iter().cloned().zip(clients).collect(),
            provider,
            identity: Mutex::new(None),
            region,
            path_style,
            sent: match options.checksum.as_deref() {
                Some("crc32c") => Sent::Crc32c,
                Some("sdk") => Sent::Crc32,
                _ => Sent::None,
            },
            reads_checksums,
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

    fn identity(&self) -> Result<Identity, Failure> {
        let mut kept = self.identity.lock();
        if let Some((identity, expiry)) = &*kept
            && expiry.is_none_or(|end| SystemTime::now() + EARLY < end)
        {
            return Ok(identity.clone());
        }
        let none = |what: String| Failure {
            code: "NoCredentials".into(),
            ..Failure::new(Class::Permanent, format!("find credentials: {what}"))
        };
        let Some(provider) = &self.provider else {
            return Err(none("there is no source of them".into()));
        };
        let credentials: Credentials =
            self.runtime
                .wait(provider.provide_credentials())
                .map_err(|e| {
                    let cause = std::error::Error::source(&e).map(ToString::to_string);
                    none(cause.map_or(e.to_string(), |cause| format!("{e}: {cause}")))
                })?;
        let expiry = credentials.expiry();
        let identity = Identity::from(credentials);
        *kept = Some((identity.clone(), expiry));
        Ok(identity)
    }

    /// A signed request. `headers` are signed too; `length`: of a body.
    fn prepare(
        &self,
        method: &str,
        endpoint: &Endpoint,
        object: &ObjectName,
        query: &str,
        headers: &[(&str, String)],
        length: Option<usize>,
    ) -> Result<Prepared, Failure> {
        let identity = self.identity()?;
        let base = &endpoint.url;
        let virtual_url;
        let mut target = String::with_capacity(object.key.len() + 64);
        target.push_str(&base.path);
        target.push('/');
        let url = if self.path_style || object.bucket.contains('.') {
            encode_path(&object.bucket, &mut target);
            target.push('/');
            base
        } else {
            virtual_url = Url {
                host: format!("{}.{}", object.bucket, base.host),
                ..base.clone()
            };
            &virtual_url
        };
        encode_path(&object.key, &mut target);
        target.push_str(query);
        let host = self.http.host(url);
        let wrong = |what: String| Failure::new(Class::Permanent, format!("sign: {what}"));
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("s3")
            .time(SystemTime::now())
            .settings(settings)
            .build()
            .map_err(|e| wrong(e.to_string()))?
            .into();
        let uri = format!("{}{target}", url.origin());
        let signable = SignableRequest::new(
            method,
            uri,
            headers.iter().map(|(name, value)| (*name, value.as_str())),
            SignableBody::UnsignedPayload,
        )
        .map_err(|e| wrong(e.to_string()))?;
        let (signed, _) = sign(signable, &params)
            .map_err(|e| wrong(e.to_string()))?
            .into_parts();
        let mut head = format!("{method} {target} HTTP/1.1\r\nhost: {}\r\n", host.authority);
        let own = headers.iter().map(|(name, value)| (*name, value.as_str()));
        for (name, value) in own.chain(signed.headers()) {
            for part in [name, ": ", value, "\r\n"] {
                head.push_str(part);
            }
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

    fn checksum_of(&self, body: &[u8]) -> Option<(&'static str, String)> {
        let (name, value) = match self.sent {
            Sent::None => return None,
            Sent::Crc32c => ("x-amz-checksum-crc32c", crc32c::crc32c(body)),
            Sent::Crc32 => ("x-amz-checksum-crc32", crc32fast::hash(body)),
        };
        Some((name, to_base64(&value.to_be_bytes())))
    }

    /// PUT of a body; gives the answer's head and the checksum that was sent.
    fn send(
        &self,
        endpoint: &Endpoint,
        object: &ObjectName,
        query: &str,
        body: &[u8],
    ) -> Result<(Head, Option<String>), Failure> {
        let checksum = self.checksum_of(body);
        let headers: Vec<_> = checksum.iter().cloned().collect();
        let prepared = self.prepare("PUT", endpoint, object, query, &headers, Some(body.len()))?;
        let answered = self
            .http
            .exchange(&prepared.host, &prepared.head, body, true)?;
        if answered.head.status != 200 {
            return Err(self.failure(&answered.head, &answered.body));
        }
        Ok((answered.head, checksum.map(|(_, value)| value)))
    }
}

impl Service for S3 {
    fn name(&self) -> &'static str {
        "s3"
    }

    fn object(&self, path: &Path) -> Result<ObjectName, String> {
        let uri = path.to_str().ok_or("its name is no UTF-8")?;
        let rest = uri
            .strip_prefix("s3://")
            .ok_or("it is not on S3\n  remedy: write s3://bucket/prefix")?;
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
        let mut headers = Vec::new();
        match range {
            Some((from, end)) => headers.push(("range", format!("bytes={from}-{}", end - 1))),
            None if self.reads_checksums => {
                headers.push(("x-amz-checksum-mode", "ENABLED".to_string()));
            }
            None => {}
        }
        self.prepare("GET", endpoint, object, "", &headers, None)
    }

    fn put(&self, endpoint: &Endpoint, object: &ObjectName, body: &[u8]) -> Result<(), Failure> {
        self.send(endpoint, object, "", body).map(|_| ())
    }

    fn begin_upload(&self, endpoint: &Endpoint, object: &ObjectName) -> Result<String, Failure> {
        let mut request = self
            .client(endpoint)
            .create_multipart_upload()
            .bucket(&object.bucket)
            .key(&object.key);
        request = match self.sent {
            Sent::None => request,
            Sent::Crc32c => request.checksum_algorithm(ChecksumAlgorithm::Crc32C),
            Sent::Crc32 => request.checksum_algorithm(ChecksumAlgorithm::Crc32),
        };
        let begun = self.runtime.wait(request.send()).map_err(s3_sdk::failure)?;
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
        body: &[u8],
    ) -> Result<Part, Failure> {
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
    ) -> Result<(), Failure> {
        let parts = parts.iter().map(|part| {
            let done = CompletedPart::builder()
                .part_number(part.number as i32)
                .e_tag(&part.tag);
            match self.sent {
                Sent::None => done,
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
            .map_err(s3_sdk::failure)
    }

    fn abort(&self, endpoint: &Endpoint, object: &ObjectName, upload: &str) -> Result<(), Failure> {
        let request = self
            .client(endpoint)
            .abort_multipart_upload()
            .bucket(&object.bucket)
            .key(&object.key)
            .upload_id(upload);
        match self.runtime.wait(request.send()).map_err(s3_sdk::failure) {
            Err(failure) if failure.is_not_found() => Ok(()),
            other => other.map(|_| ()),
        }
    }

    fn len(&self, endpoint: &Endpoint, object: &ObjectName) -> Result<Option<u64>, Failure> {
        let prepared = self.prepare("HEAD", endpoint, object, "", &[], None)?;
        let answered = self
            .http
            .exchange(&prepared.host, &prepared.head, &[], false)?;
        let length = answered.head.get("content-length");
        match answered.head.status {
            200 => length
                .and_then(|len| len.trim().parse().ok())
                .map(Some)
                .ok_or_else(|| {
                    Failure::new(Class::ServerError, "the answer does not say its length")
                }),
            404 => Ok(None),
            _ => Err(self.failure(&answered.head, &answered.body)),
        }
    }

    fn delete_batch(&self) -> usize {
        1000
    }

    fn delete(&self, endpoint: &Endpoint, bucket: &str, keys: &[String]) -> Result<(), Failure> {
        let wrong = |e: aws_sdk_s3::error::BuildError| {
            Failure::new(Class::Permanent, format!("make the request: {e}"))
        };
        let objects = keys
            .iter()
            .map(|key| ObjectIdentifier::builder().key(key).build())
            .collect::<Result<Vec<_>, _>>()
            .map_err(wrong)?;
        let delete = Delete::builder()
            .set_objects(Some(objects))
            .quiet(true)
            .build()
            .map_err(wrong)?;
        let request = self
            .client(endpoint)
            .delete_objects()
            .bucket(bucket)
            .delete(delete);
        let deleted = self.runtime.wait(request.send()).map_err(s3_sdk::failure)?;
        match deleted.errors().first() {
            None => Ok(()),
            Some(error) => {
                let code = error.code().unwrap_or_default();
                Err(Failure {
                    class: Class::of_status(200, code),
                    status: Some(200),
                    code: code.into(),
                    message: format!(
                        "{} of {} objects were not deleted, the first is {}: {}",
                        deleted.errors().len(),
                        keys.len(),
                        error.key().unwrap_or_default(),
                        error.message().unwrap_or_default()
                    ),
                    request_id: String::new(),
                })
            }
        }
    }

    fn list(
        &self,
        endpoint: &Endpoint,
        folder: &ObjectName,
        from: Option<String>,
    ) -> Result<Page, Failure> {
        let request = self
            .client(endpoint)
            .list_objects_v2()
            .bucket(&folder.bucket)
            .prefix(&folder.key)
            .set_continuation_token(from);
        let page = self.runtime.wait(request.send()).map_err(s3_sdk::failure)?;
        let objects = page
            .contents()
            .iter()
            .filter_map(|o| Some((o.key()?.to_string(), o.size()?.max(0) as u64)))
            .collect();
        Ok(Page {
            objects,
            next: page.next_continuation_token,
        })
    }

    fn failure(&self, head: &Head, body: &[u8]) -> Failure {
        failure_from_answer(
            head.status,
            &|name: &str| head.get(name).map(str::to_string),
            body,
        )
    }

    fn remedy(&self, failure: &Failure, object: &ObjectName) -> String {
        remedy(failure, &object.bucket, &self.region)
    }

    fn checksum(&self, head: &Head) -> Option<Expected> {
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

/// What to do about a failure, by Amazon's codes.
fn remedy(failure: &Failure, bucket: &str, region: &str) -> String {
    let keys = "storage.storage_options.access_key_id and secret_access_key (or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY)";
    match (failure.code.as_str(), failure.status) {
        ("NoCredentials", _) => {
            format!("set {keys}, storage.storage_options.s3_profile, or run where the SDK finds a role")
        }
        ("InvalidAccessKeyId" | "InvalidClientTokenId", _) => {
            format!("the access key is unknown to this server: check {keys}")
        }
        ("SignatureDoesNotMatch", _) => format!("the secret key is wrong: check {keys}"),
        ("ExpiredToken" | "InvalidToken" | "TokenRefreshRequired", _) => {
            "the session token has expired or is wrong: get new credentials".into()
        }
        ("RequestTimeTooSkewed", _) => "this host's clock is wrong: set it".into(),
        ("NoSuchBucket", _) => {
            format!("create the bucket {bucket}, or check storage.storage_root and dataset.data_folder")
        }
        ("PermanentRedirect" | "AuthorizationHeaderMalformed" | "TemporaryRedirect", _)
        | ("IllegalLocationConstraintException", _) => format!(
            "the bucket is in another region than {region}: set storage.storage_options.region to the one that the message or the bucket's owner names"
        ),
        ("NoSuchUpload", _) => "something else aborted the upload: run again".into(),
        ("InvalidTag" | "EntityTooLarge", _) => {
            "raise or lower storage.storage_options.part_size".into()
        }
        (_, Some(301 | 307)) => format!(
            "the bucket is elsewhere than {region}: set storage.storage_options.region and endpoint_url"
        ),
        ("AccessDenied", _) | (_, Some(401 | 403)) => {
            format!("check {keys}, and that they may read, write, list and delete in {bucket}")
        }
        (_, Some(404)) => "check storage.storage_root, dataset.data_folder and storage.storage_options.endpoint_url".into(),
        _ => super::failure::remedy(failure),
    }
}

/// An answer that is no success, by status, headers and the XML of its body.
pub(super) fn failure_from_answer(
    status: u16,
    header: &dyn Fn(&str) -> Option<String>,
    body: &[u8],
) -> Failure {
    let text = String::from_utf8_lossy(body);
    let code = xml_element(&text, "Code").unwrap_or_default();
    let mut message = xml_element(&text, "Message").unwrap_or_default();
    let region = xml_element(&text, "Region").or_else(|| header("x-amz-bucket-region"));
    if let Some(region) = region
        && matches!(status, 301 | 307 | 400)
    {
        message.push_str(&format!(" (the server names region {region})"));
    }
    if code.is_empty() && message.is_empty() && !text.trim().is_empty() {
        message = text
            .chars()
            .take(200)
            .collect::<String>()
            .trim()
            .to_string();
    }
    let request_id = header("x-amz-request-id")
        .or_else(|| xml_element(&text, "RequestId"))
        .unwrap_or_default();
    Failure {
        class: Class::of_status(status, &code),
        status: Some(status),
        code,
        message,
        request_id,
    }
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
    fn errors_are_read_from_amazons_xml() {
        // Source: Amazon S3 API reference, "Error responses", and the answer to a wrong region.
        let body = br#"<?xml version="1.0" encoding="UTF-8"?><Error><Code>AuthorizationHeaderMalformed</Code><Message>The authorization header is malformed; the region 'us-east-1' is wrong; expecting 'eu-west-1'</Message><Region>eu-west-1</Region><RequestId>4442587FB7D0A2F9</RequestId></Error>"#;
        let failure = failure_from_answer(400, &|_| None, body);
        assert_eq!(failure.code, "AuthorizationHeaderMalformed");
        assert_eq!(failure.request_id, "4442587FB7D0A2F9");
        assert!(failure.message.contains("names region eu-west-1"));
        assert_eq!(failure.class, Class::Permanent);
        assert!(remedy(&failure, "b", "us-east-1").contains("storage_options.region"));
    }

    #[test]
    fn checksums_are_those_of_the_sdk() {
        // Source: RFC 3720 B.4 for CRC-32C of 32 zero bytes (8a9136aa); PNG's CRC-32 of "IEND" (ae426082).
        assert_eq!(
            to_base64(&crc32c::crc32c(&[0; 32]).to_be_bytes()),
            "ipE2qg=="
        );
        assert_eq!(crc32fast::hash(b"IEND"), 0xae42_6082);
    }
}
