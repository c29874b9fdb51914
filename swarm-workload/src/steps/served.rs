//! A program runs on a host whose node is drained, and the step ends when the node is there again as it was. Of a host in no swarm it ends when
//! its engine answers.

use super::failed;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::time::Duration;
use swarm_core::engine::{ErrorClass, Kind, Object, Query};
use swarm_core::id::HostName;
use swarm_core::machine::{Ask, Event, Move, Outcome, Reply, Task};
use swarm_core::observe::{EngineFacts, LocalState};

/// What is waited for in the end.
const LISTED: &str = "waiting until its node is ready";
const PAUSE: Duration = Duration::from_millis(500);
/// How long the node may take to be ready after the program.
const BACK: Duration = Duration::from_secs(300);

/// To run a program on a drained host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Served {
    /// The host.
    pub(crate) host: String,
    /// Its node; none where the host is in no swarm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) node: Option<String>,
    /// The program and its arguments.
    pub(crate) argv: Vec<String>,
    /// The name of the payload that it reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) input: Option<String>,
    /// How long the program may take, in milliseconds.
    pub(crate) patience: u64,
    /// Whether the managers may be without a majority meanwhile.
    pub(crate) accept_downtime: bool,
    /// Whether the host restarts by it: it is waited for until it is another start, and how the program ended is not asked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) reboots: bool,
}

/// Prints what tells one start of a host from another: the kernel's word, and when its first process began (proc(5), `stat`, field 22).
const MARK: &str = r#"read -r id </proc/sys/kernel/random/boot_id; stat=$(cat /proc/1/stat); set -- ${stat##*) }; echo "start $id ${20}""#;
/// Starts a program in a second, apart from the connection, which goes with the host.
const SOON: &str = r#"if command -v setsid >/dev/null 2>&1; then apart=setsid; fi; ${apart:-} sh -c 'sleep 1; exec "$@"' sh "$@" >/dev/null 2>&1 </dev/null &"#;
/// How long one look at a host may take that restarts.
const GLANCE: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The managers are counted.
    Counting,
    /// The host is asked which start of it this is.
    Marking,
    /// The program runs.
    Running,
    /// Another start of the host is waited for.
    Away { until: Duration },
    /// The host's own engine is asked: managers list a node as ready for some seconds after its engine is gone.
    Asking { until: Duration },
    /// The node is looked for.
    Looking { until: Duration },
}

#[derive(Debug)]
pub(super) struct Serve {
    data: Served,
    stage: Stage,
    /// Which start of the host it was before.
    mark: Option<String>,
}

fn text<'a>(node: &'a Object, pointer: &str) -> Cow<'a, str> {
    node.text(pointer).unwrap_or_default()
}

fn is_manager(node: &Object) -> bool {
    node.part("/ManagerStatus").is_some()
}

fn is_well(node: &Object) -> bool {
    text(node, "/Status/State") == "ready" && (!is_manager(node) || text(node, "/ManagerStatus/Reachability") == "reachable")
}

impl Serve {
    pub(super) fn new(data: Served) -> Self {
        Self { data, stage: Stage::Counting, mark: None }
    }

