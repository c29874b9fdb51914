//! Single objects: made by name, and removed by name where nothing uses them.

use crate::deploy::{removal, there_now};
use crate::edit::ImageOptions;
use crate::placement::nowhere;
use crate::remove::users_of;
use crate::show::summary;
use crate::spec::image_of;
use crate::steps::{Create, Data, Put};
use crate::stopped::harm;
use crate::there::{There, find, wants};
use crate::verify::lacks_tasks;
use serde_json::Value;
use swarm_core::ClusterSpec;
use swarm_core::engine::{Body, Kind, Object, Query};
use swarm_core::intent::{Intent, Next, Scope, SoFar};
use swarm_core::observe::Observed;
use swarm_core::plan::{Plan, PlanPurpose, Refusal, Risk, Target};
use swarm_core::verify::{Finding, FindingKind, Verdict};

fn of_kind<'a, 'o>(there: &'a There<'o>, kind: Kind) -> &'a [&'o Object] {
    match kind {
        Kind::Service => &there.services,
        Kind::Network => &there.networks,
        Kind::Secret => &there.secrets,
        Kind::Config => &there.configs,
        Kind::Node | Kind::Task => &[],
    }
}

fn refusal(kind: Kind, name: &str, why: impl Into<String>) -> Refusal {
    Refusal::Object { object: Target::Object { kind: kind.to_string(), name: name.to_owned() }, why: why.into() }
}

fn finding(message: String) -> Finding {
    Finding { host: None, kind: FindingKind::Object, message }
}

/// To make a network, a secret or a config.
#[derive(Debug, Clone)]
pub struct MakeObject<'a> {
    /// The cluster's file.
    pub spec: &'a ClusterSpec,
    /// What kind of object.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// What it is; its name is put in.
    pub body: Body,
}

impl Intent for MakeObject<'_> {
    fn next(&self, observed: &Observed, so_far: SoFar) -> Next {
        let there = match there_now(self.spec, observed, so_far) {
            Ok(there) => there,
            Err(next) => return *next,
        };
        let is_there = find(of_kind(&there, self.kind), &self.name).is_some();
        if is_there && so_far.rounds == 0 {
            return Next::Refused(vec![refusal(self.kind, &self.name, "it is there already; remove it first, or use another name")]);
        }
        let mut body = self.body.clone();
        if let Some(map) = body.spec.as_object_mut() {
            map.insert("Name".into(), self.name.clone().into());
        }
        let step = Data::Create(Create { kind: self.kind, body }).work();
        let step = step.step("not there", self.kind.to_string(), "it was asked for", Risk::None);
        let plan = Plan::of_work(self.spec, observed, if is_there { Vec::new() } else { vec![step] }, Vec::new());
        if plan.is_empty() { Next::Done(plan) } else { Next::Round(plan) }
    }

    fn verify(&self, observed: &Observed) -> Verdict {
        let missing = match There::of(observed) {
            Ok(there) => {
                find(of_kind(&there, self.kind), &self.name).is_none().then(|| format!("{} {} is not there", self.kind, self.name))
            }
            Err(why) => Some(why),
        };
        let findings: Vec<Finding> = missing.into_iter().map(finding).collect();
        Verdict::of(findings, Vec::new())
    }

    fn scope(&self) -> Scope {
        Scope::Managers
    }

    fn wants(&self) -> Vec<Query> {
        wants()
    }
}

/// To make a service.
#[derive(Debug, Clone)]
pub struct MakeService<'a> {
    /// The cluster's file.
    pub spec: &'a ClusterSpec,
    /// Its specification, with its name; networks, secrets and configs by their names.
    pub service: Value,
    /// How its image is asked for.
    pub images: ImageOptions,
    /// Whether tasks are not waited for.
    pub detach: bool,
}

impl MakeService<'_> {
    fn name(&self) -> &str {
        self.service.get("Name").and_then(Value::as_str).unwrap_or_default()
    }

    /// Networks, secrets and configs that it names and that are not there.
    fn missing(&self, there: &There<'_>) -> Vec<Refusal> {
        let texts = |place: &str, key: &str| -> Vec<String> {
            let list = self.service.pointer(place).and_then(Value::as_array).into_iter().flatten();
            list.filter_map(|entry| entry.get(key)?.as_str()).map(str::to_owned).collect()
        };
        let mut refusals = Vec::new();
        for (kind, place, key) in [
            (Kind::Network, "/TaskTemplate/Networks", "Target"),
            (Kind::Secret, "/TaskTemplate/ContainerSpec/Secrets", "SecretName"),
            (Kind::Config, "/TaskTemplate/ContainerSpec/Configs", "ConfigName"),
        ] {
            // Networks of the nodes themselves.
            let own = |name: &str| kind == Kind::Network && matches!(name, "host" | "bridge" | "none");
            for name in texts(place, key).into_iter().filter(|name| !own(name) && find(of_kind(there, kind), name).is_none()) {
                refusals.push(refusal(kind, &name, "there is no such object in the swarm; create it first"));
            }
        }
        refusals
    }
}

