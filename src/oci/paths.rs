//! Paths inside a container, as text: cleaned, never looked up. What they resolve to is the shim's business.

/// `path` as an absolute path without `.`, `..` and doubled slashes; a relative one counts from `/`.
pub(super) fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// How many components a cleaned path has.
pub(super) fn depth(cleaned: &str) -> usize {
    cleaned.split('/').filter(|part| !part.is_empty()).count()
}

#[cfg(test)]
mod tests {
    use super::{clean, depth};

    #[test]
    fn paths_are_cleaned_like_text() {
        for (path, cleaned) in [
            ("", "/"),
            ("/", "/"),
            ("a", "/a"),
            ("/a//b/./c/", "/a/b/c"),
            ("/a/../b", "/b"),
            ("/../../a", "/a"),
        ] {
            assert_eq!(clean(path), cleaned, "{path:?}");
        }
        assert_eq!(depth("/"), 0);
        assert_eq!(depth("/a/b"), 2);
    }
}
