//! The functions of MPI that are used: their addresses, whoever found them, and calls of them in Rust's types.

use std::ffi::{CStr, c_char, c_int, c_void};

use super::constants::{Constants, Handle};

/// Bytes enough for an MPI_Status of every ABI: 20 (MPICH), 24 (Open MPI), 32 (standard).
type Status = [u64; 8];

/// MPI_Aint of every ABI.
type Aint = isize;

macro_rules! functions {
    ($($name:ident = $symbol:ident($($argument:ty),*);)*) => {
        /// Addresses of MPI's functions.
        #[derive(Clone, Copy)]
        pub(in crate::cluster) struct Functions {
            $($name: unsafe extern "C" fn($($argument),*) -> c_int,)*
        }

        impl Functions {
            /// Errors: the name of the first function that `address` does not know.
            pub(super) fn find(address: impl Fn(&CStr) -> *const c_void) -> Result<Self, &'static str> {
                Ok(Functions {
                    $($name: {
                        let name = concat!(stringify!($symbol), "\0");
                        let name = CStr::from_bytes_with_nul(name.as_bytes()).expect("one zero byte, at the end");
                        let address = address(name);
                        if address.is_null() {
                            return Err(stringify!($symbol));
                        }
                        // SAFETY: a function of this name in a library of MPI has these parameters, see `Handle`.
                        unsafe { std::mem::transmute::<*const c_void, unsafe extern "C" fn($($argument),*) -> c_int>(address) }
                    },)*
                })
            }

            /// Those that the binary is linked with.
            #[cfg(feature = "mpi-linked")]
            pub(super) fn linked() -> Self {
                Functions {
                    $($name: {
                        let address = mpi::ffi::$symbol as *const c_void;
                        // SAFETY: as in `find`.
                        unsafe { std::mem::transmute::<*const c_void, unsafe extern "C" fn($($argument),*) -> c_int>(address) }
                    },)*
                }
            }
        }
    };
}

functions! {
    library_version = MPI_Get_library_version(*mut c_char, *mut c_int);
    initialized = MPI_Initialized(*mut c_int);
    init_thread = MPI_Init_thread(*mut c_int, *mut *mut *mut c_char, c_int, *mut c_int);
    finalize = MPI_Finalize();
    comm_rank = MPI_Comm_rank(Handle, *mut c_int);
    comm_size = MPI_Comm_size(Handle, *mut c_int);
    comm_split = MPI_Comm_split(Handle, c_int, c_int, *mut Handle);
    comm_split_type = MPI_Comm_split_type(Handle, c_int, c_int, Handle, *mut Handle);
    comm_free = MPI_Comm_free(*mut Handle);
    barrier = MPI_Barrier(Handle);
    bcast = MPI_Bcast(*mut c_void, c_int, Handle, c_int, Handle);
    allreduce = MPI_Allreduce(*const c_void, *mut c_void, c_int, Handle, Handle, Handle);
    iallreduce = MPI_Iallreduce(*const c_void, *mut c_void, c_int, Handle, Handle, Handle, *mut Handle);
    allgather = MPI_Allgather(*const c_void, c_int, Handle, *mut c_void, c_int, Handle, Handle);
    gatherv = MPI_Gatherv(*const c_void, c_int, Handle, *mut c_void, *const c_int, *const c_int, Handle, c_int, Handle);
    alltoall = MPI_Alltoall(*const c_void, c_int, Handle, *mut c_void, c_int, Handle, Handle);
    alltoallv = MPI_Alltoallv(*const c_void, *const c_int, *const c_int, Handle, *mut c_void, *const c_int, *const c_int, Handle, Handle);
    test = MPI_Test(*mut Handle, *mut c_int, *mut Status);
    iprobe = MPI_Iprobe(c_int, c_int, Handle, *mut c_int, *mut Status);
    win_allocate_shared = MPI_Win_allocate_shared(Aint, c_int, Handle, Handle, *mut *mut c_void, *mut Handle);
    win_shared_query = MPI_Win_shared_query(Handle, c_int, *mut Aint, *mut c_int, *mut *mut c_void);
    win_free = MPI_Win_free(*mut Handle);
}