impl Intent for MakeService<'_> {
    fn next(&self, observed: &Observed, so_far: SoFar) -> Next {
        let there = match there_now(self.spec, observed, so_far) {
            Ok(there) => there,
            Err(next) => return *next,
        };
        let is_there = find(&there.services, self.name()).is_some();
        if so_far.rounds == 0 {
            let mut refusals = self.missing(&there);
            if is_there {
                let why = "it is there already; change it with `service update`, or use another name";
                refusals.push(refusal(Kind::Service, self.name(), why));
            }
            refusals.extend(harm(&self.service).map(|why| refusal(Kind::Service, self.name(), why)));
            if !refusals.is_empty() {
                return Next::Refused(refusals);
            }
        }
        let mut notes = Vec::new();
        if let (false, Some(why)) = (is_there, nowhere(&self.service, there.nodes)) {
            notes.push(format!("service {}: no node can have its tasks now ({why})", self.name()));
        }
        let put = Put {
            resolve: self.images.resolve.asks(true),
            login: self.images.logins.get(image_of(&self.service)).cloned(),
            send_login: self.images.send_logins,
            detach: self.detach,
            ..Put::new(self.service.clone(), None)
        };
        let step = Data::Put(Box::new(put)).work().step("not there", summary(&self.service), "it was asked for", Risk::None);
        let plan = Plan::of_work(self.spec, observed, if is_there { Vec::new() } else { vec![step] }, notes);
        if plan.is_empty() { Next::Done(plan) } else { Next::Round(plan) }
    }

    fn verify(&self, observed: &Observed) -> Verdict {
        let findings = match There::of(observed) {
            Ok(there) => match find(&there.services, self.name()) {
                None => vec![finding(format!("service {} is not there", self.name()))],
                Some(service) if !self.detach && lacks_tasks(service) => {
                    vec![finding(format!("service {}: not all of its tasks run", self.name()))]
                }
                Some(_) => Vec::new(),
            },
            Err(why) => vec![finding(why)],
        };
        Verdict::of(findings, Vec::new())
    }

    fn scope(&self) -> Scope {
        Scope::Managers
    }

    fn wants(&self) -> Vec<Query> {
        wants()
    }
}

/// To remove services, networks, secrets or configs by their names.
#[derive(Debug, Clone)]
pub struct RemoveObjects<'a> {
    /// The cluster's file.
    pub spec: &'a ClusterSpec,
    /// What kind of objects.
    pub kind: Kind,
    /// Their names.
    pub names: Vec<String>,
}

impl Intent for RemoveObjects<'_> {
    fn next(&self, observed: &Observed, so_far: SoFar) -> Next {
        let there = match there_now(self.spec, observed, so_far) {
            Ok(there) => there,
            Err(next) => return *next,
        };
        let (mut steps, mut refusals) = (Vec::new(), Vec::new());
        for name in &self.names {
            let Some(object) = find(of_kind(&there, self.kind), name) else {
                if so_far.rounds == 0 {
                    refusals.push(refusal(self.kind, name, "there is no such object"));
                }
                continue;
            };
            let users = users_of(self.kind, object, &there.services);
            if users.is_empty() {
                steps.push(removal(self.kind, object, Vec::new(), "its removal was asked for"));
            } else {
                refusals.push(refusal(self.kind, name, format!("it is used by {}; remove or change that first", users.join(", "))));
            }
        }
        if !refusals.is_empty() {
            return Next::Refused(refusals);
        }
        let mut plan = Plan::of_work(self.spec, observed, steps, Vec::new());
        plan.purpose = PlanPurpose::Remove;
        if plan.is_empty() { Next::Done(plan) } else { Next::Round(plan) }
    }

    fn verify(&self, observed: &Observed) -> Verdict {
        let findings: Vec<Finding> = match There::of(observed) {
            Ok(there) => {
                let left = self.names.iter().filter(|name| find(of_kind(&there, self.kind), name).is_some());
                left.map(|name| finding(format!("{} {name} is still there", self.kind))).collect()
            }
            Err(why) => vec![finding(why)],
        };
        Verdict::of(findings, Vec::new())
    }

    fn scope(&self) -> Scope {
        Scope::Managers
    }

    fn wants(&self) -> Vec<Query> {
        wants()
    }
}
