//! One fixed script that asks a machine what a swarm needs of it. It changes nothing, and no value of the file goes into it.

use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt};
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};
use swarm_core::ClusterSpec;
use swarm_core::fleet::FleetRead;
use swarm_core::id::HostName;
use swarm_core::spec::HostSpec;

/// Prints marked lines between two nonces. A fact that cannot be had prints nothing: it is unknown, and no check fires on it. Of proxies only
/// what they leave out is printed: their addresses may hold passwords.
pub const CHECK_SCRIPT: &str = concat!(
    "export LC_ALL=C PATH=\"$PATH:/usr/sbin:/sbin:/usr/local/bin:/snap/bin\"\n",
    swarm_service::shell!(),
    r#"echo swarm-check-begin
echo "uid $(id -u)"
echo "time $(date +%s)"
arch=$(uname -rm) kernel=${arch% *}
echo "kernel $kernel"
echo "arch ${arch##* }"
[ -r /etc/os-release ] && (. /etc/os-release; echo "os ${ID:-unknown} ${VERSION_ID:-}")
cgroup=$(stat -fc %T /sys/fs/cgroup 2>/dev/null)
case "$cgroup" in cgroup2fs) echo "cgroup 2";; tmpfs) echo "cgroup 1";; esac
# The kernel's options are read once, and only where a module is not loaded.
built() {
  if [ -r /proc/config.gz ]; then zcat /proc/config.gz; elif [ -r "/boot/config-$kernel" ]; then cat "/boot/config-$kernel"; fi 2>/dev/null |
    grep -E '^(# )?CONFIG_(VXLAN|OVERLAY_FS|BRIDGE_NETFILTER|IP_VS|INET_ESP|VETH)[ =]'
}
options= read=
has() {
  [ -d "/sys/module/$1" ] && { echo "module $1 yes"; return; }
  [ -n "$read" ] || { read=yes; options=$(built); }
  case "$options" in
    *"CONFIG_$2=y"*|*"CONFIG_$2=m"*) echo "module $1 yes";;
    *"CONFIG_$2"[\ =]*) echo "module $1 no";;
    *) [ -d "/lib/modules/$kernel" ] || return
      if modprobe -n -q "$1" 2>/dev/null; then echo "module $1 yes"; else echo "module $1 no"; fi;;
  esac
}
has vxlan VXLAN; has overlay OVERLAY_FS; has br_netfilter BRIDGE_NETFILTER; has ip_vs IP_VS; has esp4 INET_ESP; has veth VETH
for key in net/ipv4/ip_forward net/bridge/bridge-nf-call-iptables vm/max_map_count; do
  [ -r "/proc/sys/$key" ] && read -r value <"/proc/sys/$key" && echo "sysctl $key $value"
done
while read -r key value _; do case "$key" in MemTotal:) echo "memory-kib $value";; esac; done </proc/meminfo 2>/dev/null
for d in /var/lib/docker /var/lib /; do [ -d "$d" ] && break; done
df -Pk "$d" 2>/dev/null | while read -r _ all _ free _; do case "$all" in *[!0-9]*|'') ;; *) echo "disk-kib $free $all";; esac; done
df -Pi "$d" 2>/dev/null | while read -r _ all _ free _; do case "$all" in *[!0-9]*|'') ;; *) echo "inodes $free $all";; esac; done
first=yes; sockets=
for pid in $(pidof dockerd 2>/dev/null); do
  [ "/proc/$pid/ns/net" -ef /proc/self/ns/net ] || continue
  sockets="$sockets$(ls -l "/proc/$pid/fd" 2>/dev/null)"
  [ -n "$first" ] || continue
  first=
  while read -r a b c soft _; do [ "$a $b $c" = "Max open files" ] && echo "files $soft"; done <"/proc/$pid/limits" 2>/dev/null
  tr '\0' '\n' <"/proc/$pid/environ" 2>/dev/null | while IFS='=' read -r key value; do
    case "$key" in HTTPS_PROXY|https_proxy|HTTP_PROXY|http_proxy) echo "proxy yes";; NO_PROXY|no_proxy) echo "no-proxy $value";; esac
  done
