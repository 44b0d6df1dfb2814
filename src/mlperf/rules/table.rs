//! The one table of rules. `check --explain` and the list in docs/mlperf.md are made of it.

use super::{checkpointing, dataset, editions, files, groups, hosts, parameters, training};
use crate::mlperf::editions::Edition::{self, V2, V3};
use crate::mlperf::facts::Facts;
use crate::mlperf::group::Group;
use crate::mlperf::leaf::Kind::{
    self, Checkpointing, TrainingDatagen, TrainingDatasize, TrainingRun, Unknown,
};
use crate::mlperf::verdict::Found;

/// Looks at a run, or at a workload that is to run.
type OfRun = fn(&Facts, &mut Found);
/// Looks at runs that belong together.
type OfGroup = fn(&Group<&Facts>, &mut Found);

/// How a rule is looked at.
#[derive(Clone, Copy)]
pub(crate) enum Check {
    Run(OfRun),
    Group(OfGroup),
    Both(OfRun, OfGroup),
    /// By this module, over all that was found.
    Here,
}

/// When a run is looked at; groups are looked at after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    Before,
    After,
    Both,
}

pub struct Rule {
    /// Upstream's number; a word where dlio-rs has a check that upstream has no rule for.
    pub id: &'static str,
    pub name: &'static str,
    pub(crate) editions: &'static [Edition],
    pub(crate) when: When,
    pub(crate) of: &'static [Kind],
    pub(crate) check: Check,
    pub demand: &'static str,
    /// What to do about a violation; a finding may have a remedy of its own.
    pub remedy: &'static str,
}

const BOTH: &[Edition] = &[V2, V3];
const ANY: &[Kind] = &[
    TrainingRun,
    TrainingDatagen,
    TrainingDatasize,
    Checkpointing,
    Unknown,
];
/// All that started DLIO.
const STARTED: &[Kind] = &[TrainingRun, TrainingDatagen, Checkpointing, Unknown];
const MEASURED: &[Kind] = &[TrainingRun, Checkpointing];
const TRAIN: &[Kind] = &[TrainingRun];
const DATA: &[Kind] = &[TrainingRun, TrainingDatagen];
const CKPT: &[Kind] = &[Checkpointing];

