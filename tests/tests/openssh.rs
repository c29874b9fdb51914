//! Our SSH client is never more trusting than OpenSSH: both are given the same files and the same servers, and their verdicts compared.

use std::collections::{BTreeMap, BTreeSet};
use swarm_ssh::{HostKeyVerdict, KnownHosts, Trust};
use swarm_tests::openssh::layouts::{Builder, Case, servers};
use swarm_tests::openssh::servers::Keys;
use swarm_tests::openssh::{Bench, Verdict};

/// Where we are stricter than OpenSSH, by production, and why.
const STRICTER: &[(&str, &str)] = &[
    ("a file that others can write", "whoever can write it can make any host trusted"),
    ("a file of another user", "the same"),
    ("a symbolic link", "whoever can change where it leads can do the same"),
];

#[test]
#[allow(clippy::print_stdout, reason = "the table of what was compared")]
fn nothing_connects_where_ssh_refuses() {
    let dir = tempfile::tempdir().unwrap();
    let keys = Keys::new(&dir.path().join("keys"));
    let servers = servers(&keys);
    let mut builder = Builder::new(&keys, &servers);
    builder.lines();
    builder.certificates();
    builder.keywords();
    builder.random(140);
    let (layouts, cases) = (builder.all, builder.cases);
    let bench = Bench::new(dir.path(), &layouts);
    let hosts: Vec<&str> = layouts.iter().map(|l| l.host.as_str()).collect();
    let theirs = bench.all_openssh(&hosts);
    let ours = bench.ours("auto", &hosts, None);

    let mut table: BTreeMap<&str, (usize, usize, BTreeSet<Verdict>)> = BTreeMap::new();
    let (mut laxer, mut stricter, mut other) = (Vec::new(), Vec::new(), Vec::new());
    let mut refused: BTreeSet<&str> = BTreeSet::new();
    for layout in &layouts {
        let (their, said) = &theirs[&layout.host];
        let (our, way, we_said) = &ours[&layout.host];
        let row = table.entry(layout.production).or_default();
        row.0 += 1;
        row.1 += usize::from(way != "native");
        row.2.insert(*their);
        let line = || {
            format!(
                "{} ({}, {way}): ssh {their}, we {our}\n    ssh: {}\n    we: {we_said}\n    {}",
                layout.production,
                layout.host,
                said.trim().replace('\n', " | "),
                layout.section.trim().replace('\n', " | ")
            )
        };
        match (*their, *our) {
            (a, b) if a == b => {}
            (Verdict::Connects, _) if STRICTER.iter().any(|(p, _)| *p == layout.production) => {
                refused.insert(layout.production);
            }
            (Verdict::Connects, _) => stricter.push(line()),
            (_, Verdict::Connects) => laxer.push(line()),
            // `ssh` does not always say what is wrong with a host key, and never that of a jump host.
            (Verdict::Refused, Verdict::Unknown | Verdict::Changed | Verdict::Revoked) if said.contains("Host key verification failed") => {
            }
            _ => other.push(line()),
        }
    }
    for (production, (count, by_openssh, verdicts)) in &table {
        let verdicts: Vec<String> = verdicts.iter().map(ToString::to_string).collect();
        println!("{production:32} {count:4} layouts, {by_openssh:3} by ssh itself: {}", verdicts.join(", "));
    }
    println!("{} layouts, {} productions", layouts.len(), table.len());
    for (what, lines) in [("laxer", &laxer), ("stricter", &stricter), ("other", &other)] {
        println!("{}: {what}\n{}", lines.len(), lines.join("\n"));
    }
    let named: BTreeSet<&str> = STRICTER.iter().map(|(production, _)| *production).collect();
    assert!(refused == named && named.len() <= 20, "what is named as stricter is so: {refused:?}");
    assert!(laxer.is_empty(), "we connect where ssh does not:\n{}", laxer.join("\n"));
    assert!(stricter.is_empty(), "we refuse where ssh connects:\n{}", stricter.join("\n"));
    assert!(other.is_empty(), "both refuse, for other reasons:\n{}", other.join("\n"));
    // The matcher by itself says the same, and each mutant of it something else.
    let differing = |mutant: &Mutant| {
        // What `ssh` refuses for another reason (a name that does not resolve) says nothing of the matcher.
        let of = |(host, case): &(&String, &Case)| {
            theirs[*host].0 != Verdict::Refused && verdict(&keys, &(mutant.1)((*case).clone()), mutant.2) != theirs[*host].0
        };
        cases.iter().filter(of).map(|(host, _)| host.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(differing(&("none", |case| case, None)), Vec::<&str>::new());
    assert!(cases.len() > 250, "{} cases", cases.len());
    for mutant in MUTANTS {
        let caught = differing(mutant);
        println!("mutant {:28} caught by {} layouts", mutant.0, caught.len());
        assert!(!caught.is_empty(), "the mutant {} is not caught", mutant.0);
    }
    assert!(layouts.len() >= 400 && table.len() >= 60, "{} layouts, {} productions", layouts.len(), table.len());
    // A production with one verdict shows nothing: what it is about may not be what decides.
    let decides = |verdicts: &BTreeSet<Verdict>| verdicts.len() > 1 && verdicts.contains(&Verdict::Connects);
    let one_sided: Vec<_> = table.iter().filter(|(_, row)| !decides(&row.2)).map(|(production, _)| production).collect();
    assert!(one_sided.is_empty(), "no layout that connects and one that does not: {one_sided:?}");
}

/// A matcher that is wrong in one way: its name, what it makes of its input, and the time it takes for now.
type Mutant = (&'static str, fn(Case) -> Case, Option<u64>);

const MUTANTS: &[Mutant] = &[
    ("ignores negation", |case| text(case, |t| t.replace('!', "")), None),
    (
        "ignores the port",
        |mut case| {
            case.port = 22;
            text(case, |t| {
                t.replace('[', "")
                    .split("]:")
                    .enumerate()
                    .map(|(i, part)| {
                        if i == 0 { part.to_owned() } else { part.trim_start_matches(|c: char| c.is_ascii_digit() || c == '*').to_owned() }
                    })
                    .collect()
            })
        },
        None,
    ),
    ("ignores @revoked", |case| lines(case, |l| (!l.starts_with("@revoked ")).then(|| l.to_owned())), None),
    (
        "ignores a CA's principals",
        |mut case| {
            let at = format!("[{}]:{}", case.name, case.port);
            (case.name, case.alias) = ("other".into(), true);
            text(case, |t| t.replace(&at, "other"))
        },
        None,
    ),
    (
        "takes any hash",
        |case| {
            lines(case, |l| {
                Some(if l.starts_with("|1|") { format!("* {}", l.split_once(' ').unwrap_or_default().1) } else { l.to_owned() })
            })
        },
        None,
    ),
    (
        "reads one file",
        |mut case| {
            case.files.truncate(1);
            case
        },
        None,
    ),
    (
        "ignores the alias",
        |mut case| {
            if case.alias {
                (case.name, case.alias) = ("127.0.0.1".into(), false);
            }
            case
        },
        None,
    ),
    (
        "minds the case",
        |case| {
            lines(case, |l| {
                (!l.split(' ').next().unwrap_or_default().contains(|c: char| c.is_ascii_uppercase()) || l.starts_with('|'))
                    .then(|| l.to_owned())
            })
        },
        None,
    ),
    ("ignores markers", |case| text(case, |t| t.replace("@cert-authority ", "")), None),
    ("ignores expiry", |case| case, Some(1_600_000_000)),
];

fn text(mut case: Case, change: impl Fn(&str) -> String) -> Case {
    for file in &mut case.files {
        if let Ok(text) = std::str::from_utf8(file) {
            *file = change(text).into_bytes();
        }
    }
    case
}

fn lines(case: Case, change: impl Fn(&str) -> Option<String>) -> Case {
    text(case, |t| t.split('\n').filter_map(&change).map(|l| l + "\n").collect())
}

/// What the matcher says of the key that a server shows.
fn verdict(keys: &Keys, case: &Case, now: Option<u64>) -> Verdict {
    let mut trust = Trust { name: case.name.clone(), alias: case.alias, port: case.port, ..Trust::default() };
    let mut known = KnownHosts::default();
    for file in &case.files {
        known.add(file, "f");
    }
    trust.known = known;
    trust.ca_algorithms = ["ssh-ed25519", "rsa-sha2-512", "rsa-sha2-256"].map(str::to_owned).to_vec();
    let key = match case.server.as_str() {
        "plain" | "gcm" | "sha1" | "sntrup" | "umac" => "host",
        other => other,
    };
    let now = now.unwrap_or_else(|| std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs());
    let read = |ending: &str| std::fs::read_to_string(keys.at(&format!("{key}{ending}")));
    let found = match read("-cert.pub") {
        Ok(certificate) => trust.judge_certificate(&certificate, now),
        Err(_) => trust.judge_text(&read(".pub").unwrap()),
    };
    match found {
        HostKeyVerdict::Ok => Verdict::Connects,
        HostKeyVerdict::Unknown => Verdict::Unknown,
        HostKeyVerdict::Changed { .. } => Verdict::Changed,
        HostKeyVerdict::Revoked { .. } => Verdict::Revoked,
        HostKeyVerdict::Refused { .. } => Verdict::Refused,
    }
}

/// `docs/ssh.md` holds every keyword, as the code has it, and every keyword that this machine's `ssh` prints.
#[test]
fn every_keyword_is_in_the_documents() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/ssh.md")).unwrap();
    for (keyword, handling) in swarm_ssh::KEYWORDS {
        let word = match handling {
            swarm_ssh::Handling::Honoured => "honoured",
            swarm_ssh::Handling::ByOpenSsh => "by OpenSSH",
            swarm_ssh::Handling::Refused => "refused",
            swarm_ssh::Handling::Meaningless => "without meaning here",
        };
        assert!(text.contains(&format!("| {keyword} | {word} |")), "{keyword}: {word}");
    }
    let printed = swarm_tests::lab::sh(&["ssh", "-F", "/dev/null", "-G", "localhost"]);
    for line in printed.lines() {
        let keyword = line.split(' ').next().unwrap().to_ascii_lowercase();
        assert!(text.contains(&format!("| {keyword} |")), "{keyword} is printed by `ssh -G`");
    }
}
