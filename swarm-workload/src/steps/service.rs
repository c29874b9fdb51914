//! A service is made or changed, and its tasks are waited for.

use super::failed;
use super::object::{by_name, named};
use crate::names::{image_with_tag, without_digest};
use crate::place::slot;
use crate::spec::{IMAGE, image_of, references};
use crate::tasks::{Progress, Standing, progress};
use crate::unplaced::reasons;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use swarm_core::engine::{Body, EngineError, ErrorClass, Kind, Object, Query, Reason};
use swarm_core::machine::{Ask, Event, Move, Outcome, Reply, Task};

/// How long a new service's tasks must run before it counts as up: one that ends at once is no service.
const STEADY: Duration = Duration::from_secs(1);
/// Between two looks: for the first ten seconds, and later on or where one takes longer than [`BUSY`].
const LOOKS: (Duration, Duration) = (Duration::from_millis(200), Duration::from_millis(500));
const BUSY: Duration = Duration::from_millis(60);
/// How long a service may have no node for its tasks before its step ends.
const NO_PLACE: Duration = Duration::from_secs(30);
/// How long tasks of before may take to run again after a rollback.
const BACK: Duration = Duration::from_secs(20);
/// How often a task of one place may fail before its step ends, where no update policy decides that.
const FAILURES: usize = 3;

/// To make or change a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Put {
    /// The specification, with networks, secrets and configs by their names.
    pub(crate) spec: Value,
    /// The id and version of the service as it is; `None` where it is to be made.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) live: Option<Live>,
    /// Whether the registry is asked for the image's digest.
    pub(crate) resolve: bool,
    /// Whether nothing is sent unless that digest is another than the one it has.
    #[serde(default)]
    pub(crate) if_moved: bool,
    /// The name of the payload that is the login to the registry.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) login: Option<String>,
    /// Whether nodes get it too, to pull the image with.
    #[serde(default)]
    pub(crate) send_login: bool,
    /// Whether the step ends as soon as the engine has it, without waiting for tasks.
    pub(crate) detach: bool,
    /// Whether the specification before the present one is put back instead.
    #[serde(default)]
    pub(crate) rollback: bool,
    /// Whether its tasks are replaced though nothing else changes.
    #[serde(default)]
    pub(crate) force: bool,
    /// Whether the specification is sent as it is, with its own image and its own count of forced updates.
    #[serde(default)]
    pub(crate) exact: bool,
    /// Whether it has ended only when its tasks have run to their end: another service waits for that.
    #[serde(default)]
    pub(crate) to_the_end: bool,
}

/// A service as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Live {
    pub(crate) id: String,
    pub(crate) version: u64,
}

impl Put {
    /// A new service, or a change of one, whose tasks are waited for; no registry is asked.
    pub(crate) fn new(spec: Value, live: Option<Live>) -> Self {
        Self {
            spec,
            live,
            resolve: false,
            if_moved: false,
            login: None,
            send_login: false,
            detach: false,
            rollback: false,
            force: false,
            exact: false,
            to_the_end: false,
        }
    }

    pub(crate) fn is_new(&self) -> bool {
        self.live.is_none()
    }

    pub(crate) fn name(&self) -> &str {
        self.spec.get("Name").and_then(Value::as_str).unwrap_or_default()
    }

    /// Whether it refers to a network, secret or config of this name.
    pub(crate) fn refers_to(&self, kind: Kind, name: &str) -> bool {
        match kind {
            Kind::Secret => references(&self.spec, "Secrets").any(|r| r.get("SecretName").and_then(Value::as_str) == Some(name)),
            Kind::Config => references(&self.spec, "Configs").any(|r| r.get("ConfigName").and_then(Value::as_str) == Some(name)),
            Kind::Network => {
                let networks = self.spec.pointer("/TaskTemplate/Networks").and_then(Value::as_array);
                networks.into_iter().flatten().any(|n| n.get("Target").and_then(Value::as_str) == Some(name))
            }
            Kind::Node | Kind::Service | Kind::Task => false,
        }
    }
}

