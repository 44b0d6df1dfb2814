//! Handles and numbers of MPI, which each ABI gives other values.

use std::ffi::{CStr, c_int, c_void};

/// A handle of any ABI: a pointer in Open MPI's and the standard's; in MPICH's an `int`, which is here with its sign extended,
/// as calls pass it.
///
/// A callee of MPICH's ABI reads the lower half of a register, or of a word on the stack; through a pointer it reads and writes
/// the first half of a word. The second is true of little-endian machines.
pub(in crate::cluster) type Handle = usize;

const _: () = assert!(
    cfg!(all(target_endian = "little", target_pointer_width = "64")),
    "handles of MPI need a 64-bit, little-endian machine"
);

/// How a library's handles, constants and structures look in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cluster) enum Abi {
    /// Open MPI 3 to 5 and what is made of it: handles are addresses of the library's own variables.
    OpenMpi,
    /// MPICH since 3.1 and what is made of it (Intel MPI, Cray MPICH, MVAPICH, ParaStation MPI): handles are numbers of 32 bits.
    Mpich,
    /// That of the MPI standard since its version 5.
    Standard,
}

impl std::fmt::Display for Abi {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(match self {
            Abi::OpenMpi => "Open MPI",
            Abi::Mpich => "MPICH",
            Abi::Standard => "MPI standard",
        })
    }
}

/// The values of one ABI, named as in `mpi.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cluster) struct Constants {
    pub comm_world: Handle,
    pub uint8: Handle,
    pub uint64: Handle,
    pub int64: Handle,
    pub double: Handle,
    pub sum: Handle,
    pub min: Handle,
    pub max: Handle,
    pub info_null: Handle,
    pub comm_type_shared: c_int,
    pub thread_funneled: c_int,
    pub undefined: c_int,
    pub any_source: c_int,
    pub any_tag: c_int,
    /// Handles are `int`.
    pub are_ints: bool,
}

impl Constants {
    /// Those of an ABI. Handles of Open MPI are the addresses of variables, which `address` knows.
    ///
    /// Errors: the name of a variable that it does not know.
    pub fn of(abi: Abi, address: impl Fn(&CStr) -> *const c_void) -> Result<Self, &'static CStr> {
        let variable = |name: &'static CStr| match address(name) as usize {
            0 => Err(name),
            address => Ok(address),
        };
        Ok(match abi {
            Abi::OpenMpi => Constants {
                comm_world: variable(c"ompi_mpi_comm_world")?,
                uint8: variable(c"ompi_mpi_uint8_t")?,
                uint64: variable(c"ompi_mpi_uint64_t")?,
                int64: variable(c"ompi_mpi_int64_t")?,
                double: variable(c"ompi_mpi_double")?,
                sum: variable(c"ompi_mpi_op_sum")?,
                min: variable(c"ompi_mpi_op_min")?,
                max: variable(c"ompi_mpi_op_max")?,
                info_null: variable(c"ompi_mpi_info_null")?,
                comm_type_shared: 0,
                thread_funneled: 1,
                undefined: -32766,
                any_source: -1,
                any_tag: -1,
                are_ints: false,
            },
            Abi::Mpich => Constants {
                comm_world: 0x4400_0000,
                uint8: 0x4c00_013b,
                uint64: 0x4c00_083e,
                int64: 0x4c00_083a,
                double: 0x4c00_080b,
                max: 0x5800_0001,
                min: 0x5800_0002,
                sum: 0x5800_0003,
                info_null: 0x1c00_0000,
                comm_type_shared: 1,
                thread_funneled: 1,
                undefined: -32766,
                any_source: -2,
                any_tag: -1,
                are_ints: true,
            },
            Abi::Standard => Constants {
                comm_world: 0x101,
                uint8: 0x241,
                uint64: 0x259,
                int64: 0x258,
                double: 0x214,
                sum: 0x21,
                min: 0x22,
                max: 0x23,
                info_null: 0x130,
                comm_type_shared: 221,
                thread_funneled: 1024,
                undefined: -32766,
                any_source: -1,
                any_tag: -2,
                are_ints: false,
            },
        })
    }

    /// A handle as a function has written it into a word of zeros.
    pub fn handle(&self, written: Handle) -> Handle {
        if self.are_ints {
            written as i32 as Handle
        } else {
            written
        }
    }
}

/// The values of the `mpi.h` that this binary is linked by.
#[cfg(feature = "mpi-linked")]
pub(super) fn linked() -> Constants {
    use mpi::ffi;
    /// A pointer, or an `int`, as `Handle`.
    fn handle<T: Copy>(value: T) -> Handle {
        // SAFETY: as many bytes as the handle has are read, and any bits are a number.
        unsafe {
            match size_of::<T>() {
                4 => std::mem::transmute_copy::<T, i32>(&value) as Handle,
                _ => std::mem::transmute_copy::<T, Handle>(&value),
            }
        }
    }
    // SAFETY: constants of C, which nothing writes to.
    unsafe {
        Constants {
            comm_world: handle(ffi::RSMPI_COMM_WORLD),
            uint8: handle(ffi::RSMPI_UINT8_T),
            uint64: handle(ffi::RSMPI_UINT64_T),
            int64: handle(ffi::RSMPI_INT64_T),
            double: handle(ffi::RSMPI_DOUBLE),
            sum: handle(ffi::RSMPI_SUM),
            min: handle(ffi::RSMPI_MIN),
            max: handle(ffi::RSMPI_MAX),
            info_null: handle(ffi::RSMPI_INFO_NULL),
            comm_type_shared: ffi::RSMPI_COMM_TYPE_SHARED,
            thread_funneled: ffi::RSMPI_THREAD_FUNNELED,
            undefined: ffi::RSMPI_UNDEFINED,
            any_source: ffi::RSMPI_ANY_SOURCE,
            any_tag: ffi::RSMPI_ANY_TAG,
            are_ints: size_of::<ffi::MPI_Comm>() == 4,
        }
    }
}
