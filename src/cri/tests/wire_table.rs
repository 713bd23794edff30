//! `proto/cri/api.proto` says what `proto/cri/wire.tsv` says, and nothing else.

use std::collections::BTreeSet;

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/proto/cri");

fn short(name: &str) -> &str {
    name.trim_start_matches(".runtime.v1.")
}

fn is_map(message: &DescriptorProto) -> bool {
    message
        .options
        .as_ref()
        .is_some_and(|options| options.map_entry())
}

fn scalar(field: &FieldDescriptorProto) -> String {
    match field.r#type() {
        Type::Message | Type::Enum => short(field.type_name())
            .rsplit('.')
            .next()
            .unwrap()
            .to_owned(),
        other => other
            .as_str_name()
            .trim_start_matches("TYPE_")
            .to_lowercase(),
    }
}

fn field_type(message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    let entry_name = field.type_name().rsplit('.').next().unwrap_or_default();
    let entry = message
        .nested_type
        .iter()
        .find(|nested| is_map(nested) && nested.name() == entry_name);
    match (entry, field.label()) {
        (Some(entry), _) => format!(
            "map<{},{}>",
            scalar(&entry.field[0]),
            scalar(&entry.field[1])
        ),
        (None, Label::Repeated) => format!("repeated {}", scalar(field)),
        (None, _) => scalar(field),
    }
}

fn enumeration(parent: &str, value: &EnumDescriptorProto, rows: &mut BTreeSet<String>) {
    let name = format!("{parent}{}", value.name());
    for value in &value.value {
        rows.insert(format!(
            "enum\t{name}\t{}\t{}\t",
            value.name(),
            value.number()
        ));
    }
}

fn rows_of(file: &FileDescriptorProto) -> BTreeSet<String> {
    let mut rows = BTreeSet::new();
    for service in &file.service {
        for method in &service.method {
            let stream = if method.server_streaming() {
                "stream "
            } else {
                ""
            };
            assert!(!method.client_streaming());
            rows.insert(format!(
                "rpc\t{}\t{}\t{}\t{stream}{}",
                service.name(),
                method.name(),
                short(method.input_type()),
                short(method.output_type()),
            ));
        }
    }
    for message in &file.message_type {
        for value in &message.enum_type {
            enumeration(&format!("{}.", message.name()), value, &mut rows);
        }
        for field in &message.field {
            rows.insert(format!(
                "field\t{}\t{}\t{}\t{}",
                message.name(),
                field.name(),
                field.number(),
                field_type(message, field),
            ));
        }
        if message.field.is_empty() {
            rows.insert(format!("message\t{}\t\t\t", message.name()));
        }
    }
    for value in &file.enum_type {
        enumeration("", value, &mut rows);
    }
    rows
}

#[test]
fn the_proto_file_is_the_table() {
    let files = protox::compile(["api.proto"], [FOLDER]).unwrap();
    let file = &files.file[0];
    assert_eq!((file.package(), file.syntax()), ("runtime.v1", "proto3"));
    let table = std::fs::read_to_string(format!("{FOLDER}/wire.tsv")).unwrap();
    let wanted: BTreeSet<String> = table
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let mut columns: Vec<_> = line.split('\t').collect();
            columns.resize(5, "");
            columns.join("\t")
        })
        .collect();
    let found = rows_of(file);
    let missing: Vec<_> = wanted.difference(&found).collect();
    let unknown: Vec<_> = found.difference(&wanted).collect();
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "missing {missing:#?}, unknown {unknown:#?}"
    );
    assert_eq!(
        found.iter().filter(|row| row.starts_with("rpc")).count(),
        43
    );
}
