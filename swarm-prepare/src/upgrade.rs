//! To bring engines to another version: what runs on a host for it, and what stands against it beforehand.

use std::cmp::Ordering;
use swarm_core::ClusterSpec;
use swarm_core::id::HostName;
use swarm_core::observe::Observed;

/// Installs a version of the engine with the host's own package manager, or by the command in its further arguments; ends well only where
/// that version is installed and runs. The first argument is `do`, the second the version, by its
/// beginning. With `look` it changes nothing but the lists of what apt offers: it ends well where a package would be found, and prints
/// `offers VERSION` where that is known.
///
/// It waits for another run of the package manager, keeps the configuration files as they are, and takes the newest package that the
/// version fits.
pub const UPGRADE_SCRIPT: &str = concat!(include_str!("common.sh"), swarm_service::shell!(), include_str!("upgrade.sh"));

/// Engines that break what a swarm uses while they are in it together: below a version, from it on, what, and the source.
const PAIRS: &[(u32, &str, &str)] =
    &[(29, "encrypted overlay networks carry nothing between engines before 29 and from 29 on", "moby#51798")];

/// The numbers of a version, up to the first part that is none.
fn numbers(version: &str) -> Vec<u32> {
    let plain = version.trim_start_matches('v');
    let end = plain.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(plain.len());
    plain.get(..end).unwrap_or_default().split('.').map_while(|n| n.parse().ok()).collect()
}

/// Whether a version is the one that is wanted, by its beginning: `28` and `28.5` are `28.5.2`, and `2` is not.
pub fn is_version(version: &str, wanted: &str) -> bool {
    let (have, want) = (numbers(version), numbers(wanted));
    !want.is_empty() && have.starts_with(&want)
}

/// How two versions stand, as far as both say it.
fn compared(have: &str, want: &str) -> Ordering {
    numbers(have).iter().zip(&numbers(want)).map(|(a, b)| a.cmp(b)).find(|o| o.is_ne()).unwrap_or(Ordering::Equal)
}

/// An upgrade of engines: who is to be upgraded, who has that version already, and what stands against it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpgradeOf {
    /// The hosts with their versions now.
    pub hosts: Vec<(HostName, String)>,
    /// Those that have the wanted version.
    pub there: Vec<HostName>,
    /// What stands against it, each with what to do.
    pub refusals: Vec<String>,
}

/// Looks at an upgrade of these hosts to a version, by its beginning. `encrypted` says whether the swarm has encrypted networks.
pub fn upgrade_of(spec: &ClusterSpec, observed: &Observed, hosts: &[HostName], wanted: &str, encrypted: bool) -> UpgradeOf {
    let mut all = UpgradeOf::default();
    let number = numbers(wanted);
    if number.is_empty() {
        all.refusals.push(format!("`{wanted}` is no version; write for example 28 or 28.5.2"));
        return all;
    }
    if compared(wanted, "20.10").is_lt() {
        all.refusals.push(format!("engines before 20.10 are not supported: {wanted}"));
    }
    let version = |host: &HostName| observed.hosts.get(host)?.report.engine.as_ref().ok().map(|engine| engine.version.clone());
    for host in hosts {
        match version(host) {
            None => all.refusals.push(format!("{host}: its engine does not say its version; leave it out, or bring it back first")),
            Some(have) if is_version(&have, wanted) => all.there.push(host.clone()),
            Some(have) if compared(&have, wanted).is_gt() => all
                .refusals
                .push(format!("{host}: it has {have}, which is newer: an older engine may not read what a newer one wrote; leave it out")),
            Some(have) => all.hosts.push((host.clone(), have)),
        }
    }
    let major = |version: &str| numbers(version).first().copied();
    let all_majors: Vec<u32> = spec.hosts().filter_map(|h| major(&version(&h.name)?)).collect();
    for (from, what, source) in PAIRS.iter().filter(|_| encrypted && !all.hosts.is_empty()) {
        // Where some are across already, it is broken, and going on mends it.
        if major(wanted).is_some_and(|to| to >= *from) && all_majors.iter().all(|have| have < from) {
            all.refusals.push(format!(
                "{what} ({source}), and this swarm has encrypted networks: make them without `encrypted` first, or upgrade all hosts while nothing uses them"
            ));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        assert!(is_version("28.5.2+dfsg1", "28") && is_version("28.5.2", "28.5") && is_version("20.10.24+dfsg1", "20.10.24"));
        assert!(!is_version("28.5.2", "2") && !is_version("28.5.2", "28.5.21") && !is_version("28.5.2", "") && !is_version("", "28"));
        assert_eq!(compared("20.10.24", "20.9"), Ordering::Greater);
        assert_eq!(compared("v9.0", "10"), Ordering::Less);
        assert_eq!(compared("28.5.2", "28"), Ordering::Equal, "as far as both say it");
    }
}
