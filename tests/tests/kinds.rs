//! Servers and keys of other kinds than the lab's: each algorithm alone, every format of private keys, dropbear, PKCS#11. Beside `ssh`.

use std::path::Path;
use std::process::Command;
use swarm_tests::lab::{TestLab, sh};
use swarm_tests::openssh::servers::{Keys, Server};
use swarm_tests::openssh::{Bench, Layout, Verdict};

/// A layout that goes to a port of this machine.
fn layout(production: &'static str, number: usize, keys: &Keys, port: u16, key: &str, more: &str) -> Layout {
    let section = format!(
        "{more}\n  HostName 127.0.0.1\n  Port {port}\n  User root\n  IdentityFile {key}\n  IdentitiesOnly yes\n  UserKnownHostsFile {}\n  GlobalKnownHostsFile none\n",
        keys.at("known")
    );
    Layout { production, host: format!("k{number}"), section }
}

/// What both clients make of each layout, and who connected for us.
fn compare(bench: &Bench, layouts: &[Layout]) -> Vec<(Verdict, Verdict, String, String)> {
    let hosts: Vec<&str> = layouts.iter().map(|l| l.host.as_str()).collect();
    let (theirs, ours) = (bench.all_openssh(&hosts), bench.ours("auto", &hosts, None));
    hosts.iter().map(|h| (theirs[*h].0, ours[*h].0, ours[*h].1.clone(), format!("ssh: {}\nwe: {}", theirs[*h].1, ours[*h].2))).collect()
}

