//! Text for people, whatever the names and answers in it hold.

use std::borrow::Cow;
use std::fmt::Write as _;

/// What a terminal can be shown: control characters but line ends and tabs are escaped as in JSON (`\u001b`), so that no name of
/// a file and no answer of a server moves the cursor or changes colours.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    let is_odd = |c: char| c.is_control() && c != '\n' && c != '\t';
    if !text.contains(is_odd) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_odd(c) {
            // Writing to a String cannot fail. Control characters are below U+00A0.
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// A word as a shell takes it for one.
pub(crate) fn shell_word(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_+=./:,@%".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// One decimal digit at least, and nothing else.
pub(crate) fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_for_a_shell() {
        assert_eq!(shell_word("++workload.a.b=1"), "++workload.a.b=1");
        assert_eq!(shell_word("a=[1, 2]"), "'a=[1, 2]'");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
        assert_eq!(shell_word(""), "''");
    }

    #[test]
    fn control_characters_are_escaped_and_text_is_left_alone() {
        assert_eq!(plain("a\tb\nç █"), "a\tb\nç █");
        assert_eq!(
            plain("no\u{1b}[31m\r\u{7f}\u{9b}1m\0"),
            "no\\u001b[31m\\u000d\\u007f\\u009b1m\\u0000"
        );
        // JSON stays JSON.
        let json = serde_json::to_string("a\u{9b}\u{1b}b").unwrap();
        let back: String = serde_json::from_str(&plain(&json)).unwrap();
        assert_eq!(back, "a\u{9b}\u{1b}b");
    }
}
