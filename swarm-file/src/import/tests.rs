use super::*;
use proptest::prelude::*;

fn short(hosts: &[ImportedHost]) -> Vec<String> {
    let of = |h: &ImportedHost| {
        let user = h.user.as_ref().map_or(String::new(), |u| format!("{u}@"));
        let port = h.port.map_or(String::new(), |p| format!(":{p}"));
        let role = h.role.map_or("-".to_owned(), |r| r.to_string());
        format!("{} {user}{}{port} {role}", h.name, h.address)
    };
    hosts.iter().map(of).collect()
}

fn of(from: ImportFrom, text: &str) -> Vec<String> {
    short(&import(from, text).unwrap())
}

#[test]
fn an_inventory_as_ini() {
    let text = "# ours
[managers]
m1 ansible_host=10.0.0.1
m2 ansible_host=10.0.0.2 ansible_port=2222 ansible_user=\"op s\"   # here

[swarm_workers]
w[01:03].example.org

[web]
w01.example.org ansible_user=web
[swarm:children]
managers
swarm_workers
[swarm:vars]
ansible_user = admin
[all:vars]
ansible_ssh_private_key_file=~/.ssh/deploy
";
    assert_eq!(
        of(ImportFrom::Ansible, text),
        [
            "m1 admin@10.0.0.1 manager",
            "m2 op s@10.0.0.2:2222 manager",
            "w01.example.org web@w01.example.org worker",
            "w02.example.org admin@w02.example.org worker",
            "w03.example.org admin@w03.example.org worker",
        ]
    );
    assert_eq!(import(ImportFrom::Ansible, text).unwrap()[0].identity_file.as_deref(), Some("~/.ssh/deploy"));
    assert_eq!(of(ImportFrom::Ansible, "host-a\nhost-b ansible_host=::1\n"), ["host-a host-a -", "host-b ::1 -"]);
    assert!(import(ImportFrom::Ansible, "[broken\nx\n").unwrap_err().contains("line 1"));
}

#[test]
fn an_inventory_as_yaml() {
    let text = "---
all:
  vars: { ansible_user: root }
  children:
    manager: { hosts: { m1: { ansible_host: 10.0.0.1, ansible_port: 22 } } }
    nodes:
      children: { workers: { hosts: { w1: { ansible_host: 10.0.0.2, ansible_user: ops }, w2: } } }
";
    assert_eq!(of(ImportFrom::Ansible, text), ["m1 root@10.0.0.1:22 manager", "w1 ops@10.0.0.2 worker", "w2 root@w2 worker"]);
    assert!(import(ImportFrom::Ansible, "all: { hosts: {} }").unwrap_err().contains("no host"));
}

#[test]
fn outputs_and_a_state() {
    let outputs = r#"{ "manager_ips": { "value": ["10.0.0.1", "10.0.0.2"], "type": ["list", "string"], "sensitive": false },
        "workers": { "value": { "w-a": "10.0.1.1", "w-b": { "public_ip": "203.0.113.9", "user": "admin", "port": 2222 } } },
        "nodes": { "value": [{ "name": "x1", "private_ip": "10.2.0.1", "role": "worker" }] },
        "bastion": { "value": "203.0.113.7" }, "vpc_id": { "value": "vpc-123" }, "zones": { "value": ["a", "b"] } }"#;
    assert_eq!(
        of(ImportFrom::Terraform, outputs),
        [
            "manager-1 10.0.0.1 manager",
            "manager-2 10.0.0.2 manager",
            "w-a 10.0.1.1 worker",
            "w-b admin@203.0.113.9:2222 worker",
            "x1 10.2.0.1 worker",
            "bastion 203.0.113.7 -",
        ]
    );
    let state = r#"{ "version": 4, "resources": [
        { "mode": "managed", "type": "aws_instance", "name": "manager", "instances": [
            { "index_key": 0, "attributes": { "public_ip": "203.0.113.1", "private_ip": "10.0.0.1", "tags": { "Name": "m1" } } },
            { "index_key": 1, "attributes": { "public_ip": "", "private_ip": "10.0.0.2", "tags": {} } } ] },
        { "mode": "managed", "type": "digitalocean_droplet", "name": "web", "instances": [{ "attributes": { "ipv4_address": "198.51.100.4", "name": "web-1" } }] },
        { "mode": "managed", "type": "aws_vpc", "name": "net", "instances": [{ "attributes": { "ip": "10.0.0.0" } }] },
        { "mode": "data", "type": "aws_instance", "name": "other", "instances": [{ "attributes": { "public_ip": "203.0.113.3" } }] } ] }"#;
    assert_eq!(of(ImportFrom::Terraform, state), ["m1 203.0.113.1 manager", "manager-1 10.0.0.2 manager", "web-1 198.51.100.4 -"]);
    assert!(import(ImportFrom::Terraform, "{ \"x\": 1 }").unwrap_err().contains("terraform output -json"));
}

