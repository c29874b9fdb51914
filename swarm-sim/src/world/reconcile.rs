//! What becomes of services: their tasks are made, placed, replaced and ended, and updates roll (swarmkit `manager/orchestrator`,
//! `manager/scheduler`).

use super::kept::{ImageKind, Objects, SimTask};
use super::objects::{RESTART, RUNS, number, template, text};
use super::swarm::{Node, NodeId, Swarm};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use swarm_core::observe::NodeState;
use swarm_core::spec::Availability;

/// How long a task that is updated away has to say that it has ended, before the next one starts in its place.
const OLD_TASK: Duration = Duration::from_secs(60);
/// How long a task takes to run once it has a node.
const STARTS: Duration = Duration::from_millis(600);

/// Whether a node may have tasks of a service, by its state and its constraints.
fn takes(node: &Node, spec: &Value) -> bool {
    Swarm::takes_tasks(node) && meets(node, spec)
}

/// Whether a node meets the constraints of a service.
fn meets(node: &Node, spec: &Value) -> bool {
    let constraints = spec.pointer("/TaskTemplate/Placement/Constraints").and_then(Value::as_array);
    constraints.into_iter().flatten().filter_map(Value::as_str).all(|constraint| {
        let (key, value, equal) = match (constraint.split_once("!="), constraint.split_once("==")) {
            (Some((key, value)), _) => (key, value, false),
            (_, Some((key, value))) => (key, value, true),
            _ => return false,
        };
        let (key, value) = (key.trim(), value.trim());
        let is = match key.strip_prefix("node.labels.") {
            Some(label) => node.labels.get(label).is_some_and(|v| v == value),
            None if key == "node.role" => node.role.to_string() == value,
            None if key == "node.hostname" => node.hostname == value,
            None if key == "node.id" => node.id.as_str() == value,
            None => false,
        };
        is == equal
    })
}

/// Whether a task is as its service wants it. One that differs only in where it may be is, as long as its node may have it (swarmkit
/// `manager/orchestrator/task.go`, `IsTaskDirty`).
fn is_current(task: &SimTask, current: &Value, nodes: &[Node], spec: &Value) -> bool {
    let elsewhere = |template: &Value| {
        let mut template = template.clone();
        if let Some(map) = template.get_mut(0).and_then(Value::as_object_mut) {
            map.remove("Placement");
        }
        template
    };
    let fits = || nodes.iter().any(|n| task.node.as_ref() == Some(&n.id) && meets(n, spec));
    task.template == *current || (elsewhere(&task.template) == elsewhere(current) && fits())
}

impl Objects {
    /// What tasks do by themselves.
    pub(super) fn lives(&mut self, nodes: &[Node], images: &BTreeMap<String, ImageKind>, now: Duration) {
        for task in &mut self.tasks {
            let node = task.node.as_ref().and_then(|id| nodes.iter().find(|n| n.id == *id));
            let lost = task.node.is_some() && node.is_none_or(|n| n.state == NodeState::Down);
            if lost && !task.has_ended() {
                task.end("orphaned", "the node is down".into(), now);
                continue;
            }
            if node.is_some_and(|n| n.availability == Availability::Drain) && task.is_wanted() {
                task.desired = "shutdown";
            }
            // No one says of a task without a node that it has ended (swarmkit `manager/orchestrator/restart`, `defaultOldTaskTimeout`).
            if !task.is_wanted() && task.state == "pending" && now < task.since + OLD_TASK {
                continue;
            }
            if !task.is_wanted() && !task.has_ended() {
                if now >= task.since + Duration::from_millis(300) || task.state != "running" {
                    (task.state, task.since) = ("shutdown", now);
                }
                continue;
            }
            let image = text(&task.template, "/0/ContainerSpec/Image").split('@').next().unwrap_or_default().to_owned();
            match (task.state, images.get(&image)) {
                ("preparing", Some(ImageKind::Missing)) if now >= task.since + STARTS => {
                    task.end("rejected", format!("No such image: {image}"), now);
                }
                ("ready", _) if now >= task.since + OLD_TASK => (task.state, task.since) = ("preparing", now),
                ("preparing", _) if now >= task.since + STARTS => (task.state, task.since) = ("running", now),
                ("running", Some(ImageKind::Crashes)) if now >= task.since + RUNS => {
                    task.end("failed", "task: non-zero exit (1)".into(), now)
                }
                ("running", Some(ImageKind::Ends)) if now >= task.since + RUNS => task.end("complete", String::new(), now),
                _ => {}
            }
        }
    }

