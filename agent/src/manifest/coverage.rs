//! Holds the table of supported fields against the types of Kubernetes, and `docs/pod-spec-coverage.md` against the table.
//!
//! `CARPEL_BLESS=1 cargo test -p carpel-agent coverage` writes the document.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::PodSpec;
use serde::de::value::StrDeserializer;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};

use super::object::Kind;
use super::support::{self, Row, Support};

/// Gives a type one of everything it asks for, and notes the paths of the fields that it names.
struct Schema<'a> {
    path: String,
    /// What texts are.
    text: &'static str,
    found: &'a std::cell::RefCell<BTreeSet<String>>,
}

type Outcome<T> = Result<T, serde::de::value::Error>;

impl<'de> Deserializer<'de> for Schema<'_> {
    type Error = serde::de::value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Outcome<V::Value> {
        visitor.visit_i64(0)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Outcome<V::Value> {
        visitor.visit_bool(false)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Outcome<V::Value> {
        visitor.visit_str(self.text)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Outcome<V::Value> {
        visitor.visit_str(self.text)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Outcome<V::Value> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Outcome<V::Value> {
        let text = match name {
            "Time" => "1970-01-01T00:00:00Z",
            _ => self.text,
        };
        visitor.visit_newtype_struct(Self { text, ..self })
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Outcome<V::Value> {
        visitor.visit_seq(One(Some(self)))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Outcome<V::Value> {
        visitor.visit_map(Fields {
            schema: self,
            fields: &[],
            next: 0,
        })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Outcome<V::Value> {
        visitor.visit_map(Fields {
            schema: self,
            fields,
            next: 0,
        })
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct enum
        identifier ignored_any
    }
}

struct One<'a>(Option<Schema<'a>>);

impl<'de> SeqAccess<'de> for One<'_> {
    type Error = serde::de::value::Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Outcome<Option<T::Value>> {
        let Some(mut schema) = self.0.take() else {
            return Ok(None);
        };
        schema.path.push_str("[]");
        seed.deserialize(schema).map(Some)
    }
}

struct Fields<'a> {
    schema: Schema<'a>,
    fields: &'static [&'static str],
    next: usize,
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = serde::de::value::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Outcome<Option<K::Value>> {
        match self.fields.get(self.next) {
            Some(field) => seed.deserialize(StrDeserializer::new(field)).map(Some),
            None => Ok(None),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Outcome<V::Value> {
        let field = support::folded(self.fields[self.next]);
        self.next += 1;
        let path = format!("{}.{field}", self.schema.path);
        self.schema.found.borrow_mut().insert(path.clone());
        seed.deserialize(Schema {
            path,
            text: self.schema.text,
            found: self.schema.found,
        })
    }
}

fn fields() -> BTreeSet<String> {
    let found = std::cell::RefCell::new(BTreeSet::new());
    let schema = Schema {
        path: "spec".to_owned(),
        text: "",
        found: &found,
    };
    PodSpec::deserialize(schema).unwrap();
    found.into_inner()
}

/// Whether a row speaks for everything below its path.
fn is_whole(path: &str) -> bool {
    let row = support::row(Kind::Pod, path);
    row.is_some_and(|row| row.support != Support::Supported)
}

fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    path.char_indices()
        .filter(|(_, character)| matches!(character, '.' | '['))
        .map(|(index, _)| &path[..index])
}

#[test]
fn every_field_of_a_pod_has_a_row() {
    let fields = fields();
    assert!(
        fields.len() > 500,
        "only {} fields were found",
        fields.len()
    );
    let missing: Vec<&String> = fields
        .iter()
        .filter(|path| support::row(Kind::Pod, path).is_none() && !ancestors(path).any(is_whole))
        .collect();
    assert!(missing.is_empty(), "no rows for {missing:#?}");
}

#[test]
fn every_row_is_a_field_and_is_there_once() {
    let (fields, mut seen) = (fields(), BTreeSet::new());
    for row in support::rows(Kind::Pod).filter(|row| row.path.starts_with("spec.")) {
        assert!(fields.contains(row.path), "{} is no field", row.path);
        assert!(seen.insert(row.path), "{} is there twice", row.path);
    }
}

fn source_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

#[test]
fn every_row_that_is_supported_names_files_with_tests() {
    let mut broken = Vec::new();
    let mut checked = BTreeSet::new();
    for row in support::rows(Kind::Pod).filter(|row| row.support == Support::Supported) {
        if !checked.insert(row.tests) {
            continue;
        }
        let base = source_folder().join(row.tests);
        let mut files = vec![base.with_extension("rs")];
        let beside = base.file_name().unwrap().to_str().unwrap();
        files.push(base.with_file_name(format!("{beside}_tests.rs")));
        files.extend(
            fs::read_dir(&base)
                .into_iter()
                .flatten()
                .map(|entry| entry.unwrap().path()),
        );
        let has_tests = files
            .iter()
            .filter_map(|file| fs::read_to_string(file).ok())
            .any(|text| text.contains("#[test]") || text.contains("#[tokio::test"));
        if !has_tests {
            broken.push(row.tests);
        }
    }
    assert!(broken.is_empty(), "no tests in {broken:?}");
}

const HEAD: &str = "\
# Fields of a pod

What the agent does with every field of `PodSpec` of Kubernetes v1.36. *Supported* means what a kubelet and an API server
do. *Without effect* is accepted, as there is nothing to do on one node. *Refused* is an error of `apply` that names the
field: `Pod \"web\": spec.affinity: not supported: …`. A field that is in no row does not exist, and is an error too.

What holds for `containers` holds for `initContainers`. A row speaks for everything below its field that has no row of its
own. The last column is where the tests are, below `agent/src`.

This page is made from the table that the agent checks manifests with; a test compares the two
(`CARPEL_BLESS=1 cargo test -p carpel-agent coverage` writes it).

| Field | | Why, or what to write instead | Tests |
|---|---|---|---|
";

fn document() -> String {
    let mut rows: Vec<&Row> = support::rows(Kind::Pod).collect();
    rows.sort_by_key(|row| row.path);
    let mut text = HEAD.to_owned();
    for row in rows {
        let (word, why) = match row.support {
            Support::Supported => ("supported", ""),
            Support::NoEffect(why) => ("without effect", why),
            Support::Refused(why) => ("**refused**", why),
        };
        let tests = match row.tests {
            "" => "`manifest/coverage`".to_owned(),
            tests => format!("`{tests}`"),
        };
        text.push_str(&format!("| `{}` | {word} | {why} | {tests} |\n", row.path));
    }
    text
}

#[test]
fn the_document_says_what_the_table_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/pod-spec-coverage.md");
    let document = document();
    if std::env::var_os("CARPEL_BLESS").is_some() {
        crate::file::replace(&path, document.as_bytes(), crate::file::Durability::Rename).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    }
    assert!(
        fs::read_to_string(&path).unwrap() == document,
        "docs/pod-spec-coverage.md is not what the table says: CARPEL_BLESS=1 writes it"
    );
}

/// A pod with a value at a pattern, as YAML; the deepest value is one that asks for something.
fn pod_with(pattern: &str) -> String {
    let mut value = "{asked: for}".to_owned();
    for part in pattern.rsplit('.').take_while(|part| *part != "spec") {
        value = match part.strip_suffix("[]") {
            Some(name) => format!("{{{name}: [{value}]}}"),
            None => format!("{{{part}: {value}}}"),
        };
    }
    format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec: {value}\n")
}

#[test]
fn what_is_refused_is_refused_with_its_reason() {
    for row in support::rows(Kind::Pod).filter(|row| row.path.starts_with("spec.")) {
        let found = {
            let tree = super::tree::documents(&pod_with(row.path))
                .unwrap()
                .remove(0);
            support::unsupported(Kind::Pod, &tree)
        };
        let texts: Vec<String> = found
            .iter()
            .map(|field| format!("{}: {}", field.path, field.problem))
            .collect();
        match row.support {
            Support::Refused(why) => {
                let path = row.path.replace("[]", "[0]");
                assert_eq!(texts, [format!("{path}: not supported: {why}")]);
            }
            _ => assert_eq!(texts, [""; 0], "{}", row.path),
        }
    }
}
