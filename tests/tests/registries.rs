//! Images of a registry that asks for a login: found in the docker configuration or through a credential helper, given to nodes on request.

use crate::deploys::Bed;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use swarm_tests::cli::{self, Ran};
use swarm_tests::lab::{TestLab, eventually};

const USER: &str = "robot";
const PASSWORD: &str = "s3cret-login";
/// Of the password, with 32 rounds of bcrypt.
const HTPASSWD: &str = "robot:$2b$05$mzmrDQI8hz.cqnNA14A6puAtM4xlah6RMyBgg5pLAF2sgZjuCe0fC\n";

/// Debian's docker-registry on a host's loopback, where engines speak to registries without TLS. All have one storage.
pub(crate) struct Registry(Child);

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Begins one on a host, at an address of it. Storage and logins are of the lab; `closed` ones ask for a login.
pub(crate) fn registry(lab: &TestLab, host: &str, address: &str, closed: bool) -> Registry {
    let dir = lab.lab.dir.join("registry");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("htpasswd"), HTPASSWD).unwrap();
    let d = dir.display();
    let auth = if closed { format!("auth: {{ htpasswd: {{ realm: lab, path: {d}/htpasswd }} }}\n") } else { String::new() };
    let config = dir.join(format!("{address}.yml"));
    let text = format!("version: 0.1\nstorage: {{ filesystem: {{ rootdirectory: {d}/data }} }}\nhttp: {{ addr: \"{address}\" }}\n{auth}");
    std::fs::write(&config, text).unwrap();
    let pid = lab.host(host).pid().unwrap().to_string();
    let mut command = Command::new("nsenter");
    command.args(["-t", &pid, "-n", "docker-registry", "serve"]).arg(config);
    Registry(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
}

fn registries(bed: &Bed) -> Vec<Registry> {
    bed.lab.lab.hosts.iter().map(|h| registry(&bed.lab, &h.name, "127.0.0.1:5000", true)).collect()
}