/// Every rule, upstream's in the order of their numbers, then dlio-rs's own.
#[rustfmt::skip]
pub static RULES: &[Rule] = &[
    Rule { id: "2.1.11", name: "trainingWorkloads", editions: BOTH, when: When::Both, of: DATA, check: Check::Run(parameters::training_model),
        demand: "The model is one of the edition's training workloads, on one of its accelerators; other workloads of mlpstorage are what-ifs.",
        remedy: "use a workload of MLPerf Storage, such as workload=unet3d_b200" },
    Rule { id: "2.1.17", name: "runTimestamps", editions: BOTH, when: When::After, of: TRAIN, check: Check::Group(groups::six_runs),
        demand: "There are exactly 6 runs; the first is the warm-up.",
        remedy: "keep 6 consecutive runs" },
    Rule { id: "2.1.18", name: "runTimestampGap", editions: BOTH, when: When::After, of: TRAIN, check: Check::Group(groups::pauses),
        demand: "Neighbouring runs start less than twice the shorter one's duration apart.",
        remedy: "start the six runs one after another without a pause" },
    Rule { id: "2.1.23", name: "checkpointingTimestamps", editions: BOTH, when: When::After, of: CKPT, check: Check::Group(groups::one_or_two),
        demand: "There are one or two runs.",
        remedy: "keep one run with 10 writes and 10 reads, or a pair of 10 writes and 10 reads" },
    Rule { id: "3.1.2", name: "trainingRecalculateDatasetSize", editions: BOTH, when: When::Both, of: DATA, check: Check::Run(dataset::enough_files),
        demand: "The dataset holds five times the memory of all hosts and 500 steps per epoch, whichever is more.",
        remedy: "set dataset.num_files_train; `dlio-rs size` computes it" },
    Rule { id: "3.3.1", name: "trainingRunDataMatchesDatasize", editions: BOTH, when: When::After, of: TRAIN, check: Check::Run(training::file_counts),
        demand: "The run says how many files it read, as configured.",
        remedy: "keep the files of one run together" },
    Rule { id: "3.3.2", name: "trainingAcceleratorUtilizationCheck", editions: BOTH, when: When::After, of: TRAIN, check: Check::Run(training::utilization),
        demand: "Mean AU over the epochs reaches metric.au and the edition's minimum for the model.",
        remedy: "a faster storage system, more reader.read_threads, or fewer accelerators" },
    Rule { id: "3.3.3", name: "trainingSingleHostSimulatedAccelerators", editions: BOTH, when: When::Both, of: TRAIN, check: Check::Run(hosts::single_host),
        demand: "A single host runs at least 4 accelerators (a warning).",
        remedy: "start at least 4 ranks" },
    Rule { id: "3.3.6", name: "trainingIdenticalAcceleratorsPerNode", editions: BOTH, when: When::Both, of: TRAIN, check: Check::Run(hosts::equal_hosts),
        demand: "Every host runs the same number of accelerators.",
        remedy: "start the same number of ranks on each host" },
    Rule { id: "3.3.8", name: "trainingResultAggregation", editions: BOTH, when: When::After, of: TRAIN, check: Check::Run(training::published),
        demand: "Every metric that is published is there, for every epoch.",
        remedy: "run all epochs, to the end" },
    Rule { id: "3.4.2", name: "trainingMlpstorageFilesystemCheck", editions: &[V3], when: When::Both, of: TRAIN, check: Check::Run(hosts::separation),
        demand: "Data and results lie on different file systems.",
        remedy: "name a folder of results on another file system (--output)" },
    Rule { id: "3.6.2", name: "trainingClosedSubmissionParameters", editions: BOTH, when: When::Both, of: DATA, check: Check::Run(parameters::closed),
        demand: "CLOSED: only the listed parameters differ from the workload's; reader.odirect is for unet3d.",
        remedy: "leave it out, or disclose it" },
    Rule { id: "3.6.3", name: "trainingOpenSubmissionParameters", editions: BOTH, when: When::Both, of: DATA, check: Check::Run(parameters::open),
        demand: "OPEN: only the listed parameters and framework, dataset.format, dataset.num_samples_per_file and reader.data_loader differ.",
        remedy: "use the workload's own value" },
    Rule { id: "4.3.1", name: "checkpointDataSizeRatio", editions: BOTH, when: When::Both, of: CKPT, check: Check::Run(checkpointing::data_size),
        demand: "A host writes more than three times its memory; otherwise caches must be emptied between writing and reading (a warning).",
        remedy: "checkpoint.between_phases or reader.drop_cache=system, or two runs with caches emptied in between" },
    Rule { id: "4.3.2", name: "checkpointFsyncVerification", editions: BOTH, when: When::Both, of: CKPT, check: Check::Run(checkpointing::fsync),
        demand: "Every checkpoint ends with fsync: checkpoint.fsync is true.",
        remedy: "checkpoint.fsync=True" },
    Rule { id: "4.3.3", name: "checkpointModelConfigurationReq", editions: BOTH, when: When::Both, of: CKPT, check: Check::Run(checkpointing::model),
        demand: "The model is llama3-8b, llama3-70b, llama3-405b or llama3-1t.",
        remedy: "use workload=llama3_8b, llama3_70b, llama3_405b or llama3_1t" },
    Rule { id: "4.3.4", name: "checkpointAggregateAcceleratorMemory", editions: BOTH, when: When::Both, of: CKPT, check: Check::Run(checkpointing::accelerator_memory),
        demand: "The memory of all emulated accelerators holds the checkpoint that is written.",
        remedy: "start more processes" },
    Rule { id: "4.3.5", name: "checkpointSubsetRunValidation", editions: BOTH, when: When::Both, of: CKPT, check: Check::Run(checkpointing::subset),
        demand: "A subset is 8 processes of a model that the edition has a subset of: any in v2.0, llama3-8b in v3.0.",
        remedy: "start all processes of the model, without checkpoint.mode=subset" },
    Rule { id: "4.3.6", name: "checkpointResultAggregation", editions: BOTH, when: When::After, of: CKPT, check: Check::Run(checkpointing::published),
        demand: "Bandwidth and duration of what was written and read are there.",
        remedy: "run again: a run that ends before its last checkpoint leaves no numbers" },
    Rule { id: "4.4.2", name: "checkpointFilesystemCheck", editions: &[V3], when: When::Both, of: CKPT, check: Check::Run(hosts::separation),
        demand: "Checkpoints and results lie on different file systems.",
        remedy: "name a folder of results on another file system (--output)" },
    Rule { id: "4.6.1", name: "checkpointClosedMpiProcesses", editions: BOTH, when: When::Both, of: CKPT, check: Check::Run(checkpointing::closed_processes),
        demand: "CLOSED: the number of processes is the model's: 8, 64, 512, 1024; in v2.0 also 8 as a subset.",
        remedy: "start the model's number of processes" },
    Rule { id: "4.6.2", name: "checkpointClosedAcceleratorsPerHost", editions: BOTH, when: When::Both, of: CKPT, check: Check::Run(checkpointing::processes_per_host),
        demand: "Every host runs at least 4 processes; more than 4 by the text of v3.0.",
        remedy: "use fewer hosts, or start more processes" },
    Rule { id: "4.6.3", name: "checkpointClosedCheckpointParameters", editions: BOTH, when: When::Both, of: CKPT, check: Check::Run(parameters::checkpointing),
        demand: "Only the folder and the two counts differ from the workload's.",
        remedy: "use the workload's own value" },
    Rule { id: "4.6.4", name: "checkpointOpenSubmissionScaling", editions: BOTH, when: When::Both, of: CKPT, check: Check::Run(checkpointing::open_processes),
        demand: "OPEN: the number of processes is a multiple of those of one data-parallel instance: 8, 8, 256, 512.",
        remedy: "start a multiple of it" },
    Rule { id: "4.7.1", name: "checkpointCacheFlushValidation", editions: BOTH, when: When::After, of: CKPT, check: Check::Both(checkpointing::counts, groups::write_then_read),
        demand: "10 writes, then 10 reads: in one run, or in two with at most 30 s between the end of the writes and the start of the reads.",
        remedy: "write 10 and read 10, in one run or in two" },
    Rule { id: "EDN-02", name: "comparabilityClass", editions: BOTH, when: When::Both, of: MEASURED, check: Check::Run(editions::class),
        demand: "The comparability hash is that of a class of the edition; required of CLOSED.",
        remedy: "use the workload's own values" },
    Rule { id: "command", name: "commandBetweenPhases", editions: BOTH, when: When::Both, of: CKPT, check: Check::Run(files::command),
        demand: "The shell command of checkpoint.between_phases is shown (for information).",
        remedy: "" },
    Rule { id: "files", name: "filesAreReadable", editions: BOTH, when: When::After, of: ANY, check: Check::Run(files::readable),
        demand: "Every file of the run that is read can be read, and there is one metadata file at most.",
        remedy: "restore the file, or run again" },
    Rule { id: "folder", name: "foldersAreReadable", editions: BOTH, when: When::After, of: ANY, check: Check::Here,
        demand: "The folder holds runs, and every folder below it can be listed.",
        remedy: "make the folder readable, or check what lies above it" },
    Rule { id: "kind", name: "benchmarkType", editions: BOTH, when: When::Both, of: STARTED, check: Check::Run(files::kind),
        demand: "The workflow trains, generates or checkpoints.",
        remedy: "run a workload whose workflow trains, generates or checkpoints" },
    Rule { id: "runs", name: "runCategories", editions: BOTH, when: When::After, of: ANY, check: Check::Here,
        demand: "No run of a group violates a rule.",
        remedy: "see the findings of each run, or make other runs" },
    Rule { id: "same-work", name: "sameConfiguration", editions: BOTH, when: When::After, of: MEASURED, check: Check::Group(groups::same_work),
        demand: "All runs of a group have the same comparability hash, accelerators and hosts.",
        remedy: "run all of them with the same configuration on the same hosts" },
    Rule { id: "spread", name: "replicableWithin5Percent", editions: BOTH, when: When::After, of: TRAIN, check: Check::Group(groups::spread),
        demand: "The measured runs lie within 5 % of each other (a warning; the guidelines' text).",
        remedy: "find what else uses the storage system, and run again" },
    Rule { id: "start", name: "workloadCanRun", editions: BOTH, when: When::Before, of: STARTED, check: Check::Run(files::can_start),
        demand: "DLIO would not refuse to start the workload.",
        remedy: "repair what the message names" },
    Rule { id: "storage", name: "bytesAreRead", editions: BOTH, when: When::Both, of: STARTED, check: Check::Run(files::storage),
        demand: "Storage systems of dlio-rs that answer without reading anything are no run of a benchmark of storage.",
        remedy: "storage.storage_type=local_fs, or the address of the data" },
    Rule { id: "summary", name: "summaryIsComplete", editions: BOTH, when: When::After, of: STARTED, check: Check::Run(files::summary),
        demand: "summary.json is there and holds times, ranks, hosts' memory and CPUs, and metrics.",
        remedy: "restore the file, or run again" },
];

