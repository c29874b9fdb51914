//! `${NAME}` and `${NAME:-default}` in values. Keys are left alone, and `$${` stands for `${`.

use swarm_core::spec::{Location, Node, OWN_OBJECTS, Problem, Severity, Value};

/// Replaces in all texts of the tree; gives a problem for each variable that is not set.
pub(crate) fn substitute(tree: &mut Node, variable: &dyn Fn(&str) -> Option<String>) -> Vec<Problem> {
    let mut problems = Vec::new();
    match &mut tree.value {
        // What is a Compose file's has a Compose file's variables.
        Value::Map(entries) => {
            for entry in entries.iter_mut().filter(|entry| !OWN_OBJECTS.contains(&entry.key.as_str())) {
                walk(&mut entry.node, &entry.key, variable, &mut problems);
            }
        }
        _ => walk(tree, "", variable, &mut problems),
    }
    problems
}

fn walk(node: &mut Node, path: &str, variable: &dyn Fn(&str) -> Option<String>, problems: &mut Vec<Problem>) {
    match &mut node.value {
        Value::Text(text) if text.contains("${") => match replace(text, variable) {
            Ok(replaced) => *text = replaced,
            Err((message, fix)) => problems.push(problem(path, node.at, message, fix)),
        },
        Value::List(items) => items.iter_mut().for_each(|item| walk(item, path, variable, problems)),
        Value::Map(entries) => {
            for entry in entries {
                let path = if path.is_empty() { entry.key.clone() } else { format!("{path}.{}", entry.key) };
                walk(&mut entry.node, &path, variable, problems);
            }
        }
        _ => {}
    }
}

fn problem(path: &str, at: Option<Location>, message: String, fix: String) -> Problem {
    Problem { severity: Severity::Error, path: path.to_owned(), at, message, fix }
}

fn replace(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<String, (String, String)> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        if let Some(escaped) = before.strip_suffix('$') {
            out.push_str(escaped);
            out.push_str("${");
            rest = from.get(2..).unwrap_or_default();
            continue;
        }
        out.push_str(before);
        let inner = from.get(2..).unwrap_or_default();
        let end = inner.find('}').ok_or_else(|| ("`${` has no `}`".to_owned(), "close it, or write `$${` for a plain `${`".to_owned()))?;
        let (name, default) = match inner.get(..end).unwrap_or_default().split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inner.get(..end).unwrap_or_default(), None),
        };
        match (variable(name), default) {
            (Some(value), _) => out.push_str(&value),
            (None, Some(default)) => out.push_str(default),
            (None, None) => {
                return Err((format!("the environment variable `{name}` is not set"), format!("set it, or write `${{{name}:-default}}`")));
            }
        }
        rest = inner.get(end + 1..).unwrap_or_default();
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str) -> Result<String, (String, String)> {
        replace(text, &|name| (name == "A").then(|| "one".to_owned()))
    }

    #[test]
    fn variables_defaults_and_escapes() {
        assert_eq!(with("x-${A}-${B:-two}").unwrap(), "x-one-two");
        assert_eq!(with("$${A} and ${A}").unwrap(), "${A} and one");
        assert!(with("${B}").unwrap_err().0.contains("`B` is not set"));
        assert!(with("${A").is_err());
    }
}
