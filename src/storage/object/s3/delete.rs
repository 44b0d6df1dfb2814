//! Deleting many objects with one request.
//!
//! Source: Amazon S3 API reference, DeleteObjects. Content-MD5 is what servers of every age ask for.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};

use super::super::failure::{Class, Failure, Result};
use super::super::{printable, xml_element, xml_escape};

/// The request's XML.
pub(super) fn request(keys: &[String]) -> String {
    let mut xml = String::from(
        r#"<?xml version="1.0" encoding="UTF-8"?><Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Quiet>true</Quiet>"#,
    );
    for key in keys {
        xml.push_str("<Object><Key>");
        xml_escape(key, &mut xml);
        xml.push_str("</Key></Object>");
    }
    xml.push_str("</Delete>");
    xml
}

/// What `Content-MD5` holds.
pub(super) fn content_md5(body: &[&[u8]]) -> String {
    let mut md5 = Md5::new();
    body.iter().for_each(|piece| md5.update(piece));
    STANDARD.encode(md5.finalize())
}

/// What the answer says of objects that are still there.
pub(super) fn outcome(body: &[u8], asked: usize) -> Result<()> {
    let text = String::from_utf8_lossy(body);
    let errors = text.matches("<Error>").count();
    let Some(first) = text.find("<Error>") else {
        return Ok(());
    };
    let first = &text[first..];
    let word = |name: &str| printable(&xml_element(first, name).unwrap_or_default());
    Err(refused(
        errors,
        asked,
        &word("Key"),
        &word("Code"),
        &word("Message"),
    ))
}

/// Objects that are still there, the first by its key and why.
pub(super) fn refused(
    errors: usize,
    asked: usize,
    key: &str,
    code: &str,
    message: &str,
) -> Failure {
    Failure {
        class: match code {
            "InternalError" => Class::ServerError,
            code => match Class::of_status(400, code) {
                Class::Expired => Class::Permanent,
                class => class,
            },
        },
        status: Some(200),
        message: format!(
            "{errors} of {asked} objects were not deleted, the first is {key}: {message}"
        ),
        code: code.into(),
        ..Failure::new(Class::Permanent, "")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_escaped_and_the_body_has_its_md5() {
        let xml = request(&["a<b>&\"'\r\u{1}".into()]);
        assert!(
            xml.contains("<Key>a&lt;b&gt;&amp;&quot;&apos;&#13;&#1;</Key>"),
            "{xml}"
        );
        // Source: RFC 1321, A.5, "abc" = 900150983cd24fb0d6963f7d28e17f72.
        assert_eq!(content_md5(&[b"a", b"", b"bc"]), "kAFQmDzST7DWlj99KOF/cg==");
    }

    #[test]
    fn objects_that_stay_are_named() {
        let body = b"<DeleteResult><Error><Key>k</Key><Code>AccessDenied</Code><Message>no</Message></Error><Error></Error></DeleteResult>";
        let failure = outcome(body, 5).unwrap_err();
        assert_eq!(failure.class, Class::Permanent);
        assert!(failure.message.contains("2 of 5 objects"), "{failure}");
        assert!(outcome(b"<DeleteResult/>", 5).is_ok());
        let body =
            b"<DeleteResult><Error><Key>k</Key><Code>InternalError</Code></Error></DeleteResult>";
        assert_eq!(outcome(body, 5).unwrap_err().class, Class::ServerError);
    }
}
