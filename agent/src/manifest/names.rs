//! What names, labels and keys must look like, with the words of the API server for what they do not
//! (apimachinery, `util/validation`).

/// Of an RFC 1123 label.
pub const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
/// Of an RFC 1123 subdomain.
pub const SUBDOMAIN: &str = r"a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
/// Of a key in a Secret or `ConfigMap`.
pub const CONFIG_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
/// Of a label's value.
pub const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
/// Of the part of a label's or annotation's key behind the slash.
pub const QUALIFIED_NAME: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
/// Of the name of an environment variable.
pub const VARIABLE: &str = "a valid environment variable name must consist only of printable ASCII characters other than '='";
/// Of a port's name.
pub const PORT_NAME: &str = "must contain only alpha-numeric characters (a-z, 0-9) and hyphens (-), at least one letter, no two hyphens in a row, and no hyphen at an end, and be no more than 15 characters";
const LABEL_LONG: &str = "must be no more than 63 bytes";
const SUBDOMAIN_LONG: &str = "must be no more than 253 bytes";

/// What is wrong with a label of RFC 1123, if anything.
#[must_use]
pub fn label(text: &str) -> Option<&'static str> {
    match text.len() {
        64.. => Some(LABEL_LONG),
        _ => (!is_label(text)).then_some(LABEL),
    }
}

/// What is wrong with a subdomain of RFC 1123, if anything.
#[must_use]
pub fn subdomain(text: &str) -> Option<&'static str> {
    match text.len() {
        254.. => Some(SUBDOMAIN_LONG),
        _ => (!text.split('.').all(is_label)).then_some(SUBDOMAIN),
    }
}

/// What is wrong with a key of a Secret or `ConfigMap`, if anything.
#[must_use]
pub fn config_key(text: &str) -> Option<&'static str> {
    let is_of_characters = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    match text {
        _ if text.len() > 253 => Some(SUBDOMAIN_LONG),
        "" => Some(CONFIG_KEY),
        _ if !is_of_characters => Some(CONFIG_KEY),
        "." => Some("must not be '.'"),
        ".." => Some("must not be '..'"),
        _ if text.starts_with("..") => Some("must not start with '..'"),
        _ => None,
    }
}

/// What is wrong with the name of an environment variable, if anything.
#[must_use]
pub fn variable(text: &str) -> Option<&'static str> {
    let is_valid = !text.is_empty()
        && text
            .bytes()
            .all(|byte| (0x20..0x7f).contains(&byte) && byte != b'=');
    (!is_valid).then_some(VARIABLE)
}

/// What is wrong with the value of a label, if anything.
#[must_use]
pub fn label_value(text: &str) -> Option<&'static str> {
    match text.len() {
        0 => None,
        64.. => Some(LABEL_LONG),
        _ => (!is_name_part(text)).then_some(LABEL_VALUE),
    }
}

/// What is wrong with the key of a label or annotation, if anything.
#[must_use]
pub fn qualified_name(text: &str) -> Option<&'static str> {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    match prefix {
        Some("") => return Some("prefix part must be non-empty"),
        Some(prefix) => {
            if let Some(wrong) = subdomain(prefix) {
                return Some(wrong);
            }
        }
        None => {}
    }
    match name.len() {
        0 => Some("name part must be non-empty"),
        64.. => Some("name part must be no more than 63 bytes"),
        _ => (!is_name_part(name)).then_some(QUALIFIED_NAME),
    }
}

/// What is wrong with the name of a port, if anything.
#[must_use]
pub fn port_name(text: &str) -> Option<&'static str> {
    let is_valid = is_label(text)
        && text.len() <= 15
        && !text.contains("--")
        && text.bytes().any(|byte| byte.is_ascii_lowercase());
    (!is_valid).then_some(PORT_NAME)
}

fn is_label(text: &str) -> bool {
    let is_inner = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
    !text.is_empty()
        && text.bytes().all(|byte| is_inner(&byte))
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn is_name_part(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    is_end(bytes.first())
        && is_end(bytes.last())
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A check, what it takes and what it refuses.
    type Case<'a> = (
        fn(&str) -> Option<&'static str>,
        &'a [&'a str],
        &'a [&'a str],
    );

    #[test]
    fn names_are_what_the_api_server_takes() {
        let long = "a".repeat(64);
        let cases: &[Case<'_>] = &[
            (
                label,
                &["a", "web-1", "0"],
                &["", "-a", "a-", "A", "a.b", "a_b", &long],
            ),
            (
                subdomain,
                &["a", "a.b-c.0", &long],
                &["", ".", "a..b", "a.-b", "A.b"],
            ),
            (
                config_key,
                &["a", "A_b.c-d", ".a", "a..b"],
                &["", ".", "..", "..data", "a/b", "a b", "é"],
            ),
            (
                variable,
                &["A", "1", "a b", "_-."],
                &["", "a=b", "a\tb", "é"],
            ),
            (label_value, &["", "a", "A.b_c-d"], &["-a", "a b", &long]),
            (
                qualified_name,
                &["a", "a.b/C", "app.kubernetes.io/name"],
                &["", "/a", "a/", "a/b/c", "A.b/c", "-a"],
            ),
            (
                port_name,
                &["http", "a-b", "8a"],
                &["", "80", "a--b", "aaaaaaaaaaaaaaaa", "HTTP"],
            ),
        ];
        for (check, good, bad) in cases {
            for text in *good {
                assert_eq!(check(text), None, "{text:?}");
            }
            for text in *bad {
                assert!(check(text).is_some(), "{text:?}");
            }
        }
    }
}
