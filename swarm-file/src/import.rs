//! Hosts from what people have already: an Ansible inventory, Terraform's outputs or state, an ssh_config, docker-machine's folder. Pure.

use crate::adopted::quoted;
use crate::{adopted_name, tree};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use swarm_core::spec::{Node, Role, Value};

/// A host that was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImportedHost {
    /// Its name, as it stands there.
    pub name: String,
    /// Where SSH goes.
    pub address: String,
    /// Its login name.
    pub user: Option<String>,
    /// Its port.
    pub port: Option<u16>,
    /// Its private key.
    pub identity_file: Option<String>,
    /// Its role, where something says it.
    pub role: Option<Role>,
}

/// Where hosts are read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportFrom {
    /// An Ansible inventory, as INI or YAML. Groups whose names begin with `manager` or `worker` (or end with `_managers`, `_workers`) give the role.
    Ansible,
    /// `terraform output -json`, or a state (`terraform state pull`); OpenTofu's are the same.
    Terraform,
    /// An ssh_config: every `Host` without a pattern.
    SshConfig,
    /// The `config.json` of one machine of docker-machine.
    DockerMachine,
}

/// Reads hosts.
///
/// # Errors
/// Why the text is not what it is to be, or that there is no host in it.
pub fn import(from: ImportFrom, text: &str) -> Result<Vec<ImportedHost>, String> {
    let hosts = match from {
        ImportFrom::Ansible if looks_like_ini(text) => ansible_ini(text)?,
        ImportFrom::Ansible => ansible_yaml(&document(text)?)?,
        ImportFrom::Terraform => terraform(&document(text)?)?,
        ImportFrom::SshConfig => ssh_config(text),
        ImportFrom::DockerMachine => vec![docker_machine(&document(text)?)?],
    };
    if hosts.is_empty() { Err("there is no host in it".into()) } else { Ok(hosts) }
}

fn document(text: &str) -> Result<Node, String> {
    tree(text).map_err(|problems| problems.to_string())
}

fn get<'n>(node: &'n Node, key: &str) -> Option<&'n Node> {
    match &node.value {
        Value::Map(entries) => entries.iter().find(|e| e.key == key).map(|e| &e.node),
        _ => None,
    }
}

fn entries(node: Option<&Node>) -> impl Iterator<Item = (&str, &Node)> {
    let map = match node.map(|n| &n.value) {
        Some(Value::Map(entries)) => entries.as_slice(),
        _ => &[],
    };
    map.iter().map(|e| (e.key.as_str(), &e.node))
}

fn items(node: Option<&Node>) -> &[Node] {
    match node.map(|n| &n.value) {
        Some(Value::List(items)) => items,
        _ => &[],
    }
}

fn text(node: Option<&Node>) -> Option<String> {
    match &node?.value {
        Value::Text(text) if !text.is_empty() => Some(text.clone()),
        Value::Int(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The role that the name of a group, an output or a machine tells.
fn role_of(name: &str) -> Option<Role> {
    let name = name.to_ascii_lowercase().replace('-', "_");
    let is = |word: &str| name.starts_with(word) || name.ends_with(&format!("_{word}")) || name.ends_with(&format!("_{word}s"));
    match (is("manager") || is("master"), is("worker") || is("agent")) {
        (true, false) => Some(Role::Manager),
        (false, true) => Some(Role::Worker),
        _ => None,
    }
}

type Vars = BTreeMap<String, String>;

fn of_vars(name: &str, vars: &Vars, role: Option<Role>) -> ImportedHost {
    let var = |keys: &[&str]| keys.iter().find_map(|key| vars.get(*key)).cloned();
    ImportedHost {
        name: name.to_owned(),
        address: var(&["ansible_host", "ansible_ssh_host"]).unwrap_or_else(|| name.to_owned()),
        user: var(&["ansible_user", "ansible_ssh_user"]),
        port: var(&["ansible_port", "ansible_ssh_port"]).and_then(|port| port.parse().ok()),
        identity_file: var(&["ansible_ssh_private_key_file", "ansible_private_key_file"]),
        role,
    }
}

fn looks_like_ini(text: &str) -> bool {
    let first = text.lines().map(str::trim).find(|l| !l.is_empty() && !l.starts_with(['#', ';']) && *l != "---");
    first.is_some_and(|line| line.starts_with('[') || (!line.ends_with(':') && !line.contains(": ") && !line.starts_with('{')))
}

/// `web[01:03].example.org` is three names.
fn expand(pattern: &str) -> Vec<String> {
    let range = || {
        let (head, rest) = pattern.split_once('[')?;
        let (range, tail) = rest.split_once(']')?;
        let (first, last) = range.split_once(':')?;
        let (from, to): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        (from <= to && to - from < 1000).then(|| (from..=to).map(|n| format!("{head}{n:0width$}{tail}", width = first.len())).collect())
    };
    range().unwrap_or_else(|| vec![pattern.to_owned()])
}

/// A line's words; quotes hold blanks together.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for c in line.chars() {
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(q), c) if q == c => quote = None,
            (None, '#') if word.is_empty() => break,
            (None, c) if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            (_, c) => word.push(c),
        }
    }
    words.extend((!word.is_empty()).then_some(word));
    words
}

