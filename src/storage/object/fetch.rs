//! A GET whose answer comes over a connection of our own, or through an SDK.

use std::pin::Pin;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use futures::{Stream, StreamExt};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::connection::Connection;
use super::failure::{Class, Failure, Result};
use super::head::Head;
use super::http::Http;
#[cfg(feature = "sdk")]
use super::hyper::Hyper;

/// What the requests of an SDK go over.
#[derive(Debug, Clone)]
pub(crate) enum Carrier {
    /// Our own connections; the SDK makes control calls only.
    Own(Arc<Http>),
    /// hyper, as with the SDK's own transport: it moves objects too.
    #[cfg(feature = "sdk")]
    Hyper(Arc<Hyper>),
}

impl Carrier {
    /// True when the SDK moves the bytes of objects.
    pub(crate) fn moves_bytes(&self) -> bool {
        !matches!(self, Carrier::Own(_))
    }
}

/// The bytes of a body as an SDK hands them over.
pub(crate) type Chunks = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>;

/// The answer to a GET, its body still to come.
pub(crate) struct Fetched {
    /// What the SDK shows of status and headers.
    pub(crate) head: Head,
    pub(crate) body: Chunks,
}

impl Fetched {
    /// An answer whose body nobody needs.
    pub(crate) fn empty(mut head: Head) -> Self {
        head.headers.retain(|(name, _)| name != "content-length");
        Fetched {
            head,
            body: Box::pin(futures::stream::empty()),
        }
    }
}

/// A GET that an SDK makes in the runtime; dropped, it is given up.
pub(crate) struct Fetch {
    runtime: Handle,
    answer: JoinHandle<Result<Fetched>>,
    body: Option<Chunks>,
    chunk: Bytes,
    left: Option<u64>,
    /// How the body broke off, for the call after the one that delivered what came before.
    broken: Option<Failure>,
}

impl Fetch {
    pub(crate) fn start(
        runtime: Handle,
        answer: impl Future<Output = Result<Fetched>> + Send + 'static,
    ) -> Self {
        Fetch {
            answer: runtime.spawn(answer),
            runtime,
            body: None,
            chunk: Bytes::new(),
            left: None,
            broken: None,
        }
    }

    fn receive_head(&mut self) -> Result<Head> {
        let lost = |e: tokio::task::JoinError| Failure::new(Class::Reset, e.to_string());
        let fetched = self.runtime.block_on(&mut self.answer).map_err(lost)??;
        self.left = fetched.head.content_length().ok().flatten();
        self.body = Some(fetched.body);
        Ok(fetched.head)
    }

    /// Fills `into` unless the body ends or breaks off first.
    fn read_body(&mut self, into: &mut [u8]) -> Result<usize> {
        if let Some(failure) = self.broken.take() {
            return Err(failure);
        }
        let mut filled = 0;
        while filled < into.len() {
            if self.chunk.is_empty() {
                let next = match &mut self.body {
                    Some(body) => self.runtime.block_on(body.next()),
                    None => None,
                };
                let failure = match next {
                    Some(Ok(chunk)) => {
                        self.chunk = chunk;
                        continue;
                    }
                    Some(Err(failure)) => failure,
                    None if self.left.is_some_and(|left| left > 0) => {
                        Failure::new(Class::Truncated, "the connection ended inside the body")
                    }
                    None => {
                        self.body = None;
                        break;
                    }
                };
                self.body = None;
                if filled == 0 {
                    return Err(failure);
                }
                // What came counts: the next request goes on behind it.
                self.broken = Some(failure);
                break;
            }
            let now = self.chunk.len().min(into.len() - filled);
            self.chunk.copy_to_slice(&mut into[filled..filled + now]);
            filled += now;
            self.left = self.left.map(|left| left.saturating_sub(now as u64));
        }
        Ok(filled)
    }

    fn read_rest(&mut self, limit: usize) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        let mut piece = vec![0; 64 << 10];
        loop {
            let got = self.read_body(&mut piece)?;
            if got == 0 {
                return Ok(all);
            }
            if got > limit - all.len() {
                let what = format!("the answer is longer than {limit} bytes");
                return Err(Failure::new(Class::Permanent, what));
            }
            all.extend_from_slice(&piece[..got]);
        }
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        self.answer.abort();
    }
}

/// How the answer to a GET comes.
pub(super) enum Way {
    /// From the socket into the caller's memory.
    Own(Connection),
    /// Through an SDK.
    Sdk(Fetch),
}

impl Way {
    pub(super) fn receive_head(&mut self) -> Result<Head> {
        match self {
            Way::Own(connection) => connection.receive_head(true),
            Way::Sdk(fetch) => fetch.receive_head(),
        }
    }

    /// Bytes of the body left, where that is known.
    pub(super) fn body_left(&self) -> Option<u64> {
        match self {
            Way::Own(connection) => connection.body_left(),
            Way::Sdk(fetch) => fetch.left,
        }
    }

    /// Reads the next bytes of the body; 0: the end.
    pub(super) fn read_body(&mut self, into: &mut [u8]) -> Result<usize> {
        match self {
            Way::Own(connection) => connection.read_body(into),
            Way::Sdk(fetch) => fetch.read_body(into),
        }
    }

    /// Reads the rest of the body; an answer beyond `limit` bytes is an error.
    pub(super) fn read_rest(&mut self, limit: usize) -> Result<Vec<u8>> {
        match self {
            Way::Own(connection) => connection.read_rest(limit),
            Way::Sdk(fetch) => fetch.read_rest(limit),
        }
    }

    pub(super) fn succeeded(&self) {
        if let Way::Own(connection) = self {
            connection.succeeded();
        }
    }

    pub(super) fn failed(&self, failure: Failure) -> Failure {
        match self {
            Way::Own(connection) => connection.failed(failure),
            Way::Sdk(_) => failure,
        }
    }

    /// Keeps its connection where another request may go over it.
    pub(super) fn put_back(self, http: &Http) {
        if let Way::Own(connection) = self {
            http.put_back(connection);
        }
    }
}
