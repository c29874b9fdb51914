//! Going to the hosts: a probe is put there and listens, all send to all, and what arrived is fetched.

use super::{Heard, Item, Matrix, Protocol, Wanted, judge};
use crate::machine::Machine;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt};
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;
use swarm_core::ClusterSpec;
use swarm_core::fleet::Fleet;
use swarm_core::host::{Command, Host, Output};
use swarm_core::id::HostName;

/// How long a listener stays where it is not asked to end, seconds: it also ends where we do not come back.
const STAYS: &str = "90";
/// How long putting a probe on a host may take.
const PUT: Duration = Duration::from_secs(60);

/// How much is given as an argument, bytes: Linux takes 128 KiB in one.
const ARGUMENT: usize = 32 << 10;

/// How many hosts send at once what is tried once more.
const AGAIN_AT_ONCE: usize = 8;

/// Puts the probe into a folder of its own from which a program may be started, and starts it. A transfer that was cut off starts nothing.
const PUT_SCRIPT: &str = r#"umask 077; size=$1; shift
dir=; trap '[ -z "$dir" ] || rm -rf "$dir"' EXIT; trap 'exit 1' HUP INT TERM PIPE
for d in /tmp /var/tmp /run "$HOME"; do
  dir=$(mktemp -d "$d/swarm-probe.XXXXXX" 2>/dev/null) || { dir=; continue; }
  printf '#!/bin/sh\nexit 0\n' >"$dir/probe" && chmod 700 "$dir/probe" && "$dir/probe" 2>/dev/null && break
  rm -rf "$dir"; dir=
done
[ -n "$dir" ] || { echo "no folder where a program may be put and started" >&2; exit 1; }
rm -f "$dir/probe"; gzip -dc >"$dir/probe" && chmod 700 "$dir/probe" || exit 1
[ "$(wc -c <"$dir/probe")" -eq "$size" ] || { echo "the probe did not arrive whole" >&2; exit 1; }
echo "dir $dir"
"$dir/probe" listen "$dir" "$@" || exit 1
trap - EXIT
"#;

