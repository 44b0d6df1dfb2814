//! Object stores: ranges, pieces in flight, endpoints, retries and uploads, once for every service.
//!
//! A service ([`Service`]: S3, Azure Blob) says how its requests look and what its answers mean. Objects' bytes move
//! between the caller's memory and a socket in the caller's own thread ([`connection`]); the SDKs find credentials
//! and do what is rare (sizes, lists, deletions, the frame of an upload) over the same connections.

mod addresses;
#[cfg(feature = "azure")]
pub(super) mod azure;
mod body;
mod checksum;
mod collected;
mod connection;
mod endpoint;
mod failure;
mod fetch;
mod head;
mod http;
#[cfg(feature = "sdk")]
mod hyper;
mod inner;
mod open;
mod p521;
mod proxy;
mod read;
mod receive;
mod retry;
#[cfg(feature = "s3")]
pub(super) mod s3;
mod senders;
mod spare;
mod store;
mod stream;
mod tls;
mod url;
mod wait;
mod write;

use failure::Result;
pub use failure::{Failure, ObjectError};
#[cfg(feature = "azure")]
pub(super) use open::azure;
#[cfg(feature = "s3")]
pub(super) use open::{google, s3};

use std::path::Path;
use std::sync::Arc;

use connection::Host;
use endpoint::Endpoint;
use fetch::Fetch;
use head::Head;

use crate::host::run_queue::ThreadClocks;

/// An object, or a folder of objects, by its URI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ObjectName {
    /// As messages name it.
    pub uri: String,
    /// Bucket or container.
    pub bucket: String,
    /// Key or blob name.
    pub key: String,
}

impl ObjectName {
    /// Of `bucket/key`, the end of `uri`.
    fn of(uri: &str, rest: &str) -> Self {
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        ObjectName {
            uri: uri.into(),
            bucket: bucket.into(),
            key: key.into(),
        }
    }
}

/// First byte and end of a part of an object; None: all of it.
pub(crate) type Span = Option<(u64, u64)>;

/// A request ready to be sent.
pub(crate) struct Prepared {
    /// Where to.
    pub host: Arc<Host>,
    /// Request line and headers, the empty line included.
    pub head: Vec<u8>,
}

/// A part of an upload that the server has.
// Azure needs neither its number nor its checksum.
#[cfg_attr(not(feature = "s3"), allow(dead_code))]
#[derive(Debug, Clone)]
pub(crate) struct Part {
    /// From 1.
    pub number: u32,
    /// The server's name for it.
    pub tag: String,
    /// Its checksum as the service writes it, where checksums are sent.
    pub checksum: Option<String>,
}

/// One page of a list.
#[derive(Debug, Clone, Default)]
pub(crate) struct Page {
    /// Keys and lengths.
    pub objects: Vec<(String, u64)>,
    /// What keys further down begin with, a slash at the end, where one level was asked for.
    pub folders: Vec<String>,
    /// Where the next page begins.
    pub next: Option<String>,
}

/// An upload by its object's key and its own name.
pub(crate) type UploadMark = (String, String);

#[derive(Debug, Clone, Default)]
pub(crate) struct UploadPage {
    /// Key and upload.
    pub uploads: Vec<UploadMark>,
    /// Behind which the next page begins.
    pub next: Option<UploadMark>,
}

/// What one service's requests look like. Every call makes one attempt.
pub(crate) trait Service: Send + Sync {
    /// The threads that its SDK works in.
    fn runtime(&self) -> &Runtime;
    /// The object that a path means.
    fn object(&self, path: &Path) -> Result<ObjectName, String>;
    /// A GET of bytes `range` (first, end); None: all of them.
    fn get(&self, endpoint: &Endpoint, object: &ObjectName, range: Span) -> Result<Prepared>;
    /// The same GET by the service's SDK; None: it goes over a connection of our own.
    fn fetch(&self, _endpoint: &Endpoint, _object: &ObjectName, _range: Span) -> Option<Fetch> {
        None
    }
    /// The same GET where an answer says that it is to go; None: the answer means something else.
    fn redirect(
        &self,
        _endpoint: &Endpoint,
        _answer: &Head,
        _range: Span,
    ) -> Option<Result<Prepared>> {
        None
    }
    /// Writes a whole object. `body`: piece after piece, as it lies in memory.
    fn put(&self, endpoint: &Endpoint, object: &ObjectName, body: &[&[u8]]) -> Result<()>;
    /// A name for an upload, where it begins without a request.
    fn name_upload(&self) -> Option<String> {
        None
    }
    /// Begins an upload in parts; returns its name.
    fn begin_upload(&self, endpoint: &Endpoint, object: &ObjectName) -> Result<String>;
    /// Writes a part. `body` as for [`Service::put`].
    fn put_part(
        &self,
        endpoint: &Endpoint,
        object: &ObjectName,
        upload: &str,
        number: u32,
        body: &[&[u8]],
    ) -> Result<Part>;
    /// Makes the object of its parts appear.
    fn complete(
        &self,
        endpoint: &Endpoint,
        object: &ObjectName,
        upload: &str,
        parts: &[Part],
    ) -> Result<()>;
    /// Forgets an upload and its parts.
    fn abort(&self, endpoint: &Endpoint, object: &ObjectName, upload: &str) -> Result<()>;
    /// Length; None when there is no such object.
    fn len(&self, endpoint: &Endpoint, object: &ObjectName) -> Result<Option<u64>>;
    /// One page of the uploads of objects whose keys begin with the folder's key that were begun and not ended.
    fn uploads(
        &self,
        endpoint: &Endpoint,
        folder: &ObjectName,
        from: Option<UploadMark>,
    ) -> Result<UploadPage>;
    /// Deletes an object; a missing one is no error.
    fn delete(&self, endpoint: &Endpoint, object: &ObjectName) -> Result<()>;
    /// Objects that one [`Service::delete_many`] may name.
    fn delete_batch(&self) -> usize;
    /// Deletes objects of one bucket with one request; missing ones are no error.
    ///
    /// Errors: a failure for which [`Service::refuses_batches`] holds where the server has no such request.
    fn delete_many(&self, endpoint: &Endpoint, bucket: &str, keys: &[String]) -> Result<()>;
    /// True when the answer to [`Service::delete_many`] means that objects have to be deleted one by one.
    fn refuses_batches(&self, failure: &Failure) -> bool {
        failure.refuses_batches()
    }
    /// One page of the objects whose keys begin with the folder's key. `one_level`: those with a further slash by what is
    /// before it, where the service's SDK can.
    fn list(
        &self,
        endpoint: &Endpoint,
        folder: &ObjectName,
        from: Option<String>,
        one_level: bool,
    ) -> Result<Page>;
    /// What an answer that is no success means, or an error under status 200.
    fn failure(&self, head: &Head, body: &[u8]) -> Failure;
    /// What to do about a failure.
    fn remedy(&self, failure: &Failure, object: &ObjectName) -> String;
    /// Forgets the credentials that a failure says have run out; false: there will be no other.
    fn renew(&self, failure: &Failure) -> bool;
    /// Checksum of a whole object that came with it: its kind and value.
    fn checksum(&self, _head: &Head) -> Option<checksum::Expected> {
        None
    }
}

