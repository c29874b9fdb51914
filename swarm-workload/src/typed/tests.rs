//! What goes through the types comes out as it went in.

use super::*;
use serde_json::{Value, json};
use swarm_core::engine::{Object, Resource};

#[test]
fn what_an_engine_tells_apart_is_kept_apart() {
    for spec in [
        json!({ "Name": "a" }),
        json!({ "Name": "a", "Mode": { "Replicated": { "Replicas": 0 } } }),
        json!({ "Name": "a", "Mode": { "Global": {} } }),
        json!({ "Name": "a", "Mode": { "GlobalJob": {} } }),
        json!({ "Name": "a", "Mode": { "Replicated": {} } }),
        json!({ "Name": "a", "EndpointSpec": {} }),
        json!({ "TaskTemplate": { "ContainerSpec": { "Image": "a", "Init": false, "DNSConfig": {} }, "Resources": { "Limits": {} } } }),
        json!({ "TaskTemplate": { "ContainerSpec": { "Configs": [{ "ConfigName": "c", "Runtime": {} }] }, "Placement": {} } }),
        json!({ "TaskTemplate": { "RestartPolicy": { "Condition": "any", "Delay": 0, "MaxAttempts": 0, "Window": 0 } } }),
        json!({ "UpdateConfig": { "Parallelism": 2, "MaxFailureRatio": 0.25, "Delay": 9_000_000_000_000_000_000_i64 } }),
    ] {
        let read: ServiceSpec = serde_json::from_value(spec.clone()).unwrap();
        let mut written = Value::from(&read);
        // A specification always has a template; one that is empty is as none.
        if spec.get("TaskTemplate").is_none() {
            assert_eq!(written.as_object_mut().unwrap().remove("TaskTemplate"), None, "{written}");
        }
        assert_eq!(written, spec);
    }
}

/// What a newer engine adds, at any depth, and words that it uses.
#[test]
fn what_is_not_known_goes_back_as_it_came() {
    let spec = json!({
        "Name": "a", "Future": [1, { "x": 18_446_744_073_709_551_615_u64 }],
        "Mode": { "Elastic": { "Least": 1 } },
        "UpdateConfig": { "FailureAction": "ask", "Order": "sideways", "Pause": "1h" },
        "EndpointSpec": { "Mode": "anycast", "Ports": [{ "TargetPort": 80, "Protocol": "quic", "PublishMode": "edge", "Weight": 3 }] },
        "TaskTemplate": {
            "Snapshot": true,
            "ContainerSpec": { "Image": "a", "Mounts": [{ "Type": "remote", "Target": "/a", "RemoteOptions": { "Url": "x" } }] },
            "RestartPolicy": { "Condition": "on-monday" },
        },
    });
    let mut read: ServiceSpec = serde_json::from_value(spec.clone()).unwrap();
    assert_eq!(Value::from(&read), spec);
    assert_eq!(read.other["Future"][0], 1);
    assert_eq!(read.update_config.as_ref().unwrap().order, Some(UpdateOrder::Other("sideways".into())));
    read.mode = Some(Mode::replicated(2));
    assert_eq!(Value::from(&read)["Mode"], json!({ "Replicated": { "Replicas": 2 } }));
}

/// Engines write `null` for what is empty.
#[test]
fn objects_are_read_as_engines_write_them() {
    let service = json!({
        "ID": "s1", "Version": { "Index": 7 }, "CreatedAt": "2026-01-01T00:00:00Z", "UpdatedAt": "2026-01-02T00:00:00Z",
        "Spec": { "Name": "web", "Labels": null, "TaskTemplate": { "ContainerSpec": { "Image": "a", "Env": null }, "ForceUpdate": 0 } },
        "PreviousSpec": { "Name": "web", "Labels": {} },
        "Endpoint": { "Spec": { "Mode": "vip" }, "VirtualIPs": [{ "NetworkID": "n1", "Addr": "10.0.1.2/24" }] },
        "UpdateStatus": { "State": "paused", "Message": "update paused due to failure" },
    });
    let read = Service::from_object(&Object::of(&service).unwrap()).unwrap();
    assert_eq!((read.id.as_str(), read.version.index, read.spec.name.as_str()), ("s1", 7, "web"));
    assert_eq!(read.endpoint.virtual_ips[0].addr, "10.0.1.2/24");
    assert_eq!(read.update_status.unwrap().state, "paused");
    assert_eq!(read.previous_spec.unwrap().name, "web");
    let task = json!({
        "ID": "t1", "Version": { "Index": 9 }, "Labels": null, "Spec": { "ContainerSpec": { "Image": "a" } }, "ServiceID": "s1", "Slot": 2,
        "NodeID": "n1", "DesiredState": "running", "JobIteration": { "Index": 3 },
        "Status": { "Timestamp": "2026-01-01T00:00:00Z", "State": "failed", "Message": "started", "Err": "exit 1",
            "ContainerStatus": { "ContainerID": "c1", "PID": 0, "ExitCode": 1 }, "PortStatus": {} },
    });
    let read = Task::from_object(&Object::of(&task).unwrap()).unwrap();
    assert_eq!((read.slot, read.status.err.as_str(), read.status.container_status.unwrap().exit_code), (2, "exit 1", 1));
    assert_eq!(read.job_iteration.unwrap().index, 3);
    let network = json!({ "Id": "n1", "Name": "back", "Driver": "overlay", "Scope": "swarm", "EnableIPv6": false, "Attachable": true,
        "IPAM": { "Driver": "default", "Options": null, "Config": [{ "Subnet": "10.1.0.0/24", "Gateway": "10.1.0.1" }] },
        "ConfigFrom": { "Network": "" }, "Options": { "encrypted": "" }, "Labels": null });
    let read = Network::from_object(&Object::of(&network).unwrap()).unwrap();
    assert_eq!((read.ipam.config[0].gateway.as_str(), read.options.contains_key("encrypted")), ("10.1.0.1", true));
    let secret = json!({ "ID": "x", "Version": { "Index": 1 }, "Spec": { "Name": "key", "Labels": { "a": "b" } } });
    assert_eq!(Secret::from_object(&Object::of(&secret).unwrap()).unwrap().spec.labels["a"], "b");
    let broken = json!({ "ID": "x", "Spec": { "Name": "web", "TaskTemplate": { "ForceUpdate": "often" } } });
    let why = Service::from_object(&Object::of(&broken).unwrap()).unwrap_err();
    assert!(why.contains("often"), "{why}");
}
