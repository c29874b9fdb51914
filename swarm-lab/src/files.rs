//! The files of a host: its start script, sshd's configuration, and what they need.

use crate::error::LabError;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The first process of a host. Arguments: directory, host name, address, gateway, cgroup.
pub(crate) const INIT: &str = r#"set -e
dir=$1 name=$2 address=$3 gateway=$4 cgroup=$5
mount --make-rprivate /
if [ -f "$dir/image" ]; then
  root=$dir/fs/root
  mount -t overlay -o "lowerdir=$(cat "$dir/image"),upperdir=$dir/fs/upper,workdir=$dir/fs/work" overlay "$root"
  mount --rbind /dev "$root/dev"
  mount --rbind /sys "$root/sys"
  mkdir -p "$root$dir" "$root/.machine"
  mount --bind "$dir" "$root$dir"
  cd "$root"
  pivot_root . .machine
  mount -t proc proc /proc
  umount -l /.machine
else
  mount -t proc proc /proc
fi
hostname "$name"
rm -rf "$dir/run"; mkdir -p "$dir/run/sshd" "$dir/run/lock"
mount --bind "$dir/run" /run
mount --bind "$dir/root" /root
mount --bind "$dir/docker" /var/lib/docker
if [ -f "$dir/disk.img" ]; then sh "$dir/disk.sh" "$dir"; fi
mount --bind "$dir/etc-ssh" /etc/ssh
mount --bind "$dir/hosts" /etc/hosts
mount --bind "$dir/machine-id" /etc/machine-id
if [ ! -f "$dir/image" ]; then
  mount --bind "$dir/etc-docker" /etc/docker
  mount --bind "$dir/init.d" /etc/init.d
  mount --bind "$dir/etc-default" /etc/default
  mount --bind "$dir/prepared" /var/lib/swarm-prepare
fi
if [ -f /etc/resolv.conf ]; then mount --bind "$dir/resolv.conf" /etc/resolv.conf; fi
ip link set lo up
until ip link set eth0 up 2>/dev/null; do sleep 0.02; done
ip addr add "$address/24" dev eth0
ip route add default via "$gateway"
if [ -w /proc/sys/net/ipv4/ip_forward ]; then echo 1 > /proc/sys/net/ipv4/ip_forward; fi
trap : TERM INT HUP
"$SSHD" -f /etc/ssh/sshd_config -E "$dir/sshd.log"
cd /
if [ ! -f "$dir/image" ]; then
  dockerd --host unix:///run/docker.sock --storage-driver overlay2 --cgroup-parent "$cgroup" \
    --userland-proxy=false --log-level warn >>"$dir/dockerd.log" 2>&1 &
elif [ -x /etc/init.d/docker ]; then
  /etc/init.d/docker start &
fi
sleep infinity &
while :; do wait || true; done
"#;

/// Mounts a small disk of its own below the engine's swarm state. Argument: directory.
pub(crate) const DISK: &str = r#"set -e
dir=$1
mkdir -p "$dir/disk" /var/lib/docker/swarm
mount -o loop "$dir/disk.img" "$dir/disk"
if [ ! -d "$dir/disk/swarm" ]; then mkdir -m 700 "$dir/disk/swarm"; cp -a /var/lib/docker/swarm/. "$dir/disk/swarm/"; fi
mount --bind "$dir/disk/swarm" /var/lib/docker/swarm
"#;

/// The port of the lab's bridge where bare hosts get packages.
pub(crate) const PACKAGES_PORT: u16 = 3142;

/// apt's settings inside a bare host.
fn settings(gateway: IpAddr) -> String {
    format!(
        "Acquire::http::Proxy \"http://{gateway}:{PACKAGES_PORT}\";\nAcquire::http::Proxy::{gateway} \"DIRECT\";\nAcquire::Check-Valid-Until \"false\";\nAcquire::Languages \"none\";\n"
    )
}

/// What the engine of a bare host needs on this machine, as its configuration before anyone prepares it.
fn bare_daemon(cgroup: &str) -> String {
    format!("{{\n  \"cgroup-parent\": \"{cgroup}\",\n  \"userland-proxy\": false,\n  \"log-level\": \"warn\"\n}}\n")
}

