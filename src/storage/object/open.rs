//! The object store that a workload names.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use super::Service;
use super::endpoint::Endpoints;
use super::http::{Http, Limits};
use super::proxy::Proxies;
use super::retry::Policy;
use super::senders::Senders;
use super::store::{Inner, ObjectStore, Options};
use super::tls;
use super::url::Url;
use crate::storage::telemetry::LimitsTelemetry;
use crate::storage::{ObjectSpec, Storage, StorageError, StoreSpec};

/// One GET up to this length, when the YAML does not say.
const RANGE: u64 = 32 << 20;
/// Bytes of an upload's first parts.
const PART: u64 = 8 << 20;
/// Parts of an upload in flight.
const PARTS_IN_FLIGHT: u64 = 8;

/// Opens an S3 store. No request is made.
///
/// Errors: endpoints, certificates or credentials that cannot be used.
#[cfg(feature = "s3")]
pub(in crate::storage) fn s3(
    spec: &StoreSpec,
    _: &'static [AtomicU64],
) -> Result<Box<dyn Storage>, StorageError> {
    open(spec, |http| {
        let (service, urls) = super::s3::S3::new(&spec.object, http, spec.object.verify_checksums)?;
        Ok((Box::new(service), urls))
    })
}

/// Opens an Azure store. No request is made.
///
/// Errors: endpoints, certificates or credentials that cannot be used.
#[cfg(feature = "azure")]
pub(in crate::storage) fn azure(
    spec: &StoreSpec,
    _: &'static [AtomicU64],
) -> Result<Box<dyn Storage>, StorageError> {
    open(spec, |http| {
        // az://account/container/prefix
        let folder = spec.folder.to_string_lossy();
        let account = folder.split('/').nth(2).unwrap_or_default();
        let (service, urls) = super::azure::Azure::new(account, &spec.object, http)?;
        Ok((Box::new(service), urls))
    })
}

fn open(
    spec: &StoreSpec,
    service: impl FnOnce(&Arc<Http>) -> Result<(Box<dyn Service>, Vec<Url>), String>,
) -> Result<Box<dyn Storage>, StorageError> {
    let o = &spec.object;
    let limits = LimitsTelemetry {
        connect_timeout: o.connect_timeout.unwrap_or(5.0),
        read_timeout: o.read_timeout.unwrap_or(30.0),
        request_timeout: o.request_timeout.unwrap_or(0.0),
        s3_max_attempts: o.s3_max_attempts.unwrap_or(5),
        retry_delay: o.retry_delay.unwrap_or(0.5),
        retry_budget: o.retry_budget.unwrap_or(1000),
        range_size: o.range_size.unwrap_or(RANGE),
        ranges_in_flight: o.ranges_in_flight.unwrap_or(2),
        part_size: o.part_size.unwrap_or(PART),
        parts_in_flight: o.parts_in_flight.unwrap_or(PARTS_IN_FLIGHT),
        checksum: o.checksum.clone().unwrap_or_else(|| "none".into()),
    };
    let verify = o.verify.unwrap_or(true);
    let tls = tls::config(o.ca_bundle.as_deref(), verify).map_err(StorageError::Setup)?;
    let proxies = Proxies::new(o.proxy.as_ref().map(|p| p.expose()), |name| {
        std::env::var(name).ok()
    })
    .map_err(StorageError::Setup)?;
    let http = Arc::new(Http::new(
        tls,
        proxies,
        Limits {
            connect: Duration::from_secs_f64(limits.connect_timeout),
            read: Duration::from_secs_f64(limits.read_timeout),
            request: (limits.request_timeout > 0.0)
                .then(|| Duration::from_secs_f64(limits.request_timeout)),
        },
        o.connect_ramp.unwrap_or(8) as usize,
    ));
    // Ranks differ in it: they do not begin at the same endpoint, nor come back at the same moment.
    let seed = u64::from(std::process::id());
    let (service, urls) = service(&http).map_err(StorageError::Setup)?;
    let policy = Policy::new(
        limits.s3_max_attempts,
        Duration::from_secs_f64(limits.retry_delay),
        limits.retry_budget,
        seed,
    );
    let options = Options {
        range_size: limits.range_size,
        ranges_in_flight: limits.ranges_in_flight as usize,
        part_size: limits.part_size as usize,
        verify_checksums: o.verify_checksums,
        verifies_certificates: verify,
        limits,
    };
    let senders = Senders::new(o.parts_in_flight.unwrap_or(PARTS_IN_FLIGHT) as usize);
    Ok(Box::new(ObjectStore(Arc::new(Inner {
        system: spec.system,
        service,
        http,
        endpoints: Endpoints::new(urls, seed),
        policy,
        options,
        senders,
        lacks_batches: AtomicBool::new(false),
    }))))
}

/// The URLs of `key`, checked.
pub(super) fn urls(key: &str, texts: &[String], options: &ObjectSpec) -> Result<Vec<Url>, String> {
    let is_tls = options.secure.unwrap_or(true);
    texts
        .iter()
        .map(|text| {
            Url::parse(text, is_tls).map_err(|what| {
                format!(
                    "use storage.storage_options.{key}={text}: {what}\n  remedy: write http://host:port or https://host"
                )
            })
        })
        .collect()
}
