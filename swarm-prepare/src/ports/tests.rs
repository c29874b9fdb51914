use super::*;
use std::collections::BTreeSet;

fn station(name: &str, last: u8, member: bool) -> Station {
    let address: IpAddr = format!("192.168.7.{last}").parse().unwrap();
    Station { host: HostName::new(name), address, data_path: address, manager: (name == "m1").then_some(2377), member, idle: !member }
}

fn two(member: bool) -> Wanted {
    Wanted {
        stations: vec![station("m1", 1, member), station("w1", 2, member)],
        data_path_port: 4789,
        encrypted: true,
        left_out: BTreeMap::new(),
        about: None,
        only: None,
    }
}

/// What both probes say where everything arrives.
fn well() -> Vec<Heard> {
    let wanted = two(false);
    (0..2)
        .map(|own: usize| {
            let mut heard = Heard::default();
            heard.began("dir /tmp/x\nraw udp\nbound tcp/2377\nbound tcp/7946\nbound udp/7946\nbound udp/4789\nbound esp\nready\n");
            let other = 1 - own;
            let items: Vec<Item> = wanted.to(&wanted.stations[other]).into_iter().map(|(item, _)| item).collect();
            let said = |item: &Item| match item.protocol {
                Protocol::Tcp => format!("{other} {item} open probe\n"),
                Protocol::Mtu => format!("{other} {item} sent 1500\n"),
                _ => format!("{other} {item} sent\n"),
            };
            heard.sent(&items.iter().map(said).collect::<String>());
            let own_items = wanted.to(&wanted.stations[own]);
            let arrived = own_items.iter().map(|(item, _)| match item.protocol {
                Protocol::Mtu => format!("{other} {item} 1280\n{other} {item} 1500\n"),
                _ => format!("{other} {item}\n"),
            });
            assert!(heard.ended(&(arrived.collect::<String>() + "end\ncollected abc\n")));
            heard
        })
        .collect()
}

/// What becomes of what `w1` sends to `m1`.
fn outcome(wanted: &Wanted, heard: &[Heard], item: &str) -> Outcome {
    let matrix = judge(wanted, heard, BTreeMap::new());
    let is = |p: &&Passage| p.from.as_str() == "w1" && Item { protocol: p.protocol, port: p.port.unwrap_or(0) }.to_string() == item;
    matrix.passages.iter().find(is).unwrap().outcome.clone()
}

#[test]
fn everything_that_arrives_passes() {
    let matrix = judge(&two(false), &well(), BTreeMap::new());
    assert_eq!(matrix.passages.len(), 6 + 5, "two ports more for a manager, one for a worker, and as much again");
    assert!(matrix.passages.iter().all(|p| p.outcome.passes()), "{matrix:#?}");
    assert_eq!(matrix.summary().unwrap(), "Ports between 2 hosts: 11 of 11 ways pass, 0 do not");
    assert_eq!(matrix.at(&HostName::new("m1"), |p| p.outcome.fails()), None);
    assert_eq!(matrix.untested(&HostName::new("m1")), None);
}

type Break = fn(&mut Vec<Heard>);