#[derive(Debug)]
pub(super) struct PutService {
    data: Put,
    stage: Stage,
    /// The specification with its ids and its digest.
    ready: Value,
    /// The image that it has.
    image_before: String,
    id: String,
    /// When the engine had it.
    since: Duration,
    /// When its tasks were asked for last.
    asked: Duration,
    /// Since when all its tasks run.
    steady: Option<Duration>,
    /// Since when it has trouble and nothing else.
    stuck: Option<Duration>,
    last: String,
    note: Option<String>,
    /// How many tasks of each place had failed before.
    failures_before: Option<usize>,
    /// Whether an update of it was seen going on.
    updating: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Stage {
    /// Asks for the ids of what it refers to, and for the service as it is.
    Gathering,
    /// Asks the registry.
    Resolving,
    /// Makes or changes it.
    Sending,
    /// The answer was lost: looks whether it is there.
    Doubting(EngineError),
    /// Waits for tasks.
    Watching,
    /// Its tasks find no node: asks why, node by node. What is said of it so far.
    Explaining(String),
}

impl PutService {
    pub(super) fn new(data: Put) -> Self {
        let id = data.live.as_ref().map(|l| l.id.clone()).unwrap_or_default();
        Self {
            ready: data.spec.clone(),
            image_before: String::new(),
            data,
            stage: Stage::Gathering,
            id,
            since: Duration::ZERO,
            asked: Duration::ZERO,
            steady: None,
            stuck: None,
            last: String::new(),
            note: None,
            failures_before: None,
            updating: false,
        }
    }

    /// The kinds of objects that it refers to by their ids.
    fn referred(&self) -> Vec<Kind> {
        let refers = |list: &str| references(&self.data.spec, list).next().is_some();
        let kinds = [("Secrets", Kind::Secret), ("Configs", Kind::Config)];
        kinds.into_iter().filter(|(list, _)| refers(list)).map(|(_, kind)| kind).collect()
    }

    fn gather(&self) -> Move {
        let mut asks: Vec<Ask> = Vec::new();
        for kind in self.referred() {
            let (list, key) = if kind == Kind::Secret { ("Secrets", "SecretName") } else { ("Configs", "ConfigName") };
            let names = references(&self.data.spec, list).filter_map(|r| r.get(key)?.as_str());
            asks.push(Ask::List(names.fold(Query::all(kind), |query, name| query.with("name", name))));
        }
        match &self.data.live {
            Some(live) => asks.push(Ask::Get(Kind::Service, live.id.clone())),
            None => asks.push(Ask::List(by_name(Kind::Service, self.data.name()))),
        }
        Move::Ask(asks)
    }

    /// Puts ids in. The service must be what it was when this was planned.
    fn gathered(&mut self, replies: &[Reply]) -> Move {
        // The lists come in the order in which they were asked for: secrets and configs may have the same names.
        let mut ids: BTreeMap<(Kind, String), String> = BTreeMap::new();
        let mut kinds = self.referred().into_iter();
        for reply in replies {
            match reply {
                Reply::Objects(objects) => {
                    let Some(kind) = kinds.next() else { continue };
                    ids.extend(objects.iter().map(|o| ((kind, o.name().to_owned()), o.id().to_owned())));
                }
                Reply::Object(service) => {
                    if Some(service.version()) != self.data.live.as_ref().map(|l| l.version) {
                        return Move::End(failed("the service was changed meanwhile by someone else; plan again"));
                    }
                    self.image_before = service.text("/Spec/TaskTemplate/ContainerSpec/Image").unwrap_or_default().into_owned();
                    self.keep_from(service);
                }
                _ => {}
            }
        }
        if self.data.live.is_none() && named(replies, self.data.name()).is_some_and(|o| o.part("/Spec/TaskTemplate").is_some()) {
            return Move::End(failed("a service of this name was made meanwhile by someone else; plan again"));
        }
        for (list, name_key, id_key, kind) in
            [("Secrets", "SecretName", "SecretID", Kind::Secret), ("Configs", "ConfigName", "ConfigID", Kind::Config)]
        {
            let at = format!("/TaskTemplate/ContainerSpec/{list}");
            for reference in self.ready.pointer_mut(&at).and_then(Value::as_array_mut).into_iter().flatten() {
                let name = reference.get(name_key).and_then(Value::as_str).unwrap_or_default().to_owned();
                let Some(id) = ids.get(&(kind, name.clone())) else {
                    return Move::End(failed(format!("there is no {kind} {name}")));
                };
                if let Some(map) = reference.as_object_mut() {
                    map.insert(id_key.into(), json!(id));
                }
            }
        }
        // A credential specification in a config is referred to by the id of the config that the runtime uses.
        let configs = self.ready.pointer("/TaskTemplate/ContainerSpec/Configs").and_then(Value::as_array).into_iter().flatten();
        let id = configs.filter(|c| c.get("Runtime").is_some()).find_map(|c| c.get("ConfigID").cloned());
        if let (Some(id), Some(config)) = (id, self.ready.pointer_mut("/TaskTemplate/ContainerSpec/Privileges/CredentialSpec/Config")) {
            *config = id;
        }
        if self.data.resolve && !self.data.rollback {
            self.stage = Stage::Resolving;
            return Move::Ask(vec![Ask::Distribution { image: self.image(), login: self.data.login.clone() }]);
        }
        self.send()
    }