const APP: &str = "services:
  web: { image: \"127.0.0.1:5000/app:1\", command: /bin/sleep 1000, deploy: { replicas: 2, endpoint_mode: dnsrr } }
";

#[tokio::test]
async fn a_private_image_is_pulled_with_the_login_of_who_deploys() {
    let bed = Bed::up(1, 1).await;
    let running = registries(&bed);
    eventually("the registries listen", Duration::from_secs(20), || {
        bed.lab.lab.hosts.iter().all(|h| h.exec(&["/bin/busybox", "nc", "-w", "1", "127.0.0.1", "5000"]).is_ok())
    })
    .await;
    let (config, helper) = (bed.lab.lab.dir.join("docker"), bed.lab.lab.dir.join("bin"));
    std::fs::create_dir_all(&config).unwrap();
    std::fs::create_dir_all(&helper).unwrap();
    // The image is there in the registry alone, on no host.
    bed.lab.docker("m1", &["tag", "app:1", "127.0.0.1:5000/app:1"]);
    bed.lab.docker("m1", &["login", "-u", USER, "-p", PASSWORD, "127.0.0.1:5000"]);
    bed.lab.docker("m1", &["push", "127.0.0.1:5000/app:1"]);
    bed.lab.docker("m1", &["logout", "127.0.0.1:5000"]);
    bed.lab.docker("m1", &["rmi", "127.0.0.1:5000/app:1"]);
    bed.write("app.yml", APP);
    let run = |args: &[&str]| -> Ran {
        let path = format!("{}:{}", helper.display(), std::env::var("PATH").unwrap());
        let mut command = cli::command(args);
        command.args(["-f", bed.file.to_str().unwrap()]).env("DOCKER_CONFIG", &config).env("PATH", path).current_dir(&bed.dir);
        command.output().unwrap().into()
    };
    let deploy = |more: &[&str]| run(&[&["stack", "deploy", "-c", "app.yml", "app"], more].concat());
    let spared = |ran: &Ran| {
        let said = format!("{ran:?}");
        assert!(!said.contains(PASSWORD) && !said.contains("c3Blb"), "{said}");
        said
    };

    // No login anywhere: the registry gives no digest, and no node can pull.
    let without = deploy(&["--detach"]);
    assert_eq!(without.code, 0, "{}", spared(&without));
    let service = || bed.lab.docker("m1", &["service", "inspect", "app_web", "--format", "{{.Spec.TaskTemplate.ContainerSpec.Image}}"]);
    assert_eq!(service().trim(), "127.0.0.1:5000/app:1");
    eventually("a node says that it cannot pull", Duration::from_secs(30), || {
        bed.lab.docker("m1", &["service", "ps", "app_web", "--no-trunc"]).contains("No such image")
    })
    .await;

    // A helper that fails is said with its own words; with the flag nothing is deployed.
    std::fs::write(config.join("config.json"), r#"{ "credHelpers": { "127.0.0.1:5000": "lab" } }"#).unwrap();
    let program = helper.join("docker-credential-lab");
    let write = |script: &str| {
        // Put in place by another process: a program that this one has open for writing cannot be run, and neither while a fork of another
        // test still holds it open.
        let draft = helper.join("draft");
        std::fs::write(&draft, format!("#!/bin/sh\n{script}\n")).unwrap();
        swarm_tests::lab::sh(&["install", "-m", "755", draft.to_str().unwrap(), program.to_str().unwrap()]);
    };
    write("echo s3cret-login; echo the vault is sealed >&2; exit 1");
    let sealed = deploy(&["--with-registry-auth"]);
    assert!(sealed.code == 1 && spared(&sealed).contains("docker-credential-lab failed: the vault is sealed"), "{sealed:?}");

    // Through the helper: the digest is the registry's, and both nodes pull.
    write(r#"cat >/dev/null; echo '{"ServerURL":"127.0.0.1:5000","Username":"robot","Secret":"s3cret-login"}'"#);
    let with = deploy(&["--with-registry-auth"]);
    assert!(with.out.contains("nodes get the login to its registry"), "{}", spared(&with));
    assert_eq!(with.code, 0, "{}", spared(&with));
    spared(&with);
    assert!(service().trim().starts_with("127.0.0.1:5000/app:1@sha256:"), "{}", service());
    assert_eq!(bed.all_containers("app_web").len(), 2);
    let again = deploy(&["--with-registry-auth"]);
    assert!(again.code == 0 && again.out.contains("Nothing to do"), "{}", spared(&again));

    // A tag that has not moved changes nothing; one that has moved replaces the tasks.
    let before = bed.all_containers("app_web");
    let asked = deploy(&["--resolve-image", "always"]);
    assert!(asked.code == 0 && asked.out.contains("whether its tag has moved"), "{}", spared(&asked));
    assert_eq!(bed.all_containers("app_web"), before);
    let digest = service();
    bed.lab.docker("m1", &["login", "-u", USER, "-p", PASSWORD, "127.0.0.1:5000"]);
    bed.lab.docker("m1", &["run", "--name", "other", "app:1", "/bin/true"]);
    bed.lab.docker("m1", &["commit", "-m", "another", "other", "127.0.0.1:5000/app:1"]);
    bed.lab.docker("m1", &["push", "127.0.0.1:5000/app:1"]);
    let moved = deploy(&["--resolve-image", "always"]);
    assert_eq!(moved.code, 0, "{}", spared(&moved));
    assert_ne!(service(), digest);
    bed.replaced("app_web", 2, &before).await;

    // An image comes to every node before anything needs it, with that login; without one the registry's word is given.
    bed.lab.docker("m1", &["tag", "app:2", "127.0.0.1:5000/early:1"]);
    bed.lab.docker("m1", &["push", "127.0.0.1:5000/early:1"]);
    bed.lab.docker("m1", &["rmi", "127.0.0.1:5000/early:1"]);
    let pulled = run(&["image", "pull", "127.0.0.1:5000/early:1"]);
    assert_eq!(pulled.code, 0, "{}", spared(&pulled));
    for host in ["m1", "w1"] {
        assert!(bed.lab.docker(host, &["image", "ls", "--format", "{{.Repository}}"]).contains("early"), "{host}: {}", spared(&pulled));
    }
    std::fs::remove_file(config.join("config.json")).unwrap();
    let refused = run(&["image", "pull", "127.0.0.1:5000/early:2"]);
    assert!(refused.code == 1 && spared(&refused).contains("no basic auth credentials"), "{refused:?}");
    drop(running);
}
