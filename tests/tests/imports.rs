//! Cluster files from what others know of hosts.

use swarm_tests::cli::run;

/// A cluster file from what others know of hosts; it is read as it is.
#[test]
fn hosts_are_imported() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("inventory"), "[managers]\nm1 ansible_host=10.0.0.1 ansible_user=ops\n[workers]\nw[1:2] ansible_user=ops\n")
        .unwrap();
    // What only its owner knows is named, and the file is there to be completed.
    let unfinished = run(&["hosts", "import", "--from", "ansible", &path("inventory"), "-o", &path("unfinished.yaml")]);
    let text = std::fs::read_to_string(path("unfinished.yaml")).unwrap();
    assert!(unfinished.code == 3 && unfinished.err.contains("hosts.w1.advertise") && text.contains("# advertise: eth0"), "{unfinished:?}");
    let made = run(&[
        "hosts",
        "import",
        "--from",
        "ansible",
        &path("inventory"),
        "--name",
        "prod",
        "--advertise",
        "eth0",
        "-o",
        &path("swarm.yaml"),
    ]);
    assert!(made.code == 0 && made.err.contains("with 3 hosts"), "{made:?}");
    let listed = run(&["hosts", "ls", "-f", &path("swarm.yaml")]);
    assert!(listed.code == 0 && listed.out.contains("ssh ops@10.0.0.1") && listed.out.matches("worker").count() == 2, "{listed:?}");
    assert_eq!(run(&["validate", "-f", &path("swarm.yaml")]).code, 0);
    let again = run(&["hosts", "import", "--from", "ansible", &path("inventory"), "-o", &path("swarm.yaml")]);
    assert!(again.code == 1 && again.err.contains("not overwritten"), "{again:?}");
    for (name, last) in [("a", 1), ("b", 2)] {
        std::fs::create_dir_all(path(&format!("machine/machines/{name}"))).unwrap();
        let config = format!("{{ \"Name\": \"{name}\", \"Driver\": {{ \"IPAddress\": \"192.168.99.{last}\", \"SSHUser\": \"docker\" }} }}");
        std::fs::write(path(&format!("machine/machines/{name}/config.json")), config).unwrap();
    }
    let machines = run(&["hosts", "import", "--from", "docker-machine", dir.path().to_str().unwrap(), "-o", "-"]);
    assert!(machines.code == 0 && machines.out.contains("user: docker") && machines.out.contains("role: manager"), "{machines:?}");
    let none = run(&["hosts", "import", "--from", "terraform", &path("inventory"), "-o", "-"]);
    assert!(none.code == 1 && none.err.contains("inventory"), "{none:?}");
}
