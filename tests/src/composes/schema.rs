//! The schema of Compose files, as the docker CLI carries it.

use serde_json::Value;
use std::path::Path;

/// The schema of files of the newest version, inside a docker CLI.
pub fn of(cli: &Path) -> Value {
    of_version(cli, "3.13")
}

/// The schema of files of a version, inside a docker CLI that has it as plain text; the one of 20.10 has its own compressed.
pub fn of_version(cli: &Path, version: &str) -> Value {
    let program = std::fs::read(cli).unwrap();
    let mark = format!("\"id\": \"config_schema_v{version}.json\"").into_bytes();
    let at = program.windows(mark.len()).position(|part| part == mark).expect("the docker CLI carries the schema");
    let start = program.iter().take(at).rposition(|byte| *byte == b'{').unwrap();
    serde_json::Deserializer::from_slice(program.get(start..).unwrap()).into_iter().next().unwrap().unwrap()
}

/// What a part of it refers to.
pub fn resolved<'a>(schema: &'a Value, mut node: &'a Value) -> &'a Value {
    while let Some(to) = node.get("$ref").and_then(Value::as_str) {
        node = schema.pointer(to.trim_start_matches('#')).unwrap();
    }
    node
}

/// Every place of a file that the schema knows, with its forms: `services.*.ports[]|2.mode`.
pub fn places(schema: &Value) -> Vec<String> {
    let mut all = Vec::new();
    walk(schema, schema, String::new(), &mut all);
    all
}

fn walk(schema: &Value, node: &Value, path: String, all: &mut Vec<String>) {
    let node = resolved(schema, node);
    if !path.is_empty() {
        all.push(path.clone());
    }
    for (index, form) in node.get("oneOf").and_then(Value::as_array).into_iter().flatten().enumerate() {
        walk(schema, form, format!("{path}|{index}"), all);
    }
    let dot = if path.is_empty() { "" } else { "." };
    for (key, value) in node.get("properties").and_then(Value::as_object).into_iter().flatten() {
        walk(schema, value, format!("{path}{dot}{key}"), all);
    }
    for (_, value) in node.get("patternProperties").and_then(Value::as_object).into_iter().flatten().filter(|(key, _)| *key != "^x-") {
        walk(schema, value, format!("{path}{dot}*"), all);
    }
    if let Some(items) = node.get("items") {
        walk(schema, items, format!("{path}[]"), all);
    }
}