/// A type whose values are reduced.
pub(in crate::cluster) trait Datum: Copy {
    /// The type that MPI takes the values for.
    fn handle(constants: &Constants, operation: Operation) -> Handle;
    /// A value as MPI gets it, and back again.
    fn coded(self, operation: Operation) -> Self;
}

/// Compared as signed numbers, with the highest bit changed, which keeps their order: MPICH 4.0 compares unsigned words of 64
/// bits as if they were signed.
impl Datum for u64 {
    fn handle(constants: &Constants, operation: Operation) -> Handle {
        match operation {
            Operation::Sum => constants.uint64,
            Operation::Min | Operation::Max => constants.int64,
        }
    }
    fn coded(self, operation: Operation) -> Self {
        match operation {
            Operation::Sum => self,
            Operation::Min | Operation::Max => self ^ (1 << 63),
        }
    }
}

impl Datum for f64 {
    fn handle(constants: &Constants, _: Operation) -> Handle {
        constants.double
    }
    fn coded(self, _: Operation) -> Self {
        self
    }
}

fn code<T: Datum>(values: &mut [T], operation: Operation) {
    for value in values {
        *value = value.coded(operation);
    }
}

/// What a reduction makes of two values.
#[derive(Debug, Clone, Copy)]
pub(in crate::cluster) enum Operation {
    Sum,
    Min,
    Max,
}

/// What `MPI_Get_library_version` writes at most, bytes: 256 (Open MPI), 8192 (MPICH and the standard).
const VERSION_BYTES: usize = 8192;

/// Calls of MPI. Errors end the job inside of the library (MPI_ERRORS_ARE_FATAL), so no status is looked at, except before
/// MPI_Init. The SAFETY of all calls: handles come from the same library, buffers are as long as the counts given, and live
/// through the call.
#[derive(Clone, Copy)]
pub(in crate::cluster) struct Calls {
    functions: Functions,
    pub(super) constants: Constants,
}

/// Where empty slices are for MPI, to send from and to receive into: their own dangling address can be that of MPI_IN_PLACE,
/// which is 1 in Open MPI.
static EMPTY: [u64; 2] = [0; 2];

fn from<T>(slice: &[T]) -> *const c_void {
    if slice.is_empty() {
        (&raw const EMPTY[0]).cast()
    } else {
        slice.as_ptr().cast()
    }
}

fn into<T>(slice: &mut [T]) -> *mut c_void {
    if slice.is_empty() {
        // Nothing is written there.
        (&raw const EMPTY[1]).cast_mut().cast()
    } else {
        slice.as_mut_ptr().cast()
    }
}

fn count<T>(slice: &[T]) -> c_int {
    c_int::try_from(slice.len()).expect("callers keep within a 32-bit count")
}

impl Calls {
    pub(super) fn new(functions: Functions, constants: Constants) -> Self {
        Calls {
            functions,
            constants,
        }
    }

    /// MPI_COMM_WORLD.
    pub(in crate::cluster) fn world(&self) -> Handle {
        self.constants.comm_world
    }

    /// The text by which the library names itself. Also before MPI_Init.
    pub(in crate::cluster) fn version(&self) -> String {
        version(self.functions.library_version)
    }

    /// Whether MPI_Init has been called.
    pub(in crate::cluster) fn is_initialized(&self) -> bool {
        let mut flag = 0;
        // SAFETY: see the type.
        unsafe { (self.functions.initialized)(&mut flag) };
        flag != 0
    }

    /// MPI_Init_thread; false when it gives less than MPI_THREAD_FUNNELED.
    pub(in crate::cluster) fn init_funneled(&self) -> bool {
        let mut given = 0;
        let wanted = self.constants.thread_funneled;
        let nothing = std::ptr::null_mut();
        // SAFETY: see the type; null arguments are allowed since MPI-2.
        unsafe { (self.functions.init_thread)(nothing, std::ptr::null_mut(), wanted, &mut given) };
        given >= wanted
    }

    pub(in crate::cluster) fn finalize(&self) {
        // SAFETY: see the type.
        unsafe { (self.functions.finalize)() };
    }

    pub(in crate::cluster) fn rank(&self, comm: Handle) -> usize {
        let mut rank = 0;
        // SAFETY: see the type.
        unsafe { (self.functions.comm_rank)(comm, &mut rank) };
        rank as usize
    }