done
boot=$(starts_at_boot); [ -z "$boot" ] || echo "boot $boot"
[ -e /var/run/reboot-required ] && echo reboot-required
command -v getenforce >/dev/null 2>&1 && mode=$(getenforce 2>/dev/null) && echo "selinux $mode"
if [ -d /snap ] || [ -d /var/lib/snapd ]; then
  case "$(readlink -f "$(command -v docker 2>/dev/null)" 2>/dev/null)" in */snap*) echo snap;; esac
fi
settings=/etc/docker/daemon.json
[ -r "$settings" ] && grep -q firewall-backend "$settings" && tr -d ' \n\t' <"$settings" | grep -o '"firewall-backend":"[a-z]*"' | cut -d'"' -f4 | while read -r b; do echo "firewall $b"; done
ip -o -4 route show 2>/dev/null | while read -r net rest; do case "$net" in */*) echo "route $net $rest";; esac; done
for table in /proc/net/tcp /proc/net/tcp6; do
  while read -r _ local _ state _ _ _ _ _ inode _; do
    [ "$state" = 0A ] || continue
    case "$sockets" in *"socket:[$inode]"*) echo "engine-listens ${local##*:}";; esac
    echo "listens ${local##*:}"
  done <"$table" 2>/dev/null
done
echo swarm-check-end
"#
);

/// Prints the last lines of the engine's log, where systemd or a file keeps it.
pub const LOG_SCRIPT: &str = concat!("export LC_ALL=C PATH=\"$PATH:/usr/sbin:/sbin\"\n", swarm_service::shell!(), "service_log 300\n");

/// What a machine said. `None`, and what is missing in a map, is not known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Machine {
    /// The user that the script ran as.
    pub uid: Option<u32>,
    /// Its clock ahead of ours, in seconds.
    pub ahead: Option<i64>,
    /// The kernel's release.
    pub kernel: Option<String>,
    /// The processor's kind.
    pub arch: Option<String>,
    /// The system's name and version.
    pub os: Option<String>,
    /// 1 or 2.
    pub cgroup: Option<u8>,
    /// Whether the kernel has these parts.
    pub modules: BTreeMap<String, bool>,
    /// Settings of the kernel.
    pub sysctls: BTreeMap<String, String>,
    /// Memory, bytes.
    pub memory: Option<u64>,
    /// Free and whole disk below the engine's folder, bytes.
    pub disk: Option<(u64, u64)>,
    /// Free and all inodes there.
    pub inodes: Option<(u64, u64)>,
    /// Files that the engine may open; `None` also where there is no bound.
    pub files: Option<u64>,
    /// Whether the engine goes through a proxy.
    pub proxy: bool,
    /// What the proxy is not used for.
    pub no_proxy: Option<String>,
    /// Whether the host starts its engine at boot, by its service manager.
    pub boot: Option<bool>,
    /// Whether it waits for a restart.
    pub reboot_required: bool,
    /// SELinux's mode.
    pub selinux: Option<String>,
    /// Whether docker is a snap.
    pub snap: bool,
    /// The engine's firewall backend, where its file names one.
    pub firewall: Option<String>,
    /// Networks that the host has routes to, each with its device.
    pub routes: Vec<(IpNet, String)>,
    /// TCP ports that something listens on.
    pub listens: BTreeSet<u16>,
    /// Those of them that the engine itself listens on, as far as the login may see whose they are.
    pub engine_listens: BTreeSet<u16>,
}

/// Reads what [`CHECK_SCRIPT`] printed; `now` is our clock when it answered, seconds since 1970.
///
/// # Errors
/// A text for people, if the output is not whole.
pub fn parse(output: &str, now: i64) -> Result<Machine, String> {
    let mut m = Machine::default();
    let mut lines = output.lines().map(str::trim_end).skip_while(|line| *line != "swarm-check-begin").skip(1);
    let kib = |text: &str| text.parse::<u64>().ok().map(|k| k.saturating_mul(1024));
    loop {
        let Some(line) = lines.next() else { return Err("the host's answer is not whole".into()) };
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["swarm-check-end"] => return Ok(m),
            ["uid", uid] => m.uid = uid.parse().ok(),
            ["time", at] => m.ahead = at.parse::<i64>().ok().map(|at| at - now),
            ["kernel", release] => m.kernel = Some((*release).to_owned()),
            ["arch", arch] => m.arch = Some((*arch).to_owned()),
            ["os", rest @ ..] => m.os = Some(rest.join(" ")),
            ["cgroup", version] => m.cgroup = version.parse().ok(),
            ["module", name, has] => {
                m.modules.insert((*name).to_owned(), *has == "yes");
            }
            ["sysctl", key, value] => {
                m.sysctls.insert((*key).to_owned(), (*value).to_owned());
            }
            ["memory-kib", k] => m.memory = kib(k),
            ["disk-kib", free, all] => m.disk = kib(free).zip(kib(all)),
            ["inodes", free, all] => m.inodes = free.parse().ok().zip(all.parse().ok()),
            ["files", limit] => m.files = limit.parse().ok(),
            ["proxy", "yes"] => m.proxy = true,
            ["no-proxy", rest @ ..] => m.no_proxy = Some(rest.join(" ")),
            ["boot", word] => m.boot = Some(*word == "yes"),
            ["reboot-required"] => m.reboot_required = true,
            ["selinux", mode] => m.selinux = Some((*mode).to_owned()),
            ["snap"] => m.snap = true,
            ["firewall", backend] => m.firewall = Some((*backend).to_owned()),
            ["route", net, rest @ ..] => {
                let device = rest.iter().position(|w| *w == "dev").and_then(|at| rest.get(at + 1)).unwrap_or(&"");
                m.routes.extend(net.parse().ok().map(|net: IpNet| (net, (*device).to_owned())));
            }
            ["engine-listens", port] => m.engine_listens.extend(u16::from_str_radix(port, 16).ok()),
            ["listens", port] => m.listens.extend(u16::from_str_radix(port, 16).ok()),
            _ => {}
        }
    }
}

/// Asks every host of the file at once, as many at a time as its policy says.
pub async fn look(spec: &ClusterSpec, fleet: &dyn FleetRead) -> BTreeMap<HostName, Result<Machine, String>> {
    look_at(spec, fleet, spec.hosts()).await
}

/// The same of some of them.
pub async fn look_at<'a>(
    spec: &ClusterSpec,
    fleet: &dyn FleetRead,
    hosts: impl Iterator<Item = &'a HostSpec>,
) -> BTreeMap<HostName, Result<Machine, String>> {
    let looks = hosts.map(|host| -> BoxFuture<'_, _> {
        Box::pin(async move {
            let asked = async {
                let machine = fleet.machine_reader(host).await.map_err(|e| e.message)?;
                let output = machine.probe(CHECK_SCRIPT).await.map_err(|e| e.to_string())?;
                let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
                parse(&output, i64::try_from(now).unwrap_or(i64::MAX))
            };
            let patience = spec.policy().timeout;
            let asked = tokio::time::timeout(patience, asked).await;
            (host.name.clone(), asked.unwrap_or_else(|_| Err(format!("it did not answer within {} s", patience.as_secs()))))
        })
    });
    stream::iter(looks.collect::<Vec<_>>()).buffer_unordered(spec.policy().concurrency).collect().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_script_prints_is_read() {
        let text = "noise\nswarm-check-begin\nuid 0\ntime 1100\nkernel 6.1.0\nos debian 12\ncgroup 2\nmodule ip_vs no\nmodule vxlan yes\n\
            sysctl net/ipv4/ip_forward 1\nmemory-kib 1024\ndisk-kib 10 20\ninodes 5 9\nfiles 1024\nproxy yes\nno-proxy 10.0.0.0/8,localhost\n\
            boot yes\nreboot-required\nselinux Enforcing\nsnap\nfirewall nftables\nroute 10.0.0.0/24 dev eth0 proto kernel\nlistens 0949\nengine-listens 1F0A\nlistens 1F0A\nswarm-check-end\n";
        let m = parse(text, 1000).unwrap();
        assert_eq!(
            (m.ahead, m.cgroup, m.memory, m.disk, m.files),
            (Some(100), Some(2), Some(1 << 20), Some((10 << 10, 20 << 10)), Some(1024))
        );
        assert_eq!(m.routes, [("10.0.0.0/24".parse().unwrap(), "eth0".to_owned())]);
        assert!(
            m.proxy
                && m.snap
                && m.reboot_required
                && m.listens.contains(&2377)
                && m.engine_listens.iter().eq([&7946])
                && !m.modules["ip_vs"]
                && m.modules["vxlan"]
        );
        assert!(parse("swarm-check-begin\nuid 0\n", 0).is_err());
    }
}
