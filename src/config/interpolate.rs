//! OmegaConf's `${...}`: references to other keys, and resolvers.
//!
//! Source: OmegaConf 2.3 `grammar_visitor.py` and `basecontainer.py`, hydra 1.3 `core/utils.py` for its own resolvers.

use std::collections::BTreeMap;

use chrono::format::{Item, StrftimeItems};
use serde_yaml::Value;

use super::environment::key_of;
use super::error::Wrong;
use super::overrides;
use super::secret::is_secret;
use super::tree::{as_text, join};

/// A value that is resolved, or what is wrong with it.
type Resolved = Result<Value, Wrong>;

/// What references are resolved against.
pub(super) struct Resolver<'a> {
    /// The tree of the workload, unresolved.
    pub(super) root: &'a Value,
    pub(super) env: &'a BTreeMap<String, String>,
    /// One time for all `${now:...}` of a job.
    pub(super) now: chrono::DateTime<chrono::Local>,
    /// `${hydra:runtime.cwd}`
    pub(super) cwd: String,
    /// `${hydra:runtime.choices.workload}`
    pub(super) name: String,
}

/// What is wrong, and at which key.
pub(super) struct Unresolved {
    pub(super) key: String,
    pub(super) wrong: Wrong,
}

/// More references behind one another than any configuration has.
const MAX_DEPTH: usize = 40;

impl Resolver<'_> {
    /// The whole tree with every reference resolved.
    pub(super) fn tree(&self) -> Result<Value, Unresolved> {
        self.below(self.root, "", &mut Vec::new())
    }

    /// One text, as the value of the key `path`.
    pub(super) fn text(&self, text: &str, path: &str) -> Resolved {
        self.resolve(text, path, &mut vec![path.to_string()])
    }

    fn below(
        &self,
        value: &Value,
        path: &str,
        chain: &mut Vec<String>,
    ) -> Result<Value, Unresolved> {
        Ok(match value {
            Value::Mapping(map) => Value::Mapping(
                map.iter()
                    .map(|(key, value)| {
                        let at = join(path, &as_text(key));
                        Ok((key.clone(), self.below(value, &at, chain)?))
                    })
                    .collect::<Result<_, _>>()?,
            ),
            Value::Sequence(items) => Value::Sequence(
                items
                    .iter()
                    .enumerate()
                    .map(|(i, item)| self.below(item, &format!("{path}[{i}]"), chain))
                    .collect::<Result<_, _>>()?,
            ),
            Value::String(text) if text.contains("${") => {
                chain.push(path.to_string());
                let value = self
                    .resolve(text, path, chain)
                    .map_err(|wrong| Unresolved {
                        key: path.into(),
                        wrong,
                    })?;
                chain.pop();
                value
            }
            other => other.clone(),
        })
    }

    /// `text` as the value of the key `path`.
    fn resolve(&self, text: &str, path: &str, chain: &mut Vec<String>) -> Resolved {
        self.parts(text, path, chain).map_err(|wrong| {
            if is_secret(path) {
                Wrong::new(
                    "it has a reference that cannot be resolved, and is not shown",
                    "correct it, or write \\${ for a ${ of the text itself",
                )
            } else {
                wrong
            }
        })
    }

    fn parts(&self, text: &str, path: &str, chain: &mut Vec<String>) -> Resolved {
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            let before = &rest[..at];
            let slashes = before.len() - before.trim_end_matches('\\').len();
            out.push_str(&before[..before.len() - slashes]);
            out.push_str(&"\\".repeat(slashes / 2));
            if slashes % 2 == 1 {
                out.push_str("${");
                rest = &rest[at + 2..];
                continue;
            }
            let end = matching_brace(&rest[at..]).ok_or_else(|| {
                let remedy = "close it, or write \\${ for a ${ of the text itself";
                Wrong::new("it has a ${ without its }", remedy)
            })?;
            let inner = &rest[at + 2..at + end];
            let value = self.evaluate(inner, path, chain)?;
            rest = &rest[at + end + 1..];
            if at == 0 && rest.is_empty() && out.is_empty() {
                return Ok(value);
            }
            out.push_str(&python_text(&value)?);
        }
        out.push_str(rest);
        Ok(Value::String(out))
    }

    /// What stands between the braces.
    fn evaluate(&self, inner: &str, path: &str, chain: &mut Vec<String>) -> Resolved {
        if let Some((name, arguments)) = inner.split_once(':')
            && is_resolver(name.trim())
        {
            return self.call(name.trim(), arguments, path, chain);
        }
        let name = match self.resolve(inner, path, chain)? {
            Value::String(name) => name.trim().to_string(),
            other => as_text(&other),
        };
        self.reference(&name, path, chain).unwrap_or_else(|| {
            let remedy = "name a key that is set, such as ${model.name}, or write the value itself";
            Err(Wrong::new(format!("${{{name}}} names no key"), remedy))
        })
    }

    /// The value of the key that a reference names; None where there is none.
    fn reference(&self, name: &str, path: &str, chain: &mut Vec<String>) -> Option<Resolved> {
        let target = absolute(name, path);
        let target = target.strip_prefix("workload.").unwrap_or(&target);
        let value = node(self.root, target)?;
        if let Err(wrong) = may_hold(path, target) {
            return Some(Err(wrong));
        }
        Some(self.at(value, target, chain))
    }

    fn at(&self, value: &Value, target: &str, chain: &mut Vec<String>) -> Resolved {
        if chain.iter().any(|key| key == target) || chain.len() > MAX_DEPTH {
            chain.push(target.into());
            let what = format!("it refers to itself: {}", chain.join(" -> "));
            return Err(Wrong::new(what, "write the value itself at one of them"));
        }
        chain.push(target.into());
        let value = match value {
            Value::String(text) => self.resolve(text, target, chain),
            other => self.below(other, target, chain).map_err(|e| e.wrong),
        };
        chain.pop();
        value
    }

    fn call(&self, name: &str, text: &str, path: &str, chain: &mut Vec<String>) -> Resolved {
        let resolved = match self.resolve(text, path, chain)? {
            Value::String(text) => text,
            other => as_text(&other),
        };
        let (first, default) = match resolved.split_once(',') {
            Some((first, default)) if name != "now" => (first.trim(), Some(default.trim())),
            _ => (resolved.trim(), None),
        };
        match name {
            // A variable is a text, whatever it looks like; the type of its key decides.
            "oc.env" => match (self.env.get(first), default) {
                (Some(value), _) => {
                    key_of(first).map_or(Ok(()), |key| may_hold(path, key))?;
                    Ok(Value::from(value.as_str()))
                }
                (None, Some("null")) => Ok(Value::Null),
                (None, Some(default)) => Ok(Value::from(unquoted(default))),
                (None, None) => Err(Wrong::new(
                    format!("${{oc.env:{first}}}: this variable is not set"),
                    format!("set it, or write ${{oc.env:{first},DEFAULT}}"),
                )),
            },
            "oc.select" => match (self.reference(first, path, chain), default) {
                (Some(value), _) => value,
                (None, Some(default)) => overrides::value(default),
                (None, None) => Ok(Value::Null),
            },
            "oc.decode" => overrides::value(unquoted(resolved.trim())),
            "now" => self.time(resolved.trim()),
            "hydra" => match first {
                "runtime.cwd" => Ok(Value::from(self.cwd.as_str())),
                "runtime.choices.workload" => Ok(Value::from(self.name.as_str())),
                "job.name" => Ok(Value::from("main")),
                other => Err(Wrong::new(
                    format!("${{hydra:{other}}} is not known here"),
                    "write the value itself; runtime.cwd, runtime.choices.workload and job.name are known",
                )),
            },
            other => Err(Wrong::new(
                format!("{other}: is no resolver that is known here"),
                "write the value itself; oc.env, oc.select, oc.decode, now and hydra are known",
            )),
        }
    }

    fn time(&self, format: &str) -> Resolved {
        let items: Vec<Item> = StrftimeItems::new(format).collect();
        if items.contains(&Item::Error) {
            let what = format!("${{now:{format}}} has a code that strftime does not know");
            return Err(Wrong::new(
                what,
                "write codes of strftime, such as %Y-%m-%d",
            ));
        }
        Ok(Value::from(
            self.now.format_with_items(items.iter()).to_string(),
        ))
    }
}

