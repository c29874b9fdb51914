//! Machines that become hosts of a swarm: a [`Provisioner`] lists those that are there, creates those that are missing, and destroys all.
//!
//! EC2 is in a crate of its own, swarm-ec2. [`Exec`] is one by a program, whose contract is in docs/machines.md: with some hundred lines a cloud, a hypervisor or Terraform is behind it.

mod exec;

pub use exec::Exec;

use swarm_core::Stop;
use swarm_core::spec::{Entry, Node, Value};
use thiserror::Error;

/// A machine that is wanted and not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The name that its host will have.
    pub name: String,
    /// What it is, for people: a kind, a place, what it costs. Empty where that is not said.
    pub what: String,
}

/// An SSH host key that the provider vouches for, so that the first connection need not trust what answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKey {
    /// The host's name.
    pub host: String,
    /// The address that SSH goes to.
    pub address: String,
    /// The key as known_hosts has it: its kind and the key, with a blank between them.
    pub key: String,
    /// The provider's id of the machine: another one at the same address has another key.
    pub id: String,
}

/// What machines there are.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Listed {
    /// Those that are there, as hosts of the cluster file: the name, and the keys that `hosts` has there.
    pub hosts: Vec<Entry>,
    /// Those that are to be created.
    pub missing: Vec<Missing>,
    /// Host keys of those that are there, as far as the provider has them.
    pub host_keys: Vec<HostKey>,
}

/// Why machines are not known, or not what they are to be.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct ProvisionError(pub String);

/// Hears what is going on, line by line.
pub type Say<'a> = &'a (dyn Fn(&str) + Sync);

/// Who makes machines. Every call may take minutes and blocks until it ends; each can be made again after it was cut off anywhere, and goes on.
pub trait Provisioner: Send + Sync {
    /// The machines that are there, and those that are missing. Changes nothing.
    ///
    /// # Errors
    /// They are not known.
    fn list(&self) -> Result<Listed, ProvisionError>;

    /// Creates what is missing. Machines that are there already stay as they are.
    ///
    /// # Errors
    /// Some may be there now and others not: [`Provisioner::list`] says which. Also where it was stopped.
    fn create(&self, say: Say<'_>, stop: &Stop) -> Result<(), ProvisionError>;

    /// Destroys all of them, and what was made for them. Where there are none, that is well.
    ///
    /// # Errors
    /// Some may be left: [`Provisioner::list`] says which. Also where it was stopped.
    fn destroy(&self, say: Say<'_>, stop: &Stop) -> Result<(), ProvisionError>;
}

/// JSON as a document's tree.
fn node(value: &serde_json::Value) -> Node {
    let value = match value {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(b) => Value::Bool(*b),
        serde_json::Value::Number(n) => n.as_i64().map_or_else(|| Value::Float(n.as_f64().unwrap_or(f64::NAN)), Value::Int),
        serde_json::Value::String(text) => Value::Text(text.clone()),
        serde_json::Value::Array(items) => Value::List(items.iter().map(node).collect()),
        serde_json::Value::Object(map) => {
            Value::Map(map.iter().map(|(key, value)| Entry { key: key.clone(), at: None, node: node(value) }).collect())
        }
    };
    Node { value, at: None }
}

/// Reads what a program printed for `list`.
///
/// # Errors
/// What of it is not as docs/machines.md says.
pub fn parse_list(output: &str) -> Result<Listed, ProvisionError> {
    let wrong = |what: &str| ProvisionError(format!("what it printed is not what docs/machines.md asks for: {what}"));
    let document: serde_json::Value = serde_json::from_str(output).map_err(|e| wrong(&e.to_string()))?;
    let map = document.as_object().ok_or_else(|| wrong("no JSON object"))?;
    if let Some(unknown) = map.keys().find(|key| !matches!(key.as_str(), "hosts" | "missing")) {
        return Err(wrong(&format!("the unknown key `{unknown}`")));
    }
    let hosts = match map.get("hosts") {
        None | Some(serde_json::Value::Null) => Vec::new(),
        Some(serde_json::Value::Object(hosts)) => {
            hosts.iter().map(|(name, host)| Entry { key: name.clone(), at: None, node: node(host) }).collect()
        }
        Some(_) => return Err(wrong("`hosts` is no object")),
    };
    let mut missing = Vec::new();
    for one in map.get("missing").and_then(|m| m.as_array()).into_iter().flatten() {
        let text = |key: &str| one.get(key).and_then(|t| t.as_str()).unwrap_or_default().to_owned();
        let (name, what) = match one.as_str() {
            Some(name) => (name.to_owned(), String::new()),
            None => (text("name"), text("what")),
        };
        if name.is_empty() {
            return Err(wrong("a missing machine without a `name`"));
        }
        missing.push(Missing { name, what });
    }
    Ok(Listed { hosts, missing, host_keys: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_prints_is_hosts_and_what_is_missing() {
        let listed = parse_list(
            r#"{ "hosts": { "m1": { "address": "10.0.0.1", "role": "manager", "labels": { "zone": "a" } } },
                 "missing": [{ "name": "m2", "what": "t3.small in us-west-1a" }, "w1"] }"#,
        )
        .unwrap();
        assert_eq!(listed.hosts[0].key, "m1");
        assert!(matches!(&listed.hosts[0].node.value, Value::Map(keys) if keys.len() == 3));
        let of = |name: &str, what: &str| Missing { name: name.into(), what: what.into() };
        assert_eq!(listed.missing, [of("m2", "t3.small in us-west-1a"), of("w1", "")]);
        assert_eq!(parse_list("{}").unwrap(), Listed::default());
        for (text, what) in
            [("[]", "no JSON object"), ("{\"host\":{}}", "`host`"), ("{\"missing\":[{}]}", "without a `name`"), ("x", "expected")]
        {
            assert!(parse_list(text).unwrap_err().to_string().contains(what), "{text}");
        }
    }
}
