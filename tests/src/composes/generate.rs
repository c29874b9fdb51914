//! Compose files from the schema: every key in every form, with values that matter, and in half of the files one thing that is odd.

use super::schema::resolved;
use super::values::{ALPHABET, NAMES, ODD, values};
use super::yaml::Yaml;
use fastrand::Rng;
use serde_json::Value;
use std::collections::BTreeMap;

/// A generated file.
#[derive(Debug, Clone)]
pub struct Made {
    /// Its content.
    pub tree: Yaml,
    /// Variables that it needs.
    pub variables: Vec<(String, String)>,
    /// The places of the schema that it sets.
    pub places: Vec<String>,
    /// The place where it is odd.
    pub odd: Option<String>,
}

/// Makes files; places that were set seldom come more often.
pub struct Generator<'a> {
    schema: &'a Value,
    rng: Rng,
    seen: BTreeMap<String, u32>,
    made: Made,
    /// How many leaves are left until the odd one; `None` in a file without one.
    until_odd: Option<u32>,
    /// Whether the odd one is a text that is nearly right.
    odd_text: bool,
    with_variables: bool,
    /// How likely a key is set that was set often enough, in percent.
    density: u32,
}

/// The value of a variable that is not set.
pub const UNSET: &str = "\u{0}";

/// A text with one to three characters more, less or others.
pub fn mutated(rng: &mut Rng, text: &str) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for _ in 0..rng.u32(1..4) {
        let other = *ALPHABET.get(rng.usize(0..ALPHABET.len())).unwrap();
        let at = rng.usize(0..=chars.len());
        match rng.u32(0..3) {
            0 => chars.insert(at, other),
            1 if at < chars.len() => *chars.get_mut(at).unwrap() = other,
            _ if at < chars.len() => {
                chars.remove(at);
            }
            _ => {}
        }
    }
    chars.into_iter().collect()
}

impl<'a> Generator<'a> {
    /// A generator of the files of this seed.
    pub fn new(schema: &'a Value, seed: u64) -> Self {
        let made = Made { tree: Yaml::Null, variables: Vec::new(), places: Vec::new(), odd: None };
        Self {
            schema,
            rng: Rng::with_seed(seed),
            seen: BTreeMap::new(),
            made,
            until_odd: None,
            odd_text: false,
            with_variables: false,
            density: 20,
        }
    }

    /// The next file.
    pub fn file(&mut self, odd: bool) -> Made {
        self.made = Made { tree: Yaml::Null, variables: Vec::new(), places: Vec::new(), odd: None };
        self.odd_text = self.rng.u32(0..3) > 0;
        self.until_odd = odd.then(|| self.rng.u32(0..60));
        self.with_variables = self.rng.u32(0..3) == 0;
        self.density = [6, 12, 25].get(self.rng.usize(0..3)).copied().unwrap();
        let tree = self.node(self.schema, "");
        let mut made = std::mem::replace(&mut self.made, Made { tree: Yaml::Null, variables: Vec::new(), places: Vec::new(), odd: None });
        made.tree = tree;
        made
    }

    /// Notes that both clients took a file.
    pub fn taken(&mut self, made: &Made) {
        for place in &made.places {
            *self.seen.entry(place.clone()).or_default() += 1;
        }
    }

    /// How often each place was set in a file that both took.
    pub fn seen(&self, place: &str) -> u32 {
        self.seen.get(place).copied().unwrap_or(0)
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.u32(0..100) < percent
    }

