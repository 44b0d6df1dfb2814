//! What an object store, its uploads and its reads share: the service, its endpoints, and requests that are tried again.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::Span;
use super::endpoint::{Endpoint, Endpoints, Operation};
use super::failure::{Failure, Result};
use super::fetch::Way;
use super::http::{Answered, Http, MAX_ANSWER};
use super::retry::{Advice, Policy, Trial, persist};
use super::senders::Senders;
use super::{ObjectName, Page, Service};
use crate::storage::telemetry::LimitsTelemetry;
use crate::storage::{StorageError, System};

/// Sizes and counts in force.
#[derive(Debug, Clone)]
pub(super) struct Options {
    /// Bytes of one GET; 0: the whole extent.
    pub range_size: u64,
    /// GETs of one extent in flight.
    pub ranges_in_flight: usize,
    /// Bytes of an upload's first parts.
    pub part_size: usize,
    /// Checksums that come with whole objects are compared.
    pub verify_checksums: bool,
    /// For the report.
    pub limits: LimitsTelemetry,
    /// For the report.
    pub verifies_certificates: bool,
    /// The SDK makes the connections.
    pub is_by_sdk: bool,
}

/// What the store, its uploads and its reads share.
pub(super) struct Inner {
    pub system: &'static System,
    pub service: Box<dyn Service>,
    pub http: Arc<Http>,
    pub endpoints: Endpoints,
    pub policy: Policy,
    pub options: Options,
    /// Parts of all uploads on their way.
    pub senders: Senders,
    /// The server does not delete several objects with one request.
    pub lacks_batches: AtomicBool,
}

/// A service and the object that a request is about.
pub(super) struct About<'a> {
    pub service: &'a dyn Service,
    pub object: &'a ObjectName,
}

impl Advice for About<'_> {
    fn remedy(&self, failure: &Failure) -> String {
        self.service.remedy(failure, self.object)
    }
    fn renew(&self, failure: &Failure) -> bool {
        self.service.renew(failure)
    }
}

impl Inner {
    pub(super) fn object(&self, path: &Path) -> Result<ObjectName, StorageError> {
        self.service.object(path).map_err(|what| StorageError::Io {
            operation: "name",
            path: path.into(),
            offset: None,
            source: std::io::Error::other(what),
        })
    }

    /// The prefix of all objects in a folder.
    pub(super) fn folder(&self, path: &Path) -> Result<ObjectName, StorageError> {
        let mut folder = self.object(path)?;
        if !folder.key.is_empty() && !folder.key.ends_with('/') {
            folder.key.push('/');
        }
        Ok(folder)
    }

    /// A 404 means the object, not its bucket.
    pub(super) fn is_object_missing(&self, failure: &Failure) -> bool {
        !matches!(failure.code.as_str(), "NoSuchBucket" | "ContainerNotFound")
    }

    /// Deletes objects of one bucket: with one request, or one by one where there is one or the server knows no other way.
    pub(super) fn remove(&self, objects: &[ObjectName]) -> Result<(), StorageError> {
        if let [first, _, ..] = objects
            && !self.lacks_batches.load(Relaxed)
        {
            let keys: Vec<_> = objects.iter().map(|object| object.key.clone()).collect();
            let is_done = self.control("delete", first, |endpoint| {
                match self.service.delete_many(endpoint, &first.bucket, &keys) {
                    Err(failure) if self.service.refuses_batches(&failure) => Ok(false),
                    other => other.map(|()| true),
                }
            })?;
            if is_done {
                return Ok(());
            }
            self.lacks_batches.store(true, Relaxed);
        }
        objects.iter().try_for_each(|object| {
            self.control("delete", object, |endpoint| {
                self.service.delete(endpoint, object)
            })
        })
    }

    /// The first bytes of an object, at most `most`; None: it does not exist.
    pub(super) fn beginning(
        &self,
        endpoint: &Endpoint,
        object: &ObjectName,
        most: u64,
    ) -> Result<Option<Vec<u8>>> {
        let failure = match self.answered(endpoint, object, Some((0, most))) {
            Ok(Answered { head, body }) => match head.status {
                200 | 206 => return Ok(Some(body)),
                // Of an empty object there is no first byte.
                416 => return Ok(Some(Vec::new())),
                _ => self.service.failure(&head, &body),
            },
            Err(failure) => failure,
        };
        if failure.is_not_found() && self.is_object_missing(&failure) {
            return Ok(None);
        }
        if failure.status != Some(400) {
            return Err(failure);
        }
        // Servers that take a range beyond the end for a mistake (RFC 9110, 14.1.2, says that it ends there).
        endpoint.count_request(Operation::Control);
        match self.service.len(endpoint, object) {
            Ok(Some(0)) => Ok(Some(Vec::new())),
            Ok(Some(len)) if len < most => {
                endpoint.count_request(Operation::Control);
                self.beginning(endpoint, object, len)
            }
            _ => Err(failure),
        }
    }

    /// All pages of a list.
    pub(super) fn pages(
        &self,
        folder: &ObjectName,
        one_level: bool,
        mut show: impl FnMut(&Page),
    ) -> Result<(), StorageError> {
        let mut from = None;
        loop {
            let page = self.control("list", folder, |endpoint| {
                self.service.list(endpoint, folder, from.clone(), one_level)
            })?;
            show(&page);
            from = page.next;
            if from.is_none() {
                return Ok(());
            }
        }
    }

    /// The whole answer to a GET of few bytes.
    fn answered(&self, endpoint: &Endpoint, object: &ObjectName, range: Span) -> Result<Answered> {
        if let Some(fetch) = self.service.fetch(endpoint, object, range) {
            let mut way = Way::Sdk(fetch);
            let head = way.receive_head()?;
            let body = way.read_rest(MAX_ANSWER)?;
            return Ok(Answered { head, body });
        }
        let prepared = self.service.get(endpoint, object, range)?;
        self.http
            .exchange(&prepared.host, &prepared.head, &[], true)
    }

    pub(super) fn control<T>(
        &self,
        what: &'static str,
        object: &ObjectName,
        attempt: impl FnMut(&Endpoint) -> Result<T>,
    ) -> Result<T, StorageError> {
        persist(
            &self.policy,
            &self.endpoints,
            Operation::Control,
            Trial::new(what, &object.uri),
            &About {
                service: &*self.service,
                object,
            },
            attempt,
        )
        .map_err(StorageError::Object)
    }
}
