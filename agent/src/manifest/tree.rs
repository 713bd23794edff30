//! YAML text as a tree of values that remember their lines, so that an error far from the parser can still name one.

use std::collections::HashMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Number;
use serde_saphyr::Spanned;

/// A value with its place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    /// Its line, from 1 on.
    pub(crate) line: u64,
    /// What it is.
    pub(crate) value: Value,
}

/// What YAML and JSON have in common.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// A number, with or without a fraction.
    Number(Number),
    /// Text.
    Text(String),
    /// A sequence.
    Sequence(Vec<Node>),
    /// A mapping, in the order of the text; no key twice.
    Mapping(Vec<(String, Node)>),
}

/// How deep values may be nested. Types of Kubernetes need half of it, and a parser that calls itself needs a stack for more.
const DEPTH_MAX: usize = 32;
/// How many nodes aliases may add to a text.
const ALIASED_MAX: usize = 100_000;

/// The documents of a text, in order.
///
/// # Errors
/// What the parser says, with a line: text that is no YAML, a key that is there twice, a bomb of aliases.
pub(crate) fn documents(text: &str) -> Result<Vec<Node>, Box<serde_saphyr::Error>> {
    let options = serde_saphyr::options! {
        // Kubernetes reads YAML 1.1: `defaultMode: 0644` is 420.
        legacy_octal_numbers: true,
        duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::Error,
        with_snippet: false,
        budget: serde_saphyr::budget! { max_depth: DEPTH_MAX },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: ALIASED_MAX },
    };
    serde_saphyr::from_multiple_with_options::<Spanned<Tree>>(text, options)
        .map(|documents| documents.into_iter().map(Node::from).collect())
        .map_err(Box::new)
}

impl Node {
    /// The value below a key, if this is a mapping that has one which is not null.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        let (_, node) = self.entries().iter().find(|(name, _)| name == key)?;
        (node.value != Value::Null).then_some(node)
    }

    /// The text, if it is one.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The entries of a mapping; none if it is something else.
    pub(crate) fn entries(&self) -> &[(String, Self)] {
        match &self.value {
            Value::Mapping(entries) => entries,
            _ => &[],
        }
    }

    /// The items of a sequence; none if it is something else.
    pub(crate) fn items(&self) -> &[Self] {
        match &self.value {
            Value::Sequence(items) => items,
            _ => &[],
        }
    }

    /// Whether it says nothing: null, or a sequence or mapping of nothing.
    pub(crate) fn is_empty(&self) -> bool {
        match &self.value {
            Value::Null => true,
            Value::Sequence(items) => items.is_empty(),
            Value::Mapping(entries) => entries.is_empty(),
            _ => false,
        }
    }

    /// Takes what `path` names out of the tree. Whether it was there.
    pub(crate) fn prune(&mut self, path: &str) -> bool {
        let mut node = self;
        let steps: Vec<&str> = steps(path).collect();
        let Some((last, ancestors)) = steps.split_last() else {
            return false;
        };
        for step in ancestors {
            let Some(next) = node.child_mut(step) else {
                return false;
            };
            node = next;
        }
        match &mut node.value {
            Value::Mapping(entries) => {
                let before = entries.len();
                entries.retain(|(key, _)| key != last);
                entries.len() < before
            }
            Value::Sequence(items) => match last.parse::<usize>() {
                Ok(index) if index < items.len() => {
                    // What follows keeps its index, so that later errors name the right one.
                    items[index].value = Value::Mapping(Vec::new());
                    true
                }
                _ => false,
            },
            _ => false,
        }
    }

    fn child_mut(&mut self, step: &str) -> Option<&mut Self> {
        match &mut self.value {
            Value::Mapping(entries) => entries
                .iter_mut()
                .find_map(|(key, node)| (key == step).then_some(node)),
            Value::Sequence(items) => items.get_mut(step.parse::<usize>().ok()?),
            _ => None,
        }
    }
}

/// Finds lines by paths; what is in a mapping is looked through once, however many paths lead there.
#[derive(Debug, Default)]
pub(crate) struct Lines<'a> {
    mappings: HashMap<*const Node, HashMap<&'a str, &'a Node>>,
}

