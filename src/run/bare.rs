//! Image files that hold bare bytes, as MLCommons' DLIO writes them since April 2026: known by their layout, and reported.

use super::context::JobContext;
use super::dataset::DatasetFiles;
use super::events::Events;
use super::failure::{RankError, Result, agree};
use crate::config::Decode;
use crate::format::Format;
use crate::plan::Split;
use crate::report::Event;
use crate::storage::Storage;

/// First bytes of a file that are looked at.
const HEAD: usize = 16;

/// Looks at the first file of a dataset; where it is bare, all files are read as bare ones, and a warning says so.
/// A collective.
pub(super) fn recognise(
    job: &JobContext,
    events: &mut Events,
    storage: &dyn Storage,
    format: Option<&'static dyn Format>,
    files: &mut DatasetFiles,
) -> Result<()> {
    let Some(format) = format else {
        return Ok(());
    };
    let is_bare = match job.cluster.rank() {
        0 => first_is_bare(storage, format, files),
        _ => Ok(false),
    };
    let is_bare = agree(job.cluster, is_bare)?;
    if !job.cluster.any(is_bare) {
        return Ok(());
    }
    files.read_as_bare();
    let kind = job.workload.dataset.format;
    let checks = match job.workload.reader.decode {
        Decode::None => String::new(),
        decode => format!("; reader.decode={decode} has nothing to verify in them"),
    };
    events.emit(Event::Warning(format!(
        "the {kind} files hold bare bytes of a sample's size, not images, as MLCommons' DLIO writes them: they are read as they are{checks}"
    )));
    Ok(())
}

fn first_is_bare(
    storage: &dyn Storage,
    format: &dyn Format,
    files: &DatasetFiles,
) -> Result<bool, RankError> {
    if !storage.system().has_bytes {
        return Ok(false);
    }
    let split = match files.used {
        (0, 0) => return Ok(false),
        (0, _) => Split::Valid,
        _ => Split::Train,
    };
    let dims = files.dims_of(split, 0);
    let spec = files.spec(split, 0, &dims);
    if !format.may_be_bare(&spec) {
        return Ok(false);
    }
    let mut path = std::path::PathBuf::new();
    files.path_of(split, 0, &mut path);
    // A missing file is reported with the others.
    let Some(len) = storage.len(&path)? else {
        return Ok(false);
    };
    let mut head = [0; HEAD];
    let n = storage.head(&path, &mut head)?;
    Ok(format.is_bare(&spec, len, &head[..n]))
}
