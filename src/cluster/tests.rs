//! What any [`Cluster`] must do, over threads and over MPI itself, and the meeting of its ranks.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use super::threads::{Threads, run, try_run};
use super::{Cluster, Meeting, Mpi, Solo, library, start};
use crate::clock::thread_cpu_ns;

/// Nodes of 1 to 8 ranks: one node, one per rank, and nodes of unequal size with ranks in turn.
pub(crate) fn layouts() -> Vec<Vec<usize>> {
    let mut all = vec![vec![0, 0, 0, 1, 2, 2], vec![0, 1, 0, 1, 1]];
    for ranks in 1..=8 {
        all.push(vec![0; ranks]);
        all.push((0..ranks).collect());
    }
    all
}

/// Calls every method; what each has to return follows from the ranks' numbers.
pub(crate) fn conforms(cluster: &dyn Cluster) {
    let (rank, size) = (cluster.rank() as u64, cluster.size() as u64);
    let nodes = cluster.node_of_rank();
    let node = nodes[cluster.rank()];
    assert_eq!(nodes.len(), cluster.size());
    let on_node: Vec<usize> = (0..nodes.len()).filter(|&r| nodes[r] == node).collect();
    assert_eq!(on_node.len(), cluster.local_size());
    assert_eq!(on_node[cluster.local_rank()], cluster.rank());
    assert_eq!(cluster.host_names().len(), nodes.iter().max().unwrap() + 1);
    assert!(!cluster.library().is_empty());
    cluster.barrier();
    for len in [0, 1, 100_000] {
        // The others' buffers have any length.
        let mut bytes = vec![rank as u8; if rank == 0 { len } else { rank as usize }];
        cluster.broadcast(&mut bytes);
        assert_eq!(bytes, vec![0; len]);
    }
    let mut values = [rank, 2 * rank + 1, u64::MAX - rank];
    cluster.sum_u64(&mut values[..2]);
    assert_eq!(values[..2], [size * (size - 1) / 2, size * size]);
    cluster.min_u64(&mut values[2..]);
    assert_eq!(values[2], u64::MAX - (size - 1));
    let mut values = [rank, size - rank];
    cluster.max_u64(&mut values);
    assert_eq!(values, [size - 1, size]);
    cluster.max_u64(&mut []);
    // Of words with the highest bit and without it, and by each way.
    let high = |rank: u64| if rank == 0 { u64::MAX - 5 } else { rank };
    let mut both = [high(rank), !high(rank)];
    cluster.max_u64(&mut both[..1]);
    cluster.min_u64(&mut both[1..]);
    assert_eq!(both, [u64::MAX - 5, 5]);
    assert_eq!(cluster.max_pair([high(rank), 0]), [u64::MAX - 5, 0]);
    assert_eq!(cluster.max_u64_patiently(high(rank)), u64::MAX - 5);
    let mut halves = [0.5 * rank as f64, 0.25];
    cluster.sum_f64(&mut halves);
    let size_f = size as f64;
    assert_eq!(halves, [0.25 * size_f * (size_f - 1.0), 0.25 * size_f]);
    // Rank 0 and the even ones bring nothing.
    let length = |rank: u64| (rank % 2 * rank * 1000) as usize;
    let gathered = cluster.gather(&vec![rank as u8; length(rank)]);
    let expected = (0..size).map(|r| vec![r as u8; length(r)]).collect();
    assert_eq!(gathered, (rank == 0).then_some(expected));
    let part = |from: u64, to: u64| vec![(from * 16 + to) as u8; (from * to) as usize];
    let got = cluster.all_to_all((0..size).map(|to| part(rank, to)).collect());
    let expected: Vec<_> = (0..size).map(|from| part(from, rank)).collect();
    assert_eq!(got, expected);
    assert_eq!(cluster.max_pair([rank, 9 - rank]), [size - 1, 9]);
    assert_eq!(cluster.max_u64_patiently(rank * 3), (size - 1) * 3);
    cluster.progress();
    // Of each node the leader's rank, then over nodes: the highest of the lowest ranks.
    if cluster.local_rank() == 0 {
        let last = cluster.host_names().len() - 1;
        let highest = nodes.iter().position(|&n| n == last).unwrap() as u64;
        for spins in [false, true] {
            let max = cluster.leaders_max([rank, last as u64 - node as u64], spins);
            assert_eq!(max, [highest, last as u64]);
        }
    }
    let words = cluster.node_shared(3);
    assert_eq!(words.len(), 3);
    words[1].fetch_add(rank + 1, SeqCst);
    cluster.barrier();
    let sum = on_node.iter().map(|&r| r as u64 + 1).sum();
    assert_eq!((words[0].load(SeqCst), words[1].load(SeqCst)), (0, sum));
    cluster.barrier();
}