    pub(in crate::cluster) fn size(&self, comm: Handle) -> usize {
        let mut size = 0;
        // SAFETY: see the type.
        unsafe { (self.functions.comm_size)(comm, &mut size) };
        size as usize
    }

    /// Ranks of one `color`, ordered by `key`; without a color: none. A collective.
    pub(in crate::cluster) fn split(
        &self,
        comm: Handle,
        color: Option<c_int>,
        key: usize,
    ) -> Option<Handle> {
        let mut made = 0;
        let number = color.unwrap_or(self.constants.undefined);
        // SAFETY: see the type.
        unsafe { (self.functions.comm_split)(comm, number, key as c_int, &mut made) };
        color.map(|_| self.constants.handle(made))
    }

    /// Ranks that can share memory, ordered by `key`. A collective.
    pub(in crate::cluster) fn split_shared(&self, comm: Handle, key: usize) -> Handle {
        let mut made = 0;
        let (kind, info) = (self.constants.comm_type_shared, self.constants.info_null);
        // SAFETY: see the type.
        unsafe { (self.functions.comm_split_type)(comm, kind, key as c_int, info, &mut made) };
        self.constants.handle(made)
    }

    pub(in crate::cluster) fn free(&self, mut comm: Handle) {
        // SAFETY: see the type.
        unsafe { (self.functions.comm_free)(&mut comm) };
    }

    pub(in crate::cluster) fn barrier(&self, comm: Handle) {
        // SAFETY: see the type.
        unsafe { (self.functions.barrier)(comm) };
    }

    /// Rank 0's bytes, of one length on all ranks.
    pub(in crate::cluster) fn broadcast(&self, comm: Handle, bytes: &mut [u8]) {
        let n = count(bytes);
        // SAFETY: see the type.
        unsafe { (self.functions.bcast)(into(bytes), n, self.constants.uint8, 0, comm) };
    }

    fn operation(&self, operation: Operation) -> Handle {
        match operation {
            Operation::Sum => self.constants.sum,
            Operation::Min => self.constants.min,
            Operation::Max => self.constants.max,
        }
    }

    /// `send` is left as MPI got it.
    pub(in crate::cluster) fn all_reduce<T: Datum>(
        &self,
        comm: Handle,
        send: &mut [T],
        result: &mut [T],
        operation: Operation,
    ) {
        assert_eq!(send.len(), result.len(), "a result for each value");
        code(send, operation);
        let kind = T::handle(&self.constants, operation);
        let (n, handle) = (count(send), self.operation(operation));
        // SAFETY: see the type.
        unsafe { (self.functions.allreduce)(from(send), into(result), n, kind, handle, comm) };
        code(result, operation);
    }

    /// The maximum, elementwise; `meanwhile` is called as long as others are late. `send` is left as MPI got it.
    pub(in crate::cluster) fn max_patiently(
        &self,
        comm: Handle,
        send: &mut [u64],
        result: &mut [u64],
        mut meanwhile: impl FnMut(),
    ) {
        assert_eq!(send.len(), result.len(), "a result for each value");
        code(send, Operation::Max);
        let kind = u64::handle(&self.constants, Operation::Max);
        let max = self.constants.max;
        let (mut request, mut done) = (0, 0);
        let mut status = Status::default();
        let (n, to) = (count(send), into(result));
        // SAFETY: see the type; both buffers are borrowed until the request is complete, which is before this returns:
        // `meanwhile` must not unwind, and the process aborts where it panics.
        unsafe {
            (self.functions.iallreduce)(from(send), to, n, kind, max, comm, &mut request);
            loop {
                (self.functions.test)(&mut request, &mut done, &mut status);
                if done != 0 {
                    break;
                }
                meanwhile();
            }
        }
        code(result, Operation::Max);
    }

    /// Every rank's value, in rank order.
    pub(in crate::cluster) fn all_gather(&self, comm: Handle, value: u64, all: &mut [u64]) {
        let kind = self.constants.uint64;
        // SAFETY: see the type; `all` has a place for each rank.
        unsafe {
            (self.functions.allgather)((&raw const value).cast(), 1, kind, into(all), 1, kind, comm)
        };
    }

