//! `swarm registry deploy`: a registry in the swarm, with a certificate that hosts trust.

use crate::deploys::Bed;
use swarm_tests::cli::{self, Ran};
use swarm_tests::lab::{TestLab, sh};

/// The registry of Debian as an image, which is configured as Docker's own is.
pub(crate) fn registry_image(lab: &TestLab, host: &str) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    let copy = |from: &str| {
        let to = root.join(from.trim_start_matches('/'));
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(std::fs::canonicalize(from).unwrap(), to).unwrap();
    };
    let libraries = sh(&["ldd", "/usr/bin/docker-registry"]);
    libraries.split_whitespace().filter(|word| word.starts_with('/')).for_each(&copy);
    copy("/usr/bin/docker-registry");
    for folder in ["etc", "tmp", "var/lib/registry"] {
        std::fs::create_dir_all(root.join(folder)).unwrap();
    }
    std::fs::write(
        root.join("etc/config.yml"),
        "version: 0.1\nlog: { level: warn }\nstorage: { filesystem: { rootdirectory: /nowhere } }\nhttp: { addr: ':80' }\n",
    )
    .unwrap();
    let archive = dir.path().join("root.tar");
    sh(&["tar", "-C", root.to_str().unwrap(), "-cf", archive.to_str().unwrap(), "."]);
    let entry = r#"ENTRYPOINT ["/usr/bin/docker-registry", "serve", "/etc/config.yml"]"#;
    lab.docker(host, &["import", "--change", entry, archive.to_str().unwrap(), "registry:2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_in_the_swarm_serves_its_images_to_every_node() {
    let bed = Bed::up(1, 2).await;
    let lab = &bed.lab;
    registry_image(lab, "w1");
    let file = bed.file.to_str().unwrap();
    let deploy = |more: &[&str]| -> Ran {
        cli::run(&[&["registry", "deploy", "-f", file, "--host", "w1", "--resolve-image", "never"], more].concat())
    };
    let shown = deploy(&["--dry-run"]);
    assert!(shown.code == 2 && shown.out.contains("registry_registry"), "{shown:?}");
    assert!(lab.docker("m1", &["service", "ls", "-q"]).is_empty());
    let done = deploy(&["--yes"]);
    let at = format!("{}:5000", lab.host("w1").address);
    assert!(done.code == 0 && done.out.contains(&format!("images are pushed to {at}/NAME")), "{done:?}");
    // No engine was restarted, and each trusts it: pushed on one host, pulled on another, and by a service on all.
    let name = format!("{at}/app:1");
    lab.docker("m1", &["tag", "app:1", &name]);
    lab.docker("m1", &["push", &name]);
    lab.docker("m1", &["rmi", &name]);
    lab.docker("w2", &["pull", &name]);
    lab.docker("w2", &["rmi", &name, "app:1", "app:2", "app:3"]);
    let made = cli::run(&[
        "service",
        "create",
        "-f",
        file,
        "--name",
        "web",
        "--mode",
        "global",
        "--endpoint-mode",
        "dnsrr",
        &name,
        "sleep",
        "10000",
    ]);
    assert_eq!(made.code, 0, "{made:?}");
    let running = lab
        .docker("m1", &["service", "ps", "web", "--filter", "desired-state=running", "--format", "{{.Node}} {{.Image}} {{.CurrentState}}"]);
    assert_eq!(running.lines().filter(|l| l.contains(" Running")).count(), 3, "{running}");
    // A host that lost its trust, as one that comes later, gets it by the same command, and nothing else changes.
    lab.host("w2").exec(&["rm", "-r", "/etc/docker/certs.d"]).unwrap();
    assert!(lab.host("w2").exec(&["docker", "pull", &name]).is_err(), "without it the certificate is unknown");
    let version = lab.docker("m1", &["service", "inspect", "registry_registry", "--format", "{{.Version.Index}}"]);
    let again = deploy(&["--yes"]);
    assert!(again.code == 0 && again.err.contains("the registry is there already"), "{again:?}");
    lab.docker("w2", &["pull", &name]);
    assert_eq!(lab.docker("m1", &["service", "inspect", "registry_registry", "--format", "{{.Version.Index}}"]), version);
    // Its key is in no output, and in no object that can be read back.
    for ran in [&shown, &done, &again] {
        assert!(!format!("{ran:?}").contains("PRIVATE KEY"), "{ran:?}");
    }
    let refused = cli::run(&["registry", "deploy", "-f", file, "--name", "other", "--host", "w9"]);
    assert!(refused.code == 64 && refused.err.contains("w9"), "{refused:?}");
}