impl<'a> Lines<'a> {
    /// The line of what `path` (`spec.containers[0].name`) names below a node, or of the nearest thing around it.
    pub(crate) fn of(&mut self, root: &'a Node, path: &str) -> u64 {
        let mut node = root;
        for step in steps(path) {
            let next = match (&node.value, step.parse::<usize>()) {
                (Value::Sequence(items), Ok(index)) => items.get(index),
                (Value::Mapping(entries), _) => {
                    let by_name = self.mappings.entry(std::ptr::from_ref(node));
                    let by_name = by_name.or_insert_with(|| {
                        let said = entries.iter().filter(|(_, it)| it.value != Value::Null);
                        said.map(|(name, it)| (name.as_str(), it)).collect()
                    });
                    by_name.get(step).copied()
                }
                _ => None,
            };
            let Some(next) = next else { break };
            node = next;
        }
        node.line
    }
}

/// `a.b[0].c` as a, b, 0, c.
fn steps(path: &str) -> impl Iterator<Item = &str> {
    path.split(['.', '[', ']']).filter(|step| !step.is_empty())
}

/// A value on its way out of the parser.
#[derive(Debug)]
struct Tree(Value);

impl From<Spanned<Tree>> for Node {
    fn from(spanned: Spanned<Tree>) -> Self {
        Self {
            line: spanned.referenced.line(),
            value: spanned.value.0,
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor).map(Tree)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("a number that is not finite"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element::<Spanned<Tree>>()? {
            items.push(item.into());
        }
        Ok(Value::Sequence(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = access.next_key::<String>()? {
            entries.push((key, access.next_value::<Spanned<Tree>>()?.into()));
        }
        Ok(Value::Mapping(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(text: &str) -> Node {
        let mut all = documents(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    #[test]
    fn values_know_their_lines() {
        let tree = document("a: 1\nb:\n  - x\n  - c: y\n");
        assert_eq!(Lines::default().of(&tree, "a"), 1);
        assert_eq!(Lines::default().of(&tree, "b[0]"), 3);
        assert_eq!(Lines::default().of(&tree, "b[1].c"), 4);
        assert_eq!(Lines::default().of(&tree, "b[1].missing.deeper"), 4);
    }

    #[test]
    fn modes_are_octal_as_in_yaml_1_1() {
        let tree = document("mode: 0644\nother: 420\ntext: \"0644\"\n");
        let number = |key: &str| tree.get(key).unwrap().value.clone();
        assert_eq!(number("mode"), Value::Number(420.into()));
        assert_eq!(number("other"), Value::Number(420.into()));
        assert_eq!(number("text"), Value::Text("0644".to_owned()));
    }

    #[test]
    fn a_key_that_is_there_twice_is_an_error_with_its_line() {
        let error = documents("a: 1\nb: 2\na: 3\n").unwrap_err();
        assert_eq!(
            error.location().map(|location| location.line()),
            Some(3),
            "{error}"
        );
    }

    #[test]
    fn json_is_read_too() {
        let tree = document("{\n\t\"a\": [1, 2.5, true, null, \"x\"]\n}\n");
        assert_eq!(tree.get("a").unwrap().items().len(), 5);
    }

    #[test]
    fn several_documents_are_read_in_order() {
        let all = documents("---\na: 1\n---\n---\nb: 2\n...\n").unwrap();
        let keys: Vec<_> = all
            .iter()
            .flat_map(Node::entries)
            .map(|(key, _)| key.as_str())
            .collect();
        assert_eq!(keys, ["a", "b"]);
    }

    #[test]
    fn what_is_pruned_is_gone_and_indices_stay() {
        let mut tree = document("a:\n- x: 1\n- y: 2\n");
        assert!(tree.prune("a[0].x"));
        assert!(!tree.prune("a[0].x"));
        assert!(tree.prune("a[0]"));
        assert_eq!(Lines::default().of(&tree, "a[1].y"), 3);
        assert!(!tree.prune("a[7]"));
    }

    #[test]
    fn text_that_is_no_yaml_is_an_error() {
        assert!(documents("a: [1, 2").is_err());
        assert!(documents("a: b: c").is_err());
    }
}
