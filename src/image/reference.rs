//! References as users write them, and the one form in which they are kept.

use oci_spec::distribution::Reference;
use oci_spec::image::Digest;

use super::ImageError;
use super::error::Failure;

/// A reference in its full form: `busybox` is `docker.io/library/busybox:latest`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Name {
    reference: Reference,
}

impl Name {
    pub(super) fn parse(text: &str) -> Result<Self, ImageError> {
        let invalid = |source| Failure::Reference {
            reference: text.to_owned(),
            source,
        };
        // A bare digest would parse as a repository called "sha256".
        if text
            .parse::<Digest>()
            .is_ok_and(|digest| digest.digest().len() == 64)
        {
            return Err(invalid(oci_spec::distribution::ParseError::ReferenceInvalidFormat).into());
        }
        let reference = text.parse().map_err(invalid)?;
        Ok(Self { reference })
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
    use super::*;

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