#[test]
fn what_senders_and_receivers_say_is_judged() {
    let said = |heard: &mut Vec<Heard>, item: &str, said: &str| drop(heard[1].sent.insert((0, item.into()), said.into()));
    let lost = |heard: &mut Vec<Heard>, item: &str| heard[0].arrived.retain(|(_, what, _)| what != item);
    let listens = |heard: &mut Vec<Heard>, item: &str, word: &str| drop(heard[0].listens.insert(item.into(), word.into()));
    let deaf = |heard: &mut Vec<Heard>| heard[0] = Heard { sent: heard[0].sent.clone(), ..Heard::default() };
    let tested = |outcome: &Outcome| !matches!(outcome, Outcome::NotTested { .. });
    let with = |breaks: &dyn Fn(&mut Vec<Heard>), member: bool, item: &str| {
        let mut heard = well();
        breaks(&mut heard);
        outcome(&two(member), &heard, item)
    };
    // Before a join the probe listens itself.
    for (word, expected) in
        [("filtered", Outcome::Filtered), ("no-route", Outcome::NoRoute), ("blocked", Outcome::Blocked), ("refused", Outcome::Refused)]
    {
        assert_eq!(with(&|h| (lost(h, "tcp/2377"), said(h, "tcp/2377", word)).1, false, "tcp/2377"), expected, "{word}");
    }
    assert_eq!(with(&|h| (lost(h, "tcp/2377"), said(h, "tcp/2377", "open")).1, false, "tcp/2377"), Outcome::Elsewhere, "another took it");
    assert_eq!(with(&|h| lost(h, "tcp/2377"), false, "tcp/2377"), Outcome::Elsewhere, "the probe of another host answered");
    let busy = |h: &mut Vec<Heard>| (lost(h, "tcp/2377"), listens(h, "tcp/2377", "busy"), said(h, "tcp/2377", "open")).2;
    assert_eq!(with(&busy, false, "tcp/2377"), Outcome::InUse, "something that is no engine");
    // An engine that does not say whether it is in a swarm may be what listens.
    let unsure = |breaks: &dyn Fn(&mut Vec<Heard>), item: &str| {
        let (mut heard, mut wanted) = (well(), two(false));
        breaks(&mut heard);
        wanted.stations.iter_mut().for_each(|station| station.idle = false);
        outcome(&wanted, &heard, item)
    };
    assert_eq!(unsure(&busy, "tcp/2377"), Outcome::Open);
    assert!(!tested(&unsure(&|h| (deaf(h), said(h, "tcp/2377", "refused")).1, "tcp/2377")), "it may not run");
    // In a swarm the engine listens.
    assert_eq!(with(&busy, true, "tcp/2377"), Outcome::Open);
    assert_eq!(with(&|h| (busy(h), said(h, "tcp/2377", "refused")).1, true, "tcp/2377"), Outcome::Refused);
    // Datagrams: the receiver knows, where it can see them.
    assert_eq!(with(&|h| lost(h, "udp/7946"), false, "udp/7946"), Outcome::NotArrived);
    let blind = |h: &mut Vec<Heard>| (lost(h, "udp/7946"), listens(h, "udp/7946", "busy"), h[0].raw = false).1;
    assert_eq!(with(&blind, false, "udp/7946"), Outcome::InUse);
    assert!(!tested(&with(&blind, true, "udp/7946")), "the engine has it, and a login that is not root does not see it");
    assert!(!tested(&with(&|h| (listens(h, "esp", "denied"), lost(h, "esp")).0, false, "esp")));
    assert_eq!(with(&|h| lost(h, "esp"), false, "esp"), Outcome::NotArrived);
    // Sizes.
    let small = |h: &mut Vec<Heard>| assert!(h[0].arrived.remove(&(1, "mtu/4789".into(), 1500)));
    assert_eq!(with(&small, false, "mtu/4789"), Outcome::Small { passes: 1280, of: 1500 });
    // Without a probe there: connections to an engine, and nothing else.
    assert!(!tested(&with(&|h| (deaf(h), said(h, "tcp/2377", "refused")).1, false, "tcp/2377")), "nothing listens there");
    assert_eq!(with(&|h| (deaf(h), said(h, "tcp/2377", "open")).1, true, "tcp/2377"), Outcome::Open);
    assert!(!tested(&with(&deaf, true, "udp/7946")));
    assert!(!tested(&with(&deaf, false, "tcp/2377")), "a probe answered, and which one is not known");
    // Without a sender.
    assert!(!tested(&with(&|h| h[1].sent.clear(), false, "tcp/2377")));
}

#[test]
fn one_direction_only_is_said_so() {
    let mut heard = well();
    heard[0].arrived.retain(|(_, what, _)| what != "udp/7946");
    let matrix = judge(&two(false), &heard, BTreeMap::new());
    assert!(matrix.passages.iter().filter(|p| p.outcome.fails()).all(|p| p.one_way && p.to.as_str() == "m1"), "{matrix:#?}");
    let words = matrix.at(&HostName::new("m1"), |p| p.outcome.fails()).unwrap();
    assert_eq!(words, "7946/udp from w1 does not arrive (6 tries), in this direction only");
    heard[1].arrived.retain(|(_, what, _)| what != "udp/7946");
    let matrix = judge(&two(false), &heard, BTreeMap::new());
    assert!(matrix.passages.iter().filter(|p| p.outcome.fails()).all(|p| !p.one_way), "neither way: {matrix:#?}");
    // What does not leave a host is that host's.
    let mut heard = well();
    heard[0].sent.insert((1, "udp/4789".into()), "blocked".into());
    heard[1].arrived.retain(|(_, what, _)| !what.ends_with("4789"));
    let matrix = judge(&two(false), &heard, BTreeMap::new());
    let words = matrix.at(&HostName::new("m1"), |p| p.outcome.fails()).unwrap();
    assert_eq!(words, "4789/udp to w1 is blocked by its own packet filter, in this direction only");
    assert_eq!(matrix.at(&HostName::new("w1"), |p| p.outcome.fails()), None);
    assert_eq!(
        matrix.summary().unwrap(),
        "Ports between 2 hosts: 9 of 10 ways pass, 1 do not",
        "sizes of what does not arrive are left out"
    );
}

/// Whatever hosts print is read without harm, and nothing passes for it.
#[test]
fn what_is_not_whole_is_no_answer() {
    let breaks: [Break; 3] = [
        |h| h[0].began("bound\nraw\n\nbusy tcp/9 more\n"),
        |h| h[1].sent("x tcp/2377 open\n0\n0 tcp/2377\n"),
        |h| assert!(h[0].ended("a b c d\n1 tcp/2377 many\n99999999999999999999 esp\nend\n")),
    ];
    for breaks in breaks {
        let mut heard = well();
        breaks(&mut heard);
        assert_eq!(outcome(&two(false), &heard, "tcp/2377"), Outcome::Open);
    }
    let mut cut = Heard::default();
    assert!(!cut.ended("1 tcp/2377\n"), "its end is missing");
}