    fn pick<'t>(&mut self, from: &[&'t str]) -> &'t str {
        from.get(self.rng.usize(0..from.len())).copied().unwrap()
    }

    fn node(&mut self, node: &Value, path: &str) -> Yaml {
        let node = resolved(self.schema, node);
        if !path.is_empty() {
            let near = values(path).filter(|values| !values.is_empty());
            match self.until_odd {
                Some(_) if self.odd_text && near.is_none() => {}
                Some(0) => {
                    self.until_odd = None;
                    self.made.odd = Some(path.to_owned());
                    return match near.filter(|_| self.odd_text) {
                        Some(values) => {
                            let text = self.pick(values).to_owned();
                            Yaml::Text(mutated(&mut self.rng, &text))
                        }
                        None => Yaml::Raw(self.pick(ODD).to_owned()),
                    };
                }
                Some(left) => self.until_odd = Some(left - 1),
                None => {}
            }
            self.made.places.push(path.to_owned());
        }
        if let Some(forms) = node.get("oneOf").and_then(Value::as_array) {
            let seldom = (0..forms.len()).min_by_key(|index| self.seen(&format!("{path}|{index}"))).unwrap();
            let index = if self.chance(30) { seldom } else { self.rng.usize(0..forms.len()) };
            return self.node(forms.get(index).unwrap(), &format!("{path}|{index}"));
        }
        let kind = match node.get("type") {
            Some(Value::String(kind)) => kind.as_str(),
            // A number is in the schema, and is refused later, or becomes nonsense.
            Some(Value::Array(_)) if path.ends_with(".shm_size") || path.ends_with("extra_hosts|0.*") => "string",
            Some(Value::Array(kinds)) => kinds.get(self.rng.usize(0..kinds.len())).and_then(Value::as_str).unwrap(),
            _ => "string",
        };
        match kind {
            "object" => self.map(node, path),
            "array" => self.list(node, path),
            "boolean" => {
                let yes = self.rng.bool();
                self.leaf(Yaml::Bool(yes), path)
            }
            "null" => Yaml::Null,
            "integer" | "number" => {
                let text = values(path).map_or("7", |values| self.pick(values)).to_owned();
                let number = text.starts_with(|c: char| c.is_ascii_digit() || c == '-') && text.parse::<f64>().is_ok();
                self.leaf(Yaml::Raw(if number { text } else { "7".into() }), path)
            }
            _ => {
                let duration = node.get("format").and_then(Value::as_str) == Some("duration");
                let text = match values(path) {
                    Some(values) if !values.is_empty() => self.pick(values),
                    _ if duration => self.pick(&["10s", "1m30s", "500ms", "0s", "1.5h", "2h45m", "1us"]),
                    _ => self.pick(&["abc", "x-y", "Some Text", "a/b"]),
                };
                let text = Yaml::text(text);
                self.leaf(text, path)
            }
        }
    }

    /// A value, or a variable that has it.
    fn leaf(&mut self, value: Yaml, path: &str) -> Yaml {
        if !self.with_variables || path == "version" || !self.chance(8) {
            return value;
        }
        let text = match &value {
            Yaml::Bool(yes) => yes.to_string(),
            Yaml::Raw(text) | Yaml::Text(text) => text.clone(),
            _ => return value,
        };
        let name = format!("V{}", self.made.variables.len());
        let simple = text.chars().all(|c| c.is_ascii_alphanumeric() || ".-".contains(c)) && !text.is_empty();
        let (set, form) = match self.rng.u32(0..5) {
            0 if simple => (None, format!("${{{name}:-{text}}}")),
            1 if simple => (None, format!("${{{name}-{text}}}")),
            2 => (Some(text), format!("${name}")),
            3 if !text.is_empty() => (Some(text), format!("${{{name}:?must be set}}")),
            _ => (Some(text), format!("${{{name}}}")),
        };
        // The number of a name that is left out stays taken.
        self.made.variables.push((name, set.unwrap_or_else(|| UNSET.to_owned())));
        Yaml::Text(form)
    }

    fn map(&mut self, node: &Value, path: &str) -> Yaml {
        let mut entries: Vec<(String, Yaml)> = Vec::new();
        let dot = if path.is_empty() { "" } else { "." };
        let required: Vec<&str> = node.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        let mut properties: Vec<(String, Value)> =
            node.get("properties").and_then(Value::as_object).into_iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect();
        self.rng.shuffle(&mut properties);
        for (key, value) in properties {
            let at = format!("{path}{dot}{key}");
            let seldom = self.seen(&at) < 3;
            let needed = required.contains(&key.as_str()) || needed(&at);
            let wanted = match depth(&at) {
                0 => self.chance(80),
                1 => self.chance(if seldom { 20 } else { self.density }),
                _ => self.chance(if seldom { 60 } else { 40 }),
            };
            if needed || wanted {
                let value = self.node(&value, &at);
                entries.push((key, value));
            }
        }
        let at = format!("{path}{dot}*");
        for (pattern, value) in node.get("patternProperties").and_then(Value::as_object).into_iter().flatten() {
            if pattern == "^x-" {
                if self.chance(4) {
                    entries.push(("x-own".into(), Yaml::Map(vec![("any".into(), Yaml::List(vec![Yaml::Int(1)]))])));
                }
                continue;
            }
            let names = NAMES.iter().find(|(end, _)| path.ends_with(end)).map_or(&["a", "b.c", "d-e"][..], |(_, names)| names);
            // What services refer to is there.
            let all = matches!(path, "networks" | "volumes" | "secrets" | "configs");
            for name in names {
                if all || self.chance(45) {
                    let value = self.node(value, &at);
                    entries.push(((*name).to_owned(), value));
                }
            }
        }
        if path == "networks" || path == "volumes" || path == "secrets" || path == "configs" {
            entries.iter_mut().for_each(|(name, value)| make_sound(path, name, value));
        }
        if self.until_odd == Some(0) && self.chance(20) {
            self.until_odd = None;
            self.made.odd = Some(format!("{path}{dot}another"));
            entries.push(("another".into(), Yaml::Int(1)));
        }
        if path == "services.*" {
            service(&mut entries);
        }
        if path.ends_with("volumes[]|1") {
            mount(&mut entries);
        }
        if path.ends_with("credential_spec") {
            entries.truncate(1);
        }
        if path.ends_with(".deploy") {
            let global = entries.iter().any(|(key, value)| key == "mode" && matches!(value, Yaml::Text(t) if t.starts_with("global")));
            let variable = entries.iter().any(|(key, value)| key == "mode" && matches!(value, Yaml::Text(t) if t.starts_with('$')));
            entries.retain(|(key, _)| key != "replicas" || !(global || variable));
        }
        if path.ends_with("healthcheck") {
            let disabled = entries.iter().any(|(key, value)| key == "disable" && *value != Yaml::Bool(false));
            entries.retain(|(key, _)| key != "test" || !disabled);
        }
        Yaml::Map(entries)
    }

    fn list(&mut self, node: &Value, path: &str) -> Yaml {
        let count = [0, 1, 1, 2, 2, 3].get(self.rng.usize(0..6)).copied().unwrap();
        let unique = node.get("uniqueItems").and_then(Value::as_bool).unwrap_or(false);
        let mut items: Vec<Yaml> = Vec::new();
        let Some(of) = node.get("items") else { return Yaml::List(items) };
        let variables = self.with_variables;
        // Two variables may have the same value.
        self.with_variables &= !unique || path.ends_with("ports");
        for _ in 0..count {
            let item = self.node(of, &format!("{path}[]"));
            if !unique || !items.contains(&item) {
                items.push(item);
            }
        }
        self.with_variables = variables;
        Yaml::List(items)
    }
}

