//! The file's JSON Schema, made from the table of keys.

use super::keys::{Key, Kind, Section, sections};
use serde_json::{Map, Value, json};

/// A JSON Schema (draft 2020-12) of the cluster file, for editors.
pub fn json_schema() -> Value {
    let mut defs = Map::new();
    for section in sections().iter().skip(1) {
        defs.insert(section.name.to_owned(), object(section));
    }
    let mut root = sections().first().map(object).unwrap_or_default();
    if let Some(map) = root.as_object_mut() {
        map.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
        map.insert("title".into(), json!("Docker Swarm cluster file"));
        map.insert("$defs".into(), Value::Object(defs));
    }
    root
}

fn object(section: &Section) -> Value {
    let properties: Map<String, Value> = section.keys.iter().map(|key| (key.name.to_owned(), property(key))).collect();
    let required: Vec<&str> = section.keys.iter().filter(|k| k.required).map(|k| k.name).collect();
    json!({ "type": "object", "additionalProperties": false, "properties": properties, "required": required })
}

fn property(key: &Key) -> Value {
    let mut schema = match key.kind {
        Kind::Text => json!({ "type": "string" }),
        Kind::Word(words) => json!({ "enum": words }),
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::Int(low, high) => json!({ "type": "integer", "minimum": low, "maximum": high }),
        Kind::Duration => json!({ "type": "string", "pattern": "^([0-9.]+(ms|s|m|h|d))+$" }),
        Kind::TextList => json!({ "type": "array", "items": { "type": ["string", "integer"] } }),
        Kind::Elsewhere => json!({ "type": ["object", "null"] }),
        Kind::Labels => json!({ "type": "object", "additionalProperties": { "type": ["string", "number", "boolean", "null"] } }),
        Kind::Section(name) => json!({ "$ref": format!("#/$defs/{name}") }),
        Kind::Sections(name) => json!({ "type": "array", "items": { "$ref": format!("#/$defs/{name}") } }),
        Kind::Named(name) => json!({ "type": "object", "minProperties": 1, "additionalProperties": { "$ref": format!("#/$defs/{name}") } }),
    };
    if let Some(map) = schema.as_object_mut() {
        map.insert("description".into(), json!(key.doc));
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_in_the_schema_and_references_resolve() {
        let schema = json_schema();
        assert_eq!(schema.pointer("/properties/hosts/additionalProperties/$ref"), Some(&json!("#/$defs/host")));
        for section in sections().iter().skip(1) {
            for key in section.keys {
                let at = format!("/$defs/{}/properties/{}/description", section.name, key.name);
                assert_eq!(schema.pointer(&at), Some(&json!(key.doc)), "{at}");
            }
        }
    }
}
