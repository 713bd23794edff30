//! Expansion of `$(NAME)`, as Kubernetes defines it (`third_party/forked/golang/expansion`): `$$` is a dollar sign that
//! begins nothing, and what names nothing stays as it is.

/// Expands `text` by what `value_of` knows.
pub fn expand<'a>(text: &str, value_of: impl Fn(&str) -> Option<&'a str>) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        rest = match after.as_bytes().first() {
            Some(b'$') => {
                expanded.push('$');
                &after[1..]
            }
            Some(b'(') => match after.find(')') {
                Some(end) => {
                    let name = &after[1..end];
                    match value_of(name) {
                        Some(value) => expanded.push_str(value),
                        None => {
                            expanded.push_str("$(");
                            expanded.push_str(name);
                            expanded.push(')');
                        }
                    }
                    &after[end + 1..]
                }
                // No end: text like any other.
                None => {
                    expanded.push_str("$(");
                    &after[1..]
                }
            },
            _ => {
                expanded.push('$');
                after
            }
        };
    }
    expanded.push_str(rest);
    expanded
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn expanded(text: &str) -> String {
        expand(text, |name| match name {
            "A" => Some("1"),
            "DOLLAR" => Some("$(A)"),
            "EMPTY" => Some(""),
            _ => None,
        })
    }

    #[test]
    fn names_in_parentheses_are_expanded() {
        for (text, expected) in [
            ("", ""),
            ("plain", "plain"),
            ("$(A)", "1"),
            ("x$(A)y$(A)", "x1y1"),
            ("$(EMPTY)", ""),
            ("$(B)", "$(B)"),
            ("$()", "$()"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$$$$", "$$"),
            ("$A", "$A"),
            ("${A}", "${A}"),
            ("$", "$"),
            ("$(A", "$(A"),
            ("$(A$(A)", "$(A$(A)"),
            ("$(DOLLAR)", "$(A)"),
            ("é$(A)é", "é1é"),
        ] {
            assert_eq!(expanded(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_without_dollars_stays(text in "[^$]*") {
            prop_assert_eq!(expanded(&text), text);
        }

        #[test]
        fn doubled_dollars_escape_everything(text in ".*") {
            prop_assert_eq!(expanded(&text.replace('$', "$$")), text);
        }
    }
}
