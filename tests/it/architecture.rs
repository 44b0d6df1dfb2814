//! The arrows between modules, read from the source: a module uses only those below it in the table of src/lib.rs, and no
//! two files use each other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::support::repo;

/// A module's path below the crate: `["storage", "object", "read"]`.
type Module = Vec<String>;

/// Source text of every module. Tests are left out: they may use everything.
fn modules() -> BTreeMap<Module, String> {
    fn walk(folder: &Path, root: &Path, into: &mut BTreeMap<Module, String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, root, into);
                continue;
            }
            let relative = path.strip_prefix(root).unwrap().with_extension("");
            let mut module: Module = relative
                .iter()
                .map(|part| part.to_str().unwrap().to_owned())
                .collect();
            let last = module.last().unwrap().clone();
            let is_test = last.ends_with("tests") || module.iter().any(|part| part == "tests");
            if path.extension().is_none_or(|e| e != "rs") || is_test || last == "main" {
                continue;
            }
            if last == "mod" || last == "lib" {
                module.pop();
            }
            let text = std::fs::read_to_string(&path).unwrap();
            into.insert(module, without_tests(&without_comments(&text)));
        }
    }
    let root = repo().join("src");
    let mut all = BTreeMap::new();
    walk(&root, &root, &mut all);
    all
}

fn without_comments(text: &str) -> String {
    let lines = text.lines().map(|line| line.split("//").next().unwrap());
    lines.collect::<Vec<_>>().join("\n")
}

/// Everything before the module of unit tests, which stands last.
fn without_tests(text: &str) -> String {
    text.split("#[cfg(test)]\nmod ").next().unwrap().to_owned()
}

/// `a::{b, c::{d, e}}` as `a::b`, `a::c::d`, `a::c::e`.
fn expand(tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some((prefix, rest)) = tree.split_once('{') else {
        return vec![tree.split(" as ").next().unwrap().trim().to_owned()];
    };
    let inner = rest.rsplit_once('}').map_or(rest, |(inner, _)| inner);
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (at, c) in inner.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&inner[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&inner[start..]);
    parts
        .into_iter()
        .filter(|part| !part.trim().is_empty())
        .flat_map(expand)
        .map(|part| format!("{}{part}", prefix.trim()))
        .collect()
}

/// Paths that a source text names: its `use` items, and `crate::...` or `super::...` in the middle of code.
fn paths(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for item in text.split("use ").skip(1) {
        if let Some((tree, _)) = item.split_once(';') {
            found.extend(expand(tree));
        }
    }
    let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    for word in text.split(|c: char| !is_path(c)) {
        if word.starts_with("crate::") || word.starts_with("super::") {
            found.push(word.to_owned());
        }
    }
    found
}

/// The module that a path named in `from` leads to.
fn resolve(from: &Module, path: &str, all: &BTreeMap<Module, String>) -> Option<Module> {
    let mut parts: Vec<String> = path.split("::").map(|p| p.trim().to_owned()).collect();
    let mut at = match parts[0].as_str() {
        "crate" => Vec::new(),
        "self" | "super" => from.clone(),
        _ => return None,
    };
    if parts[0] != "super" {
        parts.remove(0);
    }
    while parts.first().is_some_and(|p| p == "super") {
        at.pop();
        parts.remove(0);
    }
    at.extend(parts);
    while !all.contains_key(&at) {
        at.pop()?;
    }
    (!at.is_empty() && at != *from).then_some(at)
}

/// From each module to those that it uses.
fn arrows() -> BTreeMap<Module, BTreeSet<Module>> {
    let all = modules();
    all.iter()
        .map(|(from, text)| {
            let to = paths(text)
                .iter()
                .filter_map(|path| resolve(from, path, &all))
                .collect();
            (from.clone(), to)
        })
        .collect()
}

