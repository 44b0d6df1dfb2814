//! What the user typed. Parsing touches no file and no rank.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use super::check::CheckArgs;
use super::configs::ConfigsArgs;
use super::find::FindArgs;
use super::info::InfoArgs;
use super::install_shim::InstallShimArgs;
use super::output::Format;
use super::size::SizeArgs;
use super::words::{JobArgs, WorkloadArgs};
use crate::mlperf::editions::Edition;
use crate::report::live::Progress;
use crate::util::text::plain;

const EXAMPLES: &str = "\
Examples:
  dlio-rs configs/quickstart.yaml                        run the YAML's workflow on one rank
  mpirun -np 8 dlio-rs configs/unet3d_h100.yaml workflow.generate_data=true dataset.data_folder=/mnt/x
  mpirun -np 8 dlio-rs workload=unet3d_h100 dataset.data_folder=s3://bucket/unet3d   on S3; Azure: az://account/container/...
  mpirun -np 8 dlio-rs workload=unet3d_h100 ++workload.train.epochs=2 ++hydra.run.dir=out
  mpirun -np 8 dlio-rs workload=llama3_8b checkpoint.checkpoint_folder=/mnt/x   save and load checkpoints
  dlio-rs plan workload=llama3_1t --ranks 1024           bytes and files of a checkpoint, without a job
  dlio-rs validate unet3d_h100.yaml reader.batch_size=4  print the effective config with origins
  dlio-rs explain reader.batch_size                      what a key means; without a key, the list of all
  dlio-rs plan workload=unet3d_h100 --ranks 8 --order    every read of every rank, as JSON lines
  mpirun -np 64 dlio-rs find workload=resnet50_h100 dataset.data_folder=/mnt/x   the most accelerators that pass
  mpirun -np 8 dlio-rs info                              what this binary and these hosts are
  dlio-rs inspect data/unet3d/train/img_000_of_168.npz   what a file holds, and whether it is sound
  dlio-rs size workload=unet3d_h100 --accelerators 8 --hosts 1 --host-memory-gib 512   the dataset MLPerf's rules demand
  dlio-rs check results/                                 which of MLPerf's rules runs keep

Words of the form KEY=VALUE override the YAML: k=v, +k=v, ++k=v, ~k, with or without `workload.` in front;
values as in hydra: true, null, 1e-3, [a,b], {k: v}, 'quoted'.

Exit status: 0 done; 1 the run failed, check found a violation, or compare a difference; 2 usage, configuration, or a
violation under --rules; 3 AU below the threshold with --require-au; 143 and 130 after SIGTERM and SIGINT. A launcher may put
its own in place of these.
dlio-rs results are for tuning, research, regression and OPEN work: a CLOSED MLPerf Storage submission must come
from unmodified mlpstorage and DLIO code.";

/// Measures what a storage system gives to AI training, under MPI, as DLIO does.
#[derive(Debug, Parser)]
#[command(name = "dlio-rs", version, after_help = EXAMPLES, max_term_width = 110)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
    /// The MPI library to open [default: $DLIO_RS_MPI_LIB, else the launcher's own]
    #[arg(long, value_name = "FILE", global = true)]
    pub mpi_lib: Option<PathBuf>,
}

/// What to do; `run` when no verb is given.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run the workload's workflow (the default verb)
    Run(RunArgs),
    /// Only generate the dataset
    Generate(RunArgs),
    /// Find the largest number of accelerators that reaches metric.au: one job, a trial for each number
    Find(FindArgs),
    /// Parse and check the workload, and print its effective config with each value's origin
    Validate(ValidateArgs),
    /// Print what every rank will read, without running or MPI
    Plan(PlanArgs),
    /// Print version, MPI library, ranks, hosts, CPUs, affinity and memory
    Info(InfoArgs),
    /// Print what a data file holds, where its first sample lies, and whether it is sound
    Inspect(InspectArgs),
    /// Show, and with --yes remove, what an ended run left on an object store: uploads, incomplete checkpoints
    Clean(CleanArgs),
    /// Print the published figures of runs: bandwidths, AU, and means by MLPerf Storage's rules
    Report(super::report::ReportArgs),
    /// Show a running job from another terminal: epoch, AU, throughput, waits, slowest ranks
    Watch(super::watch::WatchArgs),
    /// Compare two runs: figures, parameters, and whether chance explains the differences
    Compare(super::compare::CompareArgs),
    /// Print what a key of a workload means: type, default, unit, what DLIO makes of it, its effect
    Explain(super::explain::ExplainArgs),
    /// List the built-in workloads, or print one's YAML
    Configs(ConfigsArgs),
    /// Put a `dlio_benchmark` that is this binary into a folder, for mlpstorage and for scripts made for DLIO
    InstallShim(InstallShimArgs),
    /// Print the dataset or checkpoints that the rules of MLPerf Storage demand, and the commands that make them
    Size(SizeArgs),
    /// Check a workload, a run or a tree of results against the rules of MLPerf Storage
    Check(CheckArgs),
    /// Print the completions of a shell: eval "$(dlio-rs completions bash)"
    Completions(CompletionsArgs),
    /// Write the manual pages, one for dlio-rs and one for each verb, into a folder
    Man(ManArgs),
}

