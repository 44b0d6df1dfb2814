//! Whatever is wrong with a configuration, its message ends with what to do about it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use super::*;

/// Texts of a YAML, and words of the command line, that are refused.
const REFUSED: [(&str, &str); 60] = [
    ("a: [1\nb: 2\n", ""),
    ("a: 1\n---\nb: 2\n", ""),
    ("- 1\n", ""),
    ("workload: 5\n", ""),
    ("a: 1\na: 2\n", ""),
    ("? [1]\n: 2\n", ""),
    ("a: &x 5\nb: {<<: *x}\n", ""),
    ("train: {epochs: ???}\n", ""),
    ("train: {epochs: '${no.such}'}\n", ""),
    ("train: {epochs: '${train.epochs}'}\n", ""),
    ("train: {epochs: '${train.epochs'}\n", ""),
    ("train: {epochs: '${oc.env:NOT_SET}'}\n", ""),
    ("train: {epochs: '${hydra:none}'}\n", ""),
    ("train: {epochs: '${none:1}'}\n", ""),
    ("train: {epochs: '${oc.decode:[1}'}\n", ""),
    ("model: {name: '${now:%Q}'}\n", ""),
    ("model: {name: 'a ${train}'}\ntrain: {epochs: 1}\n", ""),
    (
        "model: {name: '${storage.storage_options.secret_access_key}'}\nstorage: {storage_options: {secret_access_key: x}}\n",
        "",
    ),
    (
        "storage: {storage_options: {secret_access_key: 'x${'}}\n",
        "",
    ),
    ("defaults: 5\n", ""),
    ("defaults: [5]\n", ""),
    ("defaults: [_self_, _self_]\n", ""),
    ("defaults: [none]\n", ""),
    ("defaults: [w]\n", ""),
    ("defaults: [../w]\n", ""),
    ("defaults: ['${a}']\n", ""),
    ("defaults: [{group: ???}]\n", ""),
    ("defaults: [{group: 5}]\n", ""),
    ("defaults: [{must group: a}]\n", ""),
    ("# @package\na: 1\n", ""),
    ("# @package other\na: 1\n", ""),
    ("# @package _group_\na: 1\n", ""),
    ("workload: {train: {epochs: 1}}\nother: 1\n", ""),
    ("", "train.epochs"),
    ("", "=1"),
    ("", "train.epochs=1,2"),
    ("", "train.epochs=[1,2"),
    ("", "train.epochs=[1,,2]"),
    ("", "train.epochs={a}"),
    ("", "train.epochs={a:1"),
    ("", "model.name='x"),
    ("", "model.name='x' y"),
    ("", "~train.none"),
    ("train: {epochs: 1}\n", "+train.epochs=3"),
    ("", "workload/none=x"),
    ("", "train.epoch=3"),
    ("", "reader.batch_size=four"),
    ("", "reader.batch_size=-1"),
    ("", "reader.batch_size=99999999999999999999"),
    ("", "reader.batch_size=[1]"),
    ("", "dataset.format=npx"),
    ("", "storage.storage_type=msc"),
    ("", "train.computation_time={type: none}"),
    ("", "train.computation_time={min: 1}"),
    ("", "train.computation_time={of: 1}"),
    ("dataset: {data_folder: }\n", ""),
    ("", "dataset.data_folder=s3://key:secret@host/x"),
    ("", "dataset.data_folder=~nobody/x"),
    ("reader: {prefetch_size: 2}\n", "reader.prefetch=3"),
    ("", "storage.storage_options.anon=true"),
];

/// Every kind of error: a new one belongs here, and into the cases below.
fn kind(error: &ConfigError) -> &'static str {
    match error {
        ConfigError::Unreadable { .. } => "unreadable",
        ConfigError::Silent { .. } => "silent",
        ConfigError::Yaml { .. } => "yaml",
        ConfigError::Word { .. } => "word",
        ConfigError::UnknownKeys(_) => "unknown keys",
        ConfigError::Type { .. } => "type",
        ConfigError::Types(_) => "types",
        ConfigError::Rule { .. } => "rule",
    }
}

fn request(source: Source, word: &str) -> LoadRequest {
    LoadRequest {
        source,
        words: (!word.is_empty())
            .then(|| word.into())
            .into_iter()
            .collect(),
        allow_unknown: false,
        env: BTreeMap::new(),
        dotenv: None,
        cwd: PathBuf::from("/"),
        patience: PATIENCE,
    }
}

#[test]
fn every_error_of_a_configuration_ends_with_a_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        Source::File(path)
    };
    let mut requests = vec![
        request(Source::File(dir.path().join("none.yaml")), ""),
        request(file("latin.yaml", b"a: \xe9\n"), ""),
        request(
            Source::Named {
                name: "none".into(),
                config_dir: None,
            },
            "",
        ),
    ];
    let mut dotenv = request(file("empty.yaml", b""), "");
    dotenv.dotenv = Some(b"A B\n".to_vec());
    requests.push(dotenv);
    let pipe = dir.path().join("pipe.yaml");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut silent = request(Source::File(pipe), "");
    silent.patience = Duration::from_millis(20);
    requests.push(silent);
    let mut wrong = Vec::new();
    let mut kinds = BTreeSet::new();
    let mut judge = |what: String, error: Result<(), ConfigError>| {
        let Err(error) = error else {
            wrong.push(format!("{what}: it is taken"));
            return;
        };
        kinds.insert(kind(&error));
        let text = error.to_string();
        let last = text
            .lines()
            .last()
            .and_then(|line| line.strip_prefix("  remedy: "));
        if last.is_none_or(|remedy| remedy.trim().is_empty()) {
            wrong.push(format!("{what}: {text}"));
        }
    };
    for request in requests {
        judge(format!("{:?}", request.source), load(&request).map(|_| ()));
    }
    for (text, word) in REFUSED {
        let request = request(file("w.yaml", text.as_bytes()), word);
        judge(format!("{text:?} {word}"), load(&request).map(|_| ()));
    }
    // What contradicts itself, and what is not built.
    for word in ["reader.batch_size=0", "reader.data_loader=dali"] {
        let loaded = load(&request(file("w.yaml", b""), word)).unwrap();
        let checked = validate(&loaded.workload, 1).map(|_| ());
        judge(
            word.into(),
            checked.and(unsupported(&loaded.workload, &["npz"])),
        );
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(kinds.len(), 8, "{kinds:?}");
}
