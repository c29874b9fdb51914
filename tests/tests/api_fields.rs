//! Every field that an engine takes for a service, a network, a secret or a config: set by a key of Compose files or by a flag, or named with a
//! reason in docs/api-fields.md.

use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use swarm_compose::{Context, Source};
use swarm_tests::composes::flags::{FORMS, VALUES, with};
use swarm_tests::composes::pruned;
use swarm_workload::{Given, new_service, typed};

/// Forms of flags that engines of 20.10 do not know.
const NEWER: &[(&str, &str)] = &[
    ("mount", "type=bind,src=/a,dst=/b,bind-nonrecursive"),
    ("mount", "type=bind,src=/a,dst=/b,readonly,bind-recursive=writable"),
    ("mount", "type=bind,src=/a,dst=/b,readonly,bind-recursive=readonly,bind-propagation=rprivate"),
    ("mount", "type=volume,src=v,dst=/b,volume-subpath=x"),
    ("network", "name=net-b,driver-opt=a=b"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn fields() -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join("tests/compose/api-fields.txt")).unwrap();
    text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

/// A specification after it was read with its types, all of it, and written again; without what is zero or empty.
fn through_types(kind: &str, spec: &Value) -> Value {
    macro_rules! again {
        ($type:ty) => {{
            let read: $type = serde_json::from_value(spec.clone()).unwrap_or_else(|e| panic!("{e}: {spec:#}"));
            let said = format!("{read:?}");
            let untyped = said.match_indices("other: {").find(|(at, text)| !said[at + text.len()..].starts_with('}'));
            assert!(untyped.is_none(), "a field has no type: {}", &said[untyped.unwrap().0..]);
            pruned(&Value::from(&read))
        }};
    }
    match kind {
        "Service" => again!(typed::ServiceSpec),
        "Network" => again!(typed::NetworkSpec),
        "Secret" => again!(typed::SecretSpec),
        "Config" => again!(typed::ConfigSpec),
        other => panic!("{other}"),
    }
}

/// The fields that a specification sets; what is no field is kept apart.
fn set(value: &Value, path: &str, fields: &BTreeSet<String>, found: &mut BTreeSet<String>, unknown: &mut BTreeSet<String>) {
    if fields.contains(path) {
        found.insert(path.to_owned());
        return;
    }
    match value {
        Value::Array(items) => items.iter().for_each(|item| set(item, path, fields, found, unknown)),
        Value::Object(map) if path.is_empty() || fields.iter().any(|f| f.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'))) => {
            map.iter().for_each(|(key, value)| set(value, &format!("{path}.{key}"), fields, found, unknown));
        }
        Value::Null => {}
        _ => drop(unknown.insert(path.to_owned())),
    }
}

/// What nothing here sets has its type as well.
#[test]
fn fields_that_nothing_sets_have_their_types_too() {
    let service = json!({
        "Networks": [{ "Target": "a", "Aliases": ["b"], "DriverOpts": { "c": "d" } }],
        "EndpointSpec": { "Ports": [{ "Name": "web", "TargetPort": 80 }] },
        "TaskTemplate": {
            "ForceUpdate": 3,
            "Runtime": "plugin",
            "PluginSpec": { "Name": "a", "Remote": "b", "Disabled": true,
                "PluginPrivilege": [{ "Name": "network", "Description": "c", "Value": ["host"] }] },
            "NetworkAttachmentSpec": { "ContainerID": "c" },
            "Placement": { "Platforms": [{ "Architecture": "amd64", "OS": "linux" }] },
            "Resources": { "SwapBytes": -1, "MemorySwappiness": 0,
                "Reservations": { "GenericResources": [{ "NamedResourceSpec": { "Kind": "gpu", "Value": "g1" } }] } },
            "ContainerSpec": {
                "Secrets": [{ "SecretID": "s" }], "Configs": [{ "ConfigID": "c" }],
                "Mounts": [
                    { "Type": "bind", "BindOptions": { "CreateMountpoint": true } },
                    { "Type": "image", "ImageOptions": { "Subpath": "a" } },
                    { "Type": "tmpfs", "TmpfsOptions": { "Options": [["noexec"], ["uid", "1"]] } },
                ],
                "Privileges": {
                    "NoNewPrivileges": true, "AppArmor": { "Mode": "disabled" }, "Seccomp": { "Mode": "custom", "Profile": "e30=" },
                    "SELinuxContext": { "Disable": true, "User": "u", "Role": "r", "Type": "t", "Level": "l" },
                },
            },
        },
    });
    let network = json!({
        "Name": "a", "Scope": "swarm", "Ingress": true, "ConfigOnly": true, "ConfigFrom": { "Network": "b" }, "EnableIPv4": false, "EnableIPv6": true,
        "IPAM": { "Options": { "a": "b" }, "Config": [{ "Gateway": "10.1.0.1", "IPRange": "10.1.0.0/25", "AuxiliaryAddresses": { "a": "10.1.0.9" } }] },
    });
    let stored = json!({ "Name": "a", "Data": "e30=", "Templating": { "Name": "golang", "Options": { "a": "b" } } });
    let fields = fields();
    let (mut found, mut unknown) = (BTreeSet::new(), BTreeSet::new());
    for (kind, spec) in [("Service", &service), ("Network", &network), ("Config", &stored)] {
        assert_eq!(through_types(kind, spec), pruned(spec));
        set(spec, kind, &fields, &mut found, &mut unknown);
    }
    let secret = json!({ "Name": "a", "Templating": { "Name": "golang", "Options": { "a": "b" } } });
    assert_eq!(through_types("Secret", &secret), secret);
    set(&secret, "Secret", &fields, &mut found, &mut unknown);
    assert!(unknown.is_empty(), "{unknown:?}");
    let document = std::fs::read_to_string(root().join("docs/api-fields.md")).unwrap();
    let named = document.lines().filter_map(|line| Some(line.strip_prefix("| `")?.split_once("` | ")?.0.to_owned()));
    let missing: Vec<String> = named.filter(|field| !found.contains(field)).collect();
    assert!(missing.is_empty(), "no value here has {missing:#?}");
}

#[test]
fn every_field_of_the_api_is_set_by_something_or_named_with_a_reason() {
    let fields = fields();
    assert!(fields.len() > 150, "{}", fields.len());
    let (mut found, mut unknown) = (BTreeSet::new(), BTreeSet::new());
    let mut take = |kind: &str, spec: &Value| {
        assert_eq!(through_types(kind, spec), pruned(spec), "{kind}");
        set(spec, kind, &fields, &mut found, &mut unknown);
    };
    let mut read = 0;
    for entry in std::fs::read_dir(root().join("tests/compose")).unwrap().map(|e| e.unwrap().path()) {
        if entry.extension().is_none_or(|e| e != "yml") {
            continue;
        }
        let folder = entry.parent().unwrap().to_owned();
        let context = Context {
            variable: &|name| Some(if name == "YES" { "true" } else { "1" }.into()),
            file: &|path| std::fs::read(folder.join(path)).map_err(|e| e.to_string()),
            command: &|_| Ok(b"made".to_vec()),
            folder: folder.clone(),
        };
        let source = Source { name: entry.display().to_string(), text: std::fs::read_to_string(&entry).unwrap() };
        let stack = swarm_compose::read("s", &[source], &context).unwrap_or_else(|e| panic!("{}: {e}", entry.display())).stack;
        stack.services.iter().for_each(|s| take("Service", &s.spec));
        stack.networks.iter().for_each(|n| take("Network", &n.spec));
        // The data comes when it is sent, and a name is put in then.
        stack.secrets.iter().for_each(|s| take("Secret", &s.spec));
        stack.configs.iter().for_each(|c| take("Config", &c.spec));
        read += 1;
    }
    assert!(read >= 40, "{read} files were read");
    // Objects that no engine here can make: they are kept by plugins.
    let kept = "services: { web: { image: a } }\nsecrets: { k: { driver: vault, driver_opts: { a: b } } }\n";
    let context = Context { variable: &|_| None, file: &|_| Ok(Vec::new()), command: &|_| Ok(Vec::new()), folder: PathBuf::new() };
    let stack = swarm_compose::read("s", &[Source { name: "kept".into(), text: kept.into() }], &context).unwrap().stack;
    stack.secrets.iter().for_each(|s| take("Secret", &s.spec));
    for (flag, value) in VALUES.iter().chain(FORMS).chain(NEWER) {
        let given: Vec<Given> = with(flag).iter().chain([&(*flag, *value)]).map(|(f, v)| ((*f).to_owned(), (*v).to_owned())).collect();
        match new_service("web", "app:1", &["sleep".into()], &given) {
            Ok(spec) => take("Service", &spec),
            // Changes of what is there have nothing to change in a new service.
            Err(why) => assert!(!NEWER.contains(&(flag, value)), "--{flag} {value}: {why:?}"),
        }
    }
    for sent in ["Network.Name", "Secret.Name", "Secret.Data", "Config.Name", "Config.Data"] {
        found.insert(sent.to_owned());
    }
    let no_field: Vec<&String> = unknown.iter().collect();
    assert!(no_field.is_empty(), "what is sent and is no field of the API: {no_field:?}");

    let document = std::fs::read_to_string(root().join("docs/api-fields.md")).unwrap();
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let named: BTreeSet<String> = rows.filter(|(_, reason)| reason.len() > 10).map(|(field, _)| field.to_owned()).collect();
    let missing: Vec<&String> = fields.difference(&found).filter(|field| !named.contains(*field)).collect();
    assert!(missing.is_empty(), "set by nothing, and not in docs/api-fields.md: {missing:#?}");
    let stale: Vec<&String> = named.iter().filter(|field| found.contains(*field) || !fields.contains(*field)).collect();
    assert!(stale.is_empty(), "in docs/api-fields.md, and set by something or no field: {stale:#?}");
}
