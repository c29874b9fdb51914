//! Hosts whose packages are rpm's: Debian roots in the guise of Rocky Linux and openSUSE, with the real dnf and zypper, and repositories of
//! rpm packages that are made and signed here.

use crate::prepared::{sh, swarm};
use std::time::Duration;
use swarm_tests::lab::{TestLab, eventually};

/// The engines of two releases of Debian as rpm packages, once under Docker's names and once under those of openSUSE.
const REPOSITORIES: &str = r#"set -e
cd /root
apt-get -qq update
apt-get -qq -y install --no-install-recommends createrepo-c rpm gnupg python3 >/dev/null 2>&1
mirror=$(sed -n 's/^deb.* \(http[^ ]*\) .*/\1/p' /etc/apt/sources.list | head -1)
for release in bookworm trixie; do
  echo "deb $mirror $release main" >/etc/apt/sources.list.d/other.list
  apt-get -qq update >/dev/null 2>&1
  mkdir $release
  (cd $release; for one in docker.io docker-cli containerd runc; do apt-get -qq download $one/$release >/dev/null 2>&1 || [ $one$release = docker-clibookworm ]; done)
done
[ -e bookworm/docker.io_*.deb ] && [ -e trixie/docker.io_*.deb ]
# The name of the repository, the package's name, its version, what it requires, and the packages of Debian whose files it has.
pack() {
  repository=$1 name=$2 version=$3 requires=$4; shift 4
  rm -rf tree; mkdir tree
  for deb in "$@"; do dpkg-deb -x "$deb" tree; done
  (cd tree; rm -rf etc/default usr/share lib/systemd usr/lib/systemd)
  { printf '%s\n' "Name: $name" "Version: $version" 'Release: 1' 'Summary: none' 'License: none' 'AutoReqProv: no'
    for one in $requires; do echo "Requires: $one"; done
    [ $name != filesystem ] || echo 'Provides: /bin/sh'
    printf '%s\n' '%description' none '%pre' 'getent group docker >/dev/null || groupadd -r docker' '%files'
    (cd tree; find . -type f -o -type l) | sed 's/^\.//; s/.*/"&"/'
  } >spec
  rpmbuild -bb --quiet --buildroot /root/tree --define '_topdir /root/build' --define '_build_id_links none' --define '__os_install_post %{nil}' \
    --define "_rpmdir /root/www/$repository" --define '_binary_payload w1.gzdio' spec >build.log 2>&1 || { cat build.log >&2; exit 1; }
}
ce=centos/9/x86_64/stable
pack $ce docker-ce 20.10.24 containerd.io bookworm/docker.io_*.deb
pack $ce docker-ce 26.1.5 containerd.io trixie/docker.io_*.deb
pack $ce docker-ce-cli 20.10.24 ''
pack $ce docker-ce-cli 26.1.5 '' trixie/docker-cli_*.deb
pack $ce containerd.io 1.7.24 '' trixie/containerd_*.deb trixie/runc_*.deb
pack suse docker 20.10.24_ce 'containerd runc' bookworm/docker.io_*.deb
pack suse docker 26.1.5_ce 'containerd runc' trixie/docker.io_*.deb trixie/docker-cli_*.deb
pack suse containerd 1.7.24 '' trixie/containerd_*.deb
pack suse runc 1.1.15 '' trixie/runc_*.deb
for one in suse $ce base; do pack $one filesystem 1 ''; done
export GNUPGHOME=/root/keys; mkdir -m 700 keys
for key in lab other; do
  gpg -q --batch --passphrase '' --quick-generate-key $key rsa2048 sign never 2>/dev/null
  gpg -q --armor --export $key >$key.asc
done
cp lab.asc www/centos/gpg
rpmsign --define '_gpg_name lab' --define '__gpg /usr/bin/gpg' --addsign $(find www -name '*.rpm') >build.log 2>&1 || { cat build.log >&2; exit 1; }
for one in suse $ce base; do createrepo_c -q www/$one; done
gpg -q --batch --default-key lab --armor --detach-sign -o www/suse/repodata/repomd.xml.asc www/suse/repodata/repomd.xml
cp lab.asc www/suse/repodata/repomd.xml.key
cd www; setsid python3 -m http.server 8000 >/dev/null 2>&1 </dev/null &
"#;