/// What an inventory says, before groups are put together.
#[derive(Default)]
struct Inventory {
    /// Hosts in their order, each with its own variables.
    hosts: Vec<(String, Vars)>,
    /// The hosts and groups of each group.
    members: BTreeMap<String, Vec<String>>,
    /// The variables of each group.
    vars: BTreeMap<String, Vars>,
}

impl Inventory {
    fn host(&mut self, name: &str, vars: Vars, group: &str) {
        match self.hosts.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => known.extend(vars),
            None => self.hosts.push((name.to_owned(), vars)),
        }
        self.members.entry(group.to_owned()).or_default().push(name.to_owned());
    }

    /// The groups that a host is in, the widest first.
    fn groups_of(&self, name: &str) -> Vec<&str> {
        let (mut groups, mut open) = (Vec::new(), vec![name]);
        while let Some(member) = open.pop() {
            for (group, members) in &self.members {
                if members.iter().any(|m| m == member) && !groups.contains(&group.as_str()) {
                    groups.push(group);
                    open.push(group);
                }
            }
        }
        groups.reverse();
        groups
    }

    fn found(&self) -> Vec<ImportedHost> {
        let of = |(name, own): &(String, Vars)| {
            let groups = self.groups_of(name);
            let mut vars = self.vars.get("all").cloned().unwrap_or_default();
            for group in &groups {
                vars.extend(self.vars.get(*group).cloned().unwrap_or_default());
            }
            vars.extend(own.clone());
            // Who is in a group of managers is one, whatever else it is in.
            let roles: Vec<Role> = groups.iter().filter_map(|group| role_of(group)).collect();
            let role = if roles.contains(&Role::Manager) { Some(Role::Manager) } else { roles.first().copied() };
            of_vars(name, &vars, role)
        };
        self.hosts.iter().map(of).collect()
    }
}

fn ansible_ini(text: &str) -> Result<Vec<ImportedHost>, String> {
    let mut inventory = Inventory::default();
    let (mut group, mut kind) = ("ungrouped".to_owned(), String::new());
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(section) = line.strip_prefix('[') {
            let section = section.split(']').next().filter(|_| section.contains(']'));
            let section = section.ok_or_else(|| format!("line {}: a section has no end", number + 1))?;
            let (name, what) = section.split_once(':').unwrap_or((section, ""));
            (group, kind) = (name.trim().to_owned(), what.trim().to_owned());
            continue;
        }
        let words = words(line);
        match (kind.as_str(), words.split_first()) {
            ("vars", _) => {
                if let Some((key, value)) = line.split_once('=') {
                    let value = value.trim().trim_matches(['"', '\'']);
                    inventory.vars.entry(group.clone()).or_default().insert(key.trim().to_owned(), value.to_owned());
                }
            }
            ("children", Some((child, _))) => inventory.members.entry(group.clone()).or_default().push(child.clone()),
            (_, Some((pattern, rest))) => {
                let pairs = rest.iter().filter_map(|word| word.split_once('='));
                let vars: Vars = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
                for name in expand(pattern) {
                    inventory.host(&name, vars.clone(), &group);
                }
            }
            (_, None) => {}
        }
    }
    Ok(inventory.found())
}

fn ansible_yaml(node: &Node) -> Result<Vec<ImportedHost>, String> {
    fn group(inventory: &mut Inventory, name: &str, node: &Node) {
        for (pattern, vars) in entries(get(node, "hosts")) {
            let vars: Vars = entries(Some(vars)).filter_map(|(key, value)| Some((key.to_owned(), text(Some(value))?))).collect();
            for host in expand(pattern) {
                inventory.host(&host, vars.clone(), name);
            }
        }
        let vars = entries(get(node, "vars")).filter_map(|(key, value)| Some((key.to_owned(), text(Some(value))?)));
        inventory.vars.entry(name.to_owned()).or_default().extend(vars);
        for (child, node) in entries(get(node, "children")) {
            inventory.members.entry(name.to_owned()).or_default().push(child.to_owned());
            group(inventory, child, node);
        }
    }
    if !matches!(node.value, Value::Map(_)) {
        return Err(format!("an inventory is a mapping of groups, and this is {}", node.value.kind()));
    }
    let mut inventory = Inventory::default();
    for (name, node) in entries(Some(node)) {
        group(&mut inventory, name, node);
    }
    Ok(inventory.found())
}