/// Names of several senders are one sentence; a long list is cut.
#[test]
fn senders_are_named_together() {
    let passage = |from: usize, outcome: &Outcome| Passage {
        from: HostName::new(format!("w{from}")),
        to: HostName::new("m1"),
        address: "192.168.7.1".parse().unwrap(),
        port: Some(2377),
        protocol: Protocol::Tcp,
        outcome: outcome.clone(),
        one_way: false,
    };
    let mut matrix = Matrix { passages: (1..=7).map(|n| passage(n, &Outcome::Filtered)).collect(), ..Matrix::default() };
    let words = |matrix: &Matrix| matrix.at(&HostName::new("m1"), |p| p.outcome.fails()).unwrap();
    assert_eq!(words(&matrix), "2377/tcp from w1, w2, w3, w4, w5, 2 more is filtered: no answer");
    matrix.passages.truncate(1);
    assert_eq!(words(&matrix), "2377/tcp from w1 is filtered: no answer");
    let all: BTreeSet<Outcome> = [
        Outcome::Open,
        Outcome::Arrived,
        Outcome::Refused,
        Outcome::Filtered,
        Outcome::NoRoute,
        Outcome::Blocked,
        Outcome::NotArrived,
        Outcome::InUse,
        Outcome::Elsewhere,
        Outcome::Small { passes: 1450, of: 9000 },
        Outcome::NotTested { why: "x".into() },
    ]
    .into();
    let said: BTreeSet<String> = all
        .iter()
        .map(|outcome| {
            matrix.passages[0].outcome = outcome.clone();
            let host = HostName::new(if *outcome == Outcome::Blocked { "w1" } else { "m1" });
            matrix.at(&host, |_| true).unwrap()
        })
        .collect();
    assert_eq!(said.len(), all.len(), "each has words of its own: {said:#?}");
}

/// What is lost once is tried again between those two alone; what passes then passes, and what is lost twice is lost, in one direction if only
/// there.
#[test]
fn what_is_lost_is_tried_once_more() {
    let all = two(false);
    let mut lost = well();
    lost[0].arrived.retain(|(_, item, _)| item != "udp/7946" && !item.ends_with("/4789"));
    let first = judge(&all, &lost, BTreeMap::new());
    let pair = (HostName::new("w1"), HostName::new("m1"));
    assert_eq!(first.doubtful(), [pair.clone()].into());
    let some = all.between(first.doubtful());
    assert!(some.sends(&some.stations[1], &some.stations[0]) && !some.sends(&some.stations[0], &some.stations[1]));
    let item = |matrix: &Matrix, protocol: Protocol, port: u16| {
        let is = |p: &&Passage| p.from == pair.0 && p.protocol == protocol && p.port == Some(port);
        matrix.passages.iter().find(is).map(|p| (p.outcome.clone(), p.one_way))
    };
    assert_eq!(item(&first, Protocol::Udp, 7946), Some((Outcome::NotArrived, true)));
    assert_eq!(item(&first, Protocol::Mtu, 4789), None);
    let mut still = well();
    still[0].arrived.retain(|(_, item, _)| item != "udp/7946");
    let both = first.and_again(judge(&some, &still, BTreeMap::new()));
    assert_eq!(item(&both, Protocol::Udp, 7946), Some((Outcome::NotArrived, true)));
    assert_eq!(item(&both, Protocol::Udp, 4789), Some((Outcome::Arrived, false)));
    assert_eq!(item(&both, Protocol::Mtu, 4789), Some((Outcome::Arrived, false)));
    assert_eq!(both.passages.len(), 6 + 5);
    // Twice the same says the same; a second try that could not be made says nothing.
    let again = judge(&all, &lost, BTreeMap::new());
    assert_eq!(again.clone().and_again(again.clone()), again);
    assert_eq!(again.clone().and_again(judge(&some, &[Heard::default(), Heard::default()], BTreeMap::new())), again);
    // Larger packets that arrive the second time count.
    assert_eq!(either_of(1400, 1450), Outcome::Small { passes: 1450, of: 1500 });
}

/// What two tries come to, of which the first got packets of the one size through and the second of the other.
fn either_of(first: usize, second: usize) -> Outcome {
    let all = two(false);
    let of = |size: usize| {
        let mut heard = well();
        heard[0].arrived.retain(|(_, item, _)| !item.starts_with("mtu/"));
        heard[0].arrived.insert((1, "mtu/4789".to_owned(), size));
        judge(&all, &heard, BTreeMap::new())
    };
    let both = of(first).and_again(of(second));
    let is = |p: &&Passage| p.from.as_str() == "w1" && p.protocol == Protocol::Mtu;
    both.passages.iter().find(is).unwrap().outcome.clone()
}
