//! Manifests that are made to be hard to read: each is an answer, soon.

use std::time::{Duration, Instant};

use super::{ManifestErrors, Object, parse};

/// Of a debug build on a machine that does other things too. What grows with the square of its text takes minutes.
const SOON: Duration = Duration::from_secs(20);

fn read(what: &str, text: &str) -> Result<Vec<Object>, ManifestErrors> {
    let start = Instant::now();
    let outcome = parse(text, "x");
    // Whoever gets the errors shows them.
    let shown = outcome.as_ref().map_err(ToString::to_string).err();
    assert!(
        shown.is_none_or(|shown| shown.len() < 100_000_000),
        "{what} says too much"
    );
    let took = start.elapsed();
    assert!(took < SOON, "{what} took {took:?}");
    outcome
}

fn config_map(data: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata:\n{data}")
}

#[test]
fn a_bomb_of_aliases_is_an_error() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let below = format!("*a{}", level - 1);
        let list = [below.as_str(); 10].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{list}]\n"));
    }
    read("aliases", &text).expect_err("ten to the twelfth");
}

#[test]
fn deep_nesting_is_an_error() {
    for (open, close) in [("[", "]"), ("{a: ", "}"), ("- ", "")] {
        let text = format!("a: \n  {}{}\n", open.repeat(100_000), close.repeat(100_000));
        read(open, &text).expect_err("deep");
    }
    let lists = "{kind: List, items: [".repeat(20_000);
    read("lists", &lists).expect_err("deep");
}

#[test]
fn a_long_name_of_no_field_is_named_soon() {
    let name = "x".repeat(4_000_000);
    let text = format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec: {{{name}: 1}}\n");
    read("long name", &text).expect_err("unknown");
    let fields: String = (0..5_000)
        .map(|index| format!("  imagePull{index}: 1\n"))
        .collect();
    let text = format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec:\n{fields}");
    read("many names", &text).expect_err("unknown");
}

#[test]
fn a_long_name_is_not_told_with_each_mistake() {
    let name = "x".repeat(1_000_000);
    let wrong: String = (0..5_000)
        .map(|index| format!("  \"k {index}\": a\n"))
        .collect();
    let text =
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata:\n{wrong}");
    read("long object name", &text).expect_err("too long");
}

#[test]
fn values_as_deep_as_manifests_have_them_are_read() {
    let item = "{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{name: a, image: b, \
        livenessProbe: {httpGet: {port: 1, httpHeaders: [{name: a, value: b}]}}}]}}";
    let list = format!(
        "{{kind: List, apiVersion: v1, items: [{{kind: List, apiVersion: v1, items: [{item}]}}]}}"
    );
    assert_eq!(
        read("list of lists", &list).map(|it| it.len()).ok(),
        Some(1)
    );
}

#[test]
fn many_mistakes_are_named_soon() {
    let wrong: String = (0..5_000).map(|index| format!("  k{index}: 1\n")).collect();
    read("types", &config_map(&wrong)).expect_err("numbers");
    let wrong: String = (0..5_000)
        .map(|index| format!("  \"k {index}\": a\n"))
        .collect();
    read("keys", &config_map(&wrong)).expect_err("spaces");
    let labels: String = (0..5_000)
        .map(|index| format!("    \"k {index}\": a\n"))
        .collect();
    let text =
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  labels:\n{labels}");
    read("labels", &text).expect_err("spaces");
    let containers: String = (0..5_000)
        .map(|index| format!("  - {{name: A{index}, image: b, tty: 1}}\n"))
        .collect();
    let text = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec:\n  containers:\n{containers}"
    );
    read("containers", &text).expect_err("capitals");
}

#[test]
fn many_things_that_are_right_are_read_soon() {
    let data: String = (0..5_000).map(|index| format!("  k{index}: a\n")).collect();
    assert_eq!(
        read("data", &config_map(&data)).map(|it| it.len()).ok(),
        Some(1)
    );
    let documents = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n".repeat(1000);
    assert_eq!(
        read("documents", &documents).map(|it| it.len()).ok(),
        Some(1000)
    );
    let containers: String = (0..2_000)
        .map(|index| format!("  - {{name: a{index}, image: b, ports: [{{containerPort: 1}}]}}\n"))
        .collect();
    let text = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec:\n  containers:\n{containers}"
    );
    assert_eq!(read("containers", &text).map(|it| it.len()).ok(), Some(1));
}
