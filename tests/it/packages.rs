//! What packages bring beside the binary: completions and manual pages.

use std::path::Path;
use std::process::Command;

use crate::support::*;

/// Every verb but `help`, as `--help` lists them.
fn verbs() -> Vec<String> {
    let mut command = solo();
    command.arg("--help");
    let help = run(command).ok().stdout;
    let (_, list) = help.split_once("Commands:\n").unwrap();
    list.lines()
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|verb| *verb != "help")
        .map(String::from)
        .collect()
}

/// Long options of a verb, as its `--help` lists them.
fn options(verb: &str) -> Vec<String> {
    let mut command = solo();
    command.args([verb, "--help"]);
    let help = run(command).ok().stdout;
    let (_, list) = help.split_once("Options:\n").unwrap();
    list.lines()
        .filter_map(|line| {
            line.trim_start()
                .strip_prefix("-h, ")
                .or(Some(line.trim_start()))
        })
        .filter(|line| line.starts_with("--"))
        .map(|line| {
            let end = line.find([' ', '[', '=', '<']).unwrap_or(line.len());
            line[..end].to_string()
        })
        .collect()
}

fn completions(shell: &str) -> String {
    let mut command = solo();
    command.args(["completions", shell]);
    run(command).ok().stdout
}

#[test]
fn completions_name_every_verb_and_option() {
    let verbs = verbs();
    assert!(
        verbs.len() > 10 && verbs.contains(&"run".into()),
        "{verbs:?}"
    );
    for shell in ["bash", "zsh", "fish"] {
        let text = completions(shell);
        for verb in &verbs {
            assert!(text.contains(verb.as_str()), "{shell}: {verb}");
            for option in options(verb) {
                let name = option.trim_start_matches('-');
                assert!(text.contains(name), "{shell}: {verb} {option}");
            }
        }
    }
    let mut command = solo();
    command.args(["completions", "tcsh"]);
    run(command).fails(2, &["possible values", "bash"]);
}

/// Words begun, and the one that each shell is to make of the last.
const BEGUN: [(&str, &str); 5] = [
    ("dlio-rs va", "validate"),
    ("dlio-rs install", "install-shim"),
    ("dlio-rs run --stall", "--stall-timeout"),
    ("dlio-rs install-shim --re", "--replace"),
    // A value; clap's script for fish has none of arguments without a name.
    ("dlio-rs completions z", "zsh"),
];

/// The completions of a shell in a file of their own.
fn completions_in(scratch: &Scratch, shell: &str, name: &str) -> String {
    let file = scratch.path(name);
    std::fs::write(&file, completions(shell)).unwrap();
    file.display().to_string()
}

