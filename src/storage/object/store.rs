//! Any object store as a [`Storage`].

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::inner::Inner;
use super::read;
use super::write::{Upload, longest_part};
use crate::storage::telemetry::{ConnectionTelemetry, Telemetry};
use crate::storage::{
    Answer, Entry, Extent, Lane, Request, Result, Sink, Storage, StorageError, System, Writer,
};

pub(crate) struct ObjectStore(pub(super) Arc<Inner>);

impl Storage for ObjectStore {
    fn system(&self) -> &'static System {
        self.0.system
    }

    fn read(&self, request: &Request, lane: &mut Lane, sink: &mut dyn Sink) -> Result<Answer> {
        // No server has a way to say "no bytes": the range would be read as another one.
        if matches!(request.extent, Extent::Range { len: 0, .. }) {
            return Ok(Answer::default());
        }
        read::read(&self.0, request, &mut lane.buffer, sink)
    }

    fn len(&self, path: &Path) -> Result<Option<u64>> {
        let object = self.0.object(path)?;
        self.0.control("find", &object, |endpoint| {
            self.0.service.len(endpoint, &object)
        })
    }

    fn head(&self, path: &Path, into: &mut [u8]) -> Result<usize> {
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

    fn create(&self, path: &Path) -> Result<Box<dyn Writer>> {
        Ok(Box::new(Upload::new(self.0.clone(), path)?))
    }

    // There are no folders: a prefix is there when an object is.
    fn create_folder(&self, _: &Path) -> Result<()> {
        Ok(())
    }

    fn has_folder(&self, _: &Path) -> Result<bool> {
        Ok(true)
    }

    fn remove(&self, path: &Path) -> Result<()> {
        self.remove_many(&[path])
    }

    fn remove_many(&self, paths: &[&Path]) -> Result<()> {
        for some in paths.chunks(self.0.service.delete_batch()) {
            let objects = some
                .iter()
                .map(|path| self.0.object(path))
                .collect::<Result<Vec<_>, _>>()?;
            self.0.remove(&objects)?;
        }
        Ok(())
    }

    fn remove_folder(&self, _: &Path) -> Result<()> {
        Ok(())
    }

    fn list(&self, folder: &Path, visit: &mut dyn FnMut(&str, u64)) -> Result<()> {
        let folder = self.0.folder(folder)?;
        self.0.pages(&folder, false, |page| {
            for (key, len) in &page.objects {
                visit(key.strip_prefix(&folder.key).unwrap_or(key), *len);
            }
        })
    }

    fn entries(&self, folder: &Path, visit: &mut dyn FnMut(Entry)) -> Result<()> {
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

    fn uploads(&self, folder: &Path, visit: &mut dyn FnMut(&str, &str)) -> Result<()> {
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

    fn abort(&self, path: &Path, upload: &str) -> Result<()> {
        let object = self.0.object(path)?;
        self.0.control("abort the upload of", &object, |endpoint| {
            self.0.service.abort(endpoint, &object, upload)
        })
    }

    fn repeated(&self) -> Vec<(&'static str, u64)> {
        self.0.endpoints.repeated()
    }

    fn taken_out(&self) -> Vec<(String, u64)> {
        self.0.endpoints.taken_out()
    }

    fn own_cpu_ns(&self) -> u64 {
        self.0.service.runtime().cpu_ns()
    }

    fn telemetry(&self) -> Option<Telemetry> {
        let counters = &self.0.http.counters;
        let (made, connect_s) = self.0.http.made();
        let seconds = |ns: &AtomicU64| ns.load(Relaxed) as f64 / 1e9;
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
