//! One fixed script that asks a machine what its engine cannot tell. No value of the file goes into it.

use super::facts::MachineFacts;
use crate::addr::InterfaceAddress;

/// Prints marked lines between two nonces, so that what a login shell prints around it does no harm.
///
/// Only `ip`, `df` and `tail` are programs of their own; everything else the shell does itself. Each process costs a slow host some
/// milliseconds.
pub const PROBE_SCRIPT: &str = r#"export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin:/usr/local/bin"
echo swarm-probe-begin
[ -r /etc/machine-id ] && read -r id </etc/machine-id && echo "machine-id $id"
[ -r /proc/sys/kernel/random/boot_id ] && read -r id </proc/sys/kernel/random/boot_id && echo "boot-id $id"
command -v dockerd >/dev/null 2>&1 && echo engine dockerd
command -v docker >/dev/null 2>&1 && echo engine docker
for d in /var/lib/docker/swarm /var/lib/docker /var/lib; do [ -d "$d" ] && break; done
free=$(df -Pk "$d" 2>/dev/null | while read -r _ _ _ k _; do echo "$k"; done | tail -n 1)
[ -n "$free" ] && echo "disk-free-kib $free"
echo swarm-probe-addresses
ip -o addr show 2>/dev/null
echo swarm-probe-end
"#;

/// Reads what [`PROBE_SCRIPT`] printed.
///
/// # Errors
/// A text for people, if the output is not whole.
pub fn parse_probe(output: &str) -> Result<MachineFacts, String> {
    let mut facts = MachineFacts::default();
    let mut lines = output.lines().map(str::trim_end).skip_while(|line| *line != "swarm-probe-begin").skip(1);
    loop {
        let Some(line) = lines.next() else { return Err("the host's answer to the probe is not whole".into()) };
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["swarm-probe-end"] => return Ok(facts),
            ["machine-id", id] => facts.machine_id = Some((*id).to_owned()),
            ["boot-id", id] => facts.boot_id = Some((*id).to_owned()),
            ["engine", _] => facts.engine_installed = true,
            ["disk-free-kib", kib] => facts.disk_free = kib.parse::<u64>().ok().map(|k| k.saturating_mul(1024)),
            // `2: eth0    inet 10.0.0.5/24 brd …`
            [index, interface, "inet" | "inet6", address, ..] if index.ends_with(':') => {
                if let Ok(address) = address.split('/').next().unwrap_or(address).parse() {
                    // `eth0@if7` is how ip shows one end of a veth pair; the interface is `eth0`.
                    let interface = interface.split('@').next().unwrap_or(interface).trim_end_matches(':').to_owned();
                    facts.addresses.push(InterfaceAddress { interface, address });
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_of_the_login_shell_is_skipped() {
        let facts = parse_probe(
            "Welcome!\nswarm-probe-begin\nmachine-id abc\nboot-id b1\nengine dockerd\ndisk-free-kib 2048\nswarm-probe-addresses\nsay lo inet 10.9.9.9/8\n1: lo    inet 127.0.0.1/8 scope host lo\n7: eth0@if7    inet 10.0.0.5/24 brd 10.0.0.255 scope global eth0\nswarm-probe-end\nbye",
        )
        .unwrap();
        assert_eq!((facts.machine_id.as_deref(), facts.boot_id.as_deref()), (Some("abc"), Some("b1")));
        assert_eq!(facts.addresses[1], InterfaceAddress { interface: "eth0".into(), address: "10.0.0.5".parse().unwrap() });
        assert!(facts.engine_installed);
        assert_eq!(facts.disk_free, Some(2 << 20));
        // A login shell may print what looks like an answer.
        let facts = parse_probe("You have mail.\nengine dockerd\nswarm-probe-begin\nmachine-id abc\nswarm-probe-end\n").unwrap();
        assert!(!facts.engine_installed && facts.machine_id.is_some());
    }

    #[test]
    fn a_torn_answer_is_an_error() {
        assert!(parse_probe("swarm-probe-begin\nmachine-id abc\n").is_err());
        assert!(parse_probe("").is_err());
    }
}
