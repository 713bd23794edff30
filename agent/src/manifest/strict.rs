//! A deserialiser of [`Node`] that finds what serde would pass over in silence: a field that a structure does not have.
//!
//! The generated types of Kubernetes tell serde the names of their fields; so what is known is what they know, and the
//! nearest known name can be suggested. A value of a wrong type is reported with its path, taken out, and the rest is tried
//! again, so that one run reports all of them.

use std::cell::RefCell;

use serde::de::value::StrDeserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::error::{Field, Problem};
use super::tree::{Node, Value};

/// How often a tree is tried again without the value that was wrong.
const TRIES_MAX: usize = 64;
/// Names that differ by more edits than this are not suggested.
const EDITS_MAX: usize = 3;
/// For so many unknown fields a known one is looked for.
const SUGGESTIONS_MAX: usize = 32;

/// Turns a tree into a `T`, with all that was wrong on the way. There is a `T` unless the tree is none at all.
pub(crate) fn deserialize<T: DeserializeOwned>(tree: &Node) -> (Option<T>, Vec<Field>) {
    let mut tree = tree.clone();
    let mut wrong = Vec::new();
    for _ in 0..TRIES_MAX {
        let unknown = RefCell::new(Vec::new());
        let outcome = T::deserialize(Strict {
            node: &tree,
            path: String::new(),
            unknown: &unknown,
        });
        let (value, is_again) = match outcome {
            Ok(value) => (Some(value), false),
            Err(error) => {
                let is_again = tree.prune(&error.path);
                wrong.push(error.into_field());
                (None, is_again)
            }
        };
        if !is_again {
            wrong.extend(unknown.into_inner());
            return (value, wrong);
        }
    }
    (None, wrong)
}

/// A name of `known` that may have been meant.
pub(crate) fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let near = |candidate: &&&str| candidate.len().abs_diff(name.len()) <= EDITS_MAX;
    let mut candidates = known.iter().filter(near).peekable();
    candidates.peek()?;
    let lower = name.to_lowercase();
    candidates
        .map(|candidate| {
            (
                strsim::osa_distance(&lower, &candidate.to_lowercase()),
                *candidate,
            )
        })
        .filter(|(edits, candidate)| *edits <= EDITS_MAX.min(candidate.len() / 2))
        .min()
        .map(|(_, candidate)| candidate)
}

/// A value that is not what its field takes.
#[derive(Debug)]
struct TypeError {
    path: String,
    line: u64,
    message: String,
}

impl TypeError {
    fn into_field(self) -> Field {
        Field {
            path: self.path,
            line: self.line,
            problem: Problem::Type(self.message),
        }
    }

    /// With a place, unless one nearer to the value is there already.
    fn or_at(mut self, path: &str, node: &Node) -> Self {
        if self.line == 0 {
            self.line = node.line.max(1);
            path.clone_into(&mut self.path);
        }
        self
    }
}

impl std::fmt::Display for TypeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

impl std::error::Error for TypeError {}

impl serde::de::Error for TypeError {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self {
            path: String::new(),
            line: 0,
            message: message.to_string(),
        }
    }
}

#[derive(Debug, Clone)]
struct Strict<'a> {
    node: &'a Node,
    path: String,
    unknown: &'a RefCell<Vec<Field>>,
}

impl<'a> Strict<'a> {
    fn below(&self, node: &'a Node, path: String) -> Self {
        Self {
            node,
            path,
            unknown: self.unknown,
        }
    }

    fn field_path(&self, key: &str) -> String {
        match self.path.is_empty() {
            true => key.to_owned(),
            false => format!("{}.{key}", self.path),
        }
    }

    fn note_unknown(&self, fields: &'static [&'static str]) {
        for (key, node) in self.node.entries() {
            if !fields.contains(&key.as_str()) {
                let mut unknown = self.unknown.borrow_mut();
                let nearest = match unknown.len() < SUGGESTIONS_MAX {
                    true => nearest(key, fields),
                    false => None,
                };
                unknown.push(Field {
                    path: self.field_path(key),
                    line: node.line,
                    problem: Problem::UnknownField { nearest },
                });
            }
        }
    }
}