/// Parts of a job are jobs: of two colors at once, of the first ranks while the others wait, and of parts of parts.
pub(crate) fn splits(cluster: &dyn Cluster) {
    let rank = cluster.rank();
    let part = cluster.split(Some(rank as u16 % 2)).unwrap();
    let same: Vec<usize> = (0..cluster.size()).filter(|r| r % 2 == rank % 2).collect();
    assert_eq!((part.size(), part.rank()), (same.len(), rank / 2));
    let host = |c: &dyn Cluster, rank: usize| c.host_names()[c.node_of_rank()[rank]].clone();
    for (own, &whole) in same.iter().enumerate() {
        assert_eq!(host(&*part, own), host(cluster, whole));
    }
    conforms(&*part);
    drop(part);
    for first in [1, cluster.size().div_ceil(2), cluster.size()] {
        let part = cluster.split((rank < first).then_some(0));
        assert_eq!(part.is_some(), rank < first);
        if let Some(part) = part {
            conforms(&*part);
            let single = part.split(Some(rank as u16)).unwrap();
            assert_eq!(single.size(), 1);
            conforms(&*single);
        }
        cluster.barrier();
    }
}

#[test]
fn threads_and_a_rank_alone_do_what_a_cluster_must() {
    let alone = Solo::new("here".into());
    conforms(&alone);
    splits(&alone);
    for nodes in layouts() {
        run(&nodes, |cluster| {
            conforms(cluster);
            splits(cluster);
        });
    }
}

#[test]
fn a_rank_that_panics_in_a_part_ends_all_of_it_and_those_that_wait_outside() {
    let made = try_run(&[0, 0, 1], |cluster| {
        let part = cluster.split((cluster.rank() < 2).then_some(0));
        assert_ne!(cluster.rank(), 1, "on purpose");
        if let Some(part) = part {
            part.barrier();
        }
        cluster.barrier();
    });
    assert_eq!(made, [None, None, None]);
}

#[test]
fn a_rank_that_panics_ends_the_others_in_any_collective() {
    let made = try_run(&[0, 0, 1], |cluster| {
        assert_ne!(cluster.rank(), 2, "on purpose");
        cluster.barrier();
    });
    assert_eq!(made, [None, None, None]);
    let made = try_run(&[0, 1], |cluster| match cluster.rank() {
        0 => cluster.barrier(),
        _ => cluster.max_u64(&mut [1]),
    });
    assert_eq!(made, [None, None]);
}

/// Ranks spin on this many CPUs, and on one they do not.
const CPUS: [usize; 2] = [1, 64];

