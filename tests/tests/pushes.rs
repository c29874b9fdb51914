//! Images brought to nodes without a registry: only the layers that a node lacks are sent.

use crate::deploys::Bed;
use swarm_tests::cli;

#[tokio::test]
async fn an_image_is_pushed_and_only_missing_layers_are_sent() {
    let bed = Bed::up(1, 2).await;
    let docker = |host: &str, args: &[&str]| bed.lab.docker(host, args);
    docker("m1", &["run", "--name", "made", "--network", "none", "app:1", "/bin/sh", "-c", "echo pushed > /www/page"]);
    docker("m1", &["commit", "made", "app:9"]);
    let archive = bed.dir.join("app.tar");
    let archive = archive.to_str().unwrap();
    docker("m1", &["save", "-o", archive, "app:9", "app:2"]);

    // What is asked for must be there, and be an archive.
    for (args, said) in [
        (vec!["-i", archive], "several images"),
        (vec!["-i", archive, "app:8"], "has no image app:8; it has"),
        (vec!["-i", "app.yml", "app:9"], "app.yml"),
        (vec!["-i", "/bin/busybox", "app:9"], "/bin/busybox"),
    ] {
        let refused = bed.swarm(&[&["image", "push"], args.as_slice()].concat());
        assert!(refused.code != 0 && refused.err.contains(said), "{args:?}: {refused:?}");
    }

    // w1 has the layer below under another name; w2 has nothing at all.
    docker("w1", &["tag", "app:1", "kept:1"]);
    for host in ["w1", "w2"] {
        docker(host, &["rmi", "-f", "app:1", "app:2", "app:3"]);
    }
    let pushed = bed.swarm(&["image", "push", "-i", archive, "app:9"]);
    assert_eq!(pushed.code, 0, "{pushed:?}");
    for line in ["m1: app:9 was there", "w1: app:9 is there; 1 of 2 layers sent", "w2: app:9 is there; 2 of 2 layers sent"] {
        assert!(pushed.out.contains(line), "{line}: {pushed:?}");
    }
    for host in ["w1", "w2"] {
        let page = docker(host, &["run", "--rm", "--network", "none", "app:9", "/bin/cat", "/www/page"]);
        assert_eq!(page, "pushed\n", "{host}");
    }

    // Only its name is missing; and then nothing is.
    docker("w1", &["tag", "app:9", "other:1"]);
    docker("w1", &["rmi", "app:9"]);
    let again = bed.swarm(&["image", "push", "--input", archive, "app:9", "--format", "json"]);
    let document: serde_json::Value = serde_json::from_str(&again.out).unwrap();
    let of = |host: &str| {
        let hosts = document["hosts"].as_array().unwrap();
        let row = hosts.iter().find(|h| h["host"] == host).unwrap();
        (row["layers"].as_u64().unwrap(), row["was_there"].as_bool().unwrap())
    };
    assert_eq!((again.code, of("m1"), of("w1"), of("w2")), (0, (0, true), (0, false), (0, true)), "{again:?}");

    // From the engine that is here: that of m1, through its socket, to a host that gets tasks.
    docker("m1", &["tag", "app:9", "team/here:1"]);
    let socket = bed.lab.host("m1").socket();
    let here = |host: &str, image: &str| {
        let file = bed.file.to_str().unwrap();
        let mut command = cli::command(&["image", "push", image, "-f", file, "--limit", "w2"]);
        swarm_tests::cli::Ran::from(command.env("DOCKER_HOST", host).output().unwrap())
    };
    let there = format!("unix://{}", socket.display());
    let ran = here(&there, "team/here:1");
    assert!(ran.code == 0 && ran.out.contains("w2: team/here:1 is there; no layer was sent"), "{ran:?}");
    let none = here(&there, "none:1");
    assert!(none.code == 1 && none.err.contains("none:1"), "{none:?}");
    let tcp = here("tcp://10.0.0.1:2375", "app:9");
    assert!(tcp.code == 64 && tcp.err.contains("--input"), "{tcp:?}");
}
