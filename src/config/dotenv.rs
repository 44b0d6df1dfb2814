//! The text of a `.env` as python-dotenv reads it, which DLIO uses. A line that it would skip with a warning is an error here.
//!
//! Source: python-dotenv 1.2 `parser.py` and `variables.py`.

use std::collections::BTreeMap;

/// The variables of a text; `env` precedes them where a value refers to one (`${NAME}`, `${NAME:-DEFAULT}`).
///
/// Errors: the number of the line that is no assignment, from 1.
pub(super) fn parse(
    text: &str,
    env: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, usize> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader { rest: text };
    let mut found = BTreeMap::new();
    loop {
        reader.take_while(char::is_whitespace);
        if reader.rest.is_empty() {
            return Ok(found);
        }
        let before = &text[..text.len() - reader.rest.len()];
        let line = 1 + before.matches('\n').count();
        if let (key, Some(value)) = reader.binding().ok_or(line)? {
            found.insert(key, resolved(&value, env, &found));
        }
    }
}

struct Reader<'a> {
    rest: &'a str,
}

fn is_blank(c: char) -> bool {
    c.is_whitespace() && !is_end(c)
}

fn is_end(c: char) -> bool {
    matches!(c, '\r' | '\n')
}

impl<'a> Reader<'a> {
    fn take_while(&mut self, is_part: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn take(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// A name and its value, where it has one, to the end of the line. An empty name: a comment. None: neither.
    fn binding(&mut self) -> Option<(String, Option<String>)> {
        if let Some(rest) = self.rest.strip_prefix("export")
            && rest.starts_with(is_blank)
        {
            self.rest = rest.trim_start_matches(is_blank);
        }
        let key = match self.rest.chars().next()? {
            '#' => "",
            '\'' => {
                let (key, rest) = self.rest[1..].split_once('\'')?;
                self.rest = rest;
                (!key.is_empty()).then_some(key)?
            }
            _ => {
                let key = self.take_while(|c| !matches!(c, '=' | '#') && !c.is_whitespace());
                (!key.is_empty()).then_some(key)?
            }
        };
        self.take_while(is_blank);
        let mut value = None;
        if self.take("=") {
            let has_blank = !self.take_while(is_blank).is_empty();
            value = Some(match self.rest.chars().next() {
                None => String::new(),
                Some('#') if has_blank => String::new(),
                Some(quote @ ('\'' | '"')) => self.quoted(quote)?,
                Some(_) => self.unquoted(),
            });
        }
        self.take_while(is_blank);
        if self.rest.starts_with('#') {
            self.take_while(|c| !is_end(c));
        }
        let is_over = self.rest.is_empty() || self.rest.starts_with(is_end);
        is_over.then(|| (key.to_owned(), value))
    }

    /// To the end of the line, or to a `#` after a blank.
    fn unquoted(&mut self) -> String {
        let line = self.take_while(|c| !is_end(c));
        let mut comments = line.match_indices('#').map(|(at, _)| at);
        let comment = comments.find(|at| line[..*at].ends_with(is_blank));
        line[..comment.unwrap_or(line.len())].trim_end().to_owned()
    }

    /// To the same quote, over several lines too. A backslash keeps the character after it from being the end.
    fn quoted(&mut self, quote: char) -> Option<String> {
        let mut out = String::new();
        let mut chars = self.rest[1..].char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => {
                    let (_, next) = chars.next()?;
                    match escaped(next, quote) {
                        Some(c) => out.push(c),
                        None => out.extend(['\\', next]),
                    }
                }
                c if c == quote => {
                    self.rest = &self.rest[1 + at + 1..];
                    return Some(out);
                }
                c => out.push(c),
            }
        }
        None
    }
}

/// What a backslash and a character stand for within quotes of this kind; None: for themselves.
fn escaped(c: char, quote: char) -> Option<char> {
    Some(match c {
        '\\' | '\'' => c,
        _ if quote == '\'' => return None,
        '"' => c,
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        _ => return None,
    })
}

/// A value with its references in place of `${...}`.
fn resolved(
    value: &str,
    env: &BTreeMap<String, String>,
    found: &BTreeMap<String, String>,
) -> String {
    let mut out = String::new();
    let mut rest = value;
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        let reference = after.split_once('}').map(|(inner, behind)| {
            let (name, default) = inner.split_once(":-").unwrap_or((inner, ""));
            (name, default, behind)
        });
        let Some((name, default, behind)) = reference.filter(|(name, ..)| !name.contains(':'))
        else {
            out.push_str("${");
            rest = after;
            continue;
        };
        let value = env.get(name).or_else(|| found.get(name));
        out.push_str(value.map_or(default, String::as_str));
        rest = behind;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts, and what python-dotenv 1.2.4 makes of them where `HOME` is `/h`.
    #[test]
    fn a_dotenv_is_read_as_python_dotenv_reads_it() {
        let env = BTreeMap::from([("HOME".to_owned(), "/h".to_owned())]);
        for (text, expected) in [
            ("A=1", &[("A", "1")][..]),
            ("\u{feff}A=1", &[("A", "1")]),
            ("A=1 # behind", &[("A", "1")]),
            ("A=a#b", &[("A", "a#b")]),
            ("A= # x", &[("A", "")]),
            ("A=#x", &[("A", "#x")]),
            ("A='x # y' # behind", &[("A", "x # y")]),
            ("A=\"x # y\"", &[("A", "x # y")]),
            (r#"A="a\nb\t\"c\"""#, &[("A", "a\nb\t\"c\"")]),
            (r"A='it\'s \\ \n'", &[("A", r"it's \ \n")]),
            ("export A=1", &[("A", "1")]),
            ("export\tA = 1 ", &[("A", "1")]),
            ("# comment\n\nA=1\n  # more\nB=2", &[("A", "1"), ("B", "2")]),
            ("A=1\r\nB=2\r\n", &[("A", "1"), ("B", "2")]),
            ("A=x y  z ", &[("A", "x y  z")]),
            // Of a password nothing is lost.
            ("A=pa$word", &[("A", "pa$word")]),
            ("A='pa$word'", &[("A", "pa$word")]),
            (r"A=a\nb", &[("A", r"a\nb")]),
            ("B=1\nA=${B}${C:-d}${E}x", &[("A", "1dx"), ("B", "1")]),
            ("A='${HOME}'", &[("A", "/h")]),
            ("A=\nB=2", &[("A", ""), ("B", "2")]),
            ("A\nB=2", &[("B", "2")]),
            ("A=1\nA=2", &[("A", "2")]),
            ("'A b'=1", &[("A b", "1")]),
            ("A='two\nlines'", &[("A", "two\nlines")]),
            ("A=ab/cd+ef==", &[("A", "ab/cd+ef==")]),
            ("A.B-c=1", &[("A.B-c", "1")]),
            ("A=\"\"", &[("A", "")]),
            ("A=x'y", &[("A", "x'y")]),
            ("A = 'x'#y", &[("A", "x")]),
        ] {
            let expected = expected.iter().map(|(k, v)| (k.to_string(), v.to_string()));
            assert_eq!(parse(text, &env), Ok(expected.collect()), "{text:?}");
        }
    }

    #[test]
    fn a_line_that_is_no_assignment_is_numbered() {
        let env = BTreeMap::new();
        for (text, line) in [
            ("A B", 1),
            ("# x\n\nA=1\n=1\n", 4),
            ("A=1\r\nB=\"x\" y\r\n", 2),
            ("A='x", 1),
            (r"A='a\'", 1),
        ] {
            assert_eq!(parse(text, &env), Err(line), "{text:?}");
        }
    }
}