/// The service of a host's engine, as `/etc/init.d/docker`: what stops and starts it by name.
const SERVICE: &str = r#"#!/bin/sh
dir=@DIR@
end() { p=$(cat /run/docker.pid 2>/dev/null) && kill "$p" 2>/dev/null && while kill -0 "$p" 2>/dev/null; do sleep 0.05; done; true; }
case "$1" in
  stop) end;;
  restart) end; exec "$0" start;;
  start)
    p=$(cat /run/docker.pid 2>/dev/null) && kill -0 "$p" 2>/dev/null && exit 0
    rm -f /run/docker.pid /run/docker.sock
    engine=$(cat "$dir/engine" 2>/dev/null)
    PATH="${engine:+$engine/usr/sbin:$engine/usr/bin:}$PATH" setsid dockerd --host unix:///run/docker.sock --storage-driver overlay2 --cgroup-parent "$(cat "$dir/cgroup")" \
      --userland-proxy=false --log-level warn >>"$dir/dockerd.log" 2>&1 </dev/null &
    started=$!
    n=0; while [ ! -S /run/docker.sock ]; do n=$((n + 1)); kill -0 "$started" 2>/dev/null && [ "$n" -le 300 ] || exit 1; sleep 0.1; done;;
  status) p=$(cat /run/docker.pid 2>/dev/null) && kill -0 "$p" 2>/dev/null;;
  *) echo "usage: $0 start|stop|restart|status" >&2; exit 64;;
esac
"#;

/// sshd's configuration; a test may write another and restart it.
pub(crate) const SSHD_CONFIG: &str = "Port 22
HostKey /etc/ssh/ssh_host_ed25519_key
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
PrintMotd no
PrintLastLog no
PidFile /run/sshd.pid
AllowStreamLocalForwarding yes
Subsystem sftp internal-sftp
MaxStartups 100:30:200
";

/// Lays out a host's directory.
pub(crate) fn lay_out(dir: &Path, name: &str, address: &str, public_key: &str) -> Result<(), LabError> {
    for sub in ["run", "root/.ssh", "docker", "etc-ssh", "etc-docker", "etc-default", "prepared", "init.d"] {
        make_dir(&dir.join(sub))?;
    }
    mode(&dir.join("root/.ssh"), 0o700)?;
    write(&dir.join("init.sh"), INIT, 0o644)?;
    write(&dir.join("disk.sh"), DISK, 0o644)?;
    write(&dir.join("etc-ssh/sshd_config"), SSHD_CONFIG, 0o644)?;
    write(&dir.join("init.d/docker"), &SERVICE.replace("@DIR@", &dir.display().to_string()), 0o755)?;
    write(&dir.join("root/.ssh/authorized_keys"), public_key, 0o600)?;
    write(&dir.join("hosts"), &format!("127.0.0.1 localhost\n{address} {name}\n"), 0o644)?;
    // No name server is reached from a host: names outside the lab are unknown at once, and nothing waits for an answer that never comes.
    write(&dir.join("resolv.conf"), "nameserver 127.0.0.1\n", 0o644)?;
    let id = fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap_or_default().replace('-', "");
    write(&dir.join("machine-id"), &id, 0o444)?;
    for point in ["/var/lib/docker", "/etc/docker", "/etc/ssh", "/etc/init.d", "/etc/default", "/var/lib/swarm-prepare", "/run"] {
        make_dir(Path::new(point))?;
    }
    for file in ["/etc/hosts", "/etc/machine-id"] {
        if !Path::new(file).exists() {
            write(Path::new(file), "", 0o644)?;
        }
    }
    Ok(())
}

/// Adds what a host with a root filesystem of its own has.
pub(crate) fn lay_out_bare(dir: &Path, image: &Path, cgroup: &str, gateway: IpAddr) -> Result<(), LabError> {
    for sub in ["fs/root", "fs/work", "fs/upper/etc/docker", "fs/upper/etc/apt/apt.conf.d", "fs/upper/var/lib/docker"] {
        make_dir(&dir.join(sub))?;
    }
    // What is mounted over must be there.
    for file in ["hosts", "machine-id", "resolv.conf"] {
        write(&dir.join("fs/upper/etc").join(file), "", 0o644)?;
    }
    write(&dir.join("image"), &image.display().to_string(), 0o644)?;
    // This machine may forbid what the service of Debian's package begins with: more open files.
    make_dir(&dir.join("fs/upper/etc/default"))?;
    write(&dir.join("fs/upper/etc/default/docker"), "ulimit() { :; }\n", 0o644)?;
    write(&dir.join("fs/upper/etc/docker/daemon.json"), &bare_daemon(cgroup), 0o644)?;
    write(&dir.join("fs/upper/etc/apt/apt.conf.d/90lab"), &settings(gateway), 0o644)
}

pub(crate) fn make_dir(path: &Path) -> Result<(), LabError> {
    fs::create_dir_all(path).map_err(|source| LabError::File { path: path.into(), source })
}

pub(crate) fn write(path: &Path, content: &str, file_mode: u32) -> Result<(), LabError> {
    let _ = fs::remove_file(path);
    fs::write(path, content).map_err(|source| LabError::File { path: path.into(), source })?;
    mode(path, file_mode)
}

fn mode(path: &Path, mode: u32) -> Result<(), LabError> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(|source| LabError::File { path: path.into(), source })
}
