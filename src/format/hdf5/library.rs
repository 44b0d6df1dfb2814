//! The calls of libhdf5 that the safe bindings lack, and how errors and types are put.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use hdf5::plist::file_access::LibraryVersion;
use hdf5::plist::{FileAccess, FileCreate};
use hdf5::types::{FloatSize, IntSize, TypeDescriptor};
use hdf5_metno as hdf5;
use hdf5_metno_sys::h5d::{H5Dget_chunk_info_by_coord, H5Dwrite_chunk};
use hdf5_metno_sys::h5f::{H5F_ACC_TRUNC, H5Fcreate};
use hdf5_metno_sys::h5p::{H5P_DEFAULT, H5Pset_obj_track_times};

use crate::config::Element;
use crate::format::{FormatError, Result};

/// An address that means: not allocated.
const NO_ADDRESS: u64 = u64::MAX;

/// libhdf5's complaint.
pub(super) fn failed(what: &str) -> impl Fn(hdf5::Error) -> FormatError + '_ {
    move |error| {
        let text = error.to_string();
        let text = text.replace('\n', " ");
        FormatError::Content(format!("hdf5: {what}: {text}"))
    }
}

/// How files are made in which nothing depends on when: the root group, too, would hold the second of its creation.
pub(super) fn timeless() -> hdf5::Result<FileCreate> {
    let create = FileCreate::try_new()?;
    // SAFETY: the property list is open.
    hdf5::sync::sync(|| hdf5::h5check(unsafe { H5Pset_obj_track_times(create.id(), 0) }))?;
    Ok(create)
}

/// How files are laid out: as HDF5 1.10 does it, whichever library writes them. Later layouts are refused by the libraries that
/// most readers still have.
pub(super) fn layout() -> hdf5::Result<FileAccess> {
    let version = LibraryVersion::V110;
    FileAccess::build().libver_bounds(version, version).finish()
}

/// Makes a file at a path, of [`layout`] and without times.
pub(super) fn create_file(path: &Path) -> Result<hdf5::File> {
    let bad = failed("make a file");
    let text = std::ffi::CString::new(path.as_os_str().as_bytes())
        .map_err(|e| FormatError::content(format!("hdf5: temporary image: {e}")))?;
    let access = layout().map_err(&bad)?;
    let create = timeless().map_err(&bad)?;
    let file = hdf5::sync::sync(|| {
        // SAFETY: both property lists are open, and the name ends with a zero. What H5Fcreate returns is owned by nobody
        // else.
        unsafe {
            let id = H5Fcreate(text.as_ptr(), H5F_ACC_TRUNC, create.id(), access.id());
            hdf5::h5check(id).and_then(|id| hdf5::from_id::<hdf5::File>(id))
        }
    });
    file.map_err(bad)
}

/// Where a chunk lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stored {
    /// First byte in the file; None when nothing was written.
    pub(super) address: Option<u64>,
    /// Bytes in the file.
    pub(super) len: u64,
    /// Bit i: filter i was left out.
    pub(super) skipped: u32,
}

/// Where the chunk that begins at element `first` lies.
pub(super) fn chunk_at(dataset: &hdf5::Dataset, first: &[u64]) -> Result<Stored> {
    let (mut skipped, mut address, mut len) = (0, NO_ADDRESS, 0);
    let status = hdf5::sync::sync(|| {
        // SAFETY: the dataset is open; `first` has one coordinate per axis of the dataset; the three results are ours.
        unsafe {
            H5Dget_chunk_info_by_coord(
                dataset.id(),
                first.as_ptr(),
                &mut skipped,
                &mut address,
                &mut len,
            )
        }
    });
    if status < 0 {
        return Err(FormatError::Content(format!(
            "hdf5: the chunk at {first:?} cannot be found"
        )));
    }
    Ok(Stored {
        address: (address != NO_ADDRESS).then_some(address),
        len,
        skipped,
    })
}

/// Writes a chunk whose filters were already applied.
pub(super) fn write_chunk(
    dataset: &hdf5::Dataset,
    first: &[u64],
    skipped: u32,
    bytes: &[u8],
) -> Result<()> {
    let status = hdf5::sync::sync(|| {
        // SAFETY: the dataset is open and chunked; `first` has one coordinate per axis, each a multiple of the chunk's
        // side; `bytes` holds `bytes.len()` bytes.
        unsafe {
            H5Dwrite_chunk(
                dataset.id(),
                H5P_DEFAULT,
                skipped,
                first.as_ptr(),
                bytes.len(),
                bytes.as_ptr().cast(),
            )
        }
    });
    if status < 0 {
        return Err(FormatError::Content(format!(
            "hdf5: the chunk at {first:?} cannot be written into the temporary image\n  remedy: see that the folder for temporary files (TMPDIR) has room for a whole file"
        )));
    }
    Ok(())
}

/// The HDF5 type that h5py uses for a numpy dtype.
pub(super) fn descriptor(element: Element) -> TypeDescriptor {
    use hdf5::H5Type;
    match element.name {
        "int8" => TypeDescriptor::Integer(IntSize::U1),
        "int16" => TypeDescriptor::Integer(IntSize::U2),
        "int32" => TypeDescriptor::Integer(IntSize::U4),
        "int64" => TypeDescriptor::Integer(IntSize::U8),
        "uint16" => TypeDescriptor::Unsigned(IntSize::U2),
        "uint32" => TypeDescriptor::Unsigned(IntSize::U4),
        "uint64" => TypeDescriptor::Unsigned(IntSize::U8),
        "float16" => TypeDescriptor::Float(FloatSize::U2),
        "float32" => TypeDescriptor::Float(FloatSize::U4),
        "float64" => TypeDescriptor::Float(FloatSize::U8),
        "complex64" => num_complex::Complex::<f32>::type_descriptor(),
        "complex128" => num_complex::Complex::<f64>::type_descriptor(),
        _ => TypeDescriptor::Unsigned(IntSize::U1),
    }
}