fn depth(path: &str) -> usize {
    path.matches('.').count().saturating_sub(usize::from(path.contains(".*"))).min(2)
}

/// Keys without which there is nothing to compare.
fn needed(path: &str) -> bool {
    ["services", "networks", "volumes", "secrets", "configs"].contains(&path)
        || ["services.*.image", "secrets.*.file", "configs.*.file", "volumes[]|1.target", "[]|1.source", "ports[]|2.target"]
            .iter()
            .any(|end| path.ends_with(end))
}

/// A top-level object whose keys do not contradict one another.
fn make_sound(kind: &str, name: &str, value: &mut Yaml) {
    let Yaml::Map(entries) = value else { return };
    let yes = |value: &Yaml| matches!(value, Yaml::Bool(true) | Yaml::Map(_) | Yaml::Text(_));
    let external = entries.iter().any(|(key, value)| key == "external" && yes(value));
    let by_mapping = entries.iter().any(|(key, value)| key == "external" && matches!(value, Yaml::Map(_)));
    if external {
        entries.retain(|(key, _)| key == "external" || if key == "name" { !by_mapping } else { kind != "volumes" });
        let named = matches!(name, "outer" | "outside");
        if kind != "volumes" && !by_mapping && !named && !entries.iter().any(|(key, _)| key == "name") {
            entries.push(("name".into(), Yaml::text("outer")));
        }
        entries.iter_mut().filter(|(key, _)| key == "name" && kind != "volumes").for_each(|(_, value)| *value = Yaml::text("outside"));
        if let Some(Yaml::Map(inner)) = entries.iter_mut().find(|(key, _)| key == "external").map(|(_, value)| value)
            && inner.is_empty()
        {
            inner.push(("name".into(), Yaml::text("outer")));
        }
    } else if kind == "secrets" && entries.iter().any(|(key, _)| key == "driver") {
        entries.retain(|(key, _)| key != "file");
    }
    if !external {
        // Two objects of one name are no case for this comparison.
        entries.iter_mut().filter(|(key, _)| key == "name").for_each(|(_, value)| *value = Yaml::text(&format!("own-{name}")));
    }
}

/// A service whose keys do not contradict one another.
fn service(entries: &mut [(String, Yaml)]) {
    // Each network, secret and config once.
    for (_, value) in entries.iter_mut().filter(|(key, _)| matches!(key.as_str(), "secrets" | "configs")) {
        let Yaml::List(items) = value else { continue };
        let mut names: Vec<String> = Vec::new();
        items.retain(|item| {
            let name = match item {
                Yaml::Map(_) => format!("{:?}", item.get("target").or(item.get("source"))),
                other => format!("{:?}", Some(other)),
            };
            let new = !names.contains(&name);
            names.push(name);
            new
        });
    }
}

/// A mount whose keys go together.
fn mount(entries: &mut Vec<(String, Yaml)>) {
    let kind = entries.iter().find(|(key, _)| key == "type").map(|(_, value)| value.clone());
    let Some(Yaml::Text(kind)) = kind.filter(|kind| !matches!(kind, Yaml::Text(t) if t.starts_with('$'))) else { return };
    let others = ["bind", "volume", "tmpfs"];
    entries.retain(|(key, _)| !others.contains(&key.as_str()) || *key == kind);
    for (key, value) in entries.iter_mut().filter(|(key, _)| key == "source") {
        debug_assert_eq!(key, "source");
        if kind == "volume" {
            *value = Yaml::text("data");
        } else if *value != Yaml::text("./files") {
            *value = Yaml::text("/srv");
        }
    }
    if kind == "tmpfs" {
        entries.retain(|(key, _)| key != "source");
    }
}
