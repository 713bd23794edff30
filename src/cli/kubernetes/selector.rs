//! Which objects are meant, by their labels (`-l`) and fields (`--field-selector`), in kubectl's words. Pure.

use std::str::FromStr;

use serde_json::Value;

use super::api::text;

/// Labels that must be there, or must not be: `app=web,tier!=db,env in (a,b),!old`. All must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::cli) struct LabelSelector(Vec<Requirement>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Requirement {
    Is(String, Vec<String>),
    /// Also if the label is not there.
    IsNot(String, Vec<String>),
    Exists(String),
    Lacks(String),
}

impl LabelSelector {
    /// Does it fit an object's labels?
    pub(super) fn fits(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        self.holds(|key| labels[key].as_str())
    }

    /// Does it fit labels that are looked up like this?
    pub(in crate::cli) fn holds<'a>(&self, of: impl Fn(&str) -> Option<&'a str>) -> bool {
        let is_one = |key: &str, values: &[String]| {
            of(key).is_some_and(|value| values.iter().any(|it| it == value))
        };
        self.0.iter().all(|requirement| match requirement {
            Requirement::Is(key, values) => is_one(key, values),
            Requirement::IsNot(key, values) => !is_one(key, values),
            Requirement::Exists(key) => of(key).is_some(),
            Requirement::Lacks(key) => of(key).is_none(),
        })
    }
}

impl FromStr for LabelSelector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = split_outside_parentheses(text);
        let parts = parts.iter().map(|part| part.trim());
        parts
            .filter(|part| !part.is_empty())
            .map(requirement)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

fn split_outside_parentheses(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut depth) = (0, 0_u32);
    for (index, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn requirement(part: &str) -> Result<Requirement, String> {
    if let Some(key) = part.strip_prefix('!') {
        return Ok(Requirement::Lacks(label_key(key)?));
    }
    if let Some((before, values)) = part.split_once('(') {
        let values = values
            .strip_suffix(')')
            .ok_or_else(|| format!("unable to parse requirement: {part:?} has no closing )"))?;
        let values = values
            .split(',')
            .map(|value| value.trim().to_owned())
            .collect();
        let words: Vec<&str> = before.split_whitespace().collect();
        return match words.as_slice() {
            [key, "in"] => Ok(Requirement::Is(label_key(key)?, values)),
            [key, "notin"] => Ok(Requirement::IsNot(label_key(key)?, values)),
            _ => Err(format!(
                "unable to parse requirement: {part:?} is not KEY in (…) or KEY notin (…)"
            )),
        };
    }
    let pair =
        |(key, value): (&str, &str)| Ok::<_, String>((label_key(key)?, value.trim().to_owned()));
    if let Some(found) = part.split_once("!=") {
        let (key, value) = pair(found)?;
        return Ok(Requirement::IsNot(key, vec![value]));
    }
    if let Some(found) = part.split_once("==").or_else(|| part.split_once('=')) {
        let (key, value) = pair(found)?;
        return Ok(Requirement::Is(key, vec![value]));
    }
    label_key(part).map(Requirement::Exists)
}

fn label_key(text: &str) -> Result<String, String> {
    let key = text.trim();
    match carpel_agent::manifest::names::qualified_name(key) {
        None => Ok(key.to_owned()),
        Some(problem) => Err(format!("unable to parse requirement: {key:?}: {problem}")),
    }
}

/// Fields that must have a value, or another one: `status.phase=Running,spec.nodeName!=a`. All must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::cli) struct FieldSelector(Vec<(String, Sign, String)>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    Is,
    IsNot,
}

/// What the API server lets be selected by, of pods, of events and of all.
const FIELDS: [&str; 17] = [
    "metadata.name",
    "metadata.namespace",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "spec.hostNetwork",
    "status.phase",
    "status.podIP",
    "status.podIPs",
    "status.nominatedNodeName",
    "involvedObject.kind",
    "involvedObject.name",
    "involvedObject.namespace",
    "involvedObject.uid",
    "reason",
    "type",
];

impl FieldSelector {
    /// Does it fit an object?
    pub(super) fn fits(&self, object: &Value) -> bool {
        self.0.iter().all(|(field, sign, wanted)| {
            let pointer = format!("/{}", field.replace('.', "/"));
            let is = match object.pointer(&pointer) {
                Some(Value::Bool(value)) => *wanted == value.to_string(),
                _ => text(object, &pointer) == wanted,
            };
            is == (*sign == Sign::Is)
        })
    }
}

impl FromStr for FieldSelector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split(',').map(str::trim);
        let term = |part: &str| {
            let (field, sign, value) = part
                .split_once("!=")
                .map(|(field, value)| (field, Sign::IsNot, value))
                .or_else(|| {
                    let found = part.split_once("==").or_else(|| part.split_once('='));
                    found.map(|(field, value)| (field, Sign::Is, value))
                })
                .ok_or_else(|| format!("invalid selector: {part:?}; can't understand it"))?;
            match FIELDS.contains(&field.trim()) {
                true => Ok((field.trim().to_owned(), sign, value.trim().to_owned())),
                false => Err(format!("field label not supported: {field}")),
            }
        };
        parts
            .filter(|part| !part.is_empty())
            .map(term)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn labels_are_selected_as_kubectl_does() {
        let object = json!({ "metadata": { "labels": { "app": "web", "tier": "front", "example.org/x": "" } } });
        for (selector, fits) in [
            ("app=web", true),
            ("app==web,tier=front", true),
            ("app=web,tier=back", false),
            ("app!=db", true),
            ("none!=db", true),
            ("app in (db, web)", true),
            ("app in (db)", false),
            ("app notin (db,cache),tier", true),
            ("none notin (a)", true),
            ("example.org/x", true),
            ("example.org/x=", true),
            ("!none", true),
            ("!app", false),
            ("", true),
        ] {
            let parsed: LabelSelector = selector.parse().unwrap();
            assert_eq!(parsed.fits(&object), fits, "{selector}");
        }
        for wrong in ["app in web", "app in (web", "=web", "a b c", "app is (x)"] {
            assert!(wrong.parse::<LabelSelector>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn fields_are_selected_by_their_names() {
        let pod = json!({ "metadata": { "name": "web" }, "spec": { "hostNetwork": true }, "status": { "phase": "Running" } });
        for (selector, fits) in [
            ("status.phase=Running", true),
            ("status.phase!=Running", false),
            ("metadata.name=web,status.phase==Running", true),
            ("spec.hostNetwork=true", true),
            ("spec.nodeName=", true),
        ] {
            let parsed: FieldSelector = selector.parse().unwrap();
            assert_eq!(parsed.fits(&pod), fits, "{selector}");
        }
        let error = "spec.image=x".parse::<FieldSelector>().unwrap_err();
        assert_eq!(error, "field label not supported: spec.image");
        assert!("status.phase".parse::<FieldSelector>().is_err());
    }
}
