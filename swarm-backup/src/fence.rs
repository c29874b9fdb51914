//! A manager whose host is reached and whose engine does not answer is kept from coming back as what it was: its engine is seen to be stopped
//! and is not started at boot, or its state is moved aside. What was seen is looked at again right before it counts.

use crate::family::Kept;
use crate::scripts;
use std::collections::BTreeMap;
use std::time::Duration;
use swarm_core::ClusterSpec;
use swarm_core::fleet::Fleet;
use swarm_core::host::Command;
use swarm_core::id::HostName;
use swarm_core::observe::{HostState, Observed};
use swarm_core::plan::Risk;
use swarm_core::recover::Fenced;

/// What a host said of its engine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Said {
    /// Why the engine is not stopped for sure.
    runs: Option<String>,
    /// Whether something starts it at boot, as far as is known.
    boot: bool,
    /// Its data folder; `None` where it is given on its command line.
    root: Option<String>,
    /// Whether there is a swarm's state in it.
    state: bool,
}

fn read(text: &str) -> Said {
    let mut said = Said { boot: true, state: true, ..Said::default() };
    for line in text.lines() {
        match line.split_once('=') {
            Some(("runs", why)) => said.runs = Some(why.to_owned()),
            Some(("boot", value)) => said.boot = value != "no",
            Some(("root", path)) if path.starts_with('/') => said.root = Some(path.to_owned()),
            Some(("state", value)) => said.state = value != "no",
            _ => {}
        }
    }
    said
}

fn kept_down(what: &str, kept: Kept, after: &str, risk: Risk) -> Fenced {
    let step = kept.work().step("its engine is stopped", after, "it must not come back as a manager of this swarm", risk);
    Fenced { what: what.to_owned(), step }
}

/// The state of a stopped engine is moved aside, in its data folder: started again, it is in no swarm. Nothing of it is lost.
pub fn set_aside(host: &HostName, data_root: String) -> Fenced {
    let what = format!("its engine is stopped; its state is moved to {data_root}/{}", scripts::ASIDE);
    kept_down(&what, Kept::Aside { host: host.clone(), data_root }, "its state is moved aside", Risk::Host)
}

/// How the engine of such a host is kept down; `Err` with why it is not.
fn fence(host: &HostName, said: Said) -> Result<Fenced, String> {
    if let Some(why) = said.runs {
        return Err(why);
    }
    let stays =
        |what: &str, root: String| Ok(kept_down(what, Kept::Stays { host: host.clone(), data_root: root }, "it stays so", Risk::None));
    match (said.boot, said.root) {
        (_, Some(root)) if !said.state => stays("its engine is stopped, and has no swarm's state", root),
        (false, root) => stays("its engine is stopped, and is not started at boot", root.unwrap_or_default()),
        (true, Some(root)) => Ok(set_aside(host, root)),
        (true, None) => Err(
            "its engine is stopped, is started at boot, and is given its data folder on its command line: where its state is, is not known"
                .into(),
        ),
    }
}

/// How the managers of the file whose hosts are reached and whose engines do not answer are kept from coming back, as seen on their hosts.
/// Nothing is changed there. Hosts that are not reached are left out.
pub async fn fences(spec: &ClusterSpec, fleet: &dyn Fleet, observed: &Observed) -> BTreeMap<HostName, Result<Fenced, String>> {
    let mut all = BTreeMap::new();
    for wanted in spec.managers() {
        // An engine that hangs counts as unreachable, and so does a host: only the host can say which it is.
        let silent = |s: &HostState| matches!(s, HostState::EngineDown { .. } | HostState::NoEngine { .. } | HostState::Unreachable { .. });
        if !observed.hosts.get(&wanted.name).is_some_and(|seen| silent(&seen.state)) {
            continue;
        }
        let Ok(machine) = fleet.visit(wanted).await else { continue };
        let look = Command { elevated: true, timeout: Duration::from_secs(30), ..Command::new(scripts::at_rest()) };
        let found = match machine.run(&look).await {
            Ok(output) if output.status == Some(0) => fence(&wanted.name, read(&String::from_utf8_lossy(&output.stdout))),
            Ok(output) => Err(swarm_core::secret::clean(&String::from_utf8_lossy(&output.stderr), 200)),
            Err(error) => Err(error.to_string()),
        };
        all.insert(wanted.name.clone(), found);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keeps_an_engine_down() {
        let of = |text: &str| {
            let fenced = fence(&"m2".into(), read(text))?;
            Ok((fenced.step.action.verb().to_owned(), fenced.what))
        };
        let stays = |what: &str| Ok(("see-stopped".to_owned(), what.to_owned()));
        let table = [
            ("boot=no\nroot=/var/lib/docker\nstate=yes\n", stays("its engine is stopped, and is not started at boot")),
            ("boot=no\nroot=\nstate=yes\n", stays("its engine is stopped, and is not started at boot")),
            ("boot=yes\nroot=/data\nstate=no\n", stays("its engine is stopped, and has no swarm's state")),
            (
                "boot=yes\nroot=/data\nstate=yes\n",
                Ok(("set-state-aside".to_owned(), "its engine is stopped; its state is moved to /data/swarm.before-recovery".to_owned())),
            ),
            ("runs=its engine runs\nboot=no\nroot=/data\nstate=no\n", Err("its engine runs".to_owned())),
        ];
        for (text, expected) in table {
            assert_eq!(of(text), expected, "{text}");
        }
        // What was not said is not taken for the better.
        for text in ["", "boot=\nroot=data\nstate=\n", "root=relative\nstate=no\n"] {
            assert!(of(text).is_err_and(|why| why.contains("not known")), "{text}");
        }
    }
}