#[test]
fn bash_completes_verbs_and_options() {
    let scratch = Scratch::new();
    let file = completions_in(&scratch, "bash", "dlio-rs.bash");
    for (words, wanted) in BEGUN {
        let script = format!(
            "source {file}; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             complete=$(complete -p dlio-rs | sed 's/.*-F \\([^ ]*\\).*/\\1/'); \
             $complete dlio-rs \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        );
        let mut command = Command::new("bash");
        command.args(["--norc", "-c", &script]);
        let out = run(command).ok();
        assert_eq!(out.stdout.trim(), wanted, "{words}: {}", out.text());
    }
}

#[test]
fn fish_completes_verbs_and_options() {
    let scratch = Scratch::new();
    let file = completions_in(&scratch, "fish", "dlio-rs.fish");
    for (words, wanted) in &BEGUN[..4] {
        let mut command = Command::new("fish");
        command
            .env("HOME", scratch.path(""))
            .args(["--no-config", "-c"])
            .arg(format!("source {file}; complete -C '{words}'"));
        let out = run(command).ok();
        let offered: Vec<&str> = out
            .stdout
            .lines()
            .filter_map(|l| l.split('\t').next())
            .collect();
        assert_eq!(offered, [*wanted], "{words}: {}", out.text());
    }
}

/// An interactive zsh in a terminal of zsh's own: Tab, then a key that prints the line as it is then.
#[test]
fn zsh_completes_verbs_and_options() {
    let scratch = Scratch::new();
    completions_in(&scratch, "zsh", "_dlio-rs");
    let script = r#"
zmodload zsh/zpty
zpty shell 'zsh -f -i'
zpty -w shell 'fpath=('$1' $fpath); autoload -Uz compinit; compinit -u -D; shown() { print -r -- "<$BUFFER>"; BUFFER= }; zle -N shown; bindkey "^X" shown; print rea""dy'
zpty -r -m shell text '*ready*'
for words in "${@:2}"; do
    zpty -w -n shell "$words"$'\t'$'\x18'
    zpty -r -m shell text '*<*>*'
    print -r -- "${${text##*<}%%>*}"
done
zpty -d shell"#;
    let mut command = Command::new("zsh");
    command
        .args(["-f", "-c", script, "zsh"])
        .arg(scratch.path(""))
        .args(BEGUN.map(|(words, _)| words));
    let out = run(command).ok();
    let lines: Vec<&str> = out
        .stdout
        .lines()
        .map(|l| l.trim_end_matches([' ', '=']))
        .collect();
    let wanted = BEGUN.map(|(words, word)| match words.rsplit_once(' ') {
        Some((before, _)) => format!("{before} {word}"),
        None => word.into(),
    });
    assert_eq!(lines, wanted, "{}", out.text());
}

#[test]
fn manual_pages_render_without_warnings() {
    let scratch = Scratch::new();
    let folder = scratch.path("man1");
    let mut command = solo();
    command.arg("man").arg(&folder);
    run(command).ok();
    let mut wanted = vec!["dlio-rs.1".to_string()];
    wanted.extend(verbs().iter().map(|verb| format!("dlio-rs-{verb}.1")));
    wanted.sort();
    let mut written: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    written.sort();
    assert_eq!(written, wanted);
    for page in &written {
        let mut command = Command::new("mandoc");
        command
            .args(["-T", "lint", "-W", "warning"])
            .arg(folder.join(page));
        let out = run(command).ok();
        assert_eq!(out.text().trim(), "", "{page}");
    }
    let mut command = Command::new("mandoc");
    command
        .args(["-T", "ascii", "-O", "width=160"])
        .arg(folder.join("dlio-rs.1"));
    // mandoc prints bold and underlined words by overstriking.
    let text: String = run(command).ok().stdout;
    let plain = plain(&text);
    for verb in verbs() {
        assert!(plain.contains(&format!("dlio-rs-{verb}(1)")), "{plain}");
    }
    // The examples keep their lines.
    assert!(
        plain
            .lines()
            .any(|line| line.trim().starts_with("mpirun -np 8 dlio-rs info ")),
        "{plain}"
    );
}

/// Without the characters that a backspace takes away.
fn plain(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if c == '\u{8}' {
            out.pop();
        } else {
            out.push(c);
        }
    }
    out
}

/// The Python package against the files of a run of ours, and of one that DLIO left.
#[test]
fn the_python_package_reads_runs() {
    let scratch = Scratch::new();
    let out = scratch.path("out");
    let mut command = mpirun(2);
    command
        .args(["workload=quickstart", "storage.storage_type=model"])
        .args(["workflow.generate_data=false", "workflow.evaluation=true"])
        .args(["dataset.num_files_eval=8", "--virtual-time", "--quiet"])
        .arg("--output")
        .arg(&out);
    run(command).ok();
    let folder = Path::new(bin()).parent().unwrap();
    let path = std::env::var("PATH").unwrap();
    let mut command = Command::new(python());
    command
        .arg(repo().join("tests/python/check_read.py"))
        .arg(&out)
        .arg(repo().join("tests/data/dlio_run"))
        .env("PYTHONPATH", repo().join("python"))
        .env("PATH", format!("{}:{path}", folder.display()));
    run(command).ok();
}
