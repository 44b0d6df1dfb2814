use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::*;

fn request(dir: &std::path::Path, text: &str, words: &[&str]) -> LoadRequest {
    let path = dir.join("w.yaml");
    std::fs::write(&path, text).unwrap();
    LoadRequest {
        source: Source::File(path),
        words: words.iter().map(|w| w.to_string()).collect(),
        allow_unknown: false,
        env: BTreeMap::new(),
        dotenv: None,
        cwd: PathBuf::from("/"),
        patience: PATIENCE,
    }
}

fn loaded(text: &str, words: &[&str]) -> Result<Loaded, String> {
    let dir = tempfile::tempdir().unwrap();
    load(&request(dir.path(), text, words)).map_err(|e| {
        e.to_string()
            .replace(&format!("{}/", dir.path().display()), "")
    })
}

#[test]
fn every_builtin_config_loads_and_is_valid_for_two_ranks_or_its_model() {
    assert!(builtin_names().len() >= 20);
    for name in builtin_names() {
        let request = LoadRequest {
            source: Source::Named {
                name: name.clone(),
                config_dir: None,
            },
            words: vec![],
            allow_unknown: false,
            env: BTreeMap::new(),
            dotenv: None,
            cwd: PathBuf::from("/"),
            patience: PATIENCE,
        };
        let loaded = load(&request).unwrap_or_else(|e| panic!("{name}: {e}"));
        let p = &loaded.workload.model.parallelism;
        let ranks = (p.tensor * p.pipeline).max(2) as usize;
        validate(&loaded.workload, ranks).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(loaded.warnings.is_empty(), "{name}: {:?}", loaded.warnings);
    }
}

#[test]
fn unknown_keys_are_placed_and_the_nearest_name_is_given() {
    let text = "dataset:\n  num_files_trian: 4\nreader:\n  batchsize: 2\ntrian:\n  epochs: 1\n";
    let error = loaded(text, &["train.epoch=3"]).unwrap_err();
    for line in [
        "w.yaml:2:3: unknown key dataset.num_files_trian; dataset.num_files_train is probably meant",
        "w.yaml:4:3: unknown key reader.batchsize; reader.batch_size is probably meant",
        "w.yaml:5:1: unknown key trian; train is probably meant",
        "command line word 'train.epoch=3': unknown key train.epoch; train.epochs is probably meant",
    ] {
        assert!(error.contains(line), "{error}");
    }
    assert!(error.contains("--allow-unknown-keys"));
}

#[test]
fn a_wrong_type_is_placed() {
    let error = loaded("reader:\n  batch_size: four\n", &[]).unwrap_err();
    assert!(
        error.starts_with(
            "w.yaml:2:3: reader.batch_size: a whole number from 0 is expected, not 'four'"
        ),
        "{error}"
    );
    let error = loaded("", &["dataset.format=npx"]).unwrap_err();
    assert!(
        error.contains("command line word 'dataset.format=npx'")
            && error.contains("npz is probably meant"),
        "{error}"
    );
    let error = loaded("a: [1\nb: 2\n", &[]).unwrap_err();
    assert!(
        error.starts_with("w.yaml:") && error.contains("invalid YAML"),
        "{error}"
    );
}

#[test]
fn values_take_the_types_of_their_fields() {
    let text = "workload:\n  train: {epochs: 2.0, computation_time: 0.5, computation_time_stdev: 0.1}\n  model: {name: 8}\n  reader: {file_shuffle: off, sample_shuffle: True}\n";
    let w = loaded(
        text,
        &[
            "workflow.generate_data='True'",
            "++workload.reader.odirect=true",
        ],
    )
    .unwrap()
    .workload;
    assert_eq!(w.train.epochs, 2);
    assert_eq!(
        w.train.computation_time.0,
        Distribution::Normal {
            mean: 0.5,
            stdev: 0.1
        }
    );
    assert_eq!(w.model.name, "8");
    assert_eq!(
        (w.reader.file_shuffle, w.reader.sample_shuffle),
        (Shuffle::Off, Shuffle::Seed)
    );
    assert!(w.workflow.generate_data);
    assert_eq!(w.storage_system().word, "direct_fs");
}

