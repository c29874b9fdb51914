use super::*;
use std::collections::BTreeSet;

fn given(flags: &[(&str, &str)]) -> Vec<Given> {
    flags.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn applied(before: Value, flags: &[(&str, &str)]) -> Value {
    let mut spec = before;
    apply_flags(&mut spec, &given(flags)).unwrap();
    spec
}

#[test]
fn a_new_service_has_what_its_flags_say() {
    let spec = applied(
        json!({}),
        &[
            ("mode", "replicated"),
            ("replicas", "3"),
            ("env", "A=1"),
            ("env", "B="),
            ("env", "A=2"),
            ("label", "com.example/tier=web"),
            ("constraint", "node.role==worker"),
            ("placement-pref", "spread=node.labels.zone"),
            ("limit-cpu", "0.5"),
            ("reserve-memory", "64m"),
            ("network", "front"),
            ("network", "name=back,alias=db,alias=store"),
            ("publish", "published=8080,target=80,mode=host"),
            ("publish", "53:53/udp"),
            ("mount", "type=volume,source=data,target=/data,volume-label=a=b,volume-opt=o=size=1g"),
            ("mount", "\"type=bind\",src=/a,dst=/b,readonly,bind-propagation=rslave"),
            ("secret", "key"),
            ("config", "source=motd,target=/etc/motd,mode=0400,uid=7"),
            ("health-cmd", "true || false"),
            ("health-interval", "1m30s"),
            ("update-order", "start-first"),
            ("update-max-failure-ratio", "0.25"),
            ("restart-condition", "on-failure"),
            ("log-driver", "local"),
            ("log-opt", "max-size=1m"),
            ("cap-add", "net_admin"),
            ("cap-drop", "ALL"),
            ("ulimit", "nofile=10:20"),
            ("host", "db:10.0.0.1"),
            ("generic-resource", "gpu=2"),
            ("sysctl", "net.core.somaxconn=99"),
            ("read-only", "true"),
            ("entrypoint", "sh -c 'a b'"),
        ],
    );
    let container = json!({
        "Env": ["B=", "A=2"], "Command": ["sh", "-c", "a b"], "ReadOnly": true, "Hosts": ["10.0.0.1 db"],
        "CapabilityAdd": ["CAP_NET_ADMIN"], "CapabilityDrop": ["ALL"], "Sysctls": { "net.core.somaxconn": "99" },
        "Ulimits": [{ "Name": "nofile", "Soft": 10, "Hard": 20 }],
        "Healthcheck": { "Test": ["CMD-SHELL", "true || false"], "Interval": 90_000_000_000u64 },
        "Secrets": [{ "File": { "Name": "key", "UID": "0", "GID": "0", "Mode": 0o444 }, "SecretName": "key" }],
        "Configs": [{ "File": { "Name": "/etc/motd", "UID": "7", "GID": "0", "Mode": 0o400 }, "ConfigName": "motd" }],
        "Mounts": [
            { "Type": "volume", "Source": "data", "Target": "/data",
              "VolumeOptions": { "Labels": { "a": "b" }, "DriverConfig": { "Options": { "o": "size=1g" } } } },
            { "Type": "bind", "Source": "/a", "Target": "/b", "ReadOnly": true, "BindOptions": { "Propagation": "rslave" } },
        ],
    });
    assert_eq!(spec["TaskTemplate"]["ContainerSpec"], container);
    assert_eq!(spec["TaskTemplate"]["Networks"], json!([{ "Target": "front" }, { "Target": "back", "Aliases": ["db", "store"] }]));
    assert_eq!(
        spec["EndpointSpec"]["Ports"],
        json!([
            { "Protocol": "tcp", "TargetPort": 80, "PublishedPort": 8080, "PublishMode": "host" },
            { "Protocol": "udp", "TargetPort": 53, "PublishedPort": 53, "PublishMode": "ingress" },
        ])
    );
    assert_eq!(
        spec["TaskTemplate"]["Resources"],
        json!({ "Limits": { "NanoCPUs": 500_000_000 }, "Reservations": { "MemoryBytes": 64 << 20,
            "GenericResources": [{ "DiscreteResourceSpec": { "Kind": "gpu", "Value": 2 } }] } })
    );
    assert_eq!(
        spec["TaskTemplate"]["Placement"],
        json!({ "Constraints": ["node.role==worker"], "Preferences": [{ "Spread": { "SpreadDescriptor": "node.labels.zone" } }] })
    );
    assert_eq!((&spec["Mode"], &spec["Labels"]), (&json!({ "Replicated": { "Replicas": 3 } }), &json!({ "com.example/tier": "web" })));
    assert_eq!(spec["UpdateConfig"], json!({ "Order": "start-first", "MaxFailureRatio": 0.25, "Parallelism": 1 }));
    assert_eq!(spec["TaskTemplate"]["LogDriver"], json!({ "Name": "local", "Options": { "max-size": "1m" } }));
}

#[test]
fn an_update_adds_replaces_and_removes() {
    let before = json!({ "Name": "web", "Labels": { "a/b": "1", "c": "2" }, "Mode": { "Global": {} }, "OfANewerEngine": [1],
        "EndpointSpec": { "Ports": [{ "TargetPort": 80, "Protocol": "tcp", "PublishedPort": 80 }, { "TargetPort": 53, "Protocol": "udp" }] },
        "TaskTemplate": { "Networks": [{ "Target": "front" }], "Placement": { "Constraints": ["x==1"] }, "ContainerSpec": {
            "Env": ["A=1", "B=2"], "Mounts": [{ "Type": "volume", "Source": "old", "Target": "/data" }], "Hosts": ["1.1.1.1 a", "2.2.2.2 a"],
            "Secrets": [{ "SecretName": "key", "File": { "Name": "key" } }], "CapabilityDrop": ["CAP_CHOWN"] } } });
    let after = applied(
        before.clone(),
        &[
            ("label-rm", "a/b"),
            ("label-add", "d=3"),
            ("env-rm", "A"),
            ("env-add", "B=3"),
            ("publish-rm", "80"),
            ("network-rm", "front"),
            ("network-add", "back"),
            ("constraint-rm", "x==1"),
            ("mount-add", "type=volume,source=new,target=/data"),
            ("host-rm", "a:1.1.1.1"),
            ("secret-rm", "key"),
            ("secret-add", "source=other,target=key"),
            ("cap-add", "CHOWN"),
            ("no-healthcheck", "true"),
        ],
    );
    assert_eq!(after["Labels"], json!({ "c": "2", "d": "3" }));
    assert_eq!(after["EndpointSpec"]["Ports"], json!([{ "TargetPort": 53, "Protocol": "udp" }]));
    assert_eq!(after["TaskTemplate"]["Networks"], json!([{ "Target": "back" }]));
    let container = &after["TaskTemplate"]["ContainerSpec"];
    assert_eq!(container["Env"], json!(["B=3"]));
    assert_eq!(container["Mounts"], json!([{ "Type": "volume", "Source": "new", "Target": "/data" }]));
    assert_eq!(container["Hosts"], json!(["2.2.2.2 a"]));
    assert_eq!(container["Secrets"][0]["SecretName"], "other");
    // It was dropped: adding it takes that back, as with the docker CLI.
    assert_eq!((&container["CapabilityAdd"], &container["CapabilityDrop"]), (&json!([]), &json!([])));
    assert_eq!(container["Healthcheck"], json!({ "Test": ["NONE"] }));
    assert_eq!((&after["OfANewerEngine"], &after["Mode"]), (&before["OfANewerEngine"], &before["Mode"]), "the rest stays");
}

#[test]
fn jobs_have_their_count() {
    let job = applied(json!({}), &[("replicas", "4"), ("mode", "replicated-job")]);
    assert_eq!(job["Mode"], json!({ "ReplicatedJob": { "TotalCompletions": 4, "MaxConcurrent": 4 } }));
    let job = applied(json!({}), &[("mode", "replicated-job"), ("max-concurrent", "2"), ("replicas", "4")]);
    assert_eq!(job["Mode"], json!({ "ReplicatedJob": { "TotalCompletions": 4, "MaxConcurrent": 2 } }));
}

#[test]
fn what_cannot_be_read_is_named_with_what_to_write() {
    for (flag, value, said) in [
        ("replicas", "x", "whole number"),
        ("limit-cpu", "many", "number of CPUs"),
        ("publish", "127.0.0.1:80:80", "every address"),
        ("publish", "published=80", "no target"),
        ("publish", "mode=both,target=1", "published=8080"),
        ("mount", "type=tmpfs,source=x,target=/y", "no source"),
        ("mount", "type=bind,target=/y", "no source"),
        ("mount", "source=x", "no target"),
        ("mount", "type=volume,source=x,target=/y,tmpfs-size=1m", "not for a mount of type volume"),
        ("mount", "\"type=volume", "no end"),
        ("update-order", "both", "start-first or stop-first"),
        ("update-max-failure-ratio", "2", "from 0 to 1"),
        ("health-interval", "10", "duration"),
        ("secret", "source=a,size=1", "source, target, uid, gid or mode"),
        ("secret", "source=a,mode=9", "octal"),
        ("placement-pref", "node.labels.x", "spread="),
        ("entrypoint", "sh 'a", "no end"),
        ("ulimit", "nofile=3:2", "SOFT:HARD"),
        ("read-only", "maybe", "true or false"),
        ("credential-spec", "x", "file://"),
        ("host", "db", "HOST:ADDRESS"),
        ("mode", "some", "global-job"),
    ] {
        let mut spec = json!({ "Mode": { "Replicated": {} } });
        let wrong = apply_flags(&mut spec, &given(&[(flag, value)])).unwrap_err().join("; ");
        assert!(wrong.starts_with(&format!("--{flag} {value}: ")) && wrong.contains(said), "{wrong}");
    }
    let wrong = apply_flags(&mut json!({ "Mode": { "Global": {} } }), &given(&[("replicas", "2"), ("limit-pids", "-1")])).unwrap_err();
    assert_eq!(wrong.len(), 2, "all at once: {wrong:?}");
}

#[test]
fn names_are_there_once_and_every_one_is_explained() {
    let names: BTreeSet<&str> = FLAGS.iter().map(|f| f.name).collect();
    assert_eq!(names.len(), FLAGS.len());
    assert!(FLAGS.iter().all(|f| !f.help.is_empty() && !f.help.ends_with('.')));
}

/// A range is as many ports as it names; looking at each beside every other one took more than ten minutes.
#[test]
fn every_port_is_published() {
    let given = vec![("publish".to_owned(), "1-65535:1-65535".to_owned()), ("publish".to_owned(), "80:80".to_owned())];
    let spec = new_service("web", "app", &[], &given).unwrap();
    let ports = spec["EndpointSpec"]["Ports"].as_array().unwrap();
    assert_eq!((ports.len(), &ports[79]["TargetPort"]), (65535, &json!(80)));
}
