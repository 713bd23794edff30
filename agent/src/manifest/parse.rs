//! From text to objects, with every mistake on the way.

use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, ServiceAccount};
use serde::de::DeserializeOwned;

use super::error::{Field, ManifestError, ManifestErrors, Problem};
use super::object::{DEFAULT_NAMESPACE, Kind, Object};
use super::quote::quoted;
use super::tree::{self, Lines, Node, Value};
use super::{defaults, strict, support, validation};

/// What a list of objects is called in `kind`.
const LIST: &str = "List";
/// The one API version of the agent's kinds.
const API_VERSION: &str = "v1";
/// How much of an object's name is told with a mistake: a name that is right is not longer.
const NAME_MAX: usize = 253;

/// Reads the objects of a text: documents of YAML or JSON, and lists of objects in them, in their order, with the
/// defaults of the API server filled in. `origin` is what errors call the text: a file name, most often.
///
/// # Errors
/// Everything that is wrong with the text, if anything is: then nothing of it may be applied.
pub fn parse(text: &str, origin: &str) -> Result<Vec<Object>, ManifestErrors> {
    parse_in(text, origin, DEFAULT_NAMESPACE)
}

/// The same; what names no namespace is in this one.
///
/// # Errors
/// As [`parse`].
pub fn parse_in(text: &str, origin: &str, namespace: &str) -> Result<Vec<Object>, ManifestErrors> {
    let mut reading = Reading {
        origin,
        namespace,
        objects: Vec::new(),
        errors: Vec::new(),
    };
    match tree::documents(text) {
        Ok(documents) => {
            for (index, document) in documents.into_iter().enumerate() {
                reading.document(index + 1, document);
            }
        }
        Err(error) => {
            let line = error.location().map_or(0, |location| location.line());
            let problem = Problem::Syntax(error);
            reading.note(1, None, Field::new(String::new(), line, problem));
        }
    }
    match reading.errors.is_empty() {
        true => Ok(reading.objects),
        false => Err(ManifestErrors {
            errors: reading.errors,
        }),
    }
}

struct Reading<'a> {
    origin: &'a str,
    namespace: &'a str,
    objects: Vec<Object>,
    errors: Vec<ManifestError>,
}

impl Reading<'_> {
    fn note(&mut self, document: usize, object: Option<String>, field: Field) {
        self.errors.push(ManifestError {
            origin: self.origin.to_owned(),
            document,
            object,
            field,
        });
    }

    fn document(&mut self, number: usize, node: Node) {
        if node.is_empty() {
            return;
        }
        let kind = node.get("kind").and_then(Node::as_text).unwrap_or_default();
        match kind.strip_suffix(LIST) {
            Some(_of) => {
                for item in node.get("items").map(Node::items).unwrap_or_default() {
                    self.document(number, item.clone());
                }
            }
            None => self.object(number, node),
        }
    }

    fn object(&mut self, number: usize, mut node: Node) {
        let text = |key: &str| node.get(key).and_then(Node::as_text).unwrap_or_default();
        let (api_version, kind) = (text("apiVersion").to_owned(), text("kind").to_owned());
        let known = Kind::ALL.into_iter().find(|known| known.name() == kind);
        let Some(known) = known.filter(|_| api_version == API_VERSION) else {
            let problem = Problem::UnknownKind { api_version, kind };
            self.note(number, None, Field::new(String::new(), node.line, problem));
            return;
        };
        let name = node
            .get("metadata")
            .and_then(|metadata| metadata.get("name"));
        let name = name.and_then(Node::as_text).unwrap_or_default();
        // Each mistake names it, however many there are.
        let name: String = name.chars().take(NAME_MAX).collect();
        let label = format!("{known} {}", quoted(&name));
        join_base64(&mut node);

        let (object, mut wrong) = typed(known, &node);
        wrong.extend(support::unsupported(known, &node));
        if let Some(mut object) = object {
            let said = &mut object.metadata_mut().namespace;
            if said.as_deref().unwrap_or_default().is_empty() {
                *said = Some(self.namespace.to_owned());
            }
            defaults::fill_in(&mut object);
            let mut lines = Lines::default();
            let invalid = validation::validate(&object).into_iter();
            wrong.extend(invalid.map(|field| Field {
                line: lines.of(&node, &field.path),
                ..field
            }));
            if wrong.is_empty() {
                self.objects.push(object);
            }
        }
        wrong.sort_by(|one, other| (one.line, &one.path).cmp(&(other.line, &other.path)));
        for field in wrong {
            self.note(number, Some(label.clone()), field);
        }
    }
}