/// Rank `rank` brings these to meeting `number`.
fn brought(rank: u64, number: u64) -> [u64; 2] {
    let mixed = (rank + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number.wrapping_mul(0xbf58_476d);
    [mixed % 1000, mixed.rotate_left(17)]
}

fn meets(cluster: &dyn Cluster, cpus: usize, begun: &AtomicU64, meetings: u64) {
    let meeting = Meeting::new(cluster, 2, 0..cpus);
    let size = cluster.size() as u64;
    for number in 0..meetings {
        begun.fetch_add(1, SeqCst);
        let max = meeting.meet(brought(cluster.rank() as u64, number));
        // Nobody leaves before all have come, nor is anyone two meetings ahead.
        let seen = begun.load(SeqCst);
        let first = (number + 1) * size;
        assert!((first..first + size).contains(&seen), "{seen} of {first}");
        let expected = (0..size)
            .map(|rank| brought(rank, number))
            .reduce(|a, b| [a[0].max(b[0]), a[1].max(b[1])]);
        assert_eq!(Some(max), expected);
    }
}

#[test]
fn a_meeting_returns_the_maximum_when_all_have_come() {
    for nodes in layouts() {
        for cpus in CPUS {
            let begun = AtomicU64::new(0);
            run(&nodes, |cluster| meets(cluster, cpus, &begun, 300));
        }
    }
}

#[test]
fn a_meeting_does_not_end_when_its_count_wraps() {
    // The sense is the lowest bit of a count of 32 bits.
    run(&[0, 0, 1], |cluster| {
        let meeting = Meeting::new(cluster, 1, 0..1);
        meeting.begin_at(u32::MAX - 1);
        for number in 0..5 {
            let max = meeting.meet([number + cluster.rank() as u64, 0]);
            assert_eq!(max, [number + 2, 0]);
        }
    });
}

#[test]
fn a_rank_that_waits_leaves_the_cpu_to_those_that_are_late() {
    let late = Duration::from_millis(300);
    for nodes in [[0, 0], [0, 1]] {
        let used = run(&nodes, |cluster: &Threads| {
            let meeting = Meeting::new(cluster, 2, 0..1);
            if cluster.rank() == 1 {
                std::thread::sleep(late);
            }
            let before = thread_cpu_ns();
            meeting.meet([0, 0]);
            thread_cpu_ns() - before
        });
        // A rank that spins uses all of it.
        assert!(u128::from(used[0]) < late.as_nanos() / 4, "{used:?} ns");
    }
}

#[test]
fn a_rank_that_panics_ends_those_that_wait_in_a_meeting() {
    for nodes in [[0, 0, 0], [0, 0, 1], [0, 1, 1]] {
        let made = try_run(&nodes, |cluster| {
            let meeting = Meeting::new(cluster, 2, 0..1);
            assert_ne!(cluster.rank(), 2, "on purpose");
            meeting.meet([0, 0]);
        });
        assert_eq!(made, [None, None, None]);
    }
}

/// Set for the processes that a test starts as ranks.
const IS_RANK: &str = "DLIO_RS_TEST_IS_RANK";

/// The MPI library of the launcher: linked where this binary is, else chosen; or opened by its file in any case.
fn start_rank(how: &str) -> Box<dyn Cluster> {
    if how == "opened" {
        let library = library::tests::opened();
        return Box::new(Mpi::start(library, "here").unwrap());
    }
    start(&|name| std::env::var(name).ok(), "here".into(), None).unwrap()
}

/// This test starts itself under a launcher and is then one of the ranks.
#[test]
fn mpi_does_what_a_cluster_must_and_its_ranks_meet() {
    if let Ok(how) = std::env::var(IS_RANK) {
        let cluster = start_rank(&how);
        conforms(&*cluster);
        splits(&*cluster);
        for cpus in CPUS {
            // One count for each meeting's end, since the ranks are processes.
            let begun = &cluster.node_shared(1)[0];
            meets(&*cluster, cpus, begun, 50);
        }
        cluster.barrier();
        return;
    }
    let launcher = std::env::var("MPIRUN").unwrap_or_else(|_| "mpirun".into());
    for (ranks, how) in [1, 2, 5, 8]
        .into_iter()
        .flat_map(|n| [(n, "chosen"), (n, "opened")])
    {
        let out = std::process::Command::new(&launcher)
            .args(["--allow-run-as-root", "--bind-to", "none"])
            .args([
                "--timeout",
                "900",
                "--oversubscribe",
                "-np",
                &ranks.to_string(),
            ])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "--test-threads", "1"])
            .arg("cluster::tests::mpi_does_what_a_cluster_must_and_its_ranks_meet")
            .env(IS_RANK, how)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&out.stdout);
        let error = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{ranks} ranks, {how}:\n{text}{error}");
        assert_eq!(text.matches("1 passed").count(), ranks, "{text}");
    }
}