/// Which shell's.
#[derive(Debug, Clone, Args)]
pub struct CompletionsArgs {
    /// The shell that will read them
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

/// Where to.
#[derive(Debug, Clone, Args)]
pub struct ManArgs {
    /// The folder, such as /usr/local/share/man/man1; made where it is missing
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
}

/// More than any machine has.
const MAX_RANKS: u64 = 1 << 24;

/// Which file.
#[derive(Debug, Clone, Args)]
pub struct InspectArgs {
    /// A file of any dataset, or its s3:// or az:// address; of a prefix there, what lies below is counted
    #[arg(value_name = "FILE")]
    pub file: String,
    /// How to reach an object store, such as storage.storage_options.endpoint_url=...
    #[arg(value_name = "KEY=VALUE")]
    pub words: Vec<String>,
    /// The format of the file, where its extension does not say it
    #[arg(long, value_name = "FORMAT")]
    pub file_format: Option<String>,
    /// How to print
    #[arg(long, default_value = "text")]
    pub format: Format,
}

/// Where to look.
#[derive(Debug, Clone, Args)]
pub struct CleanArgs {
    /// s3://bucket/prefix or az://account/container/prefix; only what has dlio-rs's names below it is touched
    #[arg(value_name = "FOLDER")]
    pub folder: String,
    /// How to reach the store, such as storage.storage_options.endpoint_url=...
    #[arg(value_name = "KEY=VALUE")]
    pub words: Vec<String>,
    /// Remove what is shown
    #[arg(long)]
    pub yes: bool,
    /// How to print
    #[arg(long, default_value = "text")]
    pub format: Format,
}

/// How to run.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Which workload.
    #[command(flatten)]
    pub workload: WorkloadArgs,
    /// Folder of results [default: results/<model>/<time>]
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Run at most N epochs
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub max_epochs: Option<u64>,
    /// Run at most N steps in each epoch
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub max_steps: Option<u64>,
    /// Print events as JSON lines on stdout instead of the report
    #[arg(long)]
    pub json: bool,
    /// How the job is watched.
    #[command(flatten)]
    pub job: JobArgs,
    /// How to show that the run goes on
    #[arg(long, value_enum, value_name = "HOW", default_value_t = Progress::Auto)]
    pub progress: Progress,
    /// Exit with status 3 when AU is below metric.au (or below PERCENT)
    #[arg(long, value_name = "PERCENT", num_args = 0..=1, require_equals = true, default_missing_value = "config")]
    pub require_au: Option<String>,
    /// Run the shell command that the workload file names as checkpoint.between_phases
    #[arg(long)]
    pub allow_commands: bool,
    /// Write single steps, reads and checkpoints of some ranks to FILE, for Perfetto and other viewers of Chrome's trace format; compressed where FILE ends in .gz
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Ranks to trace
    #[arg(
        long,
        value_name = "RANKS",
        value_delimiter = ',',
        default_value = "0",
        requires = "trace"
    )]
    pub trace_ranks: Vec<usize>,
    /// Check the rules of MLPerf Storage before any I/O; a violation stops the run (mlperf-v2, mlperf-v3)
    #[arg(long, value_name = "EDITION")]
    pub rules: Option<Edition>,
}

/// What to validate.
#[derive(Debug, Clone, Args)]
pub struct ValidateArgs {
    /// Which workload.
    #[command(flatten)]
    pub workload: WorkloadArgs,
    /// Ranks to validate for [default: the fewest that the workload's layout allows]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MAX_RANKS))]
    pub ranks: Option<u64>,
    /// How to print
    #[arg(long, default_value = "text")]
    pub format: Format,
}

/// What to plan.
#[derive(Debug, Clone, Args)]
pub struct PlanArgs {
    /// Which workload.
    #[command(flatten)]
    pub workload: WorkloadArgs,
    /// Ranks to plan for
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=MAX_RANKS))]
    pub ranks: u64,
    /// Print every sample of every step as a JSON line
    #[arg(long)]
    pub order: bool,
    /// Plan the evaluation dataset instead of the training one
    #[arg(long)]
    pub eval: bool,
    /// How to print; --order is JSON lines either way
    #[arg(long, default_value = "text")]
    pub format: Format,
}

/// True for a word that names a verb.
fn is_verb(word: &OsStr) -> bool {
    word == "help"
        || Cli::command()
            .get_subcommands()
            .any(|verb| word == verb.get_name())
}

/// The verb that a mistyped word means.
pub(super) fn near_verb(word: &str) -> Option<String> {
    let command = Cli::command();
    let names = command.get_subcommands().map(clap::Command::get_name);
    crate::config::near(word, names).map(String::from)
}