/// The tables of faults and of stores name tests that exist.
#[test]
fn every_test_of_the_tables_exists() {
    fn read(folder: &Path, into: &mut String) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                read(&path, into);
            } else if path.extension().is_some_and(|e| e == "rs") {
                into.push_str(&std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    let mut source = String::new();
    for folder in ["src", "tests/it"] {
        read(&repo().join(folder), &mut source);
    }
    for (table, least) in [("faults.md", 90), ("stores.md", 50)] {
        let table = std::fs::read_to_string(repo().join("tests").join(table)).unwrap();
        let rows = table.lines().filter(|line| line.starts_with("| ")).skip(1);
        let mut named = 0;
        for row in rows {
            let cell = row.trim_end_matches(['|', ' ']).rsplit(" | ").next();
            let names = cell.unwrap().split(", ");
            for name in names.map(|name| name.trim_matches('`')) {
                named += 1;
                let is_there = match name.strip_suffix(".sh") {
                    Some(_) => repo().join("scripts").join(name).exists(),
                    None => source.contains(&format!("fn {name}(")),
                };
                assert!(is_there, "there is no test {name}: {row}");
            }
        }
        assert!(named > least, "only {named} names were read");
    }
}

/// `print!` and `eprint!` panic where the reader of a pipe has gone or a disk is full.
#[test]
fn the_standard_output_is_written_in_one_way() {
    for (module, text) in modules() {
        for call in ["print!(", "println!("] {
            let name = module.join("::");
            assert!(!text.contains(call), "{name} calls {call}..)");
        }
    }
}

#[test]
fn arrows_point_downwards_in_the_table_of_modules() {
    let map = std::fs::read_to_string(repo().join("src/lib.rs")).unwrap();
    let order: Vec<&str> = map
        .lines()
        .filter_map(|line| line.strip_prefix("//! | [`")?.split('`').next())
        .collect();
    let declared = map
        .lines()
        .filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'));
    for module in declared {
        assert!(
            order.contains(&module),
            "src/lib.rs has no row for {module}"
        );
    }
    let level = |module: &Module| order.iter().position(|name| *name == module[0]);
    let mut upwards = Vec::new();
    let mut seen = 0;
    for (from, targets) in arrows() {
        for to in targets
            .iter()
            .filter(|to| !from.is_empty() && to[0] != from[0])
        {
            seen += 1;
            if level(to) < level(&from) {
                upwards.push(format!("{} uses {}", from.join("::"), to.join("::")));
            }
        }
    }
    assert!(seen > 200, "only {seen} arrows were read");
    assert!(upwards.is_empty(), "{upwards:#?}");
}

#[test]
fn no_two_files_use_each_other() {
    let arrows = arrows();
    let mut circles = Vec::new();
    for (from, targets) in &arrows {
        // The file of a folder and those inside are one family: it declares what they implement.
        for to in targets
            .iter()
            .filter(|to| from < to && !to.starts_with(from))
        {
            if arrows[to].contains(from) {
                circles.push(format!("{} and {}", from.join("::"), to.join("::")));
            }
        }
    }
    assert!(circles.is_empty(), "{circles:#?}");
}

/// Lines of a function, from its first to its last; longer ones do more than one thing.
const LONGEST: usize = 80;

/// Functions of a source text as rustfmt lays it out: name, line from 1 on, and lines. Unit tests and macros are left out.
fn functions(text: &str) -> Vec<(String, usize, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    // From line `at` to the brace that closes what begins there; None where it has no body.
    let end_of = |at: usize| {
        let indent = lines[at].len() - lines[at].trim_start().len();
        let opens = (at..lines.len()).find(|&i| lines[i].ends_with(['{', ';', '}']))?;
        let last = format!("{}}}", &lines[at][..indent]);
        match lines[opens].ends_with('{') {
            true => (opens..lines.len()).find(|&i| lines[i] == last),
            false => lines[opens].ends_with('}').then_some(opens),
        }
    };
    let mut found = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at].trim_start();
        let is_left_out = line.starts_with("macro_rules!") || line == "#[cfg(test)]";
        if is_left_out {
            let item = at + usize::from(line == "#[cfg(test)]");
            at = end_of(item).unwrap_or(item);
        } else if let Some((before, after)) = line.split_once("fn ")
            && before.split_whitespace().all(|word| {
                let qualifiers = ["const", "async", "unsafe", "extern", "\"C\""];
                word.starts_with("pub") || qualifiers.contains(&word)
            })
            && let Some(end) = end_of(at)
        {
            let name = after.split(['(', '<']).next().unwrap_or_default();
            found.push((name.to_owned(), at + 1, end + 1 - at));
        }
        at += 1;
    }
    found
}

#[test]
fn no_function_is_long() {
    fn read(folder: &Path, into: &mut Vec<std::path::PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                read(&path, into);
            } else if name.ends_with(".rs") && name != "tests.rs" && !name.ends_with("_tests.rs") {
                into.push(path);
            }
        }
    }
    let mut files = Vec::new();
    read(&repo().join("src"), &mut files);
    let (mut seen, mut long) = (0, Vec::new());
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        for (name, line, lines) in functions(&text) {
            seen += 1;
            if lines > LONGEST {
                let file = path.strip_prefix(repo()).unwrap().display();
                long.push(format!("{file}:{line}: {name} has {lines} lines"));
            }
        }
    }
    assert!(seen > 2000, "only {seen} functions were read");
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn functions_are_read_as_rustfmt_lays_them_out() {
    let text = "trait T {\n    fn no_body(\n        a: u8,\n    ) -> u8;\n    fn a(&self) {\n        f();\n    }\n}\n\
        pub(crate) const unsafe fn b<T>(x: T) -> T\nwhere\n    T: Copy,\n{\n    x\n}\nfn empty() {}\n\
        macro_rules! m {\n    () => {\n        fn in_macro() {\n        }\n    };\n}\n\
        #[cfg(test)]\nuse x::y;\n#[cfg(test)]\nmod tests {\n    fn in_tests() {\n    }\n}\n";
    let found = functions(text);
    let found: Vec<_> = (found.iter())
        .map(|(name, line, lines)| (name.as_str(), *line, *lines))
        .collect();
    assert_eq!(found, [("a", 5, 3), ("b", 9, 6), ("empty", 15, 1)]);
}