    fn image(&self) -> String {
        image_with_tag(image_of(&self.ready))
    }

    /// What a new specification of a service keeps of the old one: its forced updates, and its digest where the image is the same.
    fn keep_from(&mut self, live: &Object) {
        if self.data.exact {
            return;
        }
        let spec = live.spec();
        let mut keep = |at: &str, key: &str| {
            if let (Some(value), Some(map)) =
                (spec.pointer(&format!("{at}/{key}")), self.ready.pointer_mut(at).and_then(Value::as_object_mut))
            {
                map.insert(key.to_owned(), value.clone());
            }
        };
        keep("/TaskTemplate", "ForceUpdate");
        if self.data.force {
            let before = spec.pointer("/TaskTemplate/ForceUpdate").and_then(Value::as_u64).unwrap_or(0);
            *slot(&mut self.ready, "/TaskTemplate/ForceUpdate") = json!(before + 1);
            return;
        }
        if !self.data.resolve && image_with_tag(without_digest(image_of(&spec))) == image_with_tag(image_of(&self.data.spec)) {
            keep("/TaskTemplate/ContainerSpec", "Image");
            keep("/TaskTemplate/Placement", "Platforms");
        }
    }

    /// The registry's word on the image, or none.
    fn resolved(&mut self, answer: &Result<Vec<Reply>, EngineError>) -> Move {
        let image = self.image();
        let as_before = Move::End(Outcome::Done { changed: false });
        match answer.as_ref().ok().and_then(|replies| replies.first()) {
            Some(Reply::Distribution(found)) => {
                if let Some(digest) = found.pointer("/Descriptor/digest").and_then(Value::as_str).filter(|_| !image.contains('@')) {
                    *slot(&mut self.ready, IMAGE) = json!(format!("{image}@{digest}"));
                }
                if let Some(platforms) = found.get("Platforms").and_then(Value::as_array) {
                    let of = |p: &Value| json!({ "Architecture": p.get("architecture"), "OS": p.get("os") });
                    *slot(&mut self.ready, "/TaskTemplate/Placement/Platforms") = platforms.iter().map(of).collect();
                }
            }
            _ if self.data.if_moved => return as_before,
            _ => {
                self.note =
                    Some(format!("no registry gave a digest for {image}; nodes use the image that they have, or pull it by its tag"));
                *slot(&mut self.ready, IMAGE) = json!(image);
            }
        }
        if self.data.if_moved && self.image() == self.image_before {
            return as_before;
        }
        self.send()
    }

    fn send(&mut self) -> Move {
        self.stage = Stage::Sending;
        let image = self.image();
        *slot(&mut self.ready, IMAGE) = json!(image);
        let body = Body { spec: self.ready.clone(), data: None, registry_auth: self.data.login.clone().filter(|_| self.data.send_login) };
        Move::Ask(vec![match &self.data.live {
            None => Ask::Create(Kind::Service, body),
            Some(live) => {
                Ask::Update { kind: Kind::Service, id: live.id.clone(), version: live.version, body, rollback: self.data.rollback }
            }
        }])
    }

    fn sent(&mut self, answer: &Result<Vec<Reply>, EngineError>, now: Duration) -> Move {
        match answer {
            Ok(replies) => {
                if let Some(Reply::Created(id)) = replies.first() {
                    self.id.clone_from(id);
                }
                self.accepted(now)
            }
            Err(error) if error.class == ErrorClass::Unknown => {
                self.stage = Stage::Doubting(error.clone());
                Move::Ask(vec![Ask::List(by_name(Kind::Service, self.data.name()))])
            }
            Err(error) if error.reason == Reason::OutOfSequence => {
                Move::End(failed("the service was changed meanwhile by someone else; plan again"))
            }
            // It was there when the ids were put in.
            Err(error) if error.reason == Reason::NotFound => {
                Move::End(failed(format!("{}: it was removed meanwhile by someone else; plan again", error.message)))
            }
            Err(error) => Move::End(failed(error.message.clone())),
        }
    }

