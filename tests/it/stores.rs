//! What servers differ in: requests that one knows and another refuses, counted on the wire.

use std::path::{Path, PathBuf};

use dlio_rs::storage::Storage;

use crate::fault_proxy::FaultProxy;
use crate::servers::{ACCOUNT, Azurite, BUCKET};

fn control_requests(store: &dyn Storage) -> u64 {
    store.telemetry().unwrap().endpoints[0].control_requests
}

/// Azurite answers a batch of deletions with status 500, always: it is tried once, and the blobs go one by one.
#[test]
fn a_batch_that_azurite_refuses_is_tried_once() {
    let azurite = Azurite::shared();
    let proxy = FaultProxy::start(azurite.port(), "", Vec::new(), None);
    let store = azurite.storage_at(&format!("{}/{ACCOUNT}", proxy.url()), "batches");
    let root = Path::new("az://").join(format!("{ACCOUNT}/{BUCKET}/batches"));
    let mut expected = 0;
    for (round, more) in [(0, 1), (1, 0)] {
        let paths: Vec<PathBuf> = (0..5).map(|i| root.join(format!("{round}/{i}"))).collect();
        for path in &paths {
            let mut writer = store.create(path).unwrap();
            writer.write(b"x").unwrap();
            writer.finish().unwrap();
        }
        let (seen, counted) = (proxy.matched(), control_requests(&*store));
        let all: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
        store.remove_many(&all).unwrap();
        expected += paths.len() as u64 + more;
        assert_eq!(proxy.matched() - seen, paths.len() as u64 + more);
        assert_eq!(
            control_requests(&*store) - counted,
            paths.len() as u64 + more
        );
        assert!(paths.iter().all(|path| store.len(path).unwrap().is_none()));
    }
    assert_eq!(expected, 11);
    let telemetry = store.telemetry().unwrap();
    assert_eq!(telemetry.endpoints[0].failures, 0);
    assert!(telemetry.endpoints[0].retries.values().all(|n| *n == 0));
}