fn typed(kind: Kind, node: &Node) -> (Option<Object>, Vec<Field>) {
    fn boxed<T: DeserializeOwned>(
        node: &Node,
        wrap: impl FnOnce(Box<T>) -> Object,
    ) -> (Option<Object>, Vec<Field>) {
        let (value, wrong) = strict::deserialize::<T>(node);
        (value.map(|value| wrap(Box::new(value))), wrong)
    }
    match kind {
        Kind::Pod => boxed::<Pod>(node, Object::Pod),
        Kind::Secret => boxed::<Secret>(node, Object::Secret),
        Kind::ConfigMap => boxed::<ConfigMap>(node, Object::ConfigMap),
        Kind::ServiceAccount => boxed::<ServiceAccount>(node, Object::ServiceAccount),
    }
}

/// Takes line breaks out of base64, as Go's decoder passes over them: `|` blocks hold such text.
fn join_base64(node: &mut Node) {
    let kind = node.get("kind").and_then(Node::as_text).unwrap_or_default();
    let field = match kind {
        "Secret" => "data",
        "ConfigMap" => "binaryData",
        _ => return,
    };
    let Value::Mapping(entries) = &mut node.value else {
        return;
    };
    let values = entries.iter_mut().filter(|(key, _)| key == field);
    for (_, node) in values {
        if let Value::Mapping(entries) = &mut node.value {
            for (_, value) in entries {
                if let Value::Text(text) = &mut value.value {
                    text.retain(|character| character != '\n' && character != '\r');
                }
            }
        }
    }
}

impl Field {
    /// A mistake at a field.
    pub(crate) fn new(path: String, line: u64, problem: Problem) -> Self {
        Self {
            path,
            line,
            problem,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn errors(text: &str) -> Vec<String> {
        let errors = parse(text, "x.yaml").expect_err(text);
        errors.to_string().lines().map(str::to_owned).collect()
    }

    #[test]
    fn documents_and_lists_become_objects_in_order() {
        let text = r#"
# a comment only
---
apiVersion: v1
kind: Secret
metadata: {name: user}
stringData: {username: admin}
---
{"apiVersion": "v1", "kind": "List", "items": [
  {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}},
  {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "b", "namespace": "other"}}
]}
---
"#;
        let objects = parse(text, "x.yaml").unwrap_or_else(|error| panic!("{error}"));
        let keys: Vec<_> = objects
            .iter()
            .map(|object| object.key().to_string())
            .collect();
        assert_eq!(
            keys,
            [
                "Secret default/user",
                "ConfigMap default/a",
                "ServiceAccount other/b"
            ]
        );
        let secret = objects[0].as_secret().unwrap();
        assert_eq!(secret.data.as_ref().unwrap()["username"].0, b"admin");
        assert_eq!(secret.type_.as_deref(), Some("Opaque"));
    }

    #[test]
    fn every_mistake_of_every_document_is_named_with_its_place() {
        let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n  - name: Web\n    image: busybox\n    imagePulPolicy: Always\n  affinity:\n    podAffinity: {a: b}\n---\napiVersion: apps/v1\nkind: Deployment\n";
        assert_eq!(
            errors(text),
            [
                "x.yaml: document 1, line 6: Pod \"web\": spec.containers[0].name: Invalid value: \"Web\": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
                "x.yaml: document 1, line 8: Pod \"web\": spec.containers[0].imagePulPolicy: unknown field; did you mean imagePullPolicy?",
                "x.yaml: document 1, line 10: Pod \"web\": spec.affinity: not supported: on one node there is nothing to choose between; use nodeSelector or nodeName",
                "x.yaml: document 1, line 10: Pod \"web\": spec.affinity.podAffinity.a: unknown field",
                "x.yaml: document 2, line 12: no matches for kind \"Deployment\" in version \"apps/v1\": the agent takes Pod, Secret, ConfigMap and ServiceAccount of v1",
            ]
        );
    }

    #[test]
    fn text_that_is_no_yaml_is_one_error() {
        let errors = errors("kind: [");
        assert!(errors[0].starts_with("x.yaml: document 1"), "{errors:?}");
        let errors = self::errors("just words");
        assert_eq!(errors, ["x.yaml: document 1, line 1: kind: Required value"]);
    }

    #[test]
    fn base64_may_be_broken_into_lines() {
        let text = "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata:\n  key: |\n    YWJj\n    ZGVm\n";
        let objects = parse(text, "x").unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(
            objects[0].as_secret().unwrap().data.as_ref().unwrap()["key"].0,
            b"abcdef"
        );
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[ \n:\\-\\[\\]{}\"'&*!|>a-c0-9]{0,200}") {
            drop(parse(&text, "x"));
        }

        #[test]
        fn an_unknown_field_is_never_accepted(name in "[a-z]{1,12}X") {
            let text = format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec:\n  {name}: 1\n  containers: [{{name: a, image: b}}]\n");
            let expected = format!("spec.{name}: unknown field");
            let is_named = errors(&text).iter().any(|error| error.contains(&expected));
            prop_assert!(is_named, "{}", text);
        }
    }
}
