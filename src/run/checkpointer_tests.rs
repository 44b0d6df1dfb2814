//! Ranks of a job of two nodes, played one after another.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use super::*;
use crate::cluster::{Cluster, Solo};
use crate::config::Workload;
use crate::run::RunOptions;
use crate::run::watch::Board;

/// Rank `rank` of four, two per node, alone with itself in every collective.
struct Played {
    solo: Solo,
    rank: usize,
}

const NODES: [usize; 4] = [0, 0, 1, 1];

impl Cluster for Played {
    fn rank(&self) -> usize {
        self.rank
    }
    fn size(&self) -> usize {
        NODES.len()
    }
    fn local_rank(&self) -> usize {
        0
    }
    fn local_size(&self) -> usize {
        2
    }
    fn node_of_rank(&self) -> &[usize] {
        &NODES
    }
    fn host_names(&self) -> &[String] {
        self.solo.host_names()
    }
    fn library(&self) -> &str {
        self.solo.library()
    }
    fn barrier(&self) {}
    fn broadcast(&self, _: &mut Vec<u8>) {}
    fn sum_u64(&self, _: &mut [u64]) {}
    fn min_u64(&self, _: &mut [u64]) {}
    fn max_u64(&self, _: &mut [u64]) {}
    fn sum_f64(&self, _: &mut [f64]) {}
    fn gather(&self, bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
        Some(vec![bytes.to_vec()])
    }
    fn all_to_all(&self, parts: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        parts
    }
    fn max_pair(&self, pair: [u64; 2]) -> [u64; 2] {
        pair
    }
    fn max_u64_patiently(&self, value: u64) -> u64 {
        value
    }
    fn node_shared(&self, words: usize) -> &'static [AtomicU64] {
        self.solo.node_shared(words)
    }
    fn abort(&self, status: i32) -> ! {
        self.solo.abort(status)
    }
}

fn workload(folder: &Path) -> Workload {
    let mut w = Workload::default();
    w.workflow.checkpoint = true;
    w.workflow.train = false;
    w.checkpoint.checkpoint_folder = folder.display().to_string();
    w.checkpoint.recovery_rank_shift = true;
    w.checkpoint.verify_content = true;
    w.framework = crate::config::Framework::PyTorch;
    w.model.kind = Some("transformer".into());
    w.model.num_layers = 1;
    w.model.parallelism.zero_stage = 3;
    let t = &mut w.model.transformer;
    t.hidden_size = 64;
    t.ffn_hidden_size = 64;
    t.vocab_size = 64;
    t.num_attention_heads = 2;
    t.num_kv_heads = 2;
    w
}

#[test]
fn a_rank_recovers_with_the_files_of_the_next_node() {
    let scratch = tempfile::tempdir().unwrap();
    let w = workload(scratch.path());
    let moment = Moment {
        epoch: 1,
        step: 1,
        number: 1,
        taken: 1,
    };
    let play = |rank: usize, is_load: bool| -> Result<(), JobError> {
        let cluster = Played {
            solo: Solo::new("node0".into()),
            rank,
        };
        let options = RunOptions {
            stall_timeout: Duration::ZERO,
            memory: None,
            virtual_time: false,
            drop_timeout: None,
        };
        let board = Board::lay_out(&cluster, 32);
        let job = JobContext::new(&cluster, &w, options, &board);
        let mut events = Events::default();
        let mut checkpointer = Checkpointer::new(&job, &mut events)?;
        if is_load {
            checkpointer.check_loadable(&[moment])?;
            checkpointer.load(&mut events, moment)
        } else {
            checkpointer.save(&mut events, moment)
        }
    };
    for rank in 0..4 {
        play(rank, false).unwrap();
    }
    // The first node's files are lost: its own ranks do not need them, those of the second node do.
    for rank in 0..2 {
        for state in ["model", "optim"] {
            let name = format!("zero_pp_rank_{rank}_mp_rank_0_{state}_states.pt");
            std::fs::remove_file(scratch.path().join("global_epoch1_step1").join(name)).unwrap();
        }
    }
    for rank in 0..2 {
        play(rank, true).unwrap();
    }
    for rank in 2..4 {
        let error = play(rank, true).unwrap_err().to_string();
        let name = format!("zero_pp_rank_{}_mp_rank_0_model_states.pt", rank - 2);
        assert!(error.contains(&name), "{error}");
    }
}