#[test]
#[allow(clippy::print_stdout, reason = "the table of what was compared")]
fn each_algorithm_alone_is_spoken_as_ssh_speaks_it() {
    let dir = tempfile::tempdir().unwrap();
    let keys = Keys::new(&dir.path().join("keys"));
    std::fs::write(keys.at("authorized"), format!("{}\n", keys.public("user"))).unwrap();
    let known: String = ["host", "ecdsa", "rsa"].iter().map(|k| format!("* {}\n", keys.public(k))).collect();
    std::fs::write(keys.at("known"), known).unwrap();
    let mut servers: Vec<Server> = Vec::new();
    let (mut layouts, mut names) = (Vec::new(), Vec::new());
    // A cipher of old gives each MAC something to do: those of today have their own.
    for (query, keyword, beside) in [
        ("kex", "KexAlgorithms", ""),
        ("cipher", "Ciphers", ""),
        ("mac", "MACs", "Ciphers aes128-ctr\n"),
        ("key-sig", "HostKeyAlgorithms", ""),
    ] {
        for algorithm in sh(&["ssh", "-Q", query]).lines() {
            let plain = !["cert", "sk-", "dss", "nistp384"].iter().any(|no| algorithm.contains(no));
            if query == "key-sig" && (!plain || algorithm.ends_with("nistp521")) {
                continue;
            }
            let server =
                keys.serve(&format!("{query}{}", layouts.len()), &["host", "ecdsa", "rsa"], &format!("{beside}{keyword} {algorithm}"));
            for more in [String::new(), format!("  {keyword} {algorithm}")] {
                layouts.push(layout(keyword, layouts.len(), &keys, server.port, &keys.at("user"), &more));
                names.push(format!("{keyword} {algorithm}{}", if more.is_empty() { "" } else { ", asked for" }));
            }
            servers.push(server);
        }
    }
    let bench = Bench::new(dir.path(), &layouts);
    let mut wrong = Vec::new();
    let mut connected = 0;
    for (name, (theirs, ours, way, said)) in names.iter().zip(compare(&bench, &layouts)) {
        println!("{name:64} {theirs:10} {ours:10} {way}");
        connected += usize::from(theirs == Verdict::Connects);
        if theirs != ours {
            wrong.push(format!("{name}: {said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(servers.len() >= 40 && connected >= 50 && connected < layouts.len(), "{} servers, {connected} connect", servers.len());
}

/// `type base64` of an Ed25519 key that only OpenSSL can read.
fn public_of_pkcs8(path: &str) -> String {
    let script = format!(
        "(printf '\\0\\0\\0\\013ssh-ed25519\\0\\0\\0\\040'; openssl pkey -in {path} -pubout -outform DER | tail -c 32) | base64 -w0"
    );
    format!("ssh-ed25519 {}", sh(&["sh", "-c", &script]))
}

#[test]
fn private_keys_of_every_format_open_what_they_open_for_ssh() {
    let dir = tempfile::tempdir().unwrap();
    let keys = Keys::new(&dir.path().join("keys"));
    std::fs::write(keys.at("known"), format!("* {}\n", keys.public("host"))).unwrap();
    let (mut layouts, mut names, mut authorized) = (Vec::new(), Vec::new(), String::new());
    let server = keys.serve("keys", &["host"], "");
    for (kind, bits) in
        [("ed25519", ""), ("ecdsa", "256"), ("ecdsa", "384"), ("ecdsa", "521"), ("rsa", "2048"), ("rsa", "3072"), ("rsa", "4096")]
    {
        for (format, phrase) in
            [("RFC4716", ""), ("PEM", ""), ("PKCS8", ""), ("RFC4716", "a phrase"), ("PEM", "a phrase"), ("PKCS8", "a phrase")]
        {
            let path = keys.at(&format!("{kind}{bits}{format}{}", phrase.len()));
            let bits = if bits.is_empty() { vec![] } else { vec!["-b", bits] };
            sh(&[&["ssh-keygen", "-q", "-t", kind, "-N", phrase, "-m", format, "-f", &path][..], &bits].concat());
            let public = std::fs::read_to_string(format!("{path}.pub")).unwrap();
            authorized.push_str(&public);
            // A key by itself: `ssh` looks at the public file first, where there is one.
            for alone in [false, true] {
                if alone && !phrase.is_empty() {
                    continue;
                }
                let path = if alone { format!("{path}-alone") } else { path.clone() };
                if alone {
                    std::fs::copy(path.trim_end_matches("-alone"), &path).unwrap();
                }
                layouts.push(layout("IdentityFile", layouts.len(), &keys, server.port, &path, ""));
                names.push(format!("{kind} {bits:?} {format} phrase {phrase:?} alone {alone}"));
            }
        }
    }
    let pkcs8 = keys.at("ed25519-pkcs8");
    sh(&["openssl", "genpkey", "-algorithm", "ed25519", "-out", &pkcs8]);
    sh(&["chmod", "600", &pkcs8]);
    authorized.push_str(&public_of_pkcs8(&pkcs8));
    std::fs::write(keys.at("authorized"), authorized).unwrap();
    layouts.push(layout("IdentityFile", layouts.len(), &keys, server.port, &pkcs8, ""));
    names.push("ed25519 PKCS#8 of OpenSSL".into());
    let bench = Bench::new(dir.path(), &layouts);
    let found = compare(&bench, &layouts);
    let (last, rest) = found.split_last().unwrap();
    for (name, (theirs, ours, way, said)) in names.iter().zip(rest) {
        assert_eq!(theirs, ours, "{name}: {said}");
        assert_eq!(way, "native", "{name}");
    }
    // It is a key of ours, and no question of trust: we read what `ssh` 9.2 cannot.
    assert_eq!(last.1, Verdict::Connects, "{}: {}", names.last().unwrap(), last.3);
    let connected = rest.iter().filter(|f| f.0 == Verdict::Connects).count();
    assert!(connected >= 40 && connected < rest.len(), "{connected} of {} connect", rest.len());
}

/// Keys with a passphrase that the cluster file names a variable for, in every format.
#[test]
fn private_keys_of_every_format_are_opened_with_their_passphrase() {
    let lab = TestLab::up(1, 0);
    let dir = tempfile::tempdir().unwrap();
    let mut all = Vec::new();
    for (kind, format) in [
        ("ed25519", "RFC4716"),
        ("ecdsa", "RFC4716"),
        ("rsa", "RFC4716"),
        ("ecdsa", "PEM"),
        ("rsa", "PEM"),
        ("ecdsa", "PKCS8"),
        ("rsa", "PKCS8"),
    ] {
        let path = dir.path().join(format!("{kind}{format}")).display().to_string();
        sh(&["ssh-keygen", "-q", "-t", kind, "-N", "a phrase", "-m", format, "-f", &path]);
        all.push((path.clone(), std::fs::read_to_string(format!("{path}.pub")).unwrap()));
    }
    let pkcs8 = dir.path().join("pkcs8").display().to_string();
    sh(&["openssl", "genpkey", "-algorithm", "ed25519", "-aes-256-cbc", "-pass", "pass:a phrase", "-out", &pkcs8]);
    sh(&["chmod", "600", &pkcs8]);
    let plain = dir.path().join("plain").display().to_string();
    sh(&["openssl", "pkey", "-in", &pkcs8, "-passin", "pass:a phrase", "-out", &plain]);
    all.push((pkcs8, format!("{}\n", public_of_pkcs8(&plain))));
    // What OpenSSL made in its old form, with keys of every length.
    for (kind, cipher) in [("rsa", "-aes192"), ("rsa", "-aes256"), ("ec", "-aes256")] {
        let from = dir.path().join(if kind == "rsa" { "rsaPEM" } else { "ecdsaPEM" }).display().to_string();
        let path = dir.path().join(format!("{kind}{cipher}")).display().to_string();
        let traditional = if kind == "rsa" { &["-traditional"][..] } else { &[] };
        let pass = ["-passin", "pass:a phrase", "-passout", "pass:a phrase"];
        sh(&[&["openssl", kind, "-in", &from, cipher, "-out", &path][..], traditional, &pass].concat());
        sh(&["chmod", "600", &path]);
        assert!(std::fs::read_to_string(&path).unwrap().contains("DEK-Info: AES-"), "{kind} {cipher}");
        all.push((path, std::fs::read_to_string(format!("{from}.pub")).unwrap()));
    }
    let host = lab.host("m1");
    for (path, public) in &all {
        let add = format!("echo '{}' >> /root/.ssh/authorized_keys", public.trim());
        host.exec(&["sh", "-c", &add]).unwrap();
        let text = lab.text(&[("m1", "manager", "")]);
        let own = lab.lab.key().display().to_string();
        assert!(text.contains(&own), "{text}");
        let file = lab.file(&text.replace(&own, path).replacen("ssh: {", "ssh: { passphrase_env: PHRASE,", 1));
        for (phrase, code) in [("a phrase", 3), ("another", 3)] {
            let mut command = swarm_tests::cli::command(&["status", "-f", file.to_str().unwrap()]);
            let ran: swarm_tests::cli::Ran = command.env("PHRASE", phrase).env_remove("SSH_AUTH_SOCK").output().unwrap().into();
            assert_eq!(ran.out.contains("standalone"), phrase == "a phrase", "{path}: {code} {ran:?}");
        }
    }
}

/// dropbear: another server, which forwards no sockets.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_with_dropbear_is_worked_on() {
    use swarm_ssh::{Command as Run, Host, HostKeyPolicy, NoPrompt, SshConnector, SshSpec};
    let lab = TestLab::up(1, 0);
    let host = lab.host("m1");
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let key = format!("/root/dropbear_{kind}");
        host.exec(&["dropbearkey", "-t", kind, "-f", &key]).unwrap();
        let port = match kind {
            "ed25519" => "2201",
            "ecdsa" => "2202",
            _ => "2203",
        };
        // Without -F it goes into the background by itself.
        host.exec(&["dropbear", "-r", &key, "-p", port, "-s"]).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let known = dir.path().join("known_hosts");
        let public = host.exec(&["dropbearkey", "-y", "-f", &key]).unwrap();
        let line = public.lines().find(|l| l.starts_with("ssh-") || l.starts_with("ecdsa-")).unwrap();
        std::fs::write(&known, format!("[{}]:{port} {line}\n", host.address)).unwrap();
        let settings = SshSpec {
            user: Some("root".into()),
            identity_file: Some(lab.lab.key()),
            known_hosts: Some(known),
            host_key: HostKeyPolicy::default(),
            ..SshSpec::default()
        };
        let connector = SshConnector::new(std::sync::Arc::new(NoPrompt));
        let to = connector.to(&format!("{}:{port}", host.address), settings).unwrap();
        to.connect().await.unwrap_or_else(|e| panic!("{kind}: {e}"));
        assert_eq!(to.by_openssh().await, None, "{kind}");
        // It takes no command on a channel that was opened while another command ran.
        for _ in 0..3 {
            let output = to.run(&Run::new(["printf", "%s", "a b"])).await.unwrap();
            assert_eq!((output.status, output.stdout.as_slice()), (Some(0), &b"a b"[..]), "{kind}");
        }
        let mut engine = to.open_stream("/var/run/docker.sock").await.unwrap();
        let mut answer = Vec::new();
        {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            engine.write_all(b"GET /_ping HTTP/1.0\r\n\r\n").await.unwrap();
            engine.read_to_end(&mut answer).await.unwrap();
        }
        assert!(answer.ends_with(b"OK"), "{kind}: {}", String::from_utf8_lossy(&answer));
    }
}

/// A key in a PKCS#11 token is for `ssh` itself, which asks for no PIN where no one is to be asked; an agent that holds it opens the door.
#[test]
fn a_key_in_a_token_is_used_by_ssh_itself() {
    let dir = tempfile::tempdir().unwrap();
    let keys = Keys::new(&dir.path().join("keys"));
    std::fs::write(keys.at("known"), format!("* {}\n", keys.public("host"))).unwrap();
    std::fs::write(keys.at("authorized"), format!("{}\n", keys.public("userrsa"))).unwrap();
    let conf = keys.at("softhsm.conf");
    std::fs::create_dir_all(keys.at("tokens")).unwrap();
    std::fs::write(&conf, format!("directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n", keys.at("tokens")))
        .unwrap();
    let pkcs8 = keys.at("token.p8");
    sh(&["sh", "-c", &format!("cp {0} {pkcs8} && ssh-keygen -q -p -N '' -m PKCS8 -f {pkcs8}", keys.at("userrsa"))]);
    let hsm = |args: &[&str]| {
        let output = Command::new("softhsm2-util").args(args).env("SOFTHSM2_CONF", &conf).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    hsm(&["--init-token", "--free", "--label", "t", "--pin", "1234", "--so-pin", "1234"]);
    hsm(&["--import", &pkcs8, "--token", "t", "--label", "k", "--id", "01", "--pin", "1234"]);
    let library = [
        "/usr/lib/softhsm/libsofthsm2.so",
        "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
        "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    ]
    .into_iter()
    .find(|p| Path::new(p).exists())
    .unwrap();
    let server = keys.serve("token", &["host"], "");
    let ask = keys.at("ask");
    std::fs::write(&ask, "#!/bin/sh\necho 1234\n").unwrap();
    sh(&["chmod", "700", &ask]);
    let layouts = [
        layout("PKCS11Provider", 0, &keys, server.port, "none", &format!("  PKCS11Provider {library}")),
        layout("PKCS11Provider", 1, &keys, server.port, "none", "  PKCS11Provider none\n  IdentitiesOnly no"),
    ];
    let mut bench = Bench::new(dir.path(), &layouts);
    bench.variables = vec![("SOFTHSM2_CONF".into(), conf.clone())];
    let found = compare(&bench, &layouts);
    assert_eq!((found[0].0, found[0].1), (Verdict::Refused, Verdict::Refused), "{}", found[0].3);
    assert!(found[0].2.to_lowercase().contains("pkcs11provider"), "{}", found[0].2);
    assert!(found[0].3.matches("pin required").count() == 2, "the reason is said: {}", found[0].3);
    let socket = dir.path().join("agent");
    let agent = sh(&["sh", "-c", &format!("SOFTHSM2_CONF={conf} ssh-agent -a {}", socket.display())]);
    let pid = agent.split_once("SSH_AGENT_PID=").unwrap().1.split(';').next().unwrap().to_owned();
    let added = Command::new("ssh-add")
        .args(["-s", library])
        .envs([("SSH_AUTH_SOCK", socket.to_str().unwrap()), ("SSH_ASKPASS", &ask), ("SSH_ASKPASS_REQUIRE", "force"), ("DISPLAY", ":0")])
        .env("SOFTHSM2_CONF", &conf)
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let (theirs, ours) = (bench.openssh("k1", Some(&socket)), bench.ours("auto", &["k1"], Some(&socket)));
    sh(&["kill", &pid]);
    assert!(added.status.success(), "{added:?}");
    assert_eq!((theirs.0, ours["k1"].0), (Verdict::Connects, Verdict::Connects), "{theirs:?} {ours:?}");
    assert_eq!(ours["k1"].1, "native");
}
