//! What the agent does with a field, for people who ask: the table of `support` in words.

use std::fmt;

use super::object::Kind;
use super::support::{self, Row, Support};

/// A field, and what the agent does with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExplainedField {
    /// As `spec.containers[].image`.
    pub path: String,
    /// `supported`, `without effect: …` or `refused: …`.
    pub support: String,
}

/// What is known of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// The field itself; none of a kind as a whole.
    pub own: Option<ExplainedField>,
    /// Fields below it that have a row of their own, in alphabetical order.
    pub below: Vec<ExplainedField>,
}

impl fmt::Display for Support {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Supported => f.write_str("supported"),
            Self::NoEffect(why) => write!(f, "without effect: {why}"),
            Self::Refused(why) => write!(f, "refused: {why}"),
        }
    }
}

/// What is known of the field at a path, as `spec.containers.image`; of the kind if the path is empty. `None`: there is no such field.
#[must_use]
pub fn explain(kind: Kind, path: &str) -> Option<Explained> {
    let wanted = plain(path);
    let mut below: Vec<&Row> = support::rows(kind)
        .filter(|row| is_below(&plain(row.path), &wanted))
        .collect();
    below.sort_by_key(|row| row.path);
    below.dedup_by_key(|row| row.path);
    let below = below.into_iter().map(told).collect();
    if wanted.is_empty() {
        return Some(Explained { own: None, below });
    }
    let row = support::rows(kind).find(|row| plain(row.path) == wanted);
    let own = match row {
        Some(row) => told(row),
        // A field without a row is below one that speaks for all of it, or does not exist.
        None => {
            let whole = support::rows(kind).find(|row| {
                row.support != Support::Supported && is_below(&wanted, &plain(row.path))
            })?;
            ExplainedField {
                path: path.to_owned(),
                support: format!("{}, as all of {}", whole.support, whole.path),
            }
        }
    };
    Some(Explained {
        own: Some(own),
        below,
    })
}

fn told(row: &Row) -> ExplainedField {
    ExplainedField {
        path: row.path.to_owned(),
        support: row.support.to_string(),
    }
}

/// Without the marks of lists, and init containers as containers.
fn plain(path: &str) -> String {
    let parts = path.split('.').map(|part| {
        let name = part.split_once('[').map_or(part, |(name, _)| name);
        support::folded(name)
    });
    parts.collect::<Vec<_>>().join(".")
}

fn is_below(path: &str, ancestor: &str) -> bool {
    ancestor.is_empty()
        || path
            .strip_prefix(ancestor)
            .is_some_and(|rest| rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(path: &str) -> Option<String> {
        let explained = explain(Kind::Pod, path)?;
        explained.own.map(|own| own.support)
    }

    #[test]
    fn a_field_says_what_is_done_with_it() {
        assert_eq!(own("spec.containers.image").as_deref(), Some("supported"));
        assert_eq!(
            own("spec.initContainers[].image").as_deref(),
            Some("supported")
        );
        let affinity = own("spec.affinity").unwrap();
        assert!(affinity.starts_with("refused: "), "{affinity}");
        // A word for everything below it.
        let deep = own("spec.affinity.nodeAffinity").unwrap();
        assert_eq!(deep, format!("{affinity}, as all of spec.affinity"));
        assert_eq!(own("spec.container"), None);
        assert_eq!(own("spec.containers.imagee"), None);
    }

    #[test]
    fn a_kind_names_the_fields_below_it() {
        for kind in Kind::ALL {
            let all = explain(kind, "").unwrap();
            assert!(all.own.is_none());
            assert!(all.below.iter().any(|it| it.path == "metadata.name"));
        }
        let ports = explain(Kind::Pod, "spec.containers.ports").unwrap();
        let paths: Vec<&str> = ports.below.iter().map(|it| &*it.path).collect();
        assert!(
            paths.contains(&"spec.containers[].ports[].hostPort"),
            "{paths:?}"
        );
        assert!(
            paths
                .iter()
                .all(|it| it.starts_with("spec.containers[].ports"))
        );
        assert!(explain(Kind::Secret, "stringData").is_some());
        assert!(explain(Kind::ConfigMap, "binaryData").is_some());
    }
}
