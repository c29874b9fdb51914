//! `${NAME}` in values, by the rules of the docker CLI (`cli/compose/template`), and two forms of our own: `${NAME:+text}`, `${NAME+text}`.

use std::collections::{BTreeMap, BTreeSet};
use swarm_core::spec::{Location, Node, Problem, Severity, Value};

/// What substitution found.
pub(crate) struct Interpolation<'a> {
    variable: &'a dyn Fn(&str) -> Option<String>,
    pub(crate) problems: Vec<Problem>,
    /// The places of values that came from variables: those may stand for numbers.
    pub(crate) places: BTreeSet<Location>,
    /// For each such place, the variables.
    pub(crate) taken: BTreeMap<Location, Vec<String>>,
}

impl<'a> Interpolation<'a> {
    pub(crate) fn new(variable: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { variable, problems: Vec::new(), places: BTreeSet::new(), taken: BTreeMap::new() }
    }

    /// A whole file. Keys are never touched, nor are its version and what begins with `x-`.
    pub(crate) fn file(&mut self, node: &mut Node) {
        let Value::Map(entries) = &mut node.value else { return };
        for entry in entries.iter_mut().filter(|e| matches!(e.key.as_str(), "services" | "networks" | "volumes" | "secrets" | "configs")) {
            let path = entry.key.clone();
            self.node(&mut entry.node, &path);
        }
    }

    fn node(&mut self, node: &mut Node, path: &str) {
        match &mut node.value {
            Value::Text(text) if text.contains('$') => {
                let mut names = Vec::new();
                match substitute(text, self.variable, &mut names) {
                    Ok(new) => {
                        if let (Some(at), false) = (node.at, names.is_empty()) {
                            self.places.insert(at);
                            self.taken.insert(at, names);
                        }
                        *text = new;
                    }
                    Err((message, fix)) => {
                        let path = path.to_owned();
                        self.problems.push(Problem { severity: Severity::Error, path, at: node.at, message, fix });
                    }
                }
            }
            Value::List(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.node(item, &format!("{path}[{index}]"));
                }
            }
            Value::Map(entries) => {
                for entry in entries {
                    let path = format!("{path}.{}", entry.key);
                    self.node(&mut entry.node, &path);
                }
            }
            _ => {}
        }
    }
}

type Wrong = (String, String);

/// A text with its variables put in. `names` collects them.
fn substitute(text: &str, variable: &dyn Fn(&str) -> Option<String>, names: &mut Vec<String>) -> Result<String, Wrong> {
    let invalid = || (format!("the variable in `{text}` is not one"), "write ${NAME}, or $$ for a dollar sign".to_owned());
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, tail) = rest.split_at(at);
        out.push_str(before);
        let tail = tail.get(1..).unwrap_or_default();
        if let Some(after) = tail.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(inside) = tail.strip_prefix('{') {
            let end = inside.find('}').ok_or_else(invalid)?;
            let (expression, after) = inside.split_at(end);
            out.push_str(&value_of(expression, variable, names).ok_or_else(invalid)??);
            rest = after.get(1..).unwrap_or_default();
        } else {
            let length = name_length(tail);
            if length == 0 {
                return Err(invalid());
            }
            let (name, after) = tail.split_at(length);
            names.push(name.to_owned());
            out.push_str(&variable(name).unwrap_or_default());
            rest = after;
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// How long the name is that a text begins with.
fn name_length(text: &str) -> usize {
    let mut chars = text.char_indices();
    match chars.next() {
        Some((_, c)) if c.is_ascii_alphabetic() || c == '_' => {}
        _ => return 0,
    }
    chars.find(|(_, c)| !(c.is_ascii_alphanumeric() || *c == '_')).map_or(text.len(), |(at, _)| at)
}

/// The value of what stands between braces; `None` where that is no expression.
fn value_of(expression: &str, variable: &dyn Fn(&str) -> Option<String>, names: &mut Vec<String>) -> Option<Result<String, Wrong>> {
    let (name, rest) = expression.split_at(name_length(expression));
    if name.is_empty() {
        return None;
    }
    names.push(name.to_owned());
    let set = variable(name);
    let full = set.clone().filter(|v| !v.is_empty());
    let missing = |why: &str| {
        let why = if why.is_empty() { String::new() } else { format!(": {why}") };
        Err((format!("the variable {name} is not set{why}"), format!("set it in the environment, or with --env {name}=VALUE")))
    };
    Some(match rest {
        "" => Ok(set.unwrap_or_default()),
        _ => {
            if let Some(text) = rest.strip_prefix(":-") {
                Ok(full.unwrap_or_else(|| text.to_owned()))
            } else if let Some(text) = rest.strip_prefix(":?") {
                full.map_or_else(|| missing(text), Ok)
            } else if let Some(text) = rest.strip_prefix(":+") {
                Ok(full.map_or(String::new(), |_| text.to_owned()))
            } else if let Some(text) = rest.strip_prefix('-') {
                Ok(set.unwrap_or_else(|| text.to_owned()))
            } else if let Some(text) = rest.strip_prefix('?') {
                set.map_or_else(|| missing(text), Ok)
            } else if let Some(text) = rest.strip_prefix('+') {
                Ok(set.map_or(String::new(), |_| text.to_owned()))
            } else {
                return None;
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<String, String> {
        let variable = |name: &str| match name {
            "FULL" => Some("x".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        substitute(text, &variable, &mut Vec::new()).map_err(|(message, _)| message)
    }

    #[test]
    fn every_form() {
        for (text, value) in [
            ("a$FULL-b", "ax-b"),
            ("${FULL}${EMPTY}${NONE}", "x"),
            ("${EMPTY:-d}${EMPTY-d}${NONE:-d}${NONE-d}", "ddd"),
            ("${FULL:+y}${EMPTY:+y}${EMPTY+y}${NONE+y}", "yy"),
            ("$$FULL $${FULL}", "$FULL ${FULL}"),
            ("${EMPTY?no}", ""),
            ("${A:-${B}}", "${B}"),
        ] {
            assert_eq!(of(text).as_deref(), Ok(value), "{text}");
        }
        assert_eq!(of("${NONE:?give it}").unwrap_err(), "the variable NONE is not set: give it");
        assert!(of("${EMPTY:?}").is_err() && of("${NONE?}").is_err());
        for wrong in ["$", "a$ b", "${", "${}", "${1A}", "${A!}", "$1"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_makes_it_panic(text in "[a-z${}:?+\\-é]{0,40}") {
            let _ = of(&text);
        }
    }
}