/// What to write in place of what was not taken.
pub(super) fn advice(error: &clap::Error) -> &'static str {
    use clap::error::{ContextKind, ContextValue, ErrorKind};
    let word = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(word)) => word.split('=').next().unwrap_or_default(),
        _ => "",
    };
    match (error.kind(), word) {
        (
            ErrorKind::UnknownArgument,
            "--ranks" | "-n" | "-np" | "--np" | "--num-processes" | "--nproc",
        ) => {
            "the launcher starts the ranks: mpirun -np N dlio-rs ...; --ranks is an option of plan and validate"
        }
        (ErrorKind::UnknownArgument, "-m" | "--multirun") => {
            "a sweep is several runs: write a loop in the shell"
        }
        (ErrorKind::UnknownArgument, _) => {
            "`dlio-rs VERB --help` lists the options; a key of the workload is written KEY=VALUE"
        }
        _ => "`dlio-rs VERB --help` describes the words and options of a verb",
    }
}

/// True for an option that takes its value as the next word.
fn takes_value(word: &str) -> bool {
    let Some(name) = word.strip_prefix("--") else {
        return false;
    };
    let command = Cli::command();
    let all = std::iter::once(&command).chain(command.get_subcommands());
    all.flat_map(clap::Command::get_arguments).any(|option| {
        option.get_long() == Some(name)
            && option.get_action().takes_values()
            && !option.is_require_equals_set()
    })
}

/// The command line as verbs and options.
///
/// Errors: it asks for help, or cannot be taken. The error shows the user's words as [`plain`] does.
pub fn parse(args: &[OsString], as_dlio: bool) -> Result<Cli, clap::Error> {
    let parse = |args| Cli::try_parse_from(normalise(args, as_dlio));
    parse(args.to_vec()).map_err(|error| {
        // clap styles its errors itself: within them nobody tells its control characters from the user's.
        let shown = |word: &OsString| match plain(&word.to_string_lossy()) {
            Cow::Owned(escaped) => escaped.into(),
            Cow::Borrowed(_) => word.clone(),
        };
        parse(args.iter().map(shown).collect())
            .err()
            .unwrap_or(error)
    })
}

/// The command line with `run` put in where no verb was given. `as_dlio`: called by the name `dlio_benchmark`,
/// whose hydra flags are accepted too.
pub fn normalise(args: Vec<OsString>, as_dlio: bool) -> Vec<OsString> {
    let mut out: Vec<OsString> = vec![args.first().cloned().unwrap_or_else(|| "dlio-rs".into())];
    let mut rest: Vec<OsString> = args.into_iter().skip(1).collect();
    if as_dlio {
        for word in &mut rest {
            if word == "-cd" {
                *word = "--config-dir".into();
            }
        }
        if rest.is_empty() {
            rest.push("workload=default".into());
        }
    }
    let mut skip = false;
    let first_word = rest.iter().find(|word| {
        let text = word.to_string_lossy();
        if std::mem::take(&mut skip) {
            return false;
        }
        skip = takes_value(&text);
        !text.starts_with('-')
    });
    let has_verb = !as_dlio && first_word.is_some_and(|word| is_verb(word));
    let helps = ["--help", "-h", "--version", "-V"];
    let asks_help = rest
        .iter()
        .any(|word| helps.iter().any(|help| word == help));
    let is_only_help = asks_help && first_word.is_none();
    if !(has_verb || is_only_help || rest.is_empty()) {
        out.push("run".into());
    }
    out.extend(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_is_the_default_verb() {
        for (typed, expected) in [
            ("x a.yaml k=v", "x run a.yaml k=v"),
            ("x --output plan a.yaml", "x run --output plan a.yaml"),
            ("x --mpi-lib plan a.yaml", "x run --mpi-lib plan a.yaml"),
            ("x --mpi-lib a.so info", "x --mpi-lib a.so info"),
            ("x plan a.yaml", "x plan a.yaml"),
            ("x --help", "x --help"),
        ] {
            let words = typed.split(' ').map(OsString::from).collect();
            let expected: Vec<OsString> = expected.split(' ').map(OsString::from).collect();
            assert_eq!(normalise(words, false), expected, "{typed}");
        }
    }

    #[test]
    fn control_characters_of_words_are_escaped_in_every_error() {
        for args in [
            ["x", "run", "--none\u{1b}[7mx\r\u{7}"],
            ["x", "report", "--format=\u{1b}[7m\r"],
            ["x", "watch", "--\u{9b}7m\r"],
            ["x", "validate", "-\u{1b}[7m"],
            ["x\u{1b}[7m", "plan", "--none"],
        ] {
            let Err(error) = parse(&args.map(OsString::from), false) else {
                panic!("{args:?} is taken");
            };
            // clap's own styles are other ones.
            let shown = error.render().ansi().to_string();
            for raw in ["\u{1b}[7m", "\r", "\u{7}", "\u{9b}"] {
                assert!(!shown.contains(raw), "{shown:?}");
            }
        }
    }
}
