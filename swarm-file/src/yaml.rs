//! YAML to the located tree that `swarm-core` reads.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;
use std::fmt;
use swarm_core::spec::{Entry, Location, Node, Problem, Severity, Value};

/// Parses a document. Aliases, depth and size are bounded by the parser's own budget.
pub(crate) fn tree(text: &str) -> Result<Node, Problem> {
    let problem = |message: String, at: Option<Location>| Problem {
        severity: Severity::Error,
        path: String::new(),
        at,
        message,
        fix: "correct the YAML".into(),
    };
    if let Some(line) = text.lines().position(|l| l.contains('\0')) {
        return Err(problem("there is a NUL byte in the file".into(), Some(Location { line: line as u64 + 1, column: 1 })));
    }
    let parsed: Result<Option<Spanned<Raw>>, _> = serde_saphyr::from_str(text);
    match parsed {
        Ok(Some(root)) => Ok(node(root)),
        Ok(None) => Ok(Node { value: Value::Null, at: Some(Location { line: 1, column: 1 }) }),
        Err(error) => {
            let at = error.location().map(|l| Location { line: l.line(), column: l.column() }).filter(|l| l.line > 0);
            // The first line is the message; what follows is the parser's own picture of the source.
            let said = error.without_snippet().to_string();
            let said = said.lines().next().unwrap_or("not YAML");
            // The place stands in front of the message.
            let said = said.split(" at line ").next().unwrap_or(said);
            Err(explained(said, at, text).unwrap_or_else(|| problem(said.to_owned(), at)))
        }
    }
}

/// What the parser's words mean in the two cases that people meet.
fn explained(said: &str, at: Option<Location>, text: &str) -> Option<Problem> {
    let place = at?;
    let line = usize::try_from(place.line).ok()?.checked_sub(1)?;
    let problem = |message: String, fix: String| Some(Problem { severity: Severity::Error, path: String::new(), at, message, fix });
    if let Some(rest) = said.strip_prefix("duplicate mapping key: ") {
        let key = rest.split(',').next().unwrap_or(rest).trim();
        let indent = usize::try_from(place.column).ok()?.checked_sub(1)?;
        let same = |l: &str| l.get(indent..).is_some_and(|t| t.strip_prefix(key).is_some_and(|t| t.trim_start().starts_with(':')));
        let lines: Vec<&str> = text.lines().take(line).collect();
        // The nearest line above with the same key at the same column, in the same mapping.
        let first = lines.iter().rposition(|l| same(l) && l.get(..indent).is_some_and(|t| t.trim().is_empty()));
        let first = first.map_or(String::new(), |l| format!("; the first is at line {}", l + 1));
        return problem(format!("the key `{key}` is here twice{first}"), "remove one of them".into());
    }
    let source = text.lines().nth(line)?;
    if said.contains("flow mapping") && source.contains("${") {
        return problem("inside { } a `${NAME}` needs quotes".into(), "write \"${NAME}\"".into());
    }
    None
}

fn node(spanned: Spanned<Raw>) -> Node {
    let at = Location { line: spanned.referenced.line(), column: spanned.referenced.column() };
    let value = match spanned.value {
        Raw::Null => Value::Null,
        Raw::Bool(b) => Value::Bool(b),
        Raw::Int(i) => Value::Int(i),
        Raw::Float(f) => Value::Float(f),
        Raw::Text(t) => Value::Text(t),
        Raw::List(items) => Value::List(items.into_iter().map(node).collect()),
        Raw::Map(entries) => Value::Map(
            entries
                .into_iter()
                .map(|(key, value)| Entry {
                    at: Some(Location { line: key.referenced.line(), column: key.referenced.column() }),
                    key: key.value,
                    node: node(value),
                })
                .collect(),
        ),
    };
    Node { value, at: Some(at) }
}

/// Any YAML value, with the place of every part.
enum Raw {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(i64::try_from(value).map_or(Raw::Float(value as f64), Raw::Int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Raw::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_keys_and_values_are_kept() {
        let tree = tree("name: x\nhosts:\n  m1: { address: 10.0.0.1, port: 22 }\n").unwrap();
        let Value::Map(entries) = &tree.value else { panic!("{tree:?}") };
        assert_eq!(entries[1].at, Some(Location { line: 2, column: 1 }));
        let Value::Map(hosts) = &entries[1].node.value else { panic!("{tree:?}") };
        let Value::Map(m1) = &hosts[0].node.value else { panic!("{tree:?}") };
        assert_eq!(m1[0].node, Node { value: Value::Text("10.0.0.1".into()), at: Some(Location { line: 3, column: 18 }) });
        assert_eq!(m1[1].node.value, Value::Int(22));
    }

    #[test]
    fn broken_yaml_is_one_problem_with_a_place() {
        let problem = tree("name: x\nhosts: [\n").unwrap_err();
        assert!(problem.at.is_some_and(|at| at.line >= 2), "{problem:?}");
        let twice = tree("hosts:\n  a: 1\n  b: 2\n  a: 3\n").unwrap_err();
        assert_eq!((twice.message.as_str(), twice.at.unwrap().line), ("the key `a` is here twice; the first is at line 2", 4));
        let unquoted = tree("hosts:\n  m1: { address: ${HOST}, role: manager }\n").unwrap_err();
        assert!(unquoted.message.contains("needs quotes") && unquoted.fix.contains("\"${NAME}\""), "{unquoted:?}");
        assert!(tree("a\0b").is_err());
    }

    proptest::proptest! {
        #[test]
        fn nothing_makes_it_panic(text in "[a-z:\\[\\]{}&*!|> \\-\n\"'#,0-9]{0,200}") {
            let _ = tree(&text);
        }
    }
}