    /// The slots that a service keeps and gets. Where it has too many, those go whose node has the most of its tasks, and those that do not run
    /// before those that do (swarmkit `manager/orchestrator/replicated/services.go`).
    fn slots(&self, id: &str, wanted: u64) -> Vec<u64> {
        let mut has: BTreeMap<u64, Option<&SimTask>> = BTreeMap::new();
        for task in self.tasks.iter().filter(|t| t.service == id && t.desired != "remove") {
            let of = has.entry(task.slot).or_default();
            if task.is_wanted() {
                *of = Some(task);
            }
        }
        let mut slots: Vec<(u64, Option<&SimTask>)> = has.into_iter().collect();
        slots.sort_by_key(|(_, task)| task.is_none_or(|t| t.state != "running"));
        let mut on_node: BTreeMap<Option<&NodeId>, u64> = BTreeMap::new();
        let mut copies: Vec<(u64, u64)> = Vec::new();
        for (slot, task) in slots {
            let count = on_node.entry(task.and_then(|t| t.node.as_ref())).or_default();
            *count += 1;
            copies.push((*count, slot));
        }
        copies.sort_by_key(|(copy, _)| *copy);
        let mut kept: BTreeSet<u64> =
            copies.into_iter().map(|(_, slot)| slot).take(usize::try_from(wanted).unwrap_or(usize::MAX)).collect();
        let mut next = 1;
        while (kept.len() as u64) < wanted {
            kept.insert(next);
            next += 1;
        }
        kept.into_iter().collect()
    }

    /// Makes, replaces and ends tasks of a service. Gives whether the service itself changed: the state of its update.
    pub(super) fn reconcile(&mut self, id: &str, nodes: &[Node], now: Duration, ids: &mut impl Iterator<Item = String>) -> bool {
        let Some(service) = self.stored.get(id).cloned() else { return false };
        let spec = &service.spec;
        let global = spec.pointer("/Mode/Global").is_some();
        let job = spec.pointer("/Mode/ReplicatedJob").is_some();
        let able: Vec<&Node> = nodes.iter().filter(|n| takes(n, spec)).collect();
        let slots: Vec<(u64, Option<NodeId>)> = if global {
            able.iter().map(|n| (0, Some(n.id.clone()))).collect()
        } else {
            self.slots(id, number(spec, "/Mode/Replicated/Replicas").unwrap_or(1)).into_iter().map(|slot| (slot, None)).collect()
        };
        let place_of = |t: &SimTask| if global { (0, t.node.clone()) } else { (t.slot, None) };
        let wanted: BTreeSet<(u64, Option<NodeId>)> = slots.iter().cloned().collect();
        for task in self.tasks.iter_mut().filter(|t| t.service == id && t.is_wanted() && !wanted.contains(&place_of(t))) {
            (task.desired, task.since) = ("remove", now);
        }
        let current = template(spec);
        let paused = matches!(service.update, Some(("paused" | "rollback_paused", ..)));
        let rolling = matches!(service.update, Some(("updating" | "rollback_started", ..)));
        let at_once = match number(spec, "/UpdateConfig/Parallelism") {
            Some(0) => usize::MAX,
            Some(count) => usize::try_from(count).unwrap_or(usize::MAX),
            None => 1,
        };
        // A worker of the update waits for the policy's delay after each task (swarmkit `manager/orchestrator/update`, `worker`).
        let delay = number(spec, "/UpdateConfig/Delay").map_or(Duration::ZERO, Duration::from_nanos);
        let began = service.update.as_ref().map_or(now, |(_, _, since)| *since);
        let busy = |t: &&SimTask| t.state != "running" || (t.created >= began && now < t.since + delay);
        let mut under_way =
            self.tasks.iter().filter(|t| t.service == id && t.is_wanted() && is_current(t, &current, nodes, spec)).filter(busy).count();
        let start_first = text(spec, "/UpdateConfig/Order") == "start-first" && !global && !job;
        for (slot, on) in &slots {
            let mut beside = false;
            let mine = |t: &&SimTask| t.service == id && place_of(t) == (*slot, on.clone());
            // Of two tasks in one place one stays, once it runs (swarmkit `manager/orchestrator/update`, `isSlotDirty`).
            let both: Vec<usize> =
                (0..self.tasks.len()).filter(|at| self.tasks.get(*at).is_some_and(|t| mine(&t) && t.is_wanted())).collect();
            let is_new = |at: &usize| self.tasks.get(*at).is_some_and(|t| is_current(t, &current, nodes, spec));
            let stays = both.iter().copied().filter(is_new).find(|at| self.tasks.get(*at).is_some_and(|t| t.state == "running"));
            if start_first {
                let begins = !both.is_empty() && !both.iter().any(is_new) && rolling && under_way < at_once;
                under_way += usize::from(begins);
                beside = begins;
            }
            for at in both.into_iter().filter(|at| stays.is_some_and(|stays| stays != *at)) {
                if let Some(task) = self.tasks.get_mut(at) {
                    (task.desired, task.since) = ("shutdown", now);
                }
            }
            let alive = self.tasks.iter().position(|t| mine(&t) && t.is_wanted());
            let last = self.tasks.iter().filter(mine).max_by_key(|t| (t.created, t.since)).cloned();
            let last = last.as_ref();
            let (restarts, ended) = (
                !matches!(text(spec, "/TaskTemplate/RestartPolicy/Condition"), "none" | "on-failure") && !job,
                last.is_some_and(|t| t.has_ended() && matches!(t.state, "failed" | "rejected" | "complete")),
            );
            let too_soon = last.is_some_and(|t| ended && now < t.since + RESTART && t.template == current);
            let done = last.is_some_and(|t| {
                t.template == current
                    && (t.state == "complete" && !restarts
                        || t.state == "failed" && text(spec, "/TaskTemplate/RestartPolicy/Condition") == "none")
            });
            let replace = match alive {
                None => !(too_soon || done || paused && last.is_some_and(|t| t.template == current && ended)),
                Some(found) => {
                    let old = !start_first && self.tasks.get(found).is_some_and(|t| !is_current(t, &current, nodes, spec));
                    old && rolling && under_way < at_once
                }
            };
            if !replace && !beside {
                continue;
            }
            let mut held = false;
            if beside {
                // Nothing ends yet.
            } else if let Some(old) = alive.and_then(|found| self.tasks.get_mut(found)) {
                held = old.state == "pending";
                (old.desired, old.since) = ("shutdown", now);
                under_way += 1;
            }
            // The node with the fewest tasks of this service (swarmkit `manager/scheduler`).
            let load = |n: &Node| self.tasks.iter().filter(|t| t.is_wanted() && t.service == id && t.node.as_ref() == Some(&n.id)).count();
            let node = match on {
                Some(node) => Some(node.clone()),
                None => able.iter().min_by_key(|n| (load(n), n.id.clone())).map(|n| n.id.clone()),
            };
            let Some(task) = ids.next() else { break };
            let (state, error) = match &node {
                Some(_) if held => ("ready", String::new()),
                Some(_) => ("preparing", String::new()),
                None => ("pending", format!("no suitable node (scheduling constraints not satisfied on {} nodes)", nodes.len())),
            };
            // A task that waits for a node is kept as it is.
            if node.is_none() && last.is_some_and(|t| t.state == "pending" && t.is_wanted()) {
                continue;
            }
            self.tasks.push(SimTask {
                id: task,
                service: id.to_owned(),
                slot: *slot,
                node,
                desired: "running",
                state,
                error,
                created: now,
                since: now,
                template: current.clone(),
            });
        }
        // Tasks that found no node get one when there is one.
        if let Some(node) = able.first() {
            for task in self.tasks.iter_mut().filter(|t| t.service == id && t.state == "pending" && t.is_wanted()) {
                (task.node, task.state, task.since, task.error) = (Some(node.id.clone()), "preparing", now, String::new());
            }
        }
        self.roll(id, &current, nodes, now)
    }