/// Puts a host into the guise of another system: the package manager, then what `os-release` says.
const GUISE: &str = r#"set -e
apt-get -qq update
apt-get -qq -y install --no-install-recommends "$1" rpm iptables adduser libdevmapper1.02.1 curl >/dev/null 2>&1
for one in apt-get apt dpkg-query dpkg; do mv /usr/bin/$one /usr/bin/.$one; done
printf '%s\n' "ID=$2" "ID_LIKE=\"$3\"" "VERSION_ID=$4" >/etc/os-release
mkdir -p /etc/dnf/vars /etc/products.d
echo 9 >/etc/dnf/vars/releasever
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "full"]
async fn hosts_with_dnf_and_zypper_are_made_ready_upgraded_and_reset() {
    let lab = TestLab::bare(1, 2, &["trixie"]);
    let guise = |host: &str, of: [&str; 4]| lab.host(host).exec(&[&["sh", "-c", GUISE, "sh"][..], &of].concat()).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| sh(&lab, "w2", REPOSITORIES));
        guise("m1", ["dnf", "rocky", "rhel centos fedora", "9.4"]);
        guise("w1", ["zypper", "opensuse-leap", "suse opensuse", "15.6"]);
    });
    let from = format!("http://{}:8000", lab.host("w2").address);
    for key in ["lab.asc", "other.asc"] {
        std::fs::write(lab.lab.dir.join(key), lab.host("w2").exec(&["cat", &format!("/root/{key}")]).unwrap()).unwrap();
    }
    let served = || lab.host("m1").exec(&["curl", "-fsS", "-o", "/dev/null", &format!("{from}/centos/gpg")]).is_ok();
    eventually("the repositories are served", Duration::from_secs(20), served).await;
    // The system's own repository has no engine.
    let base =
        format!("mkdir -p /etc/yum.repos.d && printf '%s\n' '[base]' name=base baseurl={from}/base gpgcheck=0 >/etc/yum.repos.d/base.repo");
    sh(&lab, "m1", &base);
    // zypper reads no list of packages in which there is none.
    let first =
        format!("curl -fsSo /root/first.rpm {from}/suse/x86_64/filesystem-1-1.x86_64.rpm && rpm -i --nodeps --nosignature /root/first.rpm");
    let add = format!("{first} && zypper -n addrepo {from}/suse suse && zypper -n --gpg-auto-import-keys refresh");
    sh(&lab, "w1", &add);
    let before = ["m1", "w1"].map(|host| sh(&lab, host, "rpm -qa | sort"));
    let dnf = |of: &str| format!("prepare: {{ {of} }}");
    let file = |of: &str, version: &str| {
        let suse = format!("prepare: {{ install: distro, version: \"{version}\", firewall: open }}");
        lab.file(&lab.text(&[("m1", "manager", &dnf(of)), ("w1", "worker", &suse)]))
    };

    // Repositories that cannot be read say nothing of what there is.
    sh(&lab, "m1", "sed -i.kept s,/base,/nowhere, /etc/yum.repos.d/base.repo");
    let unread = swarm(&file("install: distro", "99"), &["apply"], &["--yes", "--limit", "m1"]);
    assert!(unread.code == 1 && unread.err.contains("dnf could not read its repositories"), "{unread:?}");
    sh(&lab, "m1", "mv /etc/yum.repos.d/base.repo.kept /etc/yum.repos.d/base.repo");

    // What is not offered, and what someone else has signed.
    let ce = format!("install: docker-ce, version: \"20.10\", repository: \"{from}\"");
    for (wrong, says) in [
        ("install: distro".to_owned(), "this system offers no engine of its own; use `install: docker-ce`"),
        (format!("{ce}, repository_key: other.asc"), "GPG check FAILED"),
    ] {
        let refused = swarm(&file(&wrong, "99"), &["apply"], &["--yes"]);
        assert!(refused.code == 1 && refused.err.contains(says), "{refused:?}");
        assert!(refused.err.contains("zypper offers no docker 99; it offers 26.1.5_ce-1 20.10.24_ce-1"), "{refused:?}");
        for host in ["m1", "w1"] {
            assert!(sh(&lab, host, "command -v dockerd || echo none").contains("none"), "{host}: {refused:?}");
        }
    }

    // Another zypper at work is waited for.
    let hold = "(touch /root/held; sleep 6) | zypper -n shell";
    let mut holder = lab.host("w1").enter().unwrap().args(["sh", "-c", hold]).spawn().unwrap();
    let held = || lab.host("w1").exec(&["test", "-e", "/root/held"]).is_ok();
    eventually("zypper is at work", Duration::from_secs(20), held).await;
    let file = file(&format!("{ce}, repository_key: lab.asc"), "20.10");
    let done = swarm(&file, &["apply"], &["--yes"]);
    assert_eq!(done.code, 0, "{done:?}");
    holder.wait().unwrap();
    let versions = || ["m1", "w1"].map(|host| lab.docker(host, &["version", "--format", "{{.Server.Version}}"]).trim().to_owned());
    assert_eq!(versions(), ["20.10.24+dfsg1", "20.10.24+dfsg1"]);
    let idle = swarm(&file, &["plan"], &[]);
    assert!(idle.code == 0 && idle.out.contains("Nothing to do"), "{idle:?}");
    assert!(sh(&lab, "w1", "zypper locks").contains("docker"), "the version that was asked for is kept");

    // A version that is not offered is refused before anything is touched; one that is comes by the hosts' own package managers.
    let none = swarm(&file, &["engine", "upgrade"], &["--to", "27", "--yes", "--accept-downtime"]);
    assert!(none.code == 1 && none.err.contains("the repositories offer no docker 27; they offer 26.1.5_ce-1 20.10.24_ce-1"), "{none:?}");
    let upgraded = swarm(&file, &["engine", "upgrade"], &["--to", "26.1.5", "--yes", "--accept-downtime"]);
    assert_eq!(upgraded.code, 0, "{upgraded:?}");
    assert_eq!(versions(), ["26.1.5+dfsg1", "26.1.5+dfsg1"]);
    assert!(sh(&lab, "w1", "zypper locks").contains("docker"), "it is kept again");

    // All of it is taken back, the key that dnf took too, and nothing else.
    assert_eq!(swarm(&file, &["destroy"], &["--yes"]).code, 0);
    let reset = swarm(&file, &["reset", "m1", "w1"], &["--yes"]);
    assert_eq!(reset.code, 0, "{reset:?}");
    assert_eq!(["m1", "w1"].map(|host| sh(&lab, host, "rpm -qa | sort")), before);
    let left = "ls -A /etc/yum.repos.d /etc/pki/rpm-gpg /var/lib/swarm-prepare 2>/dev/null; zypper -q locks 2>/dev/null; iptables -S | grep SWARM; true";
    assert_eq!(sh(&lab, "w1", left).replace("There are no package locks defined.", "").trim(), "");
    assert_eq!(sh(&lab, "m1", left).trim(), "/etc/pki/rpm-gpg:\n\n/etc/yum.repos.d:\nbase.repo");
}

