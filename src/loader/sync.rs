//! The locks and atomics between reader threads and the train loop: the system's own, and in unit tests those of a
//! scheduler that tries orders of steps (`shuttle`).

#[cfg(not(test))]
pub(super) use parking_lot::{Condvar, Mutex, MutexGuard};
#[cfg(not(test))]
pub(super) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};

#[cfg(test)]
pub(super) use explored::{Condvar, Mutex, MutexGuard};
#[cfg(test)]
pub(super) use shuttle::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};

/// Sleeps until the bell rings, at most `longest`.
pub(super) fn wait<'a, T>(
    bell: &Condvar,
    guard: MutexGuard<'a, T>,
    longest: std::time::Duration,
) -> MutexGuard<'a, T> {
    #[cfg(not(test))]
    {
        let mut guard = guard;
        bell.wait_for(&mut guard, longest);
        guard
    }
    #[cfg(test)]
    bell.wait_for(guard, longest)
}

/// parking_lot's interface over shuttle's types. Nothing times out there: a wake-up that is lost is a deadlock, which
/// shuttle reports.
#[cfg(test)]
mod explored {
    use std::time::Duration;

    pub(in crate::loader) type MutexGuard<'a, T> = shuttle::sync::MutexGuard<'a, T>;

    #[derive(Default)]
    pub(in crate::loader) struct Mutex<T>(shuttle::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(in crate::loader) fn new(value: T) -> Self {
            Mutex(shuttle::sync::Mutex::new(value))
        }
        pub(in crate::loader) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap()
        }
    }

    #[derive(Default)]
    pub(in crate::loader) struct Condvar(shuttle::sync::Condvar);

    impl Condvar {
        pub(in crate::loader) fn wait_for<'a, T>(
            &self,
            guard: MutexGuard<'a, T>,
            _: Duration,
        ) -> MutexGuard<'a, T> {
            self.0.wait(guard).unwrap()
        }
        pub(in crate::loader) fn notify_all(&self) {
            self.0.notify_all();
        }
    }
}
