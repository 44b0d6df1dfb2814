//! Checkpoints that cannot be planned, saved or loaded: each cause is named, and nothing half-written is ever loaded.

use std::io::{Read, Seek, SeekFrom, Write};

use crate::bad_input::Mount;
use crate::checkpoint::tiny;
use crate::ranks::{ranks_of, signal};
use crate::support::*;

const READ_ONLY: &str = "checkpoint.num_checkpoints_write=0";

fn fails(scratch: &Scratch, ranks: usize, words: &[&str], status: i32, said: &[&str]) {
    let mut command = mpirun(ranks);
    command.args(tiny(scratch)).args(words);
    let out = run(command).fails(status, said);
    assert!(!scratch.path("out/summary.json").exists());
    let times = out.stderr.matches(said[0]).count() + out.stdout.matches(said[0]).count();
    assert_eq!(times, 1, "{}", out.text());
}

/// MLCommons' DLIO saves tensors without a container.
#[test]
fn bare_bytes_of_the_planned_tensors_load_and_cannot_be_compared() {
    let scratch = Scratch::new();
    let mut command = solo();
    command
        .args(tiny(&scratch))
        .arg("checkpoint.num_checkpoints_read=0");
    run(command).ok();
    let mut count = 0;
    let folder = scratch.path("ck/global_epoch1_step1");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "pt") {
            continue;
        }
        let file = std::fs::File::open(&path).unwrap();
        let mut archive = zip::ZipArchive::new(file).unwrap();
        let tensors: u64 = (0..archive.len())
            .map(|i| {
                let member = archive.by_index(i).unwrap();
                let is_tensor = member.name().unwrap().contains("/data/");
                if is_tensor { member.size() } else { 0 }
            })
            .sum();
        std::fs::write(&path, vec![0x5a; tensors as usize]).unwrap();
        count += 1;
    }
    assert!(count > 0);
    let load = |verify: bool, out: &str| {
        let mut command = solo();
        command.args(tiny(&scratch)).args([
            READ_ONLY.to_string(),
            "checkpoint.num_checkpoints_read=1".into(),
            format!("checkpoint.verify_content={verify}"),
            format!("output.folder={}", scratch.text(out)),
        ]);
        run(command)
    };
    load(false, "out-load").ok();
    load(true, "out-verify").fails(
        1,
        &[
            "bare bytes of the planned tensors",
            "checkpoint.verify_content=false",
        ],
    );
}

#[test]
fn impossible_plans_end_with_status_2() {
    let scratch = Scratch::new();
    for (ranks, words, said) in [
        (
            2,
            &[
                "model.parallelism.zero_stage=3",
                "model.parallelism.pipeline=2",
            ][..],
            &[
                "model.parallelism.zero_stage: pipeline parallelism and ZeRO stage 3 exclude each other",
            ][..],
        ),
        (
            3,
            &["model.parallelism.tensor=2"],
            &["model.parallelism: 3 ranks are no multiple of tensor 2 x pipeline 1"],
        ),
        (
            2,
            &["checkpoint.mode=subset"],
            &["model.parallelism.data: is not set, and mode subset needs it"],
        ),
        (
            3,
            &["checkpoint.mode=subset", "model.parallelism.data=2"],
            &["model.parallelism: the whole job has 2 ranks, fewer than 3"],
        ),
        (
            2,
            &["model.parallelism.data=2"],
            &["model.parallelism.data: is 2 in mode default"],
        ),
        (
            2,
            &["model.parallelism.zero_stage=4"],
            &["model.parallelism.zero_stage: is 4"],
        ),
        (
            2,
            &["model.parallelism.pipeline=4"],
            &["model.num_layers: 3 layers cannot fill 4 pipeline stages"],
        ),
        (
            2,
            &["model.model_datatype=fp8"],
            &[
                "model.model_datatype=fp8 is no data type of a tensor",
                "one of int8",
            ],
        ),
        (
            2,
            &["checkpoint.num_checkpoints_read=2"],
            &["checkpoint.num_checkpoints_read: 2 reads of 1 checkpoints"],
        ),
        (
            2,
            &[READ_ONLY, "checkpoint.num_checkpoints_read=0"],
            &["checkpoint.num_checkpoints_write: and num_checkpoints_read are both 0 or less"],
        ),
        (
            2,
            &[
                "checkpoint.keep=1",
                "checkpoint.num_checkpoints_write=3",
                "checkpoint.num_checkpoints_read=2",
            ],
            &["checkpoint.keep: 1 is less than checkpoint.num_checkpoints_read=2"],
        ),
        (2, &["checkpoint.keep=0"], &["checkpoint.keep: is 0"]),
        (
            2,
            &["checkpoint.read_threads=0"],
            &["checkpoint.read_threads: is 0"],
        ),
        (
            2,
            &[
                "checkpoint.compression=zstd",
                "checkpoint.compression_level=23",
            ],
            &["checkpoint.compression_level: is 23"],
        ),
        (
            2,
            &["checkpoint.checkpoint_folder=ftp://host/ck"],
            &["checkpoint.checkpoint_folder: "],
        ),
        (
            2,
            &["checkpoint.checkpoint_mechanism_classname=my.Class"],
            &["checkpoint.checkpoint_mechanism_classname"],
        ),
    ] {
        fails(&scratch, ranks, words, 2, said);
    }
    assert!(!scratch.path("ck").exists());
}