    /// What becomes of the node after a failure.
    fn stays(&self) -> &'static str {
        if self.data.node.is_some() { "; its node stays drained" } else { "" }
    }

    fn is_own(&self, node: &Object) -> bool {
        self.data.node.as_deref() == Some(node.id())
    }

    fn list() -> Move {
        Move::Ask(vec![Ask::List(Query::all(Kind::Node))])
    }

    fn ask_engine(&mut self, until: Duration) -> Move {
        self.stage = Stage::Asking { until };
        Move::Ask(vec![Ask::Info(HostName::new(self.data.host.clone()))])
    }

    fn run(&self, argv: Vec<String>, patience: Duration) -> Move {
        let input = self.data.input.clone().filter(|_| self.stage == Stage::Running);
        Move::Ask(vec![Ask::Run { host: HostName::new(self.data.host.clone()), argv, patience, input }])
    }

    fn look_at_start(&self) -> Move {
        self.run(["sh", "-c", MARK].map(str::to_owned).to_vec(), GLANCE)
    }

    /// The host is worked on from here on.
    fn start(&mut self) -> Move {
        if self.data.reboots {
            self.stage = Stage::Marking;
            return self.look_at_start();
        }
        self.begin()
    }

    fn begin(&mut self) -> Move {
        self.stage = Stage::Running;
        let patience = Duration::from_millis(self.data.patience);
        if !self.data.reboots {
            return self.run(self.data.argv.clone(), patience);
        }
        let mut argv: Vec<String> = ["sh", "-c", SOON, "sh"].map(str::to_owned).to_vec();
        argv.extend(self.data.argv.iter().cloned());
        self.run(argv, GLANCE)
    }

    /// The host is there again where it names another start.
    fn away(&mut self, heard: Option<String>, until: Duration, now: Duration) -> Move {
        if heard.is_some() && heard != self.mark {
            return self.ask_engine(now + BACK);
        }
        if now < until {
            let what = if heard.is_some() { "waiting until it goes down" } else { "waiting until it is there again" };
            return Move::Wait { until: now + 4 * PAUSE, progress: Some(what.into()) };
        }
        let seconds = self.data.patience / 1000;
        let what = if heard.is_some() { "it did not restart" } else { "it is not there again" };
        Move::End(failed(format!("{what} within {seconds} s{}", self.stays())))
    }

    /// A program may take a manager away for a while: the others must be whole, and a majority without it.
    fn spared(&self, nodes: &[Object]) -> Result<(), String> {
        let Some(own) = nodes.iter().find(|n| self.is_own(n)) else { return Err("its node is not listed any more".into()) };
        if !is_manager(own) || self.data.accept_downtime {
            return Ok(());
        }
        let others: Vec<&Object> = nodes.iter().filter(|n| is_manager(n) && n.id() != own.id()).collect();
        if let Some(away) = others.iter().find(|n| !is_well(n)) {
            return Err(format!(
                "manager {} is not well, and managers are served only while all others are",
                text(away, "/Description/Hostname")
            ));
        }
        let needed = swarm_core::quorum::needed(others.len() + 1);
        if others.len() < needed {
            return Err(format!(
                "it is one of {} managers: without it {} are left, and {needed} are needed; --accept-downtime allows that",
                others.len() + 1,
                others.len()
            ));
        }
        Ok(())
    }

    fn again(until: Duration, what: &str, why: &str, now: Duration) -> Move {
        if now < until {
            return Move::Wait { until: now + PAUSE, progress: Some(what.into()) };
        }
        Move::End(failed(format!("the program ended well, and {} s later {why}", BACK.as_secs())))
    }
}

/// Whether an engine says that it is this node, and that it takes part in the swarm.
fn is_member(engine: &EngineFacts, node: &str) -> bool {
    engine.swarm.reported == LocalState::Active && engine.swarm.node.as_ref().is_some_and(|id| id.as_str() == node)
}

/// Which start of a host it names.
fn started(replies: &[Reply]) -> Option<String> {
    match replies.first() {
        Some(Reply::Ran { status: Some(0), output }) => output.lines().find_map(|line| line.strip_prefix("start ")).map(str::to_owned),
        _ => None,
    }
}

