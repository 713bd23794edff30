//! A value as YAML: block style, every text in double quotes unless it is plainly a word, so that no reader takes `no` or
//! `1.10` for something else.

use serde_json::Value;

/// The lines of a document.
pub(super) fn text(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Object(_) | Value::Array(_) if !is_empty(value) => block(value, 0, &mut text),
        _ => {
            text.push_str(&scalar(value));
            text.push('\n');
        }
    }
    text
}

/// The members of an object or a list, each on lines of its own.
fn block(value: &Value, indent: usize, text: &mut String) {
    match value {
        Value::Object(members) => {
            for (number, (key, value)) in members.iter().enumerate() {
                // The first member of an object in a list stands beside the dash.
                if number > 0 || !text.ends_with("- ") {
                    text.push_str(&" ".repeat(indent));
                }
                text.push_str(&quoted(key));
                text.push(':');
                member(value, indent + 2, text);
            }
        }
        Value::Array(values) => {
            for (number, value) in values.iter().enumerate() {
                if number > 0 || !text.ends_with("- ") {
                    text.push_str(&" ".repeat(indent));
                }
                text.push_str("- ");
                match is_empty(value) || !(value.is_object() || value.is_array()) {
                    true => {
                        text.push_str(&scalar(value));
                        text.push('\n');
                    }
                    false => block(value, indent + 2, text),
                }
            }
        }
        _ => {}
    }
}

/// What follows a key.
fn member(value: &Value, indent: usize, text: &mut String) {
    if is_empty(value) || !(value.is_object() || value.is_array()) {
        text.push(' ');
        text.push_str(&scalar(value));
        text.push('\n');
    } else {
        text.push('\n');
        block(value, indent, text);
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(members) => members.is_empty(),
        Value::Array(values) => values.is_empty(),
        _ => false,
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Object(_) => "{}".to_owned(),
        Value::Array(_) => "[]".to_owned(),
        // null, booleans and numbers are written as in JSON.
        other => other.to_string(),
    }
}

/// A text of JSON is a text of YAML. Words that YAML knows (`yes`, `null` …) are quoted.
fn quoted(text: &str) -> String {
    const KNOWN: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    let is_word = text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte))
        && !KNOWN.contains(&&*text.to_ascii_lowercase());
    match is_word {
        true => text.to_owned(),
        false => Value::from(text).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nested_values_are_indented_and_texts_are_unmistakable() {
        let value = json!({
            "id": "4f",
            "empty": {},
            "labels": {"app": "web", "no": "yes", "version": "1.10"},
            "list": [{"a": 1, "b": [true, null]}, "x: y", []],
        });
        let expected = r#"empty: {}
id: "4f"
labels:
  app: web
  "no": "yes"
  version: "1.10"
list:
  - a: 1
    b:
      - true
      - null
  - "x: y"
  - []
"#;
        assert_eq!(text(&value), expected);
        assert_eq!(text(&json!([])), "[]\n");
        assert_eq!(text(&json!([[1, 2]])), "- - 1\n  - 2\n");
    }
}