    /// Sends bytes to rank 0, which gets all ranks' in `received`: by rank, as many as `counts`, from `places` on. The others
    /// leave these empty.
    pub(in crate::cluster) fn gather(
        &self,
        comm: Handle,
        bytes: &[u8],
        received: &mut [u8],
        (counts, places): (&[c_int], &[c_int]),
    ) {
        let (byte, n) = (self.constants.uint8, count(bytes));
        let (counts, places) = (from(counts).cast(), from(places).cast());
        // SAFETY: see the type.
        unsafe {
            (self.functions.gatherv)(
                from(bytes),
                n,
                byte,
                into(received),
                counts,
                places,
                byte,
                0,
                comm,
            )
        };
    }

    /// Sends `values[i]` to rank i; `received[i]` is what rank i sent.
    pub(in crate::cluster) fn exchange(&self, comm: Handle, values: &[u64], received: &mut [u64]) {
        let kind = self.constants.uint64;
        // SAFETY: see the type; both slices have a place for each rank.
        unsafe { (self.functions.alltoall)(from(values), 1, kind, into(received), 1, kind, comm) };
    }

    /// The same with bytes: to and from each rank, as many as the counts, from these places on.
    pub(in crate::cluster) fn exchange_bytes(
        &self,
        comm: Handle,
        (send, send_counts, send_places): (&[u8], &[c_int], &[c_int]),
        (received, counts, places): (&mut [u8], &[c_int], &[c_int]),
    ) {
        let byte = self.constants.uint8;
        // SAFETY: see the type.
        unsafe {
            (self.functions.alltoallv)(
                from(send),
                from(send_counts).cast(),
                from(send_places).cast(),
                byte,
                into(received),
                from(counts).cast(),
                from(places).cast(),
                byte,
                comm,
            )
        };
    }

    /// Looks for a message of anyone; the library moves others' on the way.
    pub(in crate::cluster) fn probe(&self, comm: Handle) {
        let (source, tag) = (self.constants.any_source, self.constants.any_tag);
        let (mut flag, mut status) = (0, Status::default());
        // SAFETY: see the type.
        unsafe { (self.functions.iprobe)(source, tag, comm, &mut flag, &mut status) };
    }

    /// Memory that the ranks of `node` share: of `bytes` bytes, which rank 0 gives. Returns the window, and where the memory is
    /// in this process. A collective.
    pub(in crate::cluster) fn share(&self, node: Handle, bytes: usize) -> (Handle, *mut u8) {
        let mine = if self.rank(node) == 0 { bytes } else { 0 };
        let (mut own, mut base) = (std::ptr::null_mut(), std::ptr::null_mut());
        let (mut window, mut size, mut unit) = (0, 0, 0);
        let info = self.constants.info_null;
        // SAFETY: see the type.
        unsafe {
            (self.functions.win_allocate_shared)(
                mine as Aint,
                8,
                info,
                node,
                &mut own,
                &mut window,
            );
            window = self.constants.handle(window);
            (self.functions.win_shared_query)(window, 0, &mut size, &mut unit, &mut base);
        }
        (window, base.cast())
    }

    /// Frees what `share` made. A collective.
    pub(in crate::cluster) fn unshare(&self, mut window: Handle) {
        // SAFETY: see the type; nothing reads the memory any more.
        unsafe { (self.functions.win_free)(&mut window) };
    }
}

/// `MPI_Get_library_version` at its address.
pub(super) fn version(
    library_version: unsafe extern "C" fn(*mut c_char, *mut c_int) -> c_int,
) -> String {
    let mut text = vec![0u8; VERSION_BYTES];
    let mut length = 0;
    // SAFETY: the buffer holds what any library writes.
    unsafe { library_version(text.as_mut_ptr().cast(), &mut length) };
    text.truncate(usize::try_from(length).unwrap_or(0));
    String::from_utf8_lossy(&text).into_owned()
}

/// The line of a library's version that names it.
pub(in crate::cluster) fn first_line(version: &str) -> String {
    let line = version.lines().next().unwrap_or_default();
    match line.trim_end_matches(['\0', ' ']) {
        "" => "unknown".into(),
        line => line.into(),
    }
}