impl Task for Serve {
    fn next(&mut self, event: Event<'_>, now: Duration) -> Move {
        match (event, self.stage) {
            (Event::Time, Stage::Away { .. }) => self.look_at_start(),
            (Event::Time, Stage::Asking { until }) => self.ask_engine(until),
            (Event::Begin, Stage::Counting) if self.data.node.is_none() => self.start(),
            (Event::Begin | Event::Time, _) => Self::list(),
            (Event::Answer(Ok(replies)), Stage::Counting) => {
                let [Reply::Objects(nodes)] = replies.as_slice() else { return Move::End(failed("the nodes were not listed")) };
                if let Err(why) = self.spared(nodes) {
                    return Move::End(failed(why));
                }
                self.start()
            }
            (Event::Answer(Ok(replies)), Stage::Marking) => match started(replies) {
                Some(mark) => {
                    self.mark = Some(mark);
                    self.begin()
                }
                None => Move::End(failed("it does not say which start of it this is")),
            },
            // The connection goes with the host.
            (Event::Answer(_), Stage::Running) if self.data.reboots => {
                let until = now + Duration::from_millis(self.data.patience);
                self.stage = Stage::Away { until };
                Move::Wait { until: now + 4 * PAUSE, progress: Some("waiting until it goes down".into()) }
            }
            (Event::Answer(answer), Stage::Away { until }) => {
                let heard = answer.as_ref().ok().and_then(|replies| started(replies));
                self.away(heard, until, now)
            }
            (Event::Answer(Ok(replies)), Stage::Running) => match replies.first() {
                Some(Reply::Ran { status: Some(0), .. }) => self.ask_engine(now + BACK),
                Some(Reply::Ran { status, output }) => {
                    let status = status.map_or("a signal".to_owned(), |s| format!("status {s}"));
                    let last: Vec<&str> = output.trim().lines().rev().take(5).collect();
                    let said = last.into_iter().rev().collect::<Vec<_>>().join("; ");
                    Move::End(failed(format!("the program ended with {status}: {said}{}", self.stays())))
                }
                _ => Move::End(failed("the program was not run")),
            },
            (Event::Answer(answer), Stage::Asking { until }) => {
                let why = match answer.as_ref().map(Vec::as_slice) {
                    Ok([Reply::Info(engine)]) if self.data.node.is_none() && engine.swarm.reported == LocalState::Inactive => {
                        return Move::End(Outcome::Done { changed: true });
                    }
                    Ok([Reply::Info(engine)]) if self.data.node.as_ref().is_some_and(|node| is_member(engine, node)) => {
                        self.stage = Stage::Looking { until };
                        return Self::list();
                    }
                    Ok([Reply::Info(engine)]) if engine.swarm.reported == LocalState::Locked => "its engine is locked".to_owned(),
                    Ok(_) => "its engine is not the node that it was".to_owned(),
                    Err(error) => format!("its engine does not answer: {}", error.message),
                };
                Self::again(until, "waiting until its engine answers", &why, now)
            }
            (Event::Answer(Ok(replies)), Stage::Looking { until }) => {
                let found = match replies.first() {
                    Some(Reply::Objects(nodes)) => nodes.iter().find(|n| self.is_own(n)),
                    _ => None,
                };
                match found {
                    Some(node) if is_well(node) => Move::End(Outcome::Done { changed: true }),
                    _ => Self::again(until, LISTED, "its node is not ready", now),
                }
            }
            (Event::Answer(Err(error)), Stage::Looking { until }) => Self::again(until, LISTED, &error.message, now),
            (Event::Answer(Err(error)), Stage::Running) if error.class == ErrorClass::Unknown => {
                Move::End(Outcome::InDoubt { message: format!("the program may go on: {}", error.message) })
            }
            (Event::Answer(Err(error)), _) => Move::End(failed(error.message.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use swarm_core::engine::{EngineError, Reason};

    fn node(id: &str, manager: Option<&str>, state: &str) -> Object {
        let manager = manager.map(|reachability| json!({ "Reachability": reachability }));
        Object::of(&json!({ "ID": id, "Status": { "State": state }, "ManagerStatus": manager, "Description": { "Hostname": id } })).unwrap()
    }

    fn engine(node: &str, reported: LocalState) -> EngineFacts {
        let mut engine = EngineFacts::outside("daemon".into(), "m1", "28.5.2");
        (engine.swarm.node, engine.swarm.reported) = (Some(node.into()), reported);
        engine
    }

    fn serve() -> Serve {
        Serve::new(Served {
            host: "m1".into(),
            node: Some("m1".into()),
            argv: vec!["true".into()],
            input: None,
            patience: 1000,
            accept_downtime: false,
            reboots: false,
        })
    }

    #[test]
    fn a_manager_is_served_only_where_the_others_are_whole() {
        let well = |id| node(id, Some("reachable"), "ready");
        let three = [well("m1"), well("m2"), well("m3")];
        assert_eq!(serve().spared(&three), Ok(()));
        let away = [well("m1"), well("m2"), node("m3", Some("unreachable"), "down")];
        assert!(serve().spared(&away).unwrap_err().contains("m3 is not well"));
        assert!(serve().spared(&three[..2]).unwrap_err().contains("one of 2 managers"));
        let worker = [node("m1", None, "ready"), node("m2", Some("unreachable"), "down")];
        assert_eq!(serve().spared(&worker), Ok(()));
        let mut accepted = serve();
        accepted.data.accept_downtime = true;
        assert_eq!((accepted.spared(&three[..1]), accepted.spared(&away)), (Ok(()), Ok(())));
        assert!(serve().spared(&three[1..]).unwrap_err().contains("not listed"));
    }

    #[test]
    fn it_ends_when_the_node_is_there_again() {
        let mut task = serve();
        assert!(matches!(task.next(Event::Begin, Duration::ZERO), Move::Ask(_)));
        let three = Ok(vec![Reply::Objects(vec![
            node("m1", Some("reachable"), "ready"),
            node("m2", Some("reachable"), "ready"),
            node("m3", Some("reachable"), "ready"),
        ])]);
        assert!(matches!(task.next(Event::Answer(&three), Duration::ZERO), Move::Ask(asks) if matches!(asks[0], Ask::Run { .. })));
        let ran = Ok(vec![Reply::Ran { status: Some(0), output: String::new() }]);
        let asks_engine = |step: &Move| matches!(step, Move::Ask(asks) if asks == &[Ask::Info("m1".into())]);
        assert!(asks_engine(&task.next(Event::Answer(&ran), Duration::ZERO)));
        // What the managers list counts once its own engine says that it is there.
        let silent = Err(EngineError { doing: "x", class: ErrorClass::Unreachable, reason: Reason::Other, message: "refused".into() });
        for not in [
            silent,
            Ok(vec![Reply::Info(Box::new(engine("m1", LocalState::Pending)))]),
            Ok(vec![Reply::Info(Box::new(engine("m9", LocalState::Active)))]),
        ] {
            assert!(matches!(task.next(Event::Answer(&not), Duration::ZERO), Move::Wait { .. }), "{not:?}");
            assert!(asks_engine(&task.next(Event::Time, Duration::from_secs(1))));
        }
        let there = Ok(vec![Reply::Info(Box::new(engine("m1", LocalState::Active)))]);
        assert!(matches!(task.next(Event::Answer(&there), Duration::from_secs(1)), Move::Ask(asks) if matches!(asks[0], Ask::List(_))));
        let down = Ok(vec![Reply::Objects(vec![node("m1", Some("unreachable"), "down")])]);
        assert!(matches!(task.next(Event::Answer(&down), Duration::from_secs(1)), Move::Wait { .. }));
        assert_eq!(task.next(Event::Answer(&three), Duration::from_secs(9)), Move::End(Outcome::Done { changed: true }));
    }

    #[test]
    fn a_host_that_restarts_is_waited_for_until_it_is_another_start() {
        let mut task = serve();
        task.data.reboots = true;
        let three = Ok(vec![Reply::Objects(["m1", "m2", "m3"].map(|id| node(id, Some("reachable"), "ready")).to_vec())]);
        let ran = |output: &str| Ok(vec![Reply::Ran { status: Some(0), output: output.into() }]);
        let lost = Err(EngineError { doing: "x", class: ErrorClass::Unknown, reason: Reason::Other, message: "lost".into() });
        let asks = |step: Move, part: &str| matches!(&step, Move::Ask(asks) if matches!(&asks[0], Ask::Run { argv, .. } if argv[2].contains(part)));
        task.next(Event::Begin, Duration::ZERO);
        assert!(asks(task.next(Event::Answer(&three), Duration::ZERO), "boot_id"));
        assert!(asks(task.next(Event::Answer(&ran("hello\nstart a 1\n")), Duration::ZERO), "sleep 1"));
        assert!(matches!(task.next(Event::Answer(&lost), Duration::ZERO), Move::Wait { .. }), "the connection goes with the host");
        assert!(asks(task.next(Event::Time, Duration::ZERO), "boot_id"));
        let same = task.next(Event::Answer(&ran("start a 1\n")), Duration::ZERO);
        assert!(matches!(&same, Move::Wait { progress: Some(p), .. } if p.contains("goes down")), "{same:?}");
        let away = task.next(Event::Answer(&lost), Duration::ZERO);
        assert!(matches!(&away, Move::Wait { progress: Some(p), .. } if p.contains("there again")), "{away:?}");
        let mut never = Serve { data: task.data.clone(), stage: task.stage, mark: task.mark.clone() };
        let gone = never.next(Event::Answer(&lost), Duration::from_secs(2));
        assert!(matches!(&gone, Move::End(Outcome::Failed { message }) if message.contains("not there again within 1 s")), "{gone:?}");
        assert!(
            matches!(task.next(Event::Answer(&ran("start b 2\n")), Duration::ZERO), Move::Ask(asks) if matches!(asks[0], Ask::Info(_)))
        );
        let there = Ok(vec![Reply::Info(Box::new(engine("m1", LocalState::Active)))]);
        assert!(matches!(task.next(Event::Answer(&there), Duration::ZERO), Move::Ask(asks) if matches!(asks[0], Ask::List(_))));
        assert_eq!(task.next(Event::Answer(&three), Duration::ZERO), Move::End(Outcome::Done { changed: true }));
    }

    #[test]
    fn a_host_in_no_swarm_is_served_without_a_swarm() {
        let mut task = serve();
        task.data.node = None;
        let ran = Ok(vec![Reply::Ran { status: Some(0), output: String::new() }]);
        assert!(matches!(task.next(Event::Begin, Duration::ZERO), Move::Ask(asks) if matches!(asks[0], Ask::Run { .. })));
        let asks_engine = |step: &Move| matches!(step, Move::Ask(asks) if asks == &[Ask::Info("m1".into())]);
        assert!(asks_engine(&task.next(Event::Answer(&ran), Duration::ZERO)));
        let silent = Err(EngineError { doing: "x", class: ErrorClass::Unreachable, reason: Reason::Other, message: "refused".into() });
        let member = Ok(vec![Reply::Info(Box::new(engine("m1", LocalState::Active)))]);
        for not in [silent, member] {
            assert!(matches!(task.next(Event::Answer(&not), Duration::ZERO), Move::Wait { .. }), "{not:?}");
            assert!(asks_engine(&task.next(Event::Time, Duration::from_secs(1))));
        }
        let there = Ok(vec![Reply::Info(Box::new(EngineFacts::outside("daemon".into(), "m1", "28.5.2")))]);
        assert_eq!(task.next(Event::Answer(&there), Duration::from_secs(1)), Move::End(Outcome::Done { changed: true }));
        task.stage = Stage::Running;
        let failed = Ok(vec![Reply::Ran { status: Some(3), output: "no".into() }]);
        let Move::End(Outcome::Failed { message }) = task.next(Event::Answer(&failed), Duration::ZERO) else { panic!() };
        assert_eq!(message, "the program ended with status 3: no");
    }

    #[test]
    fn a_program_that_fails_is_quoted() {
        let mut task = serve();
        task.stage = Stage::Running;
        let ran = Ok(vec![Reply::Ran { status: Some(3), output: "one\ntwo\n".into() }]);
        let Move::End(Outcome::Failed { message }) = task.next(Event::Answer(&ran), Duration::ZERO) else { panic!() };
        assert!(message.contains("status 3: one; two; its node stays drained"), "{message}");
    }
}
