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
manager=$(cat "$dir/manager" 2>/dev/null || true)
if [ "$manager" = systemd ]; then
  # A view of the cgroups in which this host's own are the first, and first of all.
  for hierarchy in /sys/fs/cgroup/*/; do
    [ -f "$hierarchy/cgroup.procs" ] || continue
    above=$hierarchy
    for part in $(echo "$cgroup" | tr / ' '); do
      mkdir -p "$above/$part"
      # A new one has no processor and no memory, and takes no process.
      for file in cpuset.mems cpuset.cpus; do if [ -f "$above/$file" ]; then cat "$above/$file" >"$above/$part/$file"; fi; done
      above=$above/$part
    done
    echo 0 >"$above/cgroup.procs"
  done
  # The lab finds a host by the name of this script among the arguments of its first process; systemd ignores it.
  exec unshare --cgroup sh -c '
    mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
    for name in cpu cpuacct cpuset memory devices freezer blkio pids; do
      mkdir "/sys/fs/cgroup/$name" && mount -t cgroup -o "$name" cgroup "/sys/fs/cgroup/$name" || rmdir "/sys/fs/cgroup/$name"
    done
    mkdir /sys/fs/cgroup/systemd && mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
    exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin container=swarm-lab \
      /lib/systemd/systemd "$1" --log-target=journal --show-status=false' sh "$dir/init.sh"
fi
trap : TERM INT HUP
"$SSHD" -f /etc/ssh/sshd_config -E "$dir/sshd.log"
cd /
if [ ! -f "$dir/image" ]; then
  dockerd --host unix:///run/docker.sock --storage-driver overlay2 --cgroup-parent "$cgroup" \
    --userland-proxy=false --log-level warn >>"$dir/dockerd.log" 2>&1 &
elif [ "$manager" = openrc ]; then
  mkdir -p /run/openrc
  echo default >/run/openrc/softlevel
  openrc default >>"$dir/init.log" 2>&1 &
else
  for script in /etc/rc2.d/S*; do
    case $script in *ssh) ;; *) if [ -x "$script" ]; then "$script" start; fi;; esac
  done >>"$dir/init.log" 2>&1 &
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

/// Units of Debian's systemd that do something to this machine, or have nothing to do on it.
const MASKED: [&str; 21] = [
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "console-getty.service",
    "dev-hugepages.mount",
    "dev-mqueue.mount",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty.target",
    "proc-sys-fs-binfmt_misc.automount",
    "sys-fs-fuse-connections.mount",
    "sys-kernel-config.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "systemd-binfmt.service",
    "systemd-machine-id-commit.service",
    "systemd-modules-load.service",
    "systemd-remount-fs.service",
    "systemd-sysctl.service",
    "systemd-tmpfiles-setup-dev.service",
];

/// This machine may forbid what units of Debian's packages ask for: higher limits.
const LIMITS: &str = "[Service]\nLimitNOFILE=\nLimitNPROC=\nLimitCORE=\nOOMScoreAdjust=\n";

/// What a host whose first process is systemd has besides.
fn lay_out_systemd(dir: &Path) -> Result<(), LabError> {
    let units = dir.join("fs/upper/etc/systemd/system");
    make_dir(&units)?;
    for unit in MASKED {
        let path = units.join(unit);
        let _ = fs::remove_file(&path);
        std::os::unix::fs::symlink("/dev/null", &path).map_err(|source| LabError::File { path, source })?;
    }
    for unit in ["docker.service", "containerd.service"] {
        let more = units.join(format!("{unit}.d"));
        make_dir(&more)?;
        write(&more.join("10-lab.conf"), LIMITS, 0o644)?;
    }
    Ok(())
}

/// Adds what a host with a root filesystem of its own has.
pub(crate) fn lay_out_bare(dir: &Path, name: &str, (image, manager): (&Path, &str), cgroup: &str, gateway: IpAddr) -> Result<(), LabError> {
    for sub in ["fs/root", "fs/work", "fs/upper/etc/docker", "fs/upper/etc/apt/apt.conf.d", "fs/upper/var/lib/docker"] {
        make_dir(&dir.join(sub))?;
    }
    // What is mounted over must be there.
    for file in ["hosts", "machine-id", "resolv.conf"] {
        write(&dir.join("fs/upper/etc").join(file), "", 0o644)?;
    }
    // systemd gives the host the name that stands here.
    write(&dir.join("fs/upper/etc/hostname"), &format!("{name}\n"), 0o644)?;
    write(&dir.join("image"), &image.display().to_string(), 0o644)?;
    // This machine may forbid what the service of Debian's package begins with: more open files.
    make_dir(&dir.join("fs/upper/etc/default"))?;
    write(&dir.join("fs/upper/etc/default/docker"), "ulimit() { :; }\n", 0o644)?;
    // Some releases bring systemd with other packages: it is the first process only where that was asked for.
    write(&dir.join("manager"), manager, 0o644)?;
    let systemd = manager == "systemd";
    if systemd {
        lay_out_systemd(dir)?;
    }
    // Below systemd a host sees its own cgroups alone.
    write(&dir.join("fs/upper/etc/docker/daemon.json"), &bare_daemon(if systemd { "/docker" } else { cgroup }), 0o644)?;
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
