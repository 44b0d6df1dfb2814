//! Any object store as a [`Storage`].

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::endpoint::{Endpoint, Endpoints, Operation};
use super::failure::Failure;
use super::fetch::Way;
use super::http::{Answered, Http, MAX_ANSWER};
use super::retry::{Advice, Policy, Trial, persist};
use super::senders::Senders;
use super::write::{Upload, longest_part};
use super::{ObjectName, Page, Service, read};
use crate::storage::telemetry::{ConnectionTelemetry, LimitsTelemetry, Telemetry};
use crate::storage::{
    Answer, Entry, Extent, Lane, Request, Sink, Storage, StorageError, System, Writer,
};

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
    fn folder(&self, path: &Path) -> Result<ObjectName, StorageError> {
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
    fn remove(&self, objects: &[ObjectName]) -> Result<(), StorageError> {
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
    fn beginning(
        &self,
        endpoint: &Endpoint,
        object: &ObjectName,
        most: u64,
    ) -> Result<Option<Vec<u8>>, Failure> {
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
    fn pages(
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
    fn answered(
        &self,
        endpoint: &Endpoint,
        object: &ObjectName,
        range: Option<(u64, u64)>,
    ) -> Result<Answered, Failure> {
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

    fn control<T>(
        &self,
        what: &'static str,
        object: &ObjectName,
        attempt: impl FnMut(&Endpoint) -> Result<T, Failure>,
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

/// An object store.
pub(crate) struct ObjectStore(pub(super) Arc<Inner>);

impl Storage for ObjectStore {
    fn system(&self) -> &'static System {
        self.0.system
    }

    fn read(
        &self,
        request: &Request,
        lane: &mut Lane,
        sink: &mut dyn Sink,
    ) -> Result<Answer, StorageError> {
        // No server has a way to say "no bytes": the range would be read as another one.
        if matches!(request.extent, Extent::Range { len: 0, .. }) {
            return Ok(Answer::default());
        }
        read::read(&self.0, request, &mut lane.buffer, sink)
    }

    fn len(&self, path: &Path) -> Result<Option<u64>, StorageError> {
        let object = self.0.object(path)?;
        self.0.control("find", &object, |endpoint| {
            self.0.service.len(endpoint, &object)
        })
    }

    fn head(&self, path: &Path, into: &mut [u8]) -> Result<usize, StorageError> {
        let object = self.0.object(path)?;
        let most = into.len().max(1) as u64;
        let got = self.0.control("read", &object, |endpoint| {
            self.0.beginning(endpoint, &object, most)
        })?;
        let got = got.map(|bytes| {
            let len = bytes.len().min(into.len());
            into[..len].copy_from_slice(&bytes[..len]);
            len
        });
        got.ok_or_else(|| StorageError::Missing { path: path.into() })
    }

    // Each writer collects a part, and those that are on their way are in memory too.
    fn write_memory(&self, writers: u64, len: u64) -> u64 {
        let options = &self.0.options;
        let part = longest_part(options.part_size, len) as u64;
        let is_in_parts = len > options.part_size as u64;
        let on_their_way = if is_in_parts {
            options.limits.parts_in_flight
        } else {
            0
        };
        (writers + on_their_way).saturating_mul(part)
    }

    fn create(&self, path: &Path) -> Result<Box<dyn Writer>, StorageError> {
        Ok(Box::new(Upload::new(self.0.clone(), path)?))
    }

    // There are no folders: a prefix is there when an object is.
    fn create_folder(&self, _: &Path) -> Result<(), StorageError> {
        Ok(())
    }

    fn has_folder(&self, _: &Path) -> Result<bool, StorageError> {
        Ok(true)
    }

    fn remove(&self, path: &Path) -> Result<(), StorageError> {
        self.remove_many(&[path])
    }

    fn remove_many(&self, paths: &[&Path]) -> Result<(), StorageError> {
        for some in paths.chunks(self.0.service.delete_batch()) {
            let objects = some
                .iter()
                .map(|path| self.0.object(path))
                .collect::<Result<Vec<_>, _>>()?;
            self.0.remove(&objects)?;
        }
        Ok(())
    }

    fn remove_folder(&self, _: &Path) -> Result<(), StorageError> {
        Ok(())
    }

    fn list(&self, folder: &Path, visit: &mut dyn FnMut(&str, u64)) -> Result<(), StorageError> {
        let folder = self.0.folder(folder)?;
        self.0.pages(&folder, false, |page| {
            for (key, len) in &page.objects {
                visit(key.strip_prefix(&folder.key).unwrap_or(key), *len);
            }
        })
    }

    fn entries(&self, folder: &Path, visit: &mut dyn FnMut(Entry)) -> Result<(), StorageError> {
        let mut folder = self.0.object(folder)?;
        if !folder.key.is_empty() {
            // Where the key ends with a slash already, the level below it has an empty name.
            folder.key.push('/');
        }
        self.0.pages(&folder, true, |page| {
            let name = |key| str::strip_prefix(key, &folder.key).unwrap_or(key);
            for (key, _) in &page.objects {
                visit(Entry::File(name(key)));
            }
            for key in &page.folders {
                let key = key.strip_suffix('/').unwrap_or(key);
                visit(Entry::Folder(name(key)));
            }
        })
    }

    fn uploads(
        &self,
        folder: &Path,
        visit: &mut dyn FnMut(&str, &str),
    ) -> Result<(), StorageError> {
        let folder = self.0.folder(folder)?;
        let mut from = None;
        loop {
            let page = self.0.control("list the uploads of", &folder, |endpoint| {
                self.0.service.uploads(endpoint, &folder, from.clone())
            })?;
            for (key, upload) in &page.uploads {
                visit(key.strip_prefix(&folder.key).unwrap_or(key), upload);
            }
            from = page.next;
            if from.is_none() {
                return Ok(());
            }
        }
    }

    fn abort(&self, path: &Path, upload: &str) -> Result<(), StorageError> {
        let object = self.0.object(path)?;
        self.0.control("abort the upload of", &object, |endpoint| {
            self.0.service.abort(endpoint, &object, upload)
        })
    }

    fn telemetry(&self) -> Option<Telemetry> {
        let counters = &self.0.http.counters;
        let (made, connect_s) = self.0.http.made();
        let seconds = |ns: &std::sync::atomic::AtomicU64| ns.load(Relaxed) as f64 / 1e9;
        Some(Telemetry {
            endpoints: self.0.endpoints.telemetry(),
            addresses: self.0.http.addresses(),
            connections: (!self.0.options.is_by_sdk).then(|| ConnectionTelemetry {
                made,
                reused: counters.reused.load(Relaxed),
                tls_handshakes: counters.tls_made.load(Relaxed),
                dns_s: seconds(&counters.dns_ns),
                connect_s,
                tls_s: seconds(&counters.tls_ns),
            }),
            notes: self.0.http.notes(),
            verifies_certificates: self.0.options.verifies_certificates,
            limits: self.0.options.limits.clone(),
        })
    }
}
