//! Checkpoints of a job of two nodes.

use std::time::Duration;

use super::*;
use crate::cluster::threads;
use crate::config::Workload;
use crate::run::RunOptions;
use crate::run::watch::Board;

const NODES: [usize; 4] = [0, 0, 1, 1];

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
    let run = |is_load: bool| {
        threads::run(&NODES, |cluster| -> Result<()> {
            let options = RunOptions {
                stall_timeout: Duration::ZERO,
                memory: None,
                virtual_time: false,
                drop_timeout: None,
            };
            let board = Board::lay_out(cluster, 32);
            let job = JobContext::new(cluster, &w, options, &board);
            let mut events = Events::default();
            let mut checkpointer = Checkpointer::new(&job, &mut events)?;
            if is_load {
                checkpointer.check_loadable(&[moment])?;
                checkpointer.load(&mut events, moment)
            } else {
                checkpointer.save(&mut events, moment)
            }
        })
    };
    for saved in run(false) {
        saved.unwrap();
    }
    for loaded in run(true) {
        loaded.unwrap();
    }
    // Of the files of the first node one is lost: its own ranks do not need it, one of the second node does.
    let name = "zero_pp_rank_1_mp_rank_0_model_states.pt";
    std::fs::remove_file(scratch.path().join("global_epoch1_step1").join(name)).unwrap();
    let loaded = run(true);
    assert!(loaded.iter().all(Result::is_err));
    let error = loaded[0].as_ref().unwrap_err().to_string();
    assert!(error.contains("rank 3 on node1"), "{error}");
    assert!(error.contains(name), "{error}");
}
