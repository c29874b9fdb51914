//! Programs in containers of tasks, over the connections that are there: input, output, exit code, a terminal.

use crate::deploys::Bed;
use std::io::Write;
use std::process::{Command, Stdio};
use swarm_tests::cli::{self, Ran};
use swarm_tests::lab::sh;

const APP: &str = "services:
  web:
    image: app:1
    command: /bin/sleep 1000
    environment: { COLOUR: blue }
    deploy: { replicas: 2, endpoint_mode: dnsrr, placement: { max_replicas_per_node: 1 } }
";

#[tokio::test]
async fn a_program_runs_in_a_task_wherever_it_is() {
    let bed = Bed::up(1, 1).await;
    bed.write("app.yml", APP);
    assert_eq!(bed.deploy(&[]).code, 0);
    let exec = |args: &[&str]| bed.swarm_first(&["service", "exec"], args);

    // Each task by its slot and by its node; the name of its container tells which one it was.
    let (first, second) = (exec(&["app_web.1", "--", "/bin/busybox", "hostname"]), exec(&["app_web.2", "--", "/bin/busybox", "hostname"]));
    assert!(first.code == 0 && second.code == 0, "{first:?} {second:?}");
    let containers = bed.all_containers("app_web");
    for ran in [&first, &second] {
        assert!(containers.iter().any(|(_, id)| ran.out.trim().starts_with(id.get(..12).unwrap())), "{ran:?} {containers:?}");
    }
    assert_ne!(first.out, second.out);
    let on_w1 = exec(&["app_web.w1", "--", "/bin/busybox", "hostname"]).out;
    assert!(containers.iter().any(|(host, id)| host == "w1" && on_w1.trim().starts_with(id.get(..12).unwrap())), "{on_w1}");

    // Its two outputs, its exit code, its environment, its folder.
    let both = exec(&[
        "-e",
        "MORE=y",
        "-w",
        "/www",
        "app_web",
        "--",
        "/bin/sh",
        "-c",
        "echo $COLOUR $MORE $(/bin/busybox pwd); echo no >&2; exit 7",
    ]);
    assert!(both.code == 7 && both.out == "blue y /www\n" && both.err.contains("no\n"), "{both:?}");

    // What it reads, larger than any buffer, and the end of it.
    let input: Vec<u8> = (0..3_000_000u32).map(|i| u8::try_from(i % 251).unwrap()).collect();
    let mut child = bed.begin_first(&["service", "exec"], &["-i", "app_web.2", "--", "/bin/busybox", "md5sum"]);
    child.stdin.take().unwrap().write_all(&input).unwrap();
    let summed: Ran = child.wait_with_output().unwrap().into();
    let path = bed.dir.join("input");
    std::fs::write(&path, &input).unwrap();
    let expected = sh(&["md5sum", path.to_str().unwrap()]);
    assert!(summed.code == 0 && summed.out.get(..32) == expected.get(..32), "{summed:?} {expected}");
    // Both ways at once: it reads only as far as it can answer.
    let mut child = bed.begin_first(&["service", "exec"], &["-i", "app_web.1", "--", "/bin/cat"]);
    let input = input.repeat(12);
    let (mut stdin, sent) = (child.stdin.take().unwrap(), input.clone());
    let writer = std::thread::spawn(move || stdin.write_all(&sent));
    let echoed = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(echoed.status.success() && echoed.stdout == input, "{} bytes came back", echoed.stdout.len());
    let large = exec(&["app_web", "--", "/bin/sh", "-c", "/bin/busybox head -c 9000000 /dev/zero | /bin/busybox tr '\\000' x"]);
    assert_eq!((large.code, large.out.len()), (0, 9_000_000));

    // A terminal, of the size that is here, through `script`.
    let file = bed.file.to_str().unwrap();
    let inner = format!(
        "stty rows 33 cols 111; {} service exec -it -f {file} app_web -- /bin/sh -c 'test -t 0 || exit 9; until /bin/busybox stty size 2>/dev/null | /bin/busybox grep \"33 111\"; do /bin/sleep 0.05; done; read x; echo got $x'",
        cli::binary().display()
    );
    let mut script = Command::new("script");
    script.args(["-q", "-e", "-c", &inner, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut script = script.spawn().unwrap();
    script.stdin.take().unwrap().write_all(b"hello\r").unwrap();
    let typed: Ran = script.wait_with_output().unwrap().into();
    assert!(typed.code == 0 && typed.out.contains("33 111") && typed.out.contains("got hello"), "{typed:?}");

    for (args, said) in [
        (&["app_nothing", "--", "/bin/true"][..], "there is no service app_nothing"),
        (&["app_web.9", "--", "/bin/true"], "has no task 9 that runs"),
        (&["app_web", "--", "/bin/nothing"], "/bin/nothing"),
        (&["-t", "app_web", "--", "/bin/true"], "standard input is none"),
    ] {
        let ran = exec(args);
        assert!(ran.code != 0 && format!("{}{}", ran.out, ran.err).contains(said), "{args:?}: {ran:?}");
    }
}

#[tokio::test]
async fn files_go_into_a_task_and_out_of_one() {
    let bed = Bed::up(1, 1).await;
    bed.write("app.yml", APP);
    assert_eq!(bed.deploy(&[]).code, 0);
    let cp = |from: &str, to: &str| bed.swarm_first(&["service", "cp"], &[from, to]);
    let inside = |task: &str, script: &str| bed.swarm_first(&["service", "exec"], &[task, "--", "/bin/sh", "-c", script]).out;

    // Into a folder that is there, and under another name; the other task has neither.
    bed.write("page", "hello\n");
    assert_eq!(cp("page", "app_web.2:/www").code, 0);
    assert_eq!(cp("page", "app_web.2:/www/named").code, 0);
    assert_eq!(inside("app_web.2", "cat /www/page /www/named"), "hello\nhello\n");
    assert_eq!(inside("app_web.1", "echo /www/*"), "/www/*\n");
    // A folder with what is in it, larger than any buffer, a link and a mode among it; the same comes back.
    let tree = bed.dir.join("tree");
    std::fs::create_dir_all(tree.join("deep/er")).unwrap();
    let large: Vec<u8> = (0..9_000_000u32).map(|i| u8::try_from(i % 253).unwrap()).collect();
    std::fs::write(tree.join("deep/large"), &large).unwrap();
    std::fs::write(tree.join("run"), "#!/bin/sh\n").unwrap();
    sh(&["chmod", "751", tree.join("run").to_str().unwrap()]);
    std::os::unix::fs::symlink("deep/large", tree.join("link")).unwrap();
    assert_eq!(cp("tree", "app_web.1:/made").code, 0);
    assert_eq!(inside("app_web.1", "/bin/busybox stat -c %a /made/run; /bin/busybox readlink /made/link"), "751\ndeep/large\n");
    let back = cp("app_web.1:/made", "back");
    assert_eq!(back.code, 0, "{back:?}");
    assert_eq!(sh(&["diff", "-r", "--no-dereference", tree.to_str().unwrap(), bed.dir.join("back").to_str().unwrap()]), "");
    // Into a folder that is there, under its own name; a folder of that name is not touched.
    let place = bed.dir.join("place");
    std::fs::create_dir(&place).unwrap();
    assert_eq!(cp("app_web.1:/made/run", "place").code, 0);
    assert!(place.join("run").is_file());
    assert_eq!(cp("app_web.1:/made", "place/").code, 0);
    let again = cp("app_web.1:/made", "place/");
    assert!(again.code == 1 && again.err.contains("it is there already"), "{again:?}");

    // Archives go through pipes as they are.
    let piped = format!(
        "{s} service cp -f {f} app_web.1:/made/run - | {s} service cp -f {f} - app_web.2:/www && {s} service exec -f {f} app_web.2 -- /bin/cat /www/run",
        s = cli::binary().display(),
        f = bed.file.display()
    );
    assert_eq!(sh(&["sh", "-c", &piped]), "#!/bin/sh\n");

    // What is not there is said, and nothing is left behind.
    let none = cp("app_web.1:/none", "none");
    assert!(none.code == 1 && none.err.contains("/none") && !bed.dir.join("none").exists(), "{none:?}");
    assert_eq!(cp("nothing", "app_web.1:/www").code, 1);
    let nowhere = cp("page", "app_web.1:/no/such/place");
    assert!(nowhere.code == 1 && nowhere.err.contains("m1: ") | nowhere.err.contains("w1: "), "{nowhere:?}");
    assert_eq!(cp("page", "back").code, 64);
    assert_eq!(cp("app_web.1:/a", "app_web.2:/a").code, 64);
    let left: Vec<_> =
        std::fs::read_dir(&bed.dir).unwrap().filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().starts_with('.')).collect();
    assert!(left.is_empty(), "{left:?}");
}