/// Connects with what the host has. Lines of standard input are as the probe reads them.
const OWN_TOOLS: &str = r#"export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"
one() {
  if command -v bash >/dev/null && command -v timeout >/dev/null; then
    said=$(timeout 2 bash -c ': <"/dev/tcp/$0/$1"' "$3" "$4" 2>&1)
    case "$?:$said" in 0:*) said=open;; 124:*) said=filtered;; *refused*) said=refused;; *) said=no-route;; esac
  elif command -v nc >/dev/null; then
    if nc -z -w 2 "$3" "$4" 2>/dev/null; then said=open; else said=filtered; fi
  else said=no-tool; fi
  echo "$1 $2 $said"
}
while read -r to item address; do case "$item" in tcp/*) one "$to" "$item" "$address" "${item#tcp/}" & ;; esac; done
wait
"#;

/// A probe that listens on a host.
struct Placed {
    host: Arc<dyn Host>,
    dir: Option<String>,
}

/// Finds out what arrives, from every host of [`Wanted`] to every other. `machines` says which processor each has.
///
/// What is lost is tried once more, by fewer hosts at a time, before it is said to be lost; then packets of other sizes are tried too. Nothing stays on the hosts: each listener ends, and
/// its folder goes, with this; or within 90 s where this is dropped, or cut off. What cannot be tried is in the answer with its reason.
pub async fn matrix(
    spec: &ClusterSpec,
    fleet: &dyn Fleet,
    machines: &BTreeMap<HostName, Result<Machine, String>>,
    wanted: &Wanted,
) -> Matrix {
    let first = once(spec, fleet, machines, wanted, spec.policy().concurrency, true).await;
    let doubtful = first.doubtful();
    if doubtful.is_empty() {
        return first;
    }
    let at_once = spec.policy().concurrency.min(AGAIN_AT_ONCE);
    let again = once(spec, fleet, machines, &wanted.between(doubtful), at_once, false).await;
    first.and_again(again)
}

async fn once(
    spec: &ClusterSpec,
    fleet: &dyn Fleet,
    machines: &BTreeMap<HostName, Result<Machine, String>>,
    wanted: &Wanted,
    at_once: usize,
    first: bool,
) -> Matrix {
    let nonce = format!("{:016x}", RandomState::new().hash_one(spec.name()));
    let mut heard = vec![Heard::default(); wanted.stations.len()];
    let mut without = BTreeMap::new();
    let placing = wanted.stations.iter().map(|station| -> BoxFuture<'_, _> {
        let items: Vec<Item> = wanted.to(station).into_iter().map(|(item, _)| item).collect();
        let looked = machines.get(&station.host);
        let nonce = &nonce;
        Box::pin(async move {
            // One that did not answer a moment ago is not waited for again.
            let processor = match looked {
                Some(Err(why)) => return Err(why.clone()),
                Some(Ok(machine)) => machine.arch.clone(),
                None => None,
            };
            let host = spec.host(&station.host).ok_or("it is not in the file")?;
            let machine = fleet.visit(host).await.map_err(|e| e.message)?;
            Ok::<_, String>(put(machine, processor, nonce, &items).await)
        })
    });
    let placed = in_order(placing.collect(), at_once).await;
    let mut probes: Vec<Option<Placed>> = Vec::new();
    for ((station, heard), placed) in wanted.stations.iter().zip(&mut heard).zip(placed) {
        let (probe, why) = match placed {
            Ok((host, Ok((dir, said)))) => {
                heard.began(&said);
                (Some(Placed { host, dir: Some(dir) }), None)
            }
            Ok((host, Err(why))) => (Some(Placed { host, dir: None }), Some(why)),
            Err(why) => (None, Some(why)),
        };
        without.extend(why.map(|why| (station.host.clone(), why)));
        probes.push(probe);
    }
    let sending = probes.iter().enumerate().map(|(from, probe)| -> BoxFuture<'_, _> {
        let nonce = &nonce;
        Box::pin(async move {
            match probe {
                Some(placed) => send(placed, nonce, from, wanted, first).await,
                None => String::new(),
            }
        })
    });
    for (heard, said) in heard.iter_mut().zip(in_order(sending.collect(), at_once).await) {
        heard.sent(&said);
    }
    let collecting = probes.iter().map(|probe| -> BoxFuture<'_, _> {
        let nonce = &nonce;
        Box::pin(async move {
            let Some(Placed { host, dir: Some(dir) }) = probe else { return String::new() };
            let program = format!("{dir}/probe");
            answer(run(host, vec![program.as_str(), "collect", dir, nonce], None, Duration::from_secs(15)).await).unwrap_or_default()
        })
    });
    let ended = in_order(collecting.collect(), at_once).await;
    for (((heard, said), station), probe) in heard.iter_mut().zip(ended).zip(&wanted.stations).zip(&probes) {
        let listened = heard.ended(&said);
        if !listened && probe.as_ref().is_some_and(|p| p.dir.is_some()) {
            without.insert(station.host.clone(), "its probe did not say what arrived".to_owned());
        }
    }
    judge(wanted, &heard, without)
}

/// All of them, so many at a time, with their answers in their order.
async fn in_order<T: Send>(all: Vec<BoxFuture<'_, T>>, at_once: usize) -> Vec<T> {
    stream::iter(all).buffered(at_once.max(1)).collect().await
}

async fn run(host: &Arc<dyn Host>, argv: Vec<&str>, stdin: Option<Vec<u8>>, timeout: Duration) -> Result<Output, String> {
    let command = Command { stdin, timeout, elevated: true, ..Command::new(argv) };
    host.run(&command).await.map_err(|e| e.to_string())
}

/// What a command printed, if it ended well.
fn answer(output: Result<Output, String>) -> Result<String, String> {
    let output = output?;
    if output.status == Some(0) {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said: String = said.lines().next().unwrap_or("it ended without a word").chars().take(200).collect();
    Err(swarm_core::secret::clean(&said, 200))
}

type Put = (Arc<dyn Host>, Result<(String, String), String>);

async fn put(host: Arc<dyn Host>, processor: Option<String>, nonce: &str, items: &[Item]) -> Put {
    let probe = match processor.as_deref() {
        None => Err("its processor is not known".to_owned()),
        Some(name) => swarm_probe::for_processor(name).ok_or_else(|| format!("this build has no probe for {name}")),
    };
    let probe = match probe {
        Ok(probe) => probe,
        Err(why) => return (host, Err(why)),
    };
    // Sizes go to the port of overlay traffic, which is among the others.
    let items: Vec<String> = items.iter().filter(|item| item.protocol != Protocol::Mtu).map(ToString::to_string).collect();
    let mut argv = vec!["sh", "-c", PUT_SCRIPT, "sh", probe.size, nonce, STAYS];
    argv.extend(items.iter().map(String::as_str));
    let command = Command { stdin: Some(probe.packed.to_vec()), timeout: PUT, elevated: true, ..Command::new(argv) };
    let said = answer(host.run(&command).await.map_err(|e| e.to_string()));
    let placed = said.and_then(|said| {
        let dir = said.lines().find_map(|line| line.strip_prefix("dir ")).map(str::to_owned);
        let ready = said.lines().any(|line| line == "ready");
        dir.filter(|_| ready).map(|dir| (dir, said)).ok_or_else(|| "its probe did not start".to_owned())
    });
    (host, placed)
}

async fn send(placed: &Placed, nonce: &str, from: usize, wanted: &Wanted, first: bool) -> String {
    let targets = wanted.targets(from);
    let (from, limit) = (from.to_string(), Duration::from_secs(30));
    let said = match &placed.dir {
        Some(dir) => {
            // Where a whole packet passes, smaller ones need not be tried.
            let (program, which) = (format!("{dir}/probe"), if first { "first" } else { "all" });
            let argv = [program.as_str(), "send", nonce, &from, which];
            // sshd takes a command's input only a round trip after the command.
            match targets.len() < ARGUMENT {
                true => run(&placed.host, [argv.as_slice(), &[&targets]].concat(), None, limit).await,
                false => run(&placed.host, argv.to_vec(), Some(targets.into_bytes()), limit).await,
            }
        }
        None => run(&placed.host, vec!["sh", "-c", OWN_TOOLS], Some(targets.into_bytes()), limit).await,
    };
    answer(said).unwrap_or_default()
}