/// Bytes of all pieces together.
pub(crate) fn len_of(pieces: &[&[u8]]) -> usize {
    pieces.iter().map(|piece| piece.len()).sum()
}

/// Decodes a recorded answer, its body in pieces of `piece` bytes; for fuzzing. True: it is whole.
#[doc(hidden)]
pub fn http_answer(bytes: &[u8], piece: usize) -> bool {
    body::decode(bytes, piece).is_ok()
}

/// The runtime that the SDKs need. One per store; ended without waiting for what is stuck.
pub(crate) struct Runtime {
    /// There until dropped.
    inner: Option<tokio::runtime::Runtime>,
    clocks: Arc<ThreadClocks>,
}

impl Runtime {
    /// `moves_bytes`: one worker per CPU; else one, for control calls.
    pub(crate) fn new(moves_bytes: bool) -> Result<Self, String> {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let clocks = Arc::<ThreadClocks>::default();
        let (entered, left) = (clocks.clone(), clocks.clone());
        let built = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(if moves_bytes { cpus } else { 1 })
            .thread_name("object-sdk")
            .on_thread_start(move || entered.enter())
            .on_thread_stop(move || left.leave())
            .enable_all()
            .build();
        let inner =
            Some(built.map_err(|e| format!("start the threads of the object store's SDK: {e}"))?);
        Ok(Runtime { inner, clocks })
    }

    /// CPU time of its threads so far, ns.
    pub(crate) fn cpu_ns(&self) -> u64 {
        self.clocks.cpu_ns()
    }

    fn inner(&self) -> &tokio::runtime::Runtime {
        self.inner.as_ref().expect("there until dropped")
    }

    pub(crate) fn handle(&self) -> tokio::runtime::Handle {
        self.inner().handle().clone()
    }

    /// Waits for a future.
    pub(crate) fn wait<F: Future<Output: Send> + Send>(&self, future: F) -> F::Output {
        wait::aside(|| self.inner().block_on(future))
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if let Some(runtime) = self.inner.take() {
            runtime.shutdown_background();
        }
    }
}

/// The text of the first XML element of this name.
pub(crate) fn xml_element(xml: &str, name: &str) -> Option<String> {
    let open = format!("<{name}>");
    let from = xml.find(&open)? + open.len();
    let len = xml[from..].find(&format!("</{name}>"))?;
    let text = &xml[from..from + len];
    Some(
        text.replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&quot;", "\"")
            .replace("&apos;", "'")
            .replace("&amp;", "&"),
    )
}

/// True when an XML text is an error as a whole, and not one that names errors.
pub(crate) fn is_error_document(xml: &str) -> bool {
    let mut rest = xml.trim_start_matches('\u{feff}').trim_start();
    if let Some(after) = rest.strip_prefix("<?xml") {
        rest = after
            .split_once("?>")
            .map_or("", |(_, rest)| rest.trim_start());
    }
    rest.starts_with("<Error>") || rest.starts_with("<Error ")
}

/// Appends `text` as XML holds it.
// Azure's lists of blocks are made by its SDK.
#[cfg_attr(not(feature = "s3"), allow(dead_code))]
pub(crate) fn xml_escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            c if c.is_ascii_control() => out.push_str(&format!("&#{};", u32::from(c))),
            c => out.push(c),
        }
    }
}

/// The longest text of a server that a message shows. Units: characters.
const LONGEST_TEXT: usize = 300;

/// What a server sent, so that a terminal can show it: without control characters, and not too long.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::new();
    for (index, c) in text.trim().chars().enumerate() {
        if index == LONGEST_TEXT {
            shown.push_str("...");
            break;
        }
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// An error and what led to it.
pub(crate) fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(e) = cause {
        let more = e.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = e.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_servers_are_cut_and_escaped() {
        let page = format!("<html>\u{1b}[31m{}", "x".repeat(100_000));
        let shown = printable(&page);
        assert!(shown.starts_with("<html>\\u{1b}[31mx") && shown.ends_with("x..."));
        assert!(shown.chars().count() < LONGEST_TEXT + 20, "{shown}");
        assert_eq!(printable(" short\n"), "short");
    }
}
