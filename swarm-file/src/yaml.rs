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

    /// What a program says with the builder is what a file says, and is judged by the same rules.
    #[test]
    fn a_builder_says_what_a_file_says() {
        use std::path::Path;
        use std::time::Duration;
        use swarm_core::spec::{Availability, ClusterSpec, HostKeyPolicy, HostSpec, SshBuilder, SshClient};
        let text = "name: prod
ssh: { user: ops, port: 2222, identity_file: /k, known_hosts: /h, host_key: accept-new, jump: [a@b:22], sudo: true, client: native }
hosts:
  m1: { address: 10.0.0.1, role: manager, availability: drain, labels: { rack: a, old: null } }
  w1: { address: w1.example.org, role: worker, advertise: eth0, data_path: 10.1.0.0/16, ssh: { user: root } }
  w2: { address: 10.0.0.3, role: worker, connection: docker, engine: \"tcp://10.0.0.3:2376\", tls_ca: /a, tls_cert: /c, tls_key: /d }
swarm:
  autolock: true
  unlock_key_file: /u
  task_history_limit: 3
  cert_expiry: 720h
  dispatcher_heartbeat: 7s
  default_addr_pool: [10.20.0.0/16]
  data_path_port: 5000
policy: { concurrency: 4, timeout: 90s, rotate_tokens: after_apply }
";
        let ssh = SshBuilder::new()
            .user("ops")
            .port(2222)
            .identity_file(Path::new("/k"))
            .known_hosts(Path::new("/h"))
            .host_key(HostKeyPolicy::AcceptNew)
            .jump(["a@b:22"])
            .sudo()
            .client(SshClient::Native);
        let builder = ClusterSpec::builder("prod")
            .ssh(ssh)
            .host(HostSpec::manager("m1", "10.0.0.1").availability(Availability::Drain).label("rack", "a").without_label("old"))
            .host(HostSpec::worker("w1", "w1.example.org").advertise("eth0").data_path("10.1.0.0/16").ssh(SshBuilder::new().user("root")))
            .host(HostSpec::worker("w2", "10.0.0.3").docker("tcp://10.0.0.3:2376", Path::new("/a"), Path::new("/c"), Path::new("/d")))
            .autolock(Path::new("/u"))
            .task_history_limit(3)
            .cert_expiry(Duration::from_secs(720 * 3600))
            .dispatcher_heartbeat(Duration::from_secs(7))
            .default_addr_pool(["10.20.0.0/16"])
            .data_path_port(5000)
            .concurrency(4)
            .timeout(Duration::from_secs(90))
            .rotate_tokens_after_apply();
        assert_eq!(builder.clone().build().unwrap(), crate::parse(text, &|_| None).unwrap().spec);
        // The same host twice is found, as it is in a file.
        let twice = builder.host(HostSpec::manager("m1", "10.0.0.9")).build().unwrap_err();
        assert!(twice.to_string().contains("m1"), "{twice}");
    }
}
