//! What is there of a stack, and beside it: from one look at the swarm's objects.

use crate::spec::NAMESPACE_LABEL;
use serde_json::Value;
use std::collections::BTreeMap;
use swarm_core::engine::{Kind, Object, Query};
use swarm_core::observe::{Fact, NodeFacts, Observed};

/// What is there of a stack, and beside it.
pub(crate) struct There<'a> {
    pub(crate) services: Vec<&'a Object>,
    pub(crate) networks: Vec<&'a Object>,
    pub(crate) secrets: Vec<&'a Object>,
    pub(crate) configs: Vec<&'a Object>,
    /// The names of networks by their ids.
    pub(crate) names: BTreeMap<String, String>,
    /// The oldest engine of a manager, by its major version.
    pub(crate) engine: u32,
    /// The nodes, for where tasks may go.
    pub(crate) nodes: &'a [NodeFacts],
}

/// The queries for a stack's objects and for those that it refers to.
pub(crate) fn wants() -> Vec<Query> {
    vec![Query::all(Kind::Service), Query::all(Kind::Network).with("scope", "swarm"), Query::all(Kind::Secret), Query::all(Kind::Config)]
}

/// The swarm's tasks, of a look that asked for them.
///
/// # Errors
/// Why they are not known.
pub(crate) fn tasks(observed: &Observed) -> Result<&[Object], String> {
    match observed.objects_of(&Query::all(Kind::Task)) {
        Fact::Known(tasks, _) => Ok(tasks),
        Fact::Unknown(why) => Err(why),
        Fact::NotAsked => Err("the swarm's tasks were not asked for".into()),
    }
}

/// The queries for a stack's objects, and for the swarm's tasks.
pub(crate) fn wants_tasks() -> Vec<Query> {
    let mut all = wants();
    all.push(Query::all(Kind::Task));
    all
}

impl<'a> There<'a> {
    /// A swarm that is yet to be made has nothing.
    pub(crate) fn nothing() -> Self {
        let none = Vec::new;
        Self { services: none(), networks: none(), secrets: none(), configs: none(), names: BTreeMap::new(), engine: u32::MAX, nodes: &[] }
    }

    /// From a look that asked for [`wants`].
    ///
    /// # Errors
    /// Why objects are not known.
    pub(crate) fn of(observed: &'a Observed) -> Result<Self, String> {
        let mut lists: Vec<Vec<&Object>> = Vec::new();
        for query in wants() {
            match observed.objects_of(&query) {
                Fact::Known(objects, _) => lists.push(objects.iter().collect()),
                Fact::Unknown(why) => return Err(why),
                Fact::NotAsked => return Err("the swarm's objects were not asked for".into()),
            }
        }
        let mut lists = lists.into_iter();
        let mut next = || lists.next().unwrap_or_default();
        let (services, mut networks, secrets, configs) = (next(), next(), next(), next());
        networks.retain(|network| !is_going(network));
        let names = networks.iter().map(|n| (n.id().to_owned(), n.name().to_owned())).collect();
        let nodes = observed.view().map_or(&[][..], |v| &v.nodes);
        let managers = nodes.iter().filter(|n| n.manager.is_some());
        let engine = managers.filter_map(|n| n.engine_version.split('.').next()?.parse().ok()).min().unwrap_or(u32::MAX);
        Ok(Self { services, networks, secrets, configs, names, engine, nodes })
    }
}

/// Whether the swarm has a network no more, and only this engine still has it, for tasks of removed services that are ending in it. A manager
/// lists the swarm's own networks without containers at all (moby `api/server/router/network`, measured on 20.10; 28.5 behaves alike).
pub(crate) fn is_going(network: &Object) -> bool {
    network.part("/Containers").is_some_and(|containers| !containers.is_null())
}

/// Fields that engines before a major version take without a word and do not keep.
const NEWER: &[(&str, &str, u32)] =
    &[("/TaskTemplate/ContainerSpec/Healthcheck", "StartInterval", 25), ("/TaskTemplate/ContainerSpec", "OomScoreAdj", 27)];

/// A specification without what the engine does not keep, and what that is, each with the version that does.
pub(crate) fn kept_by(engine: u32, spec: &Value) -> (Value, Vec<(String, u32)>) {
    let mut kept = spec.clone();
    let mut dropped = Vec::new();
    for (at, key, since) in NEWER.iter().filter(|(_, _, since)| engine < *since) {
        if let Some(map) = kept.pointer_mut(at).and_then(Value::as_object_mut)
            && map.remove(*key).is_some()
        {
            dropped.push(((*key).to_owned(), *since));
        }
    }
    for mount in kept.pointer_mut("/TaskTemplate/ContainerSpec/Mounts").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(options) = mount.get_mut("VolumeOptions").and_then(Value::as_object_mut)
            && engine < 26
            && options.remove("Subpath").is_some()
        {
            dropped.push(("Subpath".to_owned(), 26));
        }
    }
    (kept, dropped)
}

/// The object of a name.
pub(crate) fn find<'a>(objects: &[&'a Object], name: &str) -> Option<&'a Object> {
    objects.iter().find(|o| o.name() == name).copied()
}

/// Whether it belongs to a stack.
pub(crate) fn belongs(object: &Object, stack: &str) -> bool {
    object.label(NAMESPACE_LABEL).as_deref() == Some(stack)
}

/// The name that an object of rotated content has in the swarm: the first one has its own name, later ones one with a mark.
pub(crate) fn is_rotation_of(name: &str, base: &str) -> bool {
    let mark = name.strip_prefix(base).and_then(|rest| rest.strip_prefix('_'));
    mark.is_some_and(|mark| mark.len() == 8 && mark.chars().all(|c| c.is_ascii_hexdigit()))
}

/// The name of the config that has a content: one that is there, or the one to be made.
pub(crate) fn config_name(base: &str, digest: &str, there: &There<'_>, stack: &str) -> String {
    let holds = |object: &&&Object| {
        let name = object.name();
        (name == base || is_rotation_of(name, base)) && belongs(object, stack) && content_digest(object).as_deref() == Some(digest)
    };
    match there.configs.iter().find(holds) {
        Some(found) => found.name().to_owned(),
        None if find(&there.configs, base).is_none() => base.to_owned(),
        None => format!("{base}_{}", digest.get(..8).unwrap_or(digest)),
    }
}

/// SHA-256 of a config's content, as hex.
fn content_digest(config: &Object) -> Option<String> {
    use base64::Engine;
    let data = base64::engine::general_purpose::STANDARD.decode(&*config.text("/Spec/Data").unwrap_or_default()).ok()?;
    Some(hmac_sha256::Hash::hash(&data).iter().map(|b| format!("{b:02x}")).collect())
}

/// The secret that is used for a name: the newest of its rotations. Their names do not tell; the versions of the objects do.
pub(crate) fn current_secret<'a>(base: &str, there: &There<'a>, stack: &str) -> Option<&'a Object> {
    let ours = there.secrets.iter().filter(|o| o.name() == base || is_rotation_of(o.name(), base)).filter(|o| belongs(o, stack));
    ours.max_by_key(|o| o.text("/CreatedAt").unwrap_or_default()).copied()
}
