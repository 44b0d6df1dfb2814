//! Objects moved by the SDK itself (`storage_options.client: sdk`): its requests, signatures and checksums.

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumMode, Delete, ObjectIdentifier};
use bytes::Bytes;

use super::super::Span;
use super::super::causes;
use super::super::endpoint::Endpoint;
use super::super::failure::{Class, Failure, Result};
use super::super::fetch::{Chunks, Fetch, Fetched};
use super::super::head::Head;
use super::super::{ObjectName, Part};
use super::{S3, Sent, delete, sdk};

impl S3 {
    pub(super) fn sdk_fetch(&self, endpoint: &Endpoint, object: &ObjectName, range: Span) -> Fetch {
        let mut request = self
            .client(endpoint)
            .get_object()
            .bucket(&object.bucket)
            .key(&object.key);
        request = match range {
            Some((from, end)) => request.range(format!("bytes={from}-{}", end - 1)),
            None if self.reads_checksums => request.checksum_mode(ChecksumMode::Enabled),
            None => request,
        };
        Fetch::start(self.runtime.handle(), async move {
            match request.send().await {
                Ok(output) => Ok(fetched(output)),
                Err(error) => beyond_the_end(&error)
                    .map(Fetched::empty)
                    .ok_or_else(|| sdk::failure(error)),
            }
        })
    }

    fn md5_of(&self, body: &[&[u8]]) -> Option<String> {
        (self.sent == Sent::Md5).then(|| delete::content_md5(body))
    }

    pub(super) fn sdk_put(
        &self,
        endpoint: &Endpoint,
        object: &ObjectName,
        body: &[&[u8]],
    ) -> Result<()> {
        let request = self
            .client(endpoint)
            .put_object()
            .bucket(&object.bucket)
            .key(&object.key)
            .set_checksum_algorithm(self.sent.algorithm())
            .set_content_md5(self.md5_of(body))
            .body(ByteStream::from(Bytes::from(body.concat())));
        let put = self.runtime.wait(request.send());
        put.map(|_| ()).map_err(sdk::failure)
    }

    pub(super) fn sdk_put_part(
        &self,
        endpoint: &Endpoint,
        object: &ObjectName,
        upload: &str,
        number: u32,
        body: &[&[u8]],
    ) -> Result<Part> {
        let request = self
            .client(endpoint)
            .upload_part()
            .bucket(&object.bucket)
            .key(&object.key)
            .upload_id(upload)
            .part_number(number as i32)
            .set_checksum_algorithm(self.sent.algorithm())
            .set_content_md5(self.md5_of(body))
            .body(ByteStream::from(Bytes::from(body.concat())));
        let put = self.runtime.wait(request.send()).map_err(sdk::failure)?;
        let checksum = match self.sent {
            Sent::None | Sent::Md5 => None,
            // Servers need not repeat it; it is that of the bytes that were sent.
            _ => self.checksum_of(body).map(|(_, value)| value),
        };
        let tag = put
            .e_tag
            .ok_or_else(|| Failure::new(Class::ServerError, "the answer to a part has no ETag"))?;
        Ok(Part {
            number,
            tag,
            checksum,
        })
    }

    pub(super) fn sdk_len(&self, endpoint: &Endpoint, object: &ObjectName) -> Result<Option<u64>> {
        let request = self
            .client(endpoint)
            .head_object()
            .bucket(&object.bucket)
            .key(&object.key);
        match self.runtime.wait(request.send()).map_err(sdk::failure) {
            Ok(head) => match head.content_length {
                Some(len) => Ok(Some(len.max(0) as u64)),
                None => Err(Failure::new(
                    Class::Permanent,
                    "the answer does not say how long the object is",
                )),
            },
            Err(failure) if failure.is_not_found() => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    pub(super) fn sdk_delete(&self, endpoint: &Endpoint, object: &ObjectName) -> Result<()> {
        let request = self
            .client(endpoint)
            .delete_object()
            .bucket(&object.bucket)
            .key(&object.key);
        let deleted = self.runtime.wait(request.send());
        deleted.map(|_| ()).map_err(sdk::failure)
    }

    pub(super) fn sdk_delete_many(
        &self,
        endpoint: &Endpoint,
        bucket: &str,
        keys: &[String],
    ) -> Result<()> {
        let wrong = |e: aws_sdk_s3::error::BuildError| {
            Failure::new(Class::Permanent, format!("make the request: {e}"))
        };
        let objects = keys
            .iter()
            .map(|key| ObjectIdentifier::builder().key(key).build())
            .collect::<Result<Vec<_>, _>>()
            .map_err(wrong)?;
        let named = Delete::builder().set_objects(Some(objects)).quiet(true);
        let request = self
            .client(endpoint)
            .delete_objects()
            .bucket(bucket)
            .delete(named.build().map_err(wrong)?);
        let outcome = self.runtime.wait(request.send()).map_err(sdk::failure)?;
        match outcome.errors() {
            [] => Ok(()),
            [first, ..] => Err(delete::refused(
                outcome.errors().len(),
                keys.len(),
                first.key().unwrap_or_default(),
                first.code().unwrap_or_default(),
                first.message().unwrap_or_default(),
            )),
        }
    }
}

/// The answer in the terms of the rest: what the SDK shows of its headers.
fn fetched(output: GetObjectOutput) -> Fetched {
    let len = output.content_length.map(|len| len.to_string());
    let headers = [
        ("etag", output.e_tag),
        ("content-range", output.content_range),
        ("content-length", len),
    ];
    let headers: Vec<_> = headers
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_string(), value?)))
        .collect();
    let is_partial = headers.iter().any(|(name, _)| name == "content-range");
    Fetched {
        head: Head {
            status: if is_partial { 206 } else { 200 },
            headers,
        },
        body: chunks(output.body),
    }
}

fn chunks(body: ByteStream) -> Chunks {
    Box::pin(futures::stream::unfold(Some(body), |body| async move {
        let mut body = body?;
        match body.next().await? {
            Ok(chunk) => Some((Ok(chunk), Some(body))),
            Err(error) => Some((Err(read_failure(&error)), None)),
        }
    }))
}

/// A body that broke, or whose checksum is another one.
fn read_failure(error: &aws_sdk_s3::primitives::ByteStreamError) -> Failure {
    Failure::within(error).unwrap_or_else(|| Failure::new(Class::Permanent, causes(error)))
}

/// The head of an answer that the object has no such bytes.
fn beyond_the_end<E>(error: &sdk::Refused<E>) -> Option<Head> {
    let raw = error.raw_response()?;
    (raw.status().as_u16() == 416).then(|| Head {
        status: 416,
        headers: raw
            .headers()
            .iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_string()))
            .collect(),
    })
}
