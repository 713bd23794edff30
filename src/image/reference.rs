//! References as users write them, and the one form in which they are kept.
//!
//! The grammar is that of oci-spec's `Reference`, whose own parser is not used: its regular expression keeps 12 MiB for
//! ever once it was needed, more than the whole daemon may take. A property test holds the two together.

use oci_spec::distribution::{ParseError, Reference};

use super::ImageError;
use super::error::Failure;

/// A reference in its full form: `busybox` is `docker.io/library/busybox:latest`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Name {
    reference: Reference,
}

impl Name {
    pub(super) fn parse(text: &str) -> Result<Self, ImageError> {
        match split(text) {
            Ok(reference) => Ok(Self { reference }),
            Err(source) => Err(Failure::Reference {
                reference: text.to_owned(),
                source,
            }
            .into()),
        }
    }

    pub(super) fn reference(&self) -> &Reference {
        &self.reference
    }

    /// `registry/repository`.
    pub(super) fn repository(&self) -> String {
        format!(
            "{}/{}",
            self.reference.registry(),
            self.reference.repository()
        )
    }

    /// The digest, if the reference has one. The tag beside it then means nothing, as for the peers.
    pub(super) fn digest(&self) -> Option<&str> {
        self.reference.digest()
    }

    /// `registry/repository:tag`, unless the reference has a digest.
    pub(super) fn tagged(&self) -> Option<String> {
        let tag = self.reference.tag()?;
        match self.digest() {
            Some(_) => None,
            None => Some(format!("{}:{tag}", self.repository())),
        }
    }

    /// `registry/repository@digest`.
    pub(super) fn with_digest(&self, digest: &str) -> String {
        format!("{}@{digest}", self.repository())
    }

    /// The form in which the reference is kept and shown.
    pub(super) fn canonical(&self) -> String {
        match (self.digest(), self.tagged()) {
            (Some(digest), _) => self.with_digest(digest),
            (None, Some(tagged)) => tagged,
            (None, None) => self.repository(),
        }
    }
}

/// The longest repository, as in oci-spec and Docker.
const REPOSITORY_BYTES_MAX: usize = 255;

/// The longest tag (distribution spec, "Pulling manifests").
const TAG_BYTES_MAX: usize = 128;

/// `[registry/]repository[:tag][@digest]`, with Docker's defaults for what is left out.
fn split(text: &str) -> Result<Reference, ParseError> {
    // A bare digest would parse as a repository called "sha256".
    if text.strip_prefix("sha256:").is_some_and(is_sha256) {
        return Err(ParseError::ReferenceInvalidFormat);
    }
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (text, None),
    };
    // A colon after the last slash begins a tag, one before it a port.
    let (name, tag) = match rest.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (rest, None),
    };
    if tag.is_some_and(|tag| !is_tag(tag)) {
        return Err(ParseError::TagInvalidFormat);
    }
    if let Some(digest) = digest {
        check_digest(digest)?;
    }
    let (registry, repository) = split_registry(name)?;
    let digest = digest.map(str::to_owned);
    let tag = tag.map(str::to_owned);
    Ok(match (tag, digest) {
        (Some(tag), Some(digest)) => {
            Reference::with_tag_and_digest(registry, repository, tag, digest)
        }
        (None, Some(digest)) => Reference::with_digest(registry, repository, digest),
        (tag, None) => {
            let tag = tag.unwrap_or_else(|| "latest".to_owned());
            Reference::with_tag(registry, repository, tag)
        }
    })
}

fn split_registry(name: &str) -> Result<(String, String), ParseError> {
    if name.is_empty() {
        return Err(ParseError::NameEmpty);
    }
    // As Docker tells a registry from the first part of a repository.
    let is_registry = |part: &str| part.contains(['.', ':']) || part == "localhost";
    let (registry, repository) = match name.split_once('/') {
        Some((first, rest)) if is_registry(first) => (first, rest),
        _ => ("docker.io", name),
    };
    if !is_domain(registry) || !repository.split('/').all(is_component) {
        return Err(
            match repository.contains(|c: char| c.is_ascii_uppercase()) {
                true => ParseError::NameContainsUppercase,
                false => ParseError::ReferenceInvalidFormat,
            },
        );
    }
    let registry = match registry {
        "index.docker.io" => "docker.io",
        registry => registry,
    };
    let repository = match registry == "docker.io" && !repository.contains('/') {
        true => format!("library/{repository}"),
        false => repository.to_owned(),
    };
    match repository.len() > REPOSITORY_BYTES_MAX {
        true => Err(ParseError::NameTooLong),
        false => Ok((registry.to_owned(), repository)),
    }
}

