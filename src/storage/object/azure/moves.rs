//! Blobs moved by azure_storage_blob itself (`storage_options.client: sdk`).

use std::num::NonZero;

use azure_core::http::RequestContent;
use azure_storage_blob::BlobClient;
use azure_storage_blob::models::{BlobClientDownloadOptions, BlobClientUploadOptions, HttpRange};
use futures::TryStreamExt;

use super::super::Span;
use super::super::endpoint::Endpoint;
use super::super::failure::{Class, Failure, Result};
use super::super::fetch::{Fetch, Fetched};
use super::super::{ObjectName, Part, len_of};
use super::{Azure, sdk};

/// One request for the whole of what is asked for: the store divides long extents itself.
const UNDIVIDED: Option<NonZero<usize>> = NonZero::new(isize::MAX as usize);
const ONE: Option<NonZero<usize>> = NonZero::new(1);

impl Azure {
    fn blob(&self, endpoint: &Endpoint, object: &ObjectName) -> Result<BlobClient> {
        let container = self.container(endpoint, &object.bucket)?;
        Ok(container.blob_client(&object.key))
    }

    pub(super) fn sdk_fetch(&self, endpoint: &Endpoint, object: &ObjectName, range: Span) -> Fetch {
        let blob = self.blob(endpoint, object);
        let options = BlobClientDownloadOptions {
            range: range.map(|(from, end)| HttpRange::new(from, end - from)),
            parallel: ONE,
            partition_size: UNDIVIDED,
            ..BlobClientDownloadOptions::default()
        };
        Fetch::start(self.runtime.handle(), async move {
            match blob?.download(Some(options)).await {
                Ok(answer) => Ok(Fetched {
                    head: partial_or_whole(&answer.headers),
                    body: Box::pin(answer.body.map_err(sdk::failure)),
                }),
                Err(error) => match sdk::refusal(&error) {
                    Some((head, _)) if head.status == 416 => Ok(Fetched::empty(head)),
                    _ => Err(sdk::failure(error)),
                },
            }
        })
    }

    pub(super) fn sdk_put(
        &self,
        endpoint: &Endpoint,
        object: &ObjectName,
        body: &[&[u8]],
    ) -> Result<()> {
        let blob = self.blob(endpoint, object)?;
        let options = BlobClientUploadOptions {
            parallel: ONE,
            partition_size: NonZero::new(len_of(body).max(1) as u64),
            ..BlobClientUploadOptions::default()
        };
        let content = RequestContent::from(body.concat());
        let put = self.runtime.wait(blob.upload(content, Some(options)));
        put.map(|_| ()).map_err(sdk::failure)
    }

    pub(super) fn sdk_put_part(
        &self,
        endpoint: &Endpoint,
        object: &ObjectName,
        number: u32,
        tag: String,
        body: &[&[u8]],
    ) -> Result<Part> {
        let blob = self.blob(endpoint, object)?.block_blob_client();
        let content = RequestContent::from(body.concat());
        let staged = blob.stage_block(tag.as_bytes(), len_of(body) as u64, content, None);
        self.runtime.wait(staged).map_err(sdk::failure)?;
        Ok(Part {
            number,
            tag,
            checksum: None,
        })
    }

    pub(super) fn sdk_len(&self, endpoint: &Endpoint, object: &ObjectName) -> Result<u64> {
        let blob = self.blob(endpoint, object)?;
        let answer = self
            .runtime
            .wait(blob.get_properties(None))
            .map_err(sdk::failure)?;
        let head = sdk::head(answer.status(), answer.headers());
        head.content_length().ok().flatten().ok_or_else(|| {
            Failure::new(
                Class::Permanent,
                "the answer does not say how long the object is",
            )
        })
    }

    pub(super) fn sdk_delete(&self, endpoint: &Endpoint, object: &ObjectName) -> Result<()> {
        let blob = self.blob(endpoint, object)?;
        let deleted = self.runtime.wait(blob.delete(None));
        deleted.map(|_| ()).map_err(sdk::failure)
    }
}

/// What the SDK shows of an answer: its headers, not its status.
fn partial_or_whole(headers: &azure_core::http::headers::Headers) -> super::super::head::Head {
    let head = sdk::head(azure_core::http::StatusCode::Ok, headers);
    let is_partial = head.get("content-range").is_some();
    super::super::head::Head {
        status: if is_partial { 206 } else { 200 },
        ..head
    }
}
