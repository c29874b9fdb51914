//! Hosts made ready: an engine installed, configured, its ports opened, by the steps of one plan, and all of it taken back.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use swarm_tests::cli::{self, Ran};
use swarm_tests::lab::{TestLab, eventually};

/// Runs a verb on a file.
pub(crate) fn swarm(file: &Path, verb: &[&str], more: &[&str]) -> Ran {
    cli::run(&[verb, &["-f", file.to_str().unwrap()], more].concat())
}

/// Runs a script on a host.
pub(crate) fn sh(lab: &TestLab, host: &str, script: &str) -> String {
    lab.host(host).exec(&["sh", "-c", script]).unwrap_or_else(|e| panic!("{e}"))
}

fn daemon(lab: &TestLab, host: &str) -> serde_json::Value {
    serde_json::from_str(&sh(lab, host, "cat /etc/docker/daemon.json")).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_is_configured_before_its_host_joins_and_drained_afterwards() {
    let lab = TestLab::up(1, 1);
    sh(&lab, "m1", "echo '{ \"debug\": true, \"log-opts\": { \"tag\": \"x\" } }' >/etc/docker/daemon.json");
    let prepared = |what: &str| lab.file(&lab.text_with(&lab.all(""), &format!("prepare: {{ {what} }}")));
    let file =
        prepared("daemon: { debug: null, log-opts: { max-size: 5m } }, firewall: open, hooks: { before: \"echo $$ >/root/before\" }");

    // A configuration that the engine does not start with is taken back: the lab starts it with this option already.
    let wrong = prepared("daemon: { storage-driver: vfs }");
    let failed = swarm(&wrong, &["apply"], &["--yes"]);
    assert!(failed.code != 0 && failed.err.contains("it runs with the old one again"), "{failed:?}");
    assert_eq!(daemon(&lab, "m1")["debug"], true);
    assert!(lab.docker("m1", &["info", "--format", "{{.Swarm.LocalNodeState}}"]).starts_with("inactive"), "it joins nothing");

    // Nothing but SSH is let in: what the swarm needs is opened by the same plan.
    for host in ["m1", "w1"] {
        let closed = "iptables -A INPUT -i lo -j ACCEPT; iptables -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT; \
            iptables -A INPUT -p tcp --dport 22 -j ACCEPT; iptables -P INPUT DROP";
        sh(&lab, host, closed);
    }
    let shown = swarm(&file, &["plan"], &[]);
    assert!(shown.code == 2 && shown.out.contains("configure-engine") && shown.out.contains("open-firewall"), "{shown:?}");
    let done = swarm(&file, &["apply"], &["--yes"]);
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(daemon(&lab, "m1"), serde_json::json!({ "log-opts": { "max-size": "5m", "tag": "x" } }));
    let rules = sh(&lab, "m1", "iptables -S INPUT; iptables -S | grep -c 'SWARM.*dport'");
    assert!(rules.contains("-j SWARM-") && rules.trim().ends_with('4'), "{rules}");
    let (plan, verify) = (swarm(&file, &["plan"], &[]), swarm(&file, &["verify"], &[]));
    assert!(plan.code == 0 && verify.code == 0 && plan.out.contains("Nothing to do"), "{plan:?} {verify:?}");

    // In a swarm an engine is not restarted by the way.
    let proxy =
        prepared("daemon: { debug: true }, proxy: { https: \"http://me:hunter2@10.0.0.9:3128\", no_proxy: [localhost] }, firewall: open");
    let noted = swarm(&proxy, &["apply"], &["--yes"]);
    assert!(noted.code == 3 && noted.err.contains("swarm engine configure m1"), "{noted:?}");
    assert_eq!(swarm(&proxy, &["verify"], &[]).code, 3);
    let pids = || ["m1", "w1"].map(|host| sh(&lab, host, "cat /run/docker.pid"));
    let before = pids();
    let dry = swarm(&proxy, &["engine", "configure"], &["--dry-run", "--accept-downtime"]);
    assert!(dry.code == 2 && before == pids(), "{dry:?}");
    let configured = swarm(&proxy, &["engine", "configure"], &["--yes", "--accept-downtime"]);
    assert_eq!(configured.code, 0, "{configured:?}");
    assert!(pids().iter().zip(&before).all(|(now, then)| now != then), "both were restarted");
    assert_eq!(daemon(&lab, "w1")["debug"], true);
    let written = sh(&lab, "m1", "cat /etc/default/docker");
    assert!(written.contains("export HTTPS_PROXY='http://me:hunter2@10.0.0.9:3128'"), "{written}");
    assert_eq!((swarm(&proxy, &["verify"], &[]).code, swarm(&proxy, &["plan"], &[]).code), (0, 0));
    let again = swarm(&proxy, &["engine", "configure"], &["--yes"]);
    assert!(again.code == 0 && again.out.contains("nothing to do"), "{again:?}");
    for ran in [&noted, &dry, &configured, &again] {
        assert!(!format!("{ran:?}").contains("hunter2"), "{ran:?}");
    }

    // All of it is taken back, and nothing else; never from a node of a swarm.
    let refused = swarm(&proxy, &["reset", "w1"], &["--yes"]);
    assert!(refused.code == 1 && refused.err.contains("it is member"), "{refused:?}");
    assert_eq!(swarm(&proxy, &["destroy"], &["--yes"]).code, 0);
    let reset = swarm(&proxy, &["reset", "m1", "w1"], &["--yes"]);
    assert!(reset.code == 0 && reset.out.contains("m1: /etc/docker/daemon.json is as it was"), "{reset:?}");
    assert_eq!(daemon(&lab, "m1"), serde_json::json!({ "debug": true, "log-opts": { "tag": "x" } }));
    for host in ["m1", "w1"] {
        let left = sh(
            &lab,
            host,
            "ls -A /var/lib/swarm-prepare /etc/docker 2>/dev/null | grep -v key.json; iptables -S | grep SWARM; grep -c PROXY /etc/default/docker; true",
        );
        let expected = if host == "m1" {
            "/etc/docker:\ndaemon.json\n\n/var/lib/swarm-prepare:\n0"
        } else {
            "/etc/docker:\n\n/var/lib/swarm-prepare:\n0"
        };
        assert_eq!(left.trim(), expected, "{host}");
    }
}

/// The story of six machines with nothing on them but SSH.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "full"]
async fn bare_hosts_of_two_releases_become_a_swarm_in_one_apply() {
    let lab = TestLab::bare(3, 3, &["bookworm", "trixie"]);
    let text = lab.text_with(&lab.all(""), "prepare: { install: distro, daemon: { log-driver: local }, firewall: open }");
    let file = lab.file(&text);
    // A run that is killed while packages are installed.
    let mut first = cli::begin(&["apply", "-f", file.to_str().unwrap(), "--yes"]);
    let installing = || lab.host("w3").exec(&["test", "-e", "/var/lib/swarm-prepare/installing"]).is_ok();
    eventually("packages are installed", Duration::from_secs(60), installing).await;
    first.kill().unwrap();
    first.wait().unwrap();
    // Another package manager at work is waited for.
    // Its lists are held too, as by a machine's first update.
    let hold = "use Fcntl; open F, '>', '/var/lib/dpkg/lock-frontend'; open L, '>', '/var/lib/apt/lists/lock'; my $l = pack('s s x4 q q l x4', F_WRLCK, 0, 0, 0, 0); fcntl(F, F_SETLKW, $l) or die; my $k = pack('s s x4 q q l x4', F_WRLCK, 0, 0, 0, 0); fcntl(L, F_SETLKW, $k) or die; open T, '>', '/root/held'; sleep 6";
    let mut holder = lab.host("m1").enter().unwrap().args(["perl", "-e", hold]).spawn().unwrap();
    let held = || lab.host("m1").exec(&["test", "-e", "/root/held"]).is_ok();
    eventually("the lock is held", Duration::from_secs(120), held).await;
    let done = swarm(&file, &["apply"], &["--yes"]);
    assert_eq!(done.code, 0, "{done:?}");
    holder.wait().unwrap();
    let verify = swarm(&file, &["verify"], &[]);
    assert!(verify.code == 0, "{verify:?}");
    let idle = swarm(&file, &["plan"], &[]);
    assert!(idle.code == 0 && idle.out.contains("Nothing to do"), "{idle:?}");
    let engines = swarm(&file, &["engine", "ls"], &[]).out;
    assert!(engines.contains("20.10.24") && engines.contains("26.1"), "{engines}");
    assert_eq!(daemon(&lab, "w3")["userland-proxy"], false, "what was there stays");
    // What was installed is taken back, and what was there before stays.
    let before = sh(&lab, "w1", "cat /var/lib/swarm-prepare/packages.before");
    assert_eq!(swarm(&file, &["node", "rm", "w1"], &["--yes"]).code, 0);
    let reset = swarm(&file, &["reset", "w1"], &["--yes"]);
    assert_eq!(reset.code, 0, "{reset:?}");
    let packages = "dpkg-query -W -f '${db:Status-Status} ${Package}\\n' | sed -n 's/^installed //p' | sort -u";
    assert_eq!(sh(&lab, "w1", packages), before);
    assert_eq!(
        sh(&lab, "w1", "command -v dockerd; ls -d /var/lib/swarm-prepare 2>/dev/null; cat /etc/default/docker").trim(),
        "ulimit() { :; }"
    );
    // And the next run makes the host ready again.
    assert_eq!(swarm(&file, &["apply"], &["--yes"]).code, 0);
}

/// A repository in a folder, laid out and signed as Docker's is, with the engine of Debian under Docker's names, and a key of someone else.
fn repository(lab: &TestLab, folder: &Path) {
    let debian = folder.join("debian");
    let pool = debian.join("pool");
    std::fs::create_dir_all(&pool).unwrap();
    sh(lab, "m1", "apt-get -qq update; cd /root; apt-get -qq download docker.io containerd runc >/dev/null 2>&1");
    let script = r#"set -e
cd "$1"
repack() {
  rm -rf work; dpkg-deb -R "$2" work
  sed -i "s/^Package: .*/Package: $3/; s/^Version: .*/Version: $4/; s/^Depends: .*/Depends: $5/; /^Recommends:/d; /^Suggests:/d; /^Breaks:/d; /^Replaces:/d; /^Conflicts:/d; /^Provides:/d; /^Enhances:/d; /^Built-Using:/d" work/DEBIAN/control
  rm -f work/DEBIAN/preinst work/DEBIAN/postrm work/DEBIAN/prerm
  [ "$3" = docker-ce ] || rm -f work/DEBIAN/postinst work/DEBIAN/conffiles
  dpkg-deb -Zgzip -z1 -b work "debian/pool/$3_$4_amd64.deb" >/dev/null
}
for v in 5:19.3.1-1~debian.12~bookworm 5:20.10.24-1~debian.12~bookworm; do
  repack x "$2"/docker.io_*.deb docker-ce "$v" "containerd.io, iptables, adduser, libdevmapper1.02.1"
done
repack x "$2"/containerd_*.deb containerd.io 1.6.20-1 runc
rm -rf work; mkdir -p work/DEBIAN work/usr/share/doc/docker-ce-cli
for v in 5:19.3.1-1~debian.12~bookworm 5:20.10.24-1~debian.12~bookworm; do
  printf '%s\n' "Package: docker-ce-cli" "Version: $v" "Architecture: amd64" "Maintainer: lab" "Description: nothing" >work/DEBIAN/control
  dpkg-deb -Zgzip -z1 -b work "debian/pool/docker-ce-cli_${v}_amd64.deb" >/dev/null
done
cd debian
mkdir -p dists/bookworm/stable/binary-amd64
for f in pool/*.deb; do
  dpkg-deb -f "$f"
  echo "Filename: $f"
  echo "Size: $(stat -c %s "$f")"
  echo "SHA256: $(sha256sum "$f" | cut -d ' ' -f 1)"
  echo
done >dists/bookworm/stable/binary-amd64/Packages
cd dists/bookworm
p=stable/binary-amd64/Packages
printf '%s\n' 'Suite: bookworm' 'Codename: bookworm' 'Components: stable' 'Architectures: amd64' "Date: $(LC_ALL=C date -Ru)" SHA256: \
  " $(sha256sum $p | cut -d ' ' -f 1) $(stat -c %s $p) $p" >Release
export GNUPGHOME="$1/keys"; mkdir -m 700 "$GNUPGHOME"
gpg -q --batch --passphrase '' --quick-generate-key lab rsa2048 sign never 2>/dev/null
gpg -q --batch --clearsign -o InRelease Release
gpg -q --armor --export lab >"$1/debian/gpg"
gpg -q --batch --passphrase '' --quick-generate-key other rsa2048 sign never 2>/dev/null
gpg -q --armor --export other >"$1/other.asc"
"#;
    let root = lab.host("m1").home_dir();
    let made = Command::new("sh").args(["-c", script, "sh"]).arg(folder).arg(&root).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// Serves a folder on the lab's bridge to whoever asks.
fn serve(at: std::net::IpAddr, folder: &Path) -> u16 {
    use std::io::{BufRead, BufReader, Write};
    let listener = std::net::TcpListener::bind((at, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let folder = folder.to_owned();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let folder = folder.clone();
            std::thread::spawn(move || {
                let mut lines = BufReader::new(&client).lines().map_while(Result::ok);
                while let Some(first) = lines.next() {
                    let _headers = lines.by_ref().take_while(|line| !line.is_empty()).count();
                    let path = first.split(' ').nth(1).unwrap_or("/").replace("%7e", "~").replace("%3a", ":");
                    let (status, body) = match std::fs::read(folder.join(path.trim_start_matches('/'))) {
                        Ok(body) => ("200 OK", body),
                        Err(_) => ("404 Not Found", Vec::new()),
                    };
                    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
                    if (&client).write_all(&[head.as_bytes(), &body].concat()).is_err() {
                        break;
                    }
                }
            });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "full"]
async fn an_engine_comes_from_a_repository_laid_out_as_dockers_or_from_an_archive() {
    let lab = TestLab::bare(1, 3, &["bookworm"]);
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    repository(&lab, folder.path());
    std::fs::copy(folder.path().join("debian/gpg"), lab.lab.dir.join("docker.asc")).unwrap();
    std::fs::copy(folder.path().join("other.asc"), lab.lab.dir.join("other.asc")).unwrap();
    let gateway = lab.host("m1").gateway();
    let port = serve(gateway, folder.path());
    // An archive of packages, from a host that could download them.
    sh(&lab, "w2", "apt-get -qq update; apt-get -qq -y install --download-only --no-install-recommends docker.io >/dev/null");
    let packed = sh(&lab, "w2", "cd /var/cache/apt/archives; tar -czf /root/docker.tgz *.deb; sha256sum </root/docker.tgz");
    let sum = packed.split_whitespace().next().unwrap().to_owned();
    std::fs::copy(lab.host("w2").home_dir().join("docker.tgz"), lab.lab.dir.join("docker.tgz")).unwrap();
    sh(&lab, "w2", "rm -f /var/cache/apt/archives/*.deb; echo 'deb http://nowhere.invalid/debian bookworm main' >/etc/apt/sources.list");
    // A host whose apt is broken, in which nothing is half done.
    sh(&lab, "w3", "echo 'deb http://nowhere.invalid/debian bookworm main' >/etc/apt/sources.list");
    let more = format!("prepare: {{ install: docker-ce, version: \"20.10\", repository: \"http://{gateway}:{port}\" }}");
    let hosts = |sum: &str| {
        let offline = format!("prepare: {{ install: offline, bundle: docker.tgz, bundle_sha256: \"{sum}\" }}");
        let own = |more: &str| more.to_owned();
        let of = [
            ("m1", "manager", own("prepare: { repository_key: docker.asc }")),
            ("w1", "worker", own("")),
            ("w2", "worker", offline),
            ("w3", "worker", own("prepare: { install: distro }")),
        ];
        let of: Vec<(&str, &str, &str)> = of.iter().map(|(name, role, more)| (*name, *role, more.as_str())).collect();
        lab.file(&lab.text_with(&of, &more))
    };
    let wrong = swarm(&hosts(&"0".repeat(64)), &["plan"], &[]);
    assert!(wrong.code == 1 && wrong.err.contains(&sum), "{wrong:?}");
    let file = hosts(&sum);
    let saved = lab.lab.dir.join("plan.json");
    // A repository that is not signed by the key that was given is refused by apt.
    let foreign = "prepare: { repository_key: other.asc }";
    let unsigned = lab.file(&lab.text_with(&[("m1", "manager", ""), ("w1", "worker", foreign)], &more));
    let refused = swarm(&unsigned, &["apply"], &["--yes", "--limit", "w1"]);
    assert!(refused.code == 1 && refused.err.contains("is not signed"), "{refused:?}");
    assert!(sh(&lab, "w1", "command -v dockerd || echo none").contains("none"));
    let planned = swarm(&file, &["plan"], &["-o", saved.to_str().unwrap()]);
    assert_eq!(planned.code, 2, "{planned:?}");
    let ran = swarm(&file, &["apply", saved.to_str().unwrap()], &["--yes"]);
    assert!(
        ran.code == 4 && ran.err.contains("w3/install-engine: failed: ") && ran.err.contains("apt could not read its lists"),
        "{ran:?}"
    );
    assert!(cli::run(&["explain", "--", &ran.err]).out.contains("does not reach one of the mirrors"), "{ran:?}");
    let nodes = lab.nodes("m1");
    assert_eq!(nodes.len(), 3, "{nodes:?} {ran:?}");
    // The version that was asked for, held there; the newest of it.
    assert_eq!(
        sh(&lab, "w1", "dpkg-query -W -f '${Version}' docker-ce; apt-mark showhold").trim(),
        "5:20.10.24-1~debian.12~bookwormdocker-ce"
    );
    assert!(sh(&lab, "w3", "command -v dockerd || echo none").contains("none"));
    // What was wrong is mended, and the next run goes on: first with a full disk.
    sh(
        &lab,
        "w3",
        "echo 'deb http://deb.debian.org/debian bookworm main' >/etc/apt/sources.list; mount -t tmpfs -o size=8m tmpfs /var/cache/apt/archives",
    );
    let full = swarm(&file, &["apply"], &["--yes"]);
    assert!(full.code == 1 && full.err.contains("w3/install-engine: failed: ") && full.err.contains("free space"), "{full:?}");
    assert!(cli::run(&["explain", "--", &full.err]).out.contains("no room for the packages"), "{full:?}");
    sh(&lab, "w3", "umount /var/cache/apt/archives");
    let done = swarm(&file, &["apply"], &["--yes"]);
    assert!(done.code == 0 && lab.nodes("m1").len() == 4, "{done:?}");
    assert_eq!(swarm(&file, &["verify"], &[]).code, 0);
}

/// A login that is not root, on a host with nothing but sudo.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "full"]
async fn a_login_with_sudo_installs_an_engine() {
    let lab = TestLab::bare(1, 0, &["trixie"]);
    let login = "useradd -m -s /bin/sh op && usermod -p '*' op && echo 'op ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/op && \
        mkdir -m 700 /home/op/.ssh && cp /root/.ssh/authorized_keys /home/op/.ssh/ && chown -R op /home/op/.ssh";
    sh(&lab, "m1", login);
    let text = |sudo: &str| lab.text_with(&lab.all(""), "prepare: { install: distro }").replace("user: root", &format!("user: op{sudo}"));
    let without = swarm(&lab.file(&text("")), &["apply"], &["--yes"]);
    assert!(
        without.code == 1 && without.err.contains("set `sudo: true`") && lab.host("m1").exec(&["sh", "-c", "command -v dockerd"]).is_err(),
        "{without:?}"
    );
    let file = lab.file(&text(", sudo: true"));
    let done = swarm(&file, &["apply"], &["--yes"]);
    assert!(done.code == 0, "{done:?}");
    assert_eq!(swarm(&file, &["verify"], &[]).code, 0);
    // With the group it needs no sudo for the engine; what was done is undone.
    let groups = || lab.host("m1").exec(&["id", "-nG", "op"]).unwrap();
    assert!(!groups().contains("docker"), "{}", groups());
    let grouped = lab.file(&text(", sudo: true").replace("install: distro", "install: distro, docker_group: true"));
    let done = swarm(&grouped, &["apply"], &["--yes"]);
    assert!(done.code == 0 && done.out.contains("op is not in the group docker") && groups().contains("docker"), "{done:?}");
    let again = swarm(&grouped, &["plan"], &[]);
    assert_eq!(again.code, 0, "{again:?}");
    assert_eq!(swarm(&lab.file(&text("")), &["status"], &[]).code, 0);
    assert_eq!(swarm(&grouped, &["destroy"], &["--yes"]).code, 0);
    let reset = swarm(&grouped, &["reset", "m1"], &["--yes"]);
    assert!(reset.code == 0 && reset.out.contains("op is not in the group docker any more") && !groups().contains("docker"), "{reset:?}");
}