/// Letters, digits and inner dashes between dots, and a port.
fn is_domain(text: &str) -> bool {
    let (host, port) = text.split_once(':').unwrap_or((text, "0"));
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    host.split('.').all(is_label)
        && !port.is_empty()
        && port.bytes().all(|byte| byte.is_ascii_digit())
}

/// Lower-case letters and digits, with a dot, one or two underscores, or any dashes between them.
fn is_component(text: &str) -> bool {
    let is_word = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let separators = text
        .as_bytes()
        .chunk_by(|one, other| is_word(one) == is_word(other))
        .filter(|run| !run.iter().all(is_word));
    let mut separators = separators;
    let is_separator =
        |run: &[u8]| matches!(run, b"." | b"_" | b"__") || run.iter().all(|byte| *byte == b'-');
    text.as_bytes().first().is_some_and(is_word)
        && text.as_bytes().last().is_some_and(is_word)
        && separators.all(is_separator)
}

fn is_tag(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= TAG_BYTES_MAX
        && text.bytes().next().is_some_and(is_word)
        && text
            .bytes()
            .all(|byte| is_word(byte) || matches!(byte, b'.' | b'-'))
}

fn check_digest(text: &str) -> Result<(), ParseError> {
    let (algorithm, hash) = text
        .split_once(':')
        .ok_or(ParseError::DigestInvalidFormat)?;
    let length = match algorithm {
        "sha256" => 64,
        "sha384" => 96,
        "sha512" => 128,
        _ => return Err(ParseError::DigestUnsupported),
    };
    match (hash.len() == length, is_hexadecimal(hash)) {
        (true, true) => Ok(()),
        (false, _) => Err(ParseError::DigestInvalidLength),
        (true, false) => Err(ParseError::DigestInvalidFormat),
    }
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && is_hexadecimal(text)
}

fn is_hexadecimal(text: &str) -> bool {
    text.bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether `pattern` matches the whole text; `*` stands for any text, also an empty one.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        match rest.find(part) {
            Some(position) => rest = &rest[position + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// What oci-spec accepts is accepted with the same parts, and nothing else is; but for bare digests, for
        /// repositories that begin with a capital (Docker refuses them), and for digests in capitals.
        #[test]
        fn references_are_those_of_oci_spec(
            text in "([a-cA-C.:-]{0,6}/|localhost/|index\\.docker\\.io/|docker\\.io/|a\\.b:5/){0,2}[a-c0._/-]{0,8}(:[a-zA-Z0._-]{0,4}|:[a-z]{126,130})?(@(sha256:[0-9a-f]{63,65}|sha1:[0-9a-f]{40}|sha512:[a]{128}))?",
        ) {
            let expected = Reference::try_from(text.as_str())
                .ok()
                .filter(|reference| !reference.repository().contains(|c: char| c.is_ascii_uppercase()));
            prop_assert_eq!(split(&text).ok(), expected);
        }
    }

    #[test]
    fn references_are_normalised() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (text, expected) in [
            ("busybox", "docker.io/library/busybox:latest".to_owned()),
            ("me/app:1", "docker.io/me/app:1".to_owned()),
            (
                "index.docker.io/library/a",
                "docker.io/library/a:latest".to_owned(),
            ),
            ("localhost:5000/a", "localhost:5000/a:latest".to_owned()),
            (
                &format!("r.example/a:1@{digest}"),
                format!("r.example/a@{digest}"),
            ),
        ] {
            assert_eq!(Name::parse(text).unwrap().canonical(), expected);
        }
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for text in [
            "",
            "UPPER",
            "a:b:c",
            "a@sha256:1",
            "http://a/b",
            "a b",
            "/a",
            &digest,
        ] {
            let error = Name::parse(text).unwrap_err();
            assert_eq!(
                error.kind(),
                super::super::ErrorKind::InvalidReference,
                "{text}"
            );
        }
    }

    #[test]
    fn patterns_match_whole_references() {
        for (pattern, text, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("a*", "ab", true),
            ("*", "", true),
            ("*/pause:*", "r.example/pause:3", true),
            ("*/pause:*", "r.example/pauser", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("aba*ba", "aba", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
