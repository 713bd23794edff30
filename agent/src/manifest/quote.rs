//! Text in double quotes, as Go's `%q` and so every message of Kubernetes writes it.

use std::fmt::Write as _;

/// The text in double quotes, with what cannot be printed escaped as Go does.
#[must_use]
pub fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        push_escaped(&mut quoted, character);
    }
    quoted.push('"');
    quoted
}

fn push_escaped(quoted: &mut String, character: char) {
    let escape = match character {
        '"' => "\\\"",
        '\\' => "\\\\",
        '\u{7}' => "\\a",
        '\u{8}' => "\\b",
        '\u{c}' => "\\f",
        '\n' => "\\n",
        '\r' => "\\r",
        '\t' => "\\t",
        '\u{b}' => "\\v",
        _ => {
            push_maybe_printable(quoted, character);
            return;
        }
    };
    quoted.push_str(escape);
}

fn push_maybe_printable(quoted: &mut String, character: char) {
    let code = u32::from(character);
    let is_printable = !character.is_control()
        && (character == ' ' || !character.is_whitespace())
        && !matches!(code, 0xad | 0x200b..=0x200f | 0x202a..=0x202e | 0x2060..=0x206f | 0xfeff | 0xe000..=0xf8ff);
    let written = match (is_printable, code) {
        (true, _) => {
            quoted.push(character);
            Ok(())
        }
        (false, 0..=0x7f) => write!(quoted, "\\x{code:02x}"),
        (false, 0x80..=0xffff) => write!(quoted, "\\u{code:04x}"),
        (false, _) => write!(quoted, "\\U{code:08x}"),
    };
    debug_assert!(written.is_ok(), "writing to a string does not fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_quoted_as_go_does() {
        for (text, expected) in [
            ("", r#""""#),
            ("plain", r#""plain""#),
            ("a\"b\\c", r#""a\"b\\c""#),
            ("\n\t\r\u{7}\u{b}", r#""\n\t\r\a\v""#),
            ("\u{1}\u{7f}", r#""\x01\x7f""#),
            ("é世", "\"é世\""),
            ("\u{a0}\u{200b}\u{feff}", r#""\u00a0\u200b\ufeff""#),
        ] {
            assert_eq!(quoted(text), expected);
        }
    }
}