    /// Where the update of a service stands. Gives whether that changed.
    fn roll(&mut self, id: &str, current: &Value, nodes: &[Node], now: Duration) -> bool {
        let failed = |t: &&SimTask, since: Duration| {
            t.service == id && t.template == *current && t.created >= since && matches!(t.state, "failed" | "rejected" | "complete")
        };
        let Some(service) = self.stored.get(id) else { return false };
        let Some((state @ ("updating" | "rollback_started"), _, since)) = service.update.clone() else { return false };
        let trouble = self.tasks.iter().find(|t| failed(t, since)).map(|t| t.id.clone());
        let mine: Vec<&SimTask> = self.tasks.iter().filter(|t| t.service == id && t.is_wanted()).collect();
        let monitor = number(&service.spec, "/UpdateConfig/Monitor").map_or(Duration::from_secs(5), Duration::from_nanos);
        let settled = mine.iter().all(|t| is_current(t, current, nodes, &service.spec) && t.state == "running" && now >= t.since + monitor);
        let action = text(&service.spec, "/UpdateConfig/FailureAction").to_owned();
        let Some(service) = self.stored.get_mut(id) else { return false };
        match (trouble, state) {
            (Some(task), "updating") if action == "rollback" && service.previous.is_some() => {
                let back = service.previous.clone().unwrap_or_default();
                service.previous = Some(std::mem::replace(&mut service.spec, back));
                let message = format!("update rolled back due to failure or early termination of task {task}");
                service.update = Some(("rollback_started", message, now));
                true
            }
            (Some(task), "updating") if action != "continue" => {
                service.update = Some(("paused", format!("update paused due to failure or early termination of task {task}"), now));
                true
            }
            _ if settled => {
                let ended = if state == "updating" { "completed" } else { "rollback_completed" };
                let message = service.update.as_ref().map(|(_, message, _)| message.clone()).unwrap_or_default();
                service.update = Some((ended, message, now));
                true
            }
            _ => false,
        }
    }
}