    fn accepted(&mut self, now: Duration) -> Move {
        self.since = now;
        if self.data.detach {
            return Move::End(Outcome::Done { changed: true });
        }
        self.look(now)
    }

    /// Whether it was done after all: a new service is there, or one that was to be changed has another version and this specification.
    fn doubted(&mut self, error: &EngineError, replies: &[Reply], now: Duration) -> Move {
        match (named(replies, self.data.name()), &self.data.live) {
            (Some(there), None) => {
                self.id = there.id().to_owned();
                self.accepted(now)
            }
            (Some(there), Some(live)) if there.version() != live.version => self.accepted(now),
            // It was not: the same call with the same version can be made again, and is refused if it arrives twice.
            (Some(_), Some(_)) | (None, None) if now < self.since + Duration::from_secs(20) => {
                Move::Wait { until: now + Duration::from_secs(1), progress: Some(error.message.clone()) }
            }
            _ => Move::End(Outcome::InDoubt { message: error.message.clone() }),
        }
    }

    fn look(&mut self, now: Duration) -> Move {
        self.stage = Stage::Watching;
        // A timer comes a little late, and not always by the same.
        self.asked = Duration::from_millis(u64::try_from(now.as_millis() / 100 * 100).unwrap_or(u64::MAX));
        Move::Ask(vec![
            Ask::List(Query::all(Kind::Service).with("id", self.id.clone())),
            Ask::List(Query::all(Kind::Task).with("service", self.id.clone())),
        ])
    }

    fn looked(&mut self, replies: &[Reply], now: Duration) -> Move {
        let (service, tasks) = match replies {
            [Reply::Objects(services), Reply::Objects(tasks)] => (services.iter().find(|s| s.id() == self.id), tasks),
            _ => (None, &Vec::new()),
        };
        let Some(service) = service else {
            return Move::End(failed("the service was removed meanwhile by someone else"));
        };
        let seen = progress(service, tasks);
        let before = *self.failures_before.get_or_insert(seen.failures);
        self.updating |= !matches!(seen.update, Standing::Settled | Standing::Stopped);
        self.judge(&seen, before, now)
    }

    /// Why its tasks find no node, node by node.
    fn explained(&self, said: &str, answer: &Result<Vec<Reply>, EngineError>) -> String {
        let Ok([Reply::Objects(nodes), Reply::Objects(services), Reply::Objects(tasks)]) = answer.as_deref() else {
            return said.to_owned();
        };
        let reasons = reasons(&self.ready, nodes, services, tasks);
        if reasons.is_empty() { said.to_owned() } else { format!("{said}; {}", reasons.join("; ")) }
    }

    /// Whether its tasks are not started again when they end well.
    fn ends_by_itself(&self) -> bool {
        let condition = self.data.spec.pointer("/TaskTemplate/RestartPolicy/Condition").and_then(Value::as_str);
        matches!(condition, Some("none" | "on-failure"))
    }