impl<'de> Deserializer<'de> for Strict<'_> {
    type Error = TypeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypeError> {
        let (path, node) = (self.path.clone(), self.node);
        let outcome = match &node.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
                (Some(value), _, _) => visitor.visit_i64(value),
                (_, Some(value), _) => visitor.visit_u64(value),
                (_, _, Some(value)) => visitor.visit_f64(value),
                (None, None, None) => visitor.visit_unit(),
            },
            Value::Text(text) => visitor.visit_str(text),
            Value::Sequence(_) => visitor.visit_seq(Items {
                strict: self,
                next: 0,
            }),
            Value::Mapping(_) => visitor.visit_map(Entries {
                strict: self,
                next: 0,
            }),
        };
        outcome.map_err(|error| error.or_at(&path, node))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypeError> {
        match self.node.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, TypeError> {
        let (path, node) = (self.path.clone(), self.node);
        let outcome = visitor.visit_newtype_struct(self);
        outcome.map_err(|error| error.or_at(&path, node))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, TypeError> {
        self.note_unknown(fields);
        self.deserialize_any(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypeError> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map enum identifier
    }
}

struct Items<'a> {
    strict: Strict<'a>,
    next: usize,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = TypeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, TypeError> {
        let Some(node) = self.strict.node.items().get(self.next) else {
            return Ok(None);
        };
        let path = format!("{}[{}]", self.strict.path, self.next);
        self.next += 1;
        let outcome = seed.deserialize(self.strict.below(node, path.clone()));
        outcome.map(Some).map_err(|error| error.or_at(&path, node))
    }
}

struct Entries<'a> {
    strict: Strict<'a>,
    next: usize,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = TypeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, TypeError> {
        let Some((key, _)) = self.strict.node.entries().get(self.next) else {
            return Ok(None);
        };
        seed.deserialize(StrDeserializer::new(key)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, TypeError> {
        use serde::de::Error as _;
        let Some((key, node)) = self.strict.node.entries().get(self.next) else {
            return Err(TypeError::custom("a value without a key"));
        };
        self.next += 1;
        let path = self.strict.field_path(key);
        let outcome = seed.deserialize(self.strict.below(node, path.clone()));
        outcome.map_err(|error| error.or_at(&path, node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::tree;
    use k8s_openapi::api::core::v1::Pod;

    fn pod(text: &str) -> (Option<Pod>, Vec<String>) {
        let tree = tree::documents(text).unwrap().remove(0);
        let (pod, wrong) = deserialize::<Pod>(&tree);
        let lines = wrong
            .iter()
            .map(|field| format!("{}: {}: {}", field.line, field.path, field.problem));
        (pod, lines.collect())
    }

    #[test]
    fn an_unknown_field_is_named_with_the_nearest_known_one() {
        let (pod, wrong) = pod(
            "kind: Pod\napiVersion: v1\nspec:\n  containers:\n  - name: a\n    imagePulPolicy: Always\n    xyzzy: 1\n",
        );
        assert_eq!(pod.unwrap().spec.unwrap().containers[0].name, "a");
        assert_eq!(
            wrong,
            [
                "6: spec.containers[0].imagePulPolicy: unknown field; did you mean imagePullPolicy?",
                "7: spec.containers[0].xyzzy: unknown field",
            ]
        );
    }

    #[test]
    fn a_value_of_a_wrong_type_is_named_and_the_rest_is_still_read() {
        let (_, wrong) = pod(
            "kind: Pod\napiVersion: v1\nmetadata:\n  labels: {a: 1}\nspec:\n  hostNetwork: \"yes\"\n  containers: {}\n  nope: 1\n",
        );
        assert_eq!(
            wrong,
            [
                "4: metadata.labels.a: invalid type: integer `1`, expected a string",
                "6: spec.hostNetwork: invalid type: string \"yes\", expected a boolean",
                "7: spec.containers: invalid type: map, expected a sequence",
                "8: spec.nope: unknown field",
            ]
        );
    }

    #[test]
    fn keys_of_maps_are_no_fields() {
        let (pod, wrong) =
            pod("kind: Pod\napiVersion: v1\nmetadata:\n  labels: {anything: x, \"a.b/c\": z}\n");
        assert_eq!(wrong, [""; 0]);
        assert_eq!(pod.unwrap().metadata.labels.unwrap().len(), 2);
    }

    #[test]
    fn nothing_near_is_not_suggested() {
        assert_eq!(
            nearest("imagepullpolicy", &["image", "imagePullPolicy"]),
            Some("imagePullPolicy")
        );
        assert_eq!(
            nearest("volumeMount", &["volumeMounts", "volumes"]),
            Some("volumeMounts")
        );
        assert_eq!(nearest("tty", &["env", "name"]), None);
    }
}