/// What a credential is for is never shown, other keys are.
fn may_hold(path: &str, target: &str) -> Result<(), Wrong> {
    if is_secret(target) && !is_secret(path) {
        return Err(Wrong::new(
            format!("it refers to a credential ({target}), and its own value is shown"),
            "write the value itself, without the credential",
        ));
    }
    Ok(())
}

/// Python's `str` of a value that stands within a text.
fn python_text(value: &Value) -> Result<String, Wrong> {
    Ok(match value {
        Value::Null => "None".into(),
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        Value::Mapping(_) | Value::Sequence(_) => {
            return Err(Wrong::new(
                "a map or a list cannot stand within a text",
                "refer to one of its values, such as ${section.key}",
            ));
        }
        other => as_text(other),
    })
}

fn unquoted(text: &str) -> &str {
    for quote in ['\'', '"'] {
        if text.len() > 1 && text.starts_with(quote) && text.ends_with(quote) {
            return &text[1..text.len() - 1];
        }
    }
    text
}

/// Place of the brace that ends the `${` at the start of `text`.
fn matching_brace(text: &str) -> Option<usize> {
    let mut depth = 0;
    for (i, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => {
                depth -= 1;
                if depth == 0 {
                    return Some(i);
                }
            }
            _ => {}
        }
    }
    None
}

fn is_resolver(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.')
}

/// `.x` is a key beside the one at `path`, `..x` one beside its section, and so on.
fn absolute(name: &str, path: &str) -> String {
    let dots = name.len() - name.trim_start_matches('.').len();
    if dots == 0 {
        return name.to_string();
    }
    let mut base = path;
    for _ in 0..dots {
        base = base
            .rsplit_once(['.', '['])
            .map_or("", |(parent, _)| parent);
    }
    join(base, &name[dots..])
}

/// The node at a path such as `a.b[0].c` or `a[b]`.
fn node<'v>(root: &'v Value, path: &str) -> Option<&'v Value> {
    path.split(['.', '['])
        .map(|part| part.trim_end_matches(']'))
        .filter(|part| !part.is_empty())
        .try_fold(root, |node, part| match node {
            Value::Sequence(items) => items.get(part.parse::<usize>().ok()?),
            Value::Mapping(map) => map
                .get(part)
                .or_else(|| map.get(Value::from(part.parse::<i64>().ok()?))),
            _ => None,
        })
}