#[test]
fn the_command_line_beats_the_yaml_beats_the_environment_beats_dotenv() {
    let dir = tempfile::tempdir().unwrap();
    let mut r = request(
        dir.path(),
        "storage:\n  storage_options: {region: yaml}\n",
        &[],
    );
    r.env.insert("AWS_REGION".into(), "env".into());
    r.env.insert("AWS_ENDPOINT_URL".into(), "env".into());
    r.dotenv = Some(b"AWS_ENDPOINT_URL=file\nexport AWS_ACCESS_KEY_ID='file' \n# x\n".to_vec());
    let options = |r: &LoadRequest| load(r).unwrap().workload.storage.storage_options;
    let o = options(&r);
    assert_eq!(o.region.as_deref(), Some("yaml"));
    assert_eq!(o.endpoint_url.0, ["env"]);
    assert_eq!(o.access_key_id.unwrap().expose(), "file");
    r.words = vec!["storage.storage_options.region=cli".into()];
    assert_eq!(options(&r).region.as_deref(), Some("cli"));
}

/// One alias in the environment and another one in `.env`: the environment's counts, whichever comes first in the table.
#[test]
fn an_alias_of_the_environment_beats_every_alias_of_dotenv() {
    for (env, dotenv) in [
        ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"),
        ("AWS_ENDPOINT_URL", "S3_ENDPOINT_URIS"),
        ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
        ("AWS_DEFAULT_REGION", "AWS_REGION"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut r = request(dir.path(), "", &[]);
        r.env.insert(env.into(), "http://env".into());
        r.dotenv = Some(format!("{dotenv}=http://file\n").into_bytes());
        let o = load(&r).unwrap().workload.storage.storage_options;
        let taken = match env.contains("REGION") {
            true => o.region.unwrap(),
            false => o.endpoint_url.0.join(" "),
        };
        assert_eq!(taken, "http://env", "{env} {dotenv}");
    }
}

#[test]
fn credentials_are_never_shown() {
    let loaded = loaded("", &["++storage.storage_options.secret_access_key=hunter2"]).unwrap();
    assert_eq!(
        loaded
            .workload
            .storage
            .storage_options
            .secret_access_key
            .as_ref()
            .unwrap()
            .expose(),
        "hunter2"
    );
    let shown = [
        loaded.describe(),
        format!("{loaded:?}"),
        serde_json::to_string(&loaded).unwrap(),
        serde_yaml::to_string(&loaded.tree).unwrap(),
    ];
    assert!(
        shown.iter().all(|text| !text.contains("hunter2")),
        "{shown:?}"
    );
}

#[test]
fn old_names_are_accepted() {
    let l = loaded(
        "data_reader: {batch_size: 3}\ndataset: {record_length: 5}\n",
        &[],
    )
    .unwrap();
    assert_eq!(l.workload.reader.batch_size, 3);
    assert!(
        l.warnings[0].contains("record_length_bytes"),
        "{:?}",
        l.warnings
    );
}

#[test]
fn contradictions_name_key_and_remedy() {
    let rule = |words: &[&str]| {
        let base = "framework: pytorch\ndataset: {format: npz, num_files_train: 8}\n";
        validate(&loaded(base, words).unwrap().workload, 4)
            .unwrap_err()
            .to_string()
    };
    for (words, key) in [
        (
            &["reader.batch_size=3"][..],
            "dataset.num_files_train: 8 files x 1 samples = 8 samples, fewer than 4 rank(s) x batch size 3 = 12",
        ),
        (
            &["dataset.record_length_bytes=0"],
            "dataset.record_length_bytes: is 0",
        ),
        (
            &["dataset.record_dims=[4,0]"],
            "dataset.record_dims: [4, 0] has a 0",
        ),
        (
            &[
                "dataset.record_dims=[4]",
                "dataset.record_length_bytes_stdev=5",
            ],
            "dataset.record_dims: is given together",
        ),
        (&["train.epochs=0"], "train.epochs: is 0"),
        (
            &["train.total_training_steps=100"],
            "train.total_training_steps: the dataset has 2 steps",
        ),
        (
            &["reader.data_loader=tensorflow"],
            "reader.data_loader: framework pytorch",
        ),
        (
            &["dataset.record_element_type=float31"],
            "dataset.record_element_type: float31",
        ),
        (
            &["workflow.checkpoint=true", "model.parallelism.tensor=3"],
            "model.parallelism: 4 ranks",
        ),
    ] {
        let error = rule(words);
        assert!(
            error.starts_with(key) && error.contains("remedy: "),
            "{error}"
        );
    }
}

#[test]
fn what_is_not_built_is_refused_by_its_key() {
    for (word, key) in [
        ("profiling.profiler=darshan", "profiling.profiler"),
        ("storage.storage_type=aistore", "storage.storage_type"),
        ("dataset.format=hdf5", "dataset.format"),
        ("reader.data_loader=dali", "reader.data_loader"),
        ("reader.reader_classname=a.B", "reader.reader_classname"),
    ] {
        let w = loaded(
            "dataset: {format: npz}\nworkflow: {profiling: true}\n",
            &[word],
        )
        .unwrap()
        .workload;
        let error = unsupported(&w, &["npz"]).unwrap_err().to_string();
        assert!(error.starts_with(key), "{error}");
    }
}

/// Plain scalars and what OmegaConf 2.3 makes of them (tests/data/hydra/README.md).
#[test]
fn scalars_are_omegaconfs() {
    let mut wrong = Vec::new();
    for line in include_str!("../../tests/data/hydra/omegaconf_scalars.jsonl").lines() {
        let (text, kind, repr): (String, String, String) = serde_json::from_str(line).unwrap();
        let ours = yaml::parse(&format!("a: {text}")).unwrap().0["a"].clone();
        let is_same = match kind.as_str() {
            // PyYAML has no constructor for the value tag of `=`; here it is text.
            "error" => ours == "=",
            "bool" => ours.as_bool() == Some(repr == "True"),
            "NoneType" => ours.is_null(),
            // Python's integers are unbounded; beyond 64 bits ours are floats.
            "int" if repr.len() > 20 => ours.as_f64() == repr.parse().ok(),
            "int" => ours.as_i64() == repr.parse().ok(),
            "float" if repr == "nan" => ours.as_f64().is_some_and(f64::is_nan),
            "float" => ours.is_f64() && ours.as_f64() == repr.parse().ok(),
            _ => ours.as_str() == Some(repr.trim_matches('\'')),
        };
        if !is_same {
            wrong.push(format!("{text} is {kind} {repr}, not {ours:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Override words and what hydra 1.3 makes of them (tests/data/hydra/README.md).
#[test]
fn override_words_are_hydras() {
    // Text that hydra's lexer refuses and that is taken here as it is.
    let looser = [
        "a=a=b",
        "a=a#b",
        "a=a;b",
        "a=~/data",
        "a=é",
        "a=b]",
        "a=a(b)",
        "a={\"k\":1}",
        "a[0]=1",
        "a={1:2}",
    ];
    // Casts are not evaluated; an empty key and a package have no meaning here.
    let stricter = ["a=int(3.0)", "a=str(3)", "=1", "a@p=1"];
    let mut wrong = Vec::new();
    for line in include_str!("../../tests/data/hydra/hydra_words.jsonl").lines() {
        let row: Vec<serde_json::Value> = serde_json::from_str(line).unwrap();
        let word = row[0].as_str().unwrap();
        if looser.contains(&word) || stricter.contains(&word) {
            continue;
        }
        let ours = overrides::parse(word);
        if row[1] == "error" {
            if ours.is_ok() {
                wrong.push(format!("{word} must be an error, is {ours:?}"));
            }
            continue;
        }
        let expected = row.get(3).map(recorded);
        let is_same = match &ours {
            Ok(ours) => {
                let value = match &ours.change {
                    overrides::Change::Set(value) | overrides::Change::Add(value) => {
                        Some(value.clone())
                    }
                    overrides::Change::Delete => None,
                };
                let key = row[2].as_str().unwrap();
                let is_key = ours.path == key.strip_prefix("workload.").unwrap_or(key);
                is_key && (row[1] == "DEL" || format!("{value:?}") == format!("{expected:?}"))
            }
            Err(_) => false,
        };
        if !is_same {
            wrong.push(format!("{word} is {row:?}, not {ours:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A value as the tables write it down.
fn recorded(json: &serde_json::Value) -> serde_yaml::Value {
    use serde_yaml::Value;
    let v = &json["v"];
    match json["t"].as_str().unwrap() {
        "null" => Value::Null,
        "bool" => Value::Bool(v.as_bool().unwrap()),
        "int" => v
            .as_i64()
            .map_or_else(|| Value::from(v.as_f64().unwrap()), Value::from),
        "float" => match v.as_str().unwrap() {
            "nan" => Value::from(f64::NAN),
            text => Value::from(text.parse::<f64>().unwrap()),
        },
        "str" => Value::from(v.as_str().unwrap()),
        "list" => Value::Sequence(v.as_array().unwrap().iter().map(recorded).collect()),
        _ => Value::Mapping(
            v.as_array()
                .unwrap()
                .iter()
                .map(|pair| (recorded(&pair[0]), recorded(&pair[1])))
                .collect(),
        ),
    }
}

#[test]
fn the_scheme_that_mlpstorage_took_off_a_checkpoint_folder_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let folder = |words: &[&str]| {
        let mut request = request(dir.path(), "framework: pytorch\n", words);
        let variable = "MLPSTORAGE_CHECKPOINT_URI_SCHEME".to_string();
        request.env.insert(variable, "s3".into());
        load(&request)
            .unwrap()
            .workload
            .checkpoint
            .checkpoint_folder
    };
    assert_eq!(
        folder(&["checkpoint.checkpoint_folder=bucket/ck/llama3-8b"]),
        "s3://bucket/ck/llama3-8b"
    );
    assert_eq!(
        folder(&["checkpoint.checkpoint_folder=az://a/c/ck"]),
        "az://a/c/ck"
    );
}

#[test]
fn credentials_are_starred_wherever_a_word_holds_them() {
    let dir = tempfile::tempdir().unwrap();
    let word = "++storage.storage_options={access_key_id: x, secret_access_key: SEKRET}";
    let loaded = load(&request(dir.path(), "framework: pytorch\n", &[word])).unwrap();
    assert_eq!(loaded.words, ["++storage.storage_options=***"]);
    let shown = format!(
        "{:?} {:?} {}",
        loaded.tree,
        loaded.origins,
        loaded.describe()
    );
    assert!(!shown.contains("SEKRET"), "{shown}");
    let options = &loaded.workload.storage.storage_options;
    assert!(options.secret_access_key.is_some());
    // What stands before @ is a password, and a query may be a signature: refused without being shown.
    for url in ["http://me:SEKRET@h:1", "http://h/?sig=SEKRET"] {
        let word = format!("storage.storage_options.endpoint_url={url}");
        let error = load(&request(dir.path(), "framework: pytorch\n", &[&word]))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("endpoint_url") && !error.contains("SEKRET"),
            "{error}"
        );
    }
}

/// A file of something else is refused without a search for what each of its keys may mean.
#[test]
fn any_number_of_unknown_keys_is_one_message() {
    use std::fmt::Write as _;
    let mut text = format!("{}: 1\n", "long_key_".repeat(100));
    for i in 0..2_000 {
        writeln!(text, "some_key_{i}: 1").unwrap();
    }
    let error = loaded(&text, &[]).unwrap_err();
    assert!(error.contains("and 1981 more unknown keys"), "{error}");
    let warned = format!("{text}dataset: {{data_folder: x}}\n");
    let dir = tempfile::tempdir().unwrap();
    let mut request = request(dir.path(), &warned, &[]);
    request.allow_unknown = true;
    assert!(load(&request).unwrap().warnings.len() < 30);
}

#[test]
fn an_evaluation_of_no_files_is_a_warning() {
    let loaded = loaded("workflow: {train: true, evaluation: true}\n", &[]).unwrap();
    let warnings = validate(&loaded.workload, 2).unwrap();
    let said = "workflow.evaluation=true has no effect: dataset.num_files_eval=0";
    assert!(
        warnings.iter().any(|warning| warning == said),
        "{warnings:?}"
    );
}

/// Whatever is wrong with a value that may be a credential, the message does not show it.
#[test]
fn errors_of_credentials_show_nothing_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let errors = |yaml: &str, words: &[&str]| {
        let error = load(&request(dir.path(), yaml, words)).unwrap_err();
        let said = error.to_string();
        assert!(!said.contains("SEKRET"), "{yaml} {words:?}: {said}");
        said
    };
    const KEY: &str = "storage.storage_options.secret_access_key";
    for value in [
        "'SEKRET",
        "[SEKRET",
        "[SEKRET,,",
        "{SEKRET",
        "{a: SEKRET",
        "SEK,SEKRET",
        "'a'SEKRET",
        "a${SEKRET",
        "${SEKRET}",
        "${oc.env:SEKRET}",
        "${now:%QSEKRET}",
    ] {
        errors("framework: pytorch\n", &[&format!("{KEY}={value}")]);
        errors("framework: pytorch\n", &[&format!("{KEY}:{value}")]);
        let options = format!("storage={{storage_options: {{x_key: {value}");
        errors("framework: pytorch\n", &[&options]);
    }
    for value in ["a${SEKRET", "${SEKRET}", "pa${SEKRET}ss"] {
        let yaml = format!("storage: {{storage_options: {{secret_access_key: '{value}'}}}}\n");
        errors(&yaml, &[]);
    }
    // A key that is shown cannot have what is not.
    let options = "storage: {storage_options: {secret_access_key: SEKRET}}\n";
    for reference in [format!("${{{KEY}}}"), format!("x_${{oc.select:{KEY}}}")] {
        let yaml = format!("{options}dataset: {{data_folder: '{reference}'}}\n");
        assert!(errors(&yaml, &[]).contains("refers to a credential"));
    }
    let mut request = request(dir.path(), "framework: pytorch\n", &[]);
    let env = [("AWS_SESSION_TOKEN".to_string(), "SEKRET".to_string())];
    request.env = env.into();
    request.words = vec!["dataset.data_folder=${oc.env:AWS_SESSION_TOKEN}".into()];
    let said = load(&request).unwrap_err().to_string();
    assert!(said.contains("refers to a credential"), "{said}");
}

#[test]
fn numbers_beyond_every_machine_are_errors() {
    for (yaml, word, key) in [
        (
            "workflow: {train: true}\n",
            "dataset.num_files_train=9223372036854775807",
            "dataset.num_files_train",
        ),
        (
            "workflow: {train: true}\n",
            "reader.batch_size=9223372036854775807",
            "reader.batch_size",
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let words = [word, "dataset.num_samples_per_file=9"];
        let loaded = load(&request(dir.path(), yaml, &words)).unwrap();
        let error = validate(&loaded.workload, 8).unwrap_err().to_string();
        assert!(error.contains(key), "{error}");
    }
}

/// A pipe as a workload: one that nobody writes is an error in the end, one that is written is read.
#[test]
fn a_pipe_that_nobody_writes_is_named_and_one_that_is_written_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut request = request(dir.path(), "", &[]);
    let pipe = dir.path().join("pipe.yaml");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    request.source = Source::File(pipe.clone());
    std::thread::scope(|scope| {
        scope.spawn(|| std::fs::write(&pipe, "framework: tensorflow\n").unwrap());
        load(&request).unwrap();
    });
    request.patience = Duration::from_millis(50);
    let error = load(&request).unwrap_err().to_string();
    for word in ["pipe.yaml", "did not come", "remedy"] {
        assert!(error.contains(word), "{error}");
    }
}