impl Rule {
    /// The rule of an id, whatever its case.
    pub fn named(id: &str) -> Option<&'static Rule> {
        RULES
            .iter()
            .find(|rule| rule.id.eq_ignore_ascii_case(id) || rule.name.eq_ignore_ascii_case(id))
    }

    pub fn text(&self) -> String {
        let remedy = match self.remedy {
            "" => String::new(),
            remedy => format!("  remedy: {remedy}\n"),
        };
        let (id, name, scope, demand) = (self.id, self.name, self.scope(), self.demand);
        format!("{id} {name} ({scope})\n  {demand}\n{remedy}")
    }

    /// Of which editions, when and of what, for people.
    pub fn scope(&self) -> String {
        let editions: Vec<String> = self.editions.iter().map(Edition::to_string).collect();
        let when = match (self.check, self.when) {
            (Check::Group(_), _) => "groups of runs",
            (Check::Both(..), _) => "after a run, and groups of runs",
            (Check::Here, _) => "folders",
            (_, When::Before) => "before a run",
            (_, When::After) => "after a run",
            (_, When::Both) => "before and after a run",
        };
        format!("{}; {when}", editions.join(", "))
    }
}

/// The table as Markdown, as docs/mlperf.md holds it.
pub fn markdown() -> String {
    let mut table = crate::mlperf::table::Table::new(&["Id", "Name", "Editions; when", "Demands"]);
    for rule in RULES {
        table.row([rule.id, rule.name, &rule.scope(), rule.demand]);
    }
    table.markdown()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_is_made_of_the_table() {
        let docs = include_str!("../../../docs/mlperf.md");
        let (_, rest) = docs.split_once("<!-- rules -->\n").unwrap();
        let (held, _) = rest.split_once("<!-- end of rules -->").unwrap();
        assert_eq!(
            held,
            markdown(),
            "docs/mlperf.md: put in what `dlio-rs check --explain` prints"
        );
    }

    /// Ids and names are those of Rules.md, September 2026.
    #[test]
    fn upstreams_ids_and_names() {
        let upstream = include_str!("../../../tests/data/mlperf/rules.txt");
        let listed: Vec<(&str, &str)> = upstream
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split_once(' '))
            .collect();
        assert!(listed.len() > 60, "{}", listed.len());
        for rule in RULES {
            let is_own = rule.id.starts_with(|c: char| c.is_ascii_lowercase());
            let is_upstreams = listed.contains(&(rule.id, rule.name));
            assert!(is_own != is_upstreams, "{} {}", rule.id, rule.name);
        }
        let mut ids: Vec<&str> = RULES.iter().map(|rule| rule.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), RULES.len());
    }
}