/// Docker's archives of static programs hold them in one folder, without packages or service files: the same layout with Debian's programs, on hosts
/// whose engine systemd starts, and an init script.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "full"]
async fn an_engine_comes_from_an_archive_of_programs() {
    let lab = TestLab::bare(1, 1, &["trixie:systemd", "trixie"]);
    let pack = "apt-get -qq update; apt-get -qq -y install --no-install-recommends iptables libdevmapper1.02.1 >/dev/null 2>&1; cd /root; \
        apt-get -qq download docker.io docker-cli containerd runc >/dev/null 2>&1; for deb in *.deb; do dpkg-deb -x $deb tree; done; \
        mkdir -p docker; cp tree/usr/bin/* tree/usr/sbin/* docker/; tar -czf docker.tgz docker; rm -rf tree docker *.deb";
    std::thread::scope(|scope| {
        scope.spawn(|| sh(&lab, "w1", pack));
        sh(&lab, "m1", "apt-get -qq update; apt-get -qq -y install --no-install-recommends libdevmapper1.02.1 >/dev/null 2>&1");
    });
    std::fs::copy(lab.host("w1").home_dir().join("docker.tgz"), lab.lab.dir.join("docker.tgz")).unwrap();
    let sum = sh(&lab, "w1", "sha256sum </root/docker.tgz");
    let sum = sum.split_whitespace().next().unwrap();
    let file =
        lab.file(&lab.text_with(&lab.all(""), &format!("prepare: {{ install: offline, bundle: docker.tgz, bundle_sha256: \"{sum}\" }}")));
    let without = swarm(&file, &["apply"], &["--yes", "--limit", "m1"]);
    assert!(without.code == 1 && without.err.contains("needs iptables"), "{without:?}");
    sh(&lab, "m1", "apt-get -qq -y install --no-install-recommends iptables >/dev/null 2>&1");
    let done = swarm(&file, &["apply"], &["--yes"]);
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!((swarm(&file, &["verify"], &[]).code, swarm(&file, &["plan"], &[]).code), (0, 0));
    for host in ["m1", "w1"] {
        assert_eq!(sh(&lab, host, "command -v dockerd").trim(), "/usr/local/bin/dockerd");
    }
    // The engine is there again after a restart of its host.
    lab.host("w1").kill(true).unwrap();
    lab.host("w1").start().unwrap();
    eventually("the engine is back", Duration::from_secs(60), || swarm(&file, &["verify"], &[]).code == 0).await;
    assert_eq!(swarm(&file, &["destroy"], &["--yes"]).code, 0);
    let reset = swarm(&file, &["reset", "m1", "w1"], &["--yes"]);
    assert_eq!(reset.code, 0, "{reset:?}");
    for host in ["m1", "w1"] {
        let left = "ls /usr/local/bin; ls /etc/systemd/system/docker.service /etc/init.d/docker /var/lib/swarm-prepare 2>/dev/null; pidof dockerd; true";
        assert_eq!(sh(&lab, host, left).trim(), "", "{host}");
    }
}