fn is_address(text: &str) -> bool {
    text.parse::<std::net::IpAddr>().is_ok()
        || (text.contains('.')
            && !text.contains(['/', ':', ' '])
            && text.split('.').all(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')))
}

const ADDRESSES: &[&str] = &["address", "public_ip", "public_ip_address", "ipv4_address", "ip_address", "ip", "access_ip_v4", "private_ip"];

fn of_object(name: Option<&str>, node: &Node, role: Option<Role>) -> Option<ImportedHost> {
    let address = ADDRESSES.iter().find_map(|key| text(get(node, key)))?;
    let own = text(get(node, "name")).or_else(|| text(get(node, "hostname")));
    let name = own.or_else(|| name.map(str::to_owned)).unwrap_or_else(|| address.clone());
    let said = text(get(node, "role")).and_then(|role| role_of(&role));
    let port = text(get(node, "port")).and_then(|port| port.parse().ok());
    let role = said.or(role).or_else(|| role_of(&name));
    Some(ImportedHost { name, address, user: text(get(node, "user")), port, identity_file: None, role })
}

fn terraform(node: &Node) -> Result<Vec<ImportedHost>, String> {
    if get(node, "resources").is_some() {
        return Ok(terraform_state(node));
    }
    let mut found = Vec::new();
    for (output, node) in entries(Some(node)) {
        let Some(value) = get(node, "value") else {
            return Err(format!("`{output}` has no value: give it what `terraform output -json` or `terraform state pull` prints"));
        };
        let role = role_of(output);
        let single = |name: String, node: &Node| {
            let address = text(Some(node)).filter(|t| is_address(t))?;
            let role = role.or_else(|| role_of(&name));
            Some(ImportedHost { name, address, role, ..ImportedHost::default() })
        };
        match &value.value {
            Value::List(list) => {
                let base = output.strip_suffix("_ips").or_else(|| output.strip_suffix("_addresses")).unwrap_or(output);
                let base = base.strip_suffix('s').unwrap_or(base);
                let named = list.iter().zip(1..).filter_map(|(item, n)| {
                    let name = format!("{base}-{n}");
                    single(name.clone(), item).or_else(|| of_object(Some(&name), item, role))
                });
                found.extend(named);
            }
            Value::Map(_) => {
                let each = entries(Some(value))
                    .filter_map(|(name, item)| single(name.to_owned(), item).or_else(|| of_object(Some(name), item, role)));
                let each: Vec<ImportedHost> = each.collect();
                if each.is_empty() { found.extend(of_object(Some(output), value, role)) } else { found.extend(each) }
            }
            _ => found.extend(single(output.to_owned(), value)),
        }
    }
    Ok(found)
}

fn terraform_state(node: &Node) -> Vec<ImportedHost> {
    let mut found = Vec::new();
    for resource in items(get(node, "resources")) {
        if text(get(resource, "mode")).is_some_and(|mode| mode != "managed") {
            continue;
        }
        let kind = text(get(resource, "type")).unwrap_or_default();
        let machine = ["instance", "server", "droplet", "virtual_machine", "linode"].iter().any(|word| kind.contains(word));
        if !machine {
            continue;
        }
        let base = text(get(resource, "name")).unwrap_or_default();
        for instance in items(get(resource, "instances")) {
            let Some(attributes) = get(instance, "attributes") else { continue };
            let index = text(get(instance, "index_key"));
            let name = index.map_or_else(|| base.clone(), |index| format!("{base}-{index}"));
            let tagged = get(attributes, "tags").and_then(|tags| text(get(tags, "Name")));
            if let Some(mut host) = of_object(Some(&name), attributes, role_of(&base)) {
                host.name = tagged.unwrap_or(host.name);
                found.push(host);
            }
        }
    }
    found
}

fn ssh_config(text: &str) -> Vec<ImportedHost> {
    let mut found: Vec<ImportedHost> = Vec::new();
    let mut open = 0;
    for line in text.lines().map(str::trim) {
        let Some((keyword, rest)) = line.split_once(|c: char| c.is_whitespace() || c == '=') else { continue };
        let values = words(rest.trim_start_matches(['=', ' ', '\t']));
        let Some(first) = values.first() else { continue };
        match keyword.to_ascii_lowercase().as_str() {
            "host" => {
                let plain = values.iter().filter(|name| !name.contains(['*', '?', '!']));
                let before = found.len();
                found.extend(plain.map(|name| ImportedHost {
                    name: name.clone(),
                    address: name.clone(),
                    role: role_of(name),
                    ..ImportedHost::default()
                }));
                open = found.len() - before;
            }
            "match" => open = 0,
            keyword => {
                let start = found.len() - open;
                for host in found.iter_mut().skip(start) {
                    match keyword {
                        "hostname" => host.address = first.replace("%h", &host.name),
                        "user" => host.user = host.user.take().or_else(|| Some(first.clone())),
                        "port" => host.port = host.port.or_else(|| first.parse().ok()),
                        "identityfile" => host.identity_file = host.identity_file.take().or_else(|| Some(first.clone())),
                        _ => {}
                    }
                }
            }
        }
    }
    found
}

fn docker_machine(node: &Node) -> Result<ImportedHost, String> {
    let driver = get(node, "Driver").ok_or("it is no machine of docker-machine: it has no Driver")?;
    let name = text(get(node, "Name")).or_else(|| text(get(driver, "MachineName"))).ok_or("the machine has no name")?;
    let address = text(get(driver, "IPAddress")).ok_or_else(|| format!("machine {name} has no address: it was not created to its end"))?;
    let swarm = get(node, "HostOptions").and_then(|options| get(options, "SwarmOptions"));
    let is = |key: &str| swarm.and_then(|s| get(s, key)).is_some_and(|n| n.value == Value::Bool(true));
    let role = if is("Master") { Some(Role::Manager) } else { role_of(&name) };
    Ok(ImportedHost {
        name,
        address,
        user: text(get(driver, "SSHUser")),
        port: text(get(driver, "SSHPort")).and_then(|port| port.parse().ok()),
        identity_file: text(get(driver, "SSHKeyPath")),
        role,
    })
}

/// A part of what the file says of a host's login.
type Part = fn(&ImportedHost) -> Option<String>;

/// Writes a cluster file for hosts that were found. Where none is known to be a manager, so many from the front are; who has no role is a
/// worker. Engines advertise IP addresses only: a host that is reached by a name needs `advertise`, an interface for example.
pub fn imported(name: &str, hosts: &[ImportedHost], managers: usize, advertise: Option<&str>) -> String {
    let mut out = format!("# Docker Swarm cluster `{name}`. `swarm schema` prints the whole grammar.\nname: {}\n", quoted(name));
    let common = |of: Part| {
        let first = hosts.first().and_then(of)?;
        hosts.iter().all(|host| of(host).as_ref() == Some(&first)).then_some(first)
    };
    let own: [(&str, Part); 3] = [
        ("user", |host| host.user.as_deref().map(quoted)),
        ("port", |host| host.port.map(|port| port.to_string())),
        ("identity_file", |host| host.identity_file.as_deref().map(quoted)),
    ];
    let shared: Vec<(&str, String)> = own.iter().filter_map(|(key, of)| Some((*key, common(*of)?))).collect();
    if !shared.is_empty() {
        out.push_str("\nssh:\n");
        for (key, value) in &shared {
            let _ = writeln!(out, "  {key}: {value}");
        }
    }
    out.push_str("\nhosts:\n");
    let known = hosts.iter().any(|host| host.role == Some(Role::Manager));
    let mut taken: Vec<String> = Vec::new();
    for (index, host) in hosts.iter().enumerate() {
        let role = if known {
            host.role.unwrap_or(Role::Worker)
        } else if index < managers {
            Role::Manager
        } else {
            Role::Worker
        };
        let name = adopted_name(&host.name, &taken);
        let _ = writeln!(out, "  {name}:\n    address: {}\n    role: {role}", quoted(&host.address));
        if host.address.parse::<std::net::IpAddr>().is_err() {
            let _ = match advertise {
                Some(interface) => writeln!(out, "    advertise: {}", quoted(interface)),
                None => writeln!(out, "    # advertise: eth0  # An engine advertises an IP address: name it, or its interface."),
            };
        }
        let single = own.iter().filter(|(key, _)| !shared.iter().any(|(k, _)| k == key));
        let single: Vec<String> = single.filter_map(|(key, of)| Some(format!("{key}: {}", of(host)?))).collect();
        if !single.is_empty() {
            let _ = writeln!(out, "    ssh: {{ {} }}", single.join(", "));
        }
        taken.push(name);
    }
    out
}

#[cfg(test)]
mod tests;
