//! The object store that a workload names.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use super::Service;
use super::endpoint::Endpoints;
use super::fetch::Carrier;
use super::http::{Http, Limits};
use super::inner::{Inner, Options};
use super::proxy::Proxies;
use super::retry::Policy;
#[cfg(feature = "s3")]
use super::s3::{AMAZON, Dialect, GOOGLE};
use super::senders::Senders;
use super::store::ObjectStore;
use super::tls;
use super::url::Url;
use crate::storage::telemetry::LimitsTelemetry;
use crate::storage::{Client, Result, Storage, StorageError, StoreSpec};

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
) -> Result<Box<dyn Storage>> {
    open_s3(spec, &AMAZON)
}

/// Opens a store of Google's by its interoperability with S3. No request is made.
///
/// Errors: as [`s3`].
#[cfg(feature = "s3")]
pub(in crate::storage) fn google(
    spec: &StoreSpec,
    _: &'static [AtomicU64],
) -> Result<Box<dyn Storage>> {
    open_s3(spec, &GOOGLE)
}

#[cfg(feature = "s3")]
fn open_s3(spec: &StoreSpec, dialect: &'static Dialect) -> Result<Box<dyn Storage>> {
    open(spec, |http, carrier| {
        let (service, urls) = super::s3::S3::new(dialect, spec, http, carrier)?;
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
) -> Result<Box<dyn Storage>> {
    open(spec, |http, carrier| {
        // az://account/container/prefix
        let folder = spec.folder.to_string_lossy();
        let account = folder.split('/').nth(2).unwrap_or_default();
        let (service, urls) = super::azure::Azure::new(account, spec, http, carrier)?;
        Ok((Box::new(service), urls))
    })
}

fn open(
    spec: &StoreSpec,
    service: impl FnOnce(&Arc<Http>, &Carrier) -> Result<(Box<dyn Service>, Vec<Url>), String>,
) -> Result<Box<dyn Storage>> {
    let o = &spec.options;
    let limits = LimitsTelemetry {
        connect_timeout: o.connect_timeout.unwrap_or(5.0),
        read_timeout: o.read_timeout.unwrap_or(30.0),
        request_timeout: o.request_timeout.unwrap_or(0.0),
        s3_max_attempts: o.s3_max_attempts.unwrap_or(5),
        retry_delay: o.retry_delay.unwrap_or(0.5),
        retry_budget: o.retry_budget.unwrap_or(1000),
        range_size: spec.range_size.unwrap_or(RANGE),
        ranges_in_flight: o.ranges_in_flight.unwrap_or(2),
        part_size: o.part_size.unwrap_or(PART),
        parts_in_flight: spec.parts_in_flight.unwrap_or(PARTS_IN_FLIGHT),
        checksum: o.checksum.clone().unwrap_or_else(|| "none".into()),
    };
    let verify = o.verify.unwrap_or(true);
    let tls = tls::config(o.ca_bundle.as_deref(), verify).map_err(StorageError::Setup)?;
    let proxies = Proxies::new(o).map_err(StorageError::Setup)?;
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
    let carrier = carrier(o.client, &http).map_err(StorageError::Setup)?;
    let (service, urls) = service(&http, &carrier).map_err(StorageError::Setup)?;
    if carrier.moves_bytes()
        && let Some(url) = urls.iter().find(|url| http.has_proxy(url))
    {
        return Err(StorageError::Setup(format!(
            "use storage.storage_options.client=sdk: {url} is reached through a proxy, which this client cannot do\n  remedy: name the host in NO_PROXY, or set storage.storage_options.client=native"
        )));
    }
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
        verify_checksums: spec.verify_checksums,
        verifies_certificates: verify,
        is_by_sdk: carrier.moves_bytes(),
        limits,
    };
    let senders = Senders::new(spec.parts_in_flight.unwrap_or(PARTS_IN_FLIGHT) as usize);
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

/// What the SDKs' requests go over.
///
/// Errors: this build has no other than our own.
fn carrier(client: Client, http: &Arc<Http>) -> Result<Carrier, String> {
    match client {
        Client::Native => Ok(Carrier::Own(http.clone())),
        #[cfg(feature = "sdk")]
        Client::Sdk => Ok(Carrier::Hyper(Arc::new(super::hyper::Hyper::new(http)))),
        #[cfg(not(feature = "sdk"))]
        Client::Sdk => Err(
            "use storage.storage_options.client=sdk: this build does not have it\n  remedy: build with --features sdk, or set storage.storage_options.client=native".into(),
        ),
    }
}