fn saved(words: &[&str]) -> Scratch {
    let scratch = Scratch::new();
    let mut command = mpirun(2);
    command.args(tiny(&scratch)).args(words);
    run(command).ok();
    std::fs::remove_dir_all(scratch.path("out")).unwrap();
    scratch
}

const MODEL: &str = "ck/global_epoch1_step1/model_0_model_states.pt";
const OPTIMIZER: &str = "ck/global_epoch1_step1/zero_pp_rank_1_mp_rank_0_optim_states.pt";

#[test]
fn a_missing_short_or_altered_file_is_named() {
    let scratch = saved(&[]);
    let optimizer = std::fs::read(scratch.path(OPTIMIZER)).unwrap();
    std::fs::remove_file(scratch.path(OPTIMIZER)).unwrap();
    fails(
        &scratch,
        2,
        &[READ_ONLY],
        1,
        &[
            "rank 1",
            "zero_pp_rank_1_mp_rank_0_optim_states.pt: it does not exist",
            "remedy: save the checkpoint first",
        ],
    );
    std::fs::write(scratch.path(OPTIMIZER), &optimizer[..optimizer.len() - 1]).unwrap();
    fails(
        &scratch,
        2,
        &[READ_ONLY],
        1,
        &["zero_pp_rank_1_mp_rank_0_optim_states.pt: it does not end as a zip container does"],
    );
    let mut altered = optimizer.clone();
    altered[40_000] ^= 1;
    std::fs::write(scratch.path(OPTIMIZER), &altered).unwrap();
    fails(
        &scratch,
        2,
        &[READ_ONLY],
        1,
        &[
            "zero_pp_rank_1_mp_rank_0_optim_states.pt: byte 40000 (tensor 0) is ",
            "the file was altered",
        ],
    );
    // Nothing is compared where nothing was asked for.
    let mut command = mpirun(2);
    command
        .args(tiny(&scratch))
        .args([READ_ONLY, "checkpoint.verify_content=false"]);
    run(command).ok();
}

#[test]
fn a_damaged_pickle_is_named() {
    let scratch = saved(&[]);
    let mut file = std::fs::File::options()
        .read(true)
        .write(true)
        .open(scratch.path(MODEL))
        .unwrap();
    let mut byte = [0];
    file.seek(SeekFrom::Start(100)).unwrap();
    file.read_exact(&mut byte).unwrap();
    file.seek(SeekFrom::Start(100)).unwrap();
    file.write_all(&[byte[0] ^ 8]).unwrap();
    let said = ["model_0_model_states.pt: the checksum of data.pkl does not fit"];
    fails(&scratch, 2, &[READ_ONLY], 1, &said);
}

#[test]
fn compressed_files_are_checked_as_well() {
    let zstd = ["checkpoint.compression=zstd"];
    let scratch = saved(&zstd);
    let path = scratch.path(&format!("{OPTIMIZER}.zst"));
    let packed = std::fs::read(&path).unwrap();
    for (content, said) in [
        (packed[..packed.len() / 2].to_vec(), "it unpacks to "),
        (
            [&[0; 16], &packed[16..]].concat(),
            "its zstd frame is damaged",
        ),
    ] {
        std::fs::write(&path, content).unwrap();
        let said = ["zero_pp_rank_1_mp_rank_0_optim_states.pt.zst: ", said];
        fails(&scratch, 2, &[zstd[0], READ_ONLY], 1, &said);
    }
}