#[test]
fn an_ssh_config_and_a_machine() {
    let config = "Host *\n  User someone\nHost m1 manager-2 !x *.lab\n  HostName=%h.example.org\n  User admin\n  User later\n  Port 2200\n  IdentityFile \"~/my keys/id\"\nMatch host y\n  User z\nHost w1\n\tHostname 10.0.0.9\n";
    let hosts = import(ImportFrom::SshConfig, config).unwrap();
    assert_eq!(short(&hosts), ["m1 admin@m1.example.org:2200 -", "manager-2 admin@manager-2.example.org:2200 manager", "w1 10.0.0.9 -"]);
    assert_eq!(hosts[0].identity_file.as_deref(), Some("~/my keys/id"));
    let machine = r#"{ "ConfigVersion": 3, "Name": "node-1", "Driver": { "IPAddress": "192.168.99.100", "MachineName": "node-1", "SSHUser": "docker",
        "SSHPort": 22, "SSHKeyPath": "/home/me/.docker/machine/machines/node-1/id_rsa" }, "HostOptions": { "SwarmOptions": { "Master": true } } }"#;
    assert_eq!(of(ImportFrom::DockerMachine, machine), ["node-1 docker@192.168.99.100:22 manager"]);
    assert!(import(ImportFrom::DockerMachine, "{}").is_err());
}

#[test]
fn what_is_written_is_a_cluster_file() {
    let hosts = import(
        ImportFrom::Ansible,
        "[managers]\nm1.a ansible_host=10.0.0.1 ansible_user=ops\nm1.b ansible_host=10.0.0.2 ansible_user=ops ansible_port=2222\n",
    )
    .unwrap();
    let text = imported("prod", &hosts, 3, None);
    let spec = crate::parse(&text, &|_| None).unwrap_or_else(|e| panic!("{e}\n{text}")).spec;
    let names: Vec<&str> = spec.hosts().map(|h| h.name.as_str()).collect();
    assert_eq!((names, spec.managers().count()), (vec!["m1", "m1-2"], 2));
    assert!(text.contains("ssh:\n  user: ops\n") && text.contains("ssh: { port: 2222 }"), "{text}");
    // One that is reached by a name says by which interface it is a node.
    let named = import(ImportFrom::SshConfig, "Host m1\n  HostName m1.example.org\n").unwrap();
    assert!(
        imported("x", &named, 1, None).contains("# advertise: eth0") && crate::parse(&imported("x", &named, 1, None), &|_| None).is_err()
    );
    assert!(crate::parse(&imported("x", &named, 1, Some("eth0")), &|_| None).is_ok());
    let none = [ImportedHost { name: "a".into(), address: "10.0.0.1".into(), ..ImportedHost::default() }];
    assert!(imported("x", &none, 1, None).contains("role: manager"));
}

proptest! {
    /// Any text is read or refused, and what is read can be written as a file.
    #[test]
    fn nothing_panics(text in "[\\[\\]a-z0-9=:. {}\"'\n#*-]{0,80}") {
        for from in [ImportFrom::Ansible, ImportFrom::Terraform, ImportFrom::SshConfig, ImportFrom::DockerMachine] {
            if let Ok(hosts) = import(from, &text) {
                prop_assert!(imported("x", &hosts, 1, Some("eth0")).contains("hosts:"));
            }
        }
    }
}
