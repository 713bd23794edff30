//! Sides of `carpel cp`: a path of this machine, or `POD:PATH`.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// One side of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) enum Place {
    /// A path of this machine.
    Here(PathBuf),
    /// A path in a container; a relative one begins in its working directory.
    There {
        /// The namespace, if it is written before the pod.
        namespace: Option<String>,
        /// The pod, or whatever else names a container.
        pod: String,
        /// The path.
        path: String,
    },
}

impl FromStr for Place {
    type Err = Infallible;

    /// As kubectl has it: `[NAMESPACE/]POD:PATH`; what begins with `.` or `/`, or has no colon, is here.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        let here = Self::Here(PathBuf::from(text));
        if text.starts_with(['.', '/']) {
            return Ok(here);
        }
        let Some((pod, path)) = text.split_once(':') else {
            return Ok(here);
        };
        let is_kind = |word: &str| matches!(word, "pod" | "pods" | "po");
        let (namespace, pod) = match pod.split_once('/') {
            Some((kind, name)) if is_kind(kind) => (None, name),
            Some((namespace, name)) => (Some(namespace.to_owned()), name),
            None => (None, pod),
        };
        Ok(Self::There {
            namespace,
            pod: pod.to_owned(),
            path: path.to_owned(),
        })
    }
}

/// The last name of a path; `.` if it has none, as `/` and `a/..`.
pub(super) fn base_name(path: &str) -> &str {
    let name = Path::new(path).file_name().and_then(|name| name.to_str());
    name.unwrap_or(".")
}

/// Everything before the last name.
pub(super) fn folder_of(path: &str) -> &str {
    let trimmed = path.trim_end_matches('/');
    match trimmed.rsplit_once('/') {
        Some(("", _)) => "/",
        Some((folder, _)) => folder,
        None if path.starts_with('/') => "/",
        None => ".",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_are_told_apart_as_kubectl_does() {
        let there = |namespace: Option<&str>, pod: &str, path: &str| Place::There {
            namespace: namespace.map(str::to_owned),
            pod: pod.to_owned(),
            path: path.to_owned(),
        };
        for (text, place) in [
            ("web:/etc/hosts", there(None, "web", "/etc/hosts")),
            ("web:hosts", there(None, "web", "hosts")),
            ("pod/web:hosts", there(None, "web", "hosts")),
            ("shop/web:/a:b", there(Some("shop"), "web", "/a:b")),
            ("file", Place::Here("file".into())),
            ("./a:b", Place::Here("./a:b".into())),
            ("/a:b", Place::Here("/a:b".into())),
        ] {
            assert_eq!(text.parse(), Ok(place), "{text}");
        }
    }

    #[test]
    fn a_path_has_a_last_name_and_a_folder() {
        for (path, folder, name) in [
            ("/etc/hosts", "/etc", "hosts"),
            ("/hosts", "/", "hosts"),
            ("hosts", ".", "hosts"),
            ("etc/conf.d/", "etc", "conf.d"),
            ("/", "/", "."),
        ] {
            assert_eq!((folder_of(path), base_name(path)), (folder, name), "{path}");
        }
    }
}