#[test]
fn a_checkpoint_of_another_layout_is_refused() {
    let scratch = saved(&[]);
    for (words, said) in [
        // Other parallelism: other files.
        (
            &["model.parallelism.tensor=2"][..],
            &[
                "model_1_model_states.pt: it does not exist",
                "parallelism, ZeRO stage and number of ranks",
            ][..],
        ),
        // The same files with other tensors.
        (
            &["model.transformer.hidden_size=128"],
            &[
                "model_0_model_states.pt: it holds tensor 0/0 of 32768 x Fp16 where the plan has 0/0 of 65536 x Fp16",
            ],
        ),
        (
            &["model.num_layers=2"],
            &["model_0_model_states.pt: it holds 21 tensors where the plan has 15"],
        ),
        (
            &["model.model_datatype=bf16"],
            &["of 32768 x Fp16 where the plan has 0/0 of 32768 x Bf16"],
        ),
        // The same tensors with other contents.
        (
            &["dataset.fill_seed=11"],
            &["model_0_model_states.pt: byte ", "dataset.fill_seed"],
        ),
    ] {
        fails(&scratch, 2, &[words, &[READ_ONLY]].concat(), 1, said);
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let scratch = Scratch::new();
    std::fs::write(scratch.path("file"), "").unwrap();
    let folder = format!("checkpoint.checkpoint_folder={}", scratch.text("file/ck"));
    let said = [
        "make the checkpoint folder",
        "file/ck",
        "checkpoint.checkpoint_folder",
    ];
    fails(&scratch, 2, &[&folder], 1, &said);
}

#[test]
fn a_full_disk_leaves_a_marked_checkpoint_that_is_never_loaded() {
    let scratch = Scratch::new();
    let mount = Mount::new(&scratch, "tmpfs", "size=2m");
    let folder = format!(
        "checkpoint.checkpoint_folder={}",
        mount.path().join("ck").display()
    );
    fails(
        &scratch,
        2,
        &[&folder],
        1,
        &[
            "optim_states.pt: no space left after ",
            "bytes of this file; checkpoint global_epoch1_step1 stays marked incomplete",
            "remedy: free space",
        ],
    );
    let left = mount.path().join("ck/global_epoch1_step1");
    assert!(left.join("INCOMPLETE").exists());
    for file in std::fs::read_dir(&left).unwrap() {
        let name = file.unwrap().file_name().to_string_lossy().into_owned();
        assert!(!name.ends_with(".part"), "{name}");
    }
    fails(
        &scratch,
        2,
        &[&folder, READ_ONLY],
        1,
        &["is marked incomplete by its file INCOMPLETE"],
    );
}

#[test]
fn a_rank_killed_in_mid_save_leaves_a_marked_checkpoint() {
    let scratch = Scratch::new();
    // The slowest compression makes a save of seconds out of a few megabytes.
    let slow = [
        "checkpoint.compression=zstd",
        "checkpoint.compression_level=22",
        "model.transformer.hidden_size=512",
        "model.transformer.ffn_hidden_size=4096",
    ];
    let mut command = mpirun(2);
    command.args(tiny(&scratch)).args(slow);
    let child = start(command);
    let ranks = ranks_of(&scratch, 2);
    wait_for(30, || {
        scratch.path("ck/global_epoch1_step1/INCOMPLETE").exists()
    });
    signal(ranks[1], "-KILL");
    let out = finish(child, 60);
    assert_ne!(out.status, Some(0), "{}", out.text());
    assert!(!scratch.path("out").exists());
    let again = [&slow[..], &[READ_ONLY]].concat();
    let said = [
        "load checkpoint ",
        "is marked incomplete",
        "remedy: save it again",
    ];
    fails(&scratch, 2, &again, 1, &said);
    // Saving it again completes it.
    let mut command = mpirun(2);
    command
        .args(tiny(&scratch))
        .arg("checkpoint.num_checkpoints_read=1");
    run(command).ok();
    assert!(!scratch.path("ck/global_epoch1_step1/INCOMPLETE").exists());
}

#[test]
fn a_failing_command_between_phases_stops_the_job() {
    let scratch = Scratch::new();
    let said = [
        "run checkpoint.between_phases 'echo no >&2; exit 3'",
        "exit status: 3",
        "no",
    ];
    let command = "checkpoint.between_phases=\"echo no >&2; exit 3\"";
    fails(&scratch, 2, &[command], 1, &said);
}
