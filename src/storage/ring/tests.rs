use super::*;
use crate::storage::calls::Calls;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use parking_lot::Mutex;

fn bodies(count: usize, body: impl Fn(usize) + Clone + 'static) -> Vec<Box<dyn FnOnce()>> {
    let body = |number| {
        let body = body.clone();
        Box::new(move || body(number)) as Box<dyn FnOnce()>
    };
    (0..count).map(body).collect()
}

fn ring(tasks: usize) -> (Ring, Arc<Bell>) {
    let bell = Arc::new(Bell::new().unwrap());
    (Ring::new(tasks, bell.clone()).unwrap(), bell)
}

#[test]
fn tasks_read_side_by_side_what_the_file_holds() {
    let bytes: Vec<u8> = (0..100_000_u32).map(|i| (i * 7 % 251) as u8).collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &bytes).unwrap();
    let (path, seen) = (file.path().to_path_buf(), Arc::new(Mutex::new(Vec::new())));
    let pieces = Arc::new(Mutex::new(vec![Vec::new(); 9]));
    let (mut ring, _) = ring(9);
    let (order, into) = (seen.clone(), pieces.clone());
    let all = bodies(9, move |number| {
        let mut calls = Calls::default();
        let file = calls.open(&path, 0).unwrap();
        order.lock().push(number);
        let mut buffer = [0; 1000];
        let mut at = 0;
        loop {
            let got = calls.read(&file, &mut buffer, at, 0).unwrap();
            if got == 0 {
                break;
            }
            at += got as u64;
            into.lock()[number].extend_from_slice(&buffer[..got]);
        }
        let missing = calls.open(Path::new("/nowhere/x"), 0).unwrap_err();
        assert_eq!(missing.raw_os_error(), Some(libc::ENOENT));
    });
    ring.run(all, &|| {}).unwrap();
    assert!(pieces.lock().iter().all(|piece| *piece == bytes));
    assert_eq!(seen.lock().len(), 9);
    assert!(!is_task());
}

#[test]
fn pauses_end_in_the_order_of_their_times() {
    let ended = Arc::new(Mutex::new(Vec::new()));
    let (mut ring, _) = ring(3);
    let (list, start) = (ended.clone(), now_ns());
    let all = bodies(3, move |number| {
        let at = start + [30_000_000, 10_000_000, 20_000_000][number];
        pause_until(at);
        assert!(now_ns() >= at && is_task());
        list.lock().push(number);
    });
    ring.run(all, &|| {}).unwrap();
    assert_eq!(*ended.lock(), [1, 2, 0]);
}

#[test]
fn another_thread_wakes_waiting_tasks_and_the_ring_can_run_again() {
    let (mut ring, bell) = ring(4);
    for _ in 0..50 {
        let (count, is_over) = (
            Arc::new(AtomicUsize::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let (arrived, over) = (count.clone(), is_over.clone());
        let all = bodies(4, move |_| {
            arrived.fetch_add(1, SeqCst);
            while !over.load(SeqCst) {
                wait_unless(|| over.load(SeqCst));
            }
        });
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while count.load(SeqCst) < 4 {
                    std::thread::sleep(Duration::from_micros(50));
                }
                is_over.store(true, SeqCst);
                bell.ring();
            });
            ring.run(all, &|| {}).unwrap();
        });
        assert_eq!(ring.stacks.len(), 4, "the stacks of one run serve the next");
    }
}