    fn judge(&mut self, seen: &Progress, before: usize, now: Duration) -> Move {
        let said = |message: &str| {
            let mut why: Vec<String> = seen.troubles.iter().take(3).map(ToString::to_string).collect();
            if why.is_empty() {
                why.extend(seen.last_failure.iter().map(ToString::to_string));
            }
            if why.is_empty() { message.to_owned() } else { format!("{message}; {}", why.join("; ")) }
        };
        match &seen.update {
            // A task that is to end has ended, and the engine calls that early.
            Standing::Paused(_) if self.ends_by_itself() && seen.failures == before && seen.running + seen.completed >= seen.wanted => {
                return Move::End(Outcome::Done { changed: true });
            }
            Standing::Paused(message) => return Move::End(Outcome::Paused { message: said(message) }),
            // What was before runs again in a moment.
            Standing::RolledBack(_) if !self.data.rollback && seen.running < seen.wanted && now < *self.stuck.get_or_insert(now) + BACK => {
            }
            Standing::RolledBack(message) if !self.data.rollback && self.updating => {
                return Move::End(Outcome::RolledBack { message: said(message) });
            }
            _ => {}
        }
        let condition = self.data.spec.pointer("/TaskTemplate/RestartPolicy/Condition").and_then(Value::as_str);
        if condition == Some("none") && seen.failures > before {
            return Move::End(failed(said("a task failed, and its restart policy does not start it again")));
        }
        let there = if self.data.to_the_end { seen.completed >= seen.wanted } else { seen.is_there() };
        if there || (matches!(seen.update, Standing::RolledBack(_)) && seen.running >= seen.wanted) {
            self.stuck = None;
            let since = *self.steady.get_or_insert(self.asked);
            // An update was watched by the engine for as long as its policy says; a new service is watched for a moment here.
            let watched = seen.job || seen.wanted == 0 || self.data.live.is_some() || self.asked >= since + STEADY;
            // An update that has just been asked for has not begun yet.
            let begun = self.data.live.is_none() || self.updating || now >= self.since + STEADY;
            if watched && begun {
                return Move::End(Outcome::Done { changed: true });
            }
        } else {
            self.steady = None;
            let rolls_itself = self.data.live.is_some() && !matches!(seen.update, Standing::Settled | Standing::Stopped);
            let nowhere = seen.troubles.iter().any(|t| t.state == "pending") && seen.troubles.iter().all(|t| t.state == "pending");
            let since = *self.stuck.get_or_insert(now);
            if seen.troubles.is_empty() {
                self.stuck = None;
            }
            if nowhere && now >= since + NO_PLACE {
                self.stage = Stage::Explaining(said("its tasks find no node"));
                return Move::Ask([Kind::Node, Kind::Service, Kind::Task].map(|kind| Ask::List(Query::all(kind))).into());
            }
            if !rolls_itself && seen.failures >= before.min(1) + FAILURES && !seen.troubles.is_empty() {
                return Move::End(failed(said("its tasks fail again and again")));
            }
        }
        let line = seen.line();
        let progress = self.note.take().or_else(|| (line != self.last).then(|| line.clone()));
        self.last = line;
        // Engines that start tasks have little time for questions: those that take long are asked less often.
        let soon = now < self.since + Duration::from_secs(10) && now <= self.asked + BUSY;
        let pause = if soon { LOOKS.0 } else { LOOKS.1 };
        Move::Wait { until: together(now, pause), progress }
    }
}

/// The next time for a look that comes every so often, the same for all services: steps that look at the same moment ask one question.
fn together(now: Duration, every: Duration) -> Duration {
    let every = every.as_millis().max(1);
    Duration::from_millis(u64::try_from((now.as_millis() / every + 1) * every).unwrap_or(u64::MAX))
}

impl Task for PutService {
    fn next(&mut self, event: Event<'_>, now: Duration) -> Move {
        match (self.stage.clone(), event) {
            (_, Event::Begin) => {
                self.since = now;
                self.gather()
            }
            (Stage::Gathering, Event::Answer(Ok(replies))) => self.gathered(replies),
            (Stage::Gathering, Event::Answer(Err(error))) if error.reason == Reason::NotFound => {
                Move::End(failed("the service was removed meanwhile by someone else; plan again"))
            }
            (Stage::Gathering, Event::Answer(Err(error))) => Move::End(failed(error.message.clone())),
            (Stage::Resolving, Event::Answer(answer)) => self.resolved(answer),
            (Stage::Sending, Event::Answer(answer)) => self.sent(answer, now),
            (Stage::Doubting(error), Event::Answer(Ok(replies))) => self.doubted(&error, replies, now),
            (Stage::Doubting(error), Event::Answer(Err(then))) => {
                Move::End(Outcome::InDoubt { message: format!("{}; then {}", error.message, then.message) })
            }
            (Stage::Doubting(_) | Stage::Sending, Event::Time) => self.send(),
            (Stage::Watching, Event::Answer(Ok(replies))) => self.looked(replies, now),
            (Stage::Watching, Event::Answer(Err(error))) => Move::End(Outcome::InDoubt {
                message: format!("the service is changed, and its tasks could not be asked for: {}", error.message),
            }),
            (Stage::Watching, Event::Time) => self.look(now),
            (Stage::Explaining(said), Event::Answer(answer)) => Move::End(failed(self.explained(&said, answer))),
            (Stage::Explaining(said), Event::Time) => Move::End(failed(said)),
            (Stage::Gathering | Stage::Resolving, Event::Time) => self.gather(),
        }
    }
}
