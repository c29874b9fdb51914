//! Volumes of a service, in both forms.

use crate::objects::expand;
use crate::reader::Reader;
use serde_json::{Map, Value as Json, json};
use std::path::{Component, Path, PathBuf};
use swarm_core::spec::{Node, Value};
use swarm_workload::NAMESPACE_LABEL;

/// One mount as the file has it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Mount {
    pub(crate) kind: String,
    pub(crate) source: String,
    pub(crate) target: String,
    pub(crate) read_only: bool,
    pub(crate) consistency: Option<String>,
    pub(crate) propagation: Option<String>,
    pub(crate) bind: bool,
    pub(crate) no_copy: bool,
    pub(crate) subpath: Option<String>,
    pub(crate) volume: bool,
    pub(crate) tmpfs: bool,
    pub(crate) size: Option<i64>,
}

const PROPAGATIONS: &[&str] = &["private", "rprivate", "shared", "rshared", "slave", "rslave"];

/// `[SOURCE:]TARGET[:OPTIONS]`.
pub(crate) fn short(text: &str) -> Option<Mount> {
    let parts: Vec<&str> = text.split(':').collect();
    let mut mount = Mount { kind: "volume".into(), ..Mount::default() };
    match parts.as_slice() {
        [target] => mount.target = (*target).to_owned(),
        [source, target, options @ ..] if options.len() <= 1 => {
            (mount.source, mount.target) = ((*source).to_owned(), (*target).to_owned());
            for option in options.iter().flat_map(|o| o.split(',')) {
                match option {
                    "ro" => mount.read_only = true,
                    "rw" => mount.read_only = false,
                    "nocopy" => (mount.volume, mount.no_copy) = (true, true),
                    other if PROPAGATIONS.contains(&other) => (mount.bind, mount.propagation) = (true, Some(other.to_owned())),
                    // What docker does not know here it leaves out without a word: z and Z among them.
                    _ => {}
                }
            }
        }
        _ => return None,
    }
    if mount.source.starts_with(['.', '/', '~']) {
        mount.kind = "bind".into();
    }
    let whole = !mount.target.is_empty() && (parts.len() == 1 || !mount.source.is_empty());
    whole.then_some(mount)
}

/// A path without `.` and `..`.
fn clean(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out
}

impl Reader<'_> {
    /// The engine's list.
    pub(crate) fn mounts(&mut self, node: &Node, path: &str) -> Json {
        let mut all = Vec::new();
        for (index, item) in self.items(node, path).iter().enumerate() {
            let path = format!("{path}[{index}]");
            let mount = match &item.value {
                Value::Map(_) => self.long_mount(item, &path),
                _ => self.text(item, &path).and_then(|text| {
                    let mount = short(&text);
                    if mount.is_none() {
                        self.say(item.at, &path, format!("`{text}` is no volume"), "write SOURCE:TARGET, or SOURCE:TARGET:ro");
                    }
                    mount
                }),
            };
            all.extend(mount.and_then(|mount| self.mount(mount, item, &path)));
        }
        json!(all)
    }

    fn long_mount(&mut self, node: &Node, path: &str) -> Option<Mount> {
        let mut mount = Mount::default();
        for entry in self.entries(node, path) {
            let at = format!("{path}.{}", entry.key);
            match entry.key.as_str() {
                "type" => mount.kind = self.word(&entry.node, &at, &["volume", "bind", "tmpfs", "npipe", "cluster"])?,
                "source" => mount.source = self.text(&entry.node, &at)?,
                "target" => mount.target = self.text(&entry.node, &at)?,
                "read_only" => mount.read_only = self.boolean(&entry.node, &at)?,
                "consistency" => mount.consistency = self.text(&entry.node, &at),
                "bind" => {
                    mount.bind = true;
                    for one in self.entries(&entry.node, &at) {
                        match one.key.as_str() {
                            "propagation" => mount.propagation = self.word(&one.node, &format!("{at}.propagation"), PROPAGATIONS),
                            other => {
                                self.ignored.insert(format!("volumes.bind.{other}"));
                            }
                        }
                    }
                }
                "volume" => {
                    mount.volume = true;
                    for one in self.entries(&entry.node, &at) {
                        match one.key.as_str() {
                            "nocopy" => mount.no_copy = self.boolean(&one.node, &format!("{at}.nocopy")).unwrap_or(false),
                            "subpath" => mount.subpath = self.text(&one.node, &format!("{at}.subpath")),
                            other => {
                                self.ignored.insert(format!("volumes.volume.{other}"));
                            }
                        }
                    }
                }
                "tmpfs" => {
                    mount.tmpfs = true;
                    for one in self.entries(&entry.node, &at) {
                        match one.key.as_str() {
                            "size" => mount.size = self.bytes(&one.node, &format!("{at}.size")),
                            other => {
                                self.ignored.insert(format!("volumes.tmpfs.{other}"));
                            }
                        }
                    }
                }
                "cluster" => {}
                _ => self.unknown(entry, path),
            }
        }
        if mount.kind.is_empty() {
            self.say(node.at, path, "it has no type", "add type: volume, bind or tmpfs");
            return None;
        }
        if mount.target.is_empty() {
            self.say(node.at, path, "it has no target", "add target:, the path in the task");
            return None;
        }
        Some(mount)
    }

    fn mount(&mut self, mount: Mount, node: &Node, path: &str) -> Option<Json> {
        let mut out = Map::new();
        let wrong_options = [("bind", mount.bind), ("volume", mount.volume), ("tmpfs", mount.tmpfs)]
            .into_iter()
            .find(|(kind, given)| *given && *kind != mount.kind && !(*kind == "volume" && mount.kind == "cluster"));
        if let Some((kind, _)) = wrong_options {
            self.say(
                node.at,
                path,
                format!("{kind} options are not for a mount of type {}", mount.kind),
                "remove them, or change the type",
            );
            return None;
        }
        let mut source = mount.source.clone();
        match mount.kind.as_str() {
            "bind" | "npipe" => {
                if source.is_empty() {
                    self.say(node.at, path, "it has no source", "add source:, the path on the host");
                    return None;
                }
                if mount.kind == "bind" {
                    let full = self.context.folder.join(expand(&source, self.context));
                    source = clean(&full).to_string_lossy().into_owned();
                }
                if mount.bind {
                    out.insert("BindOptions".into(), mount.propagation.map_or_else(|| json!({}), |p| json!({ "Propagation": p })));
                }
            }
            "tmpfs" => {
                if !source.is_empty() {
                    self.say(node.at, path, "a tmpfs has no source", "remove source");
                    return None;
                }
                if mount.tmpfs {
                    out.insert("TmpfsOptions".into(), mount.size.map_or_else(|| json!({}), |size| json!({ "SizeBytes": size })));
                }
            }
            "cluster" => {
                out.insert("ClusterOptions".into(), json!({}));
            }
            _ if source.is_empty() => {}
            _ => {
                let Some(volume) = self.volumes.get(&source).cloned() else {
                    self.say(
                        node.at,
                        path,
                        format!("there is no volume `{source}` in the file"),
                        format!("add volumes: {{ {source}: {{}} }}"),
                    );
                    return None;
                };
                let mut options = Map::new();
                if mount.no_copy {
                    options.insert("NoCopy".into(), json!(true));
                }
                if let Some(subpath) = mount.subpath {
                    options.insert("Subpath".into(), json!(subpath));
                }
                source = volume.name.clone().unwrap_or_else(|| self.scoped(&source));
                if !volume.external {
                    let mut labels = volume.labels.clone();
                    labels.insert(NAMESPACE_LABEL.to_owned(), self.out.name.clone());
                    options.insert("Labels".into(), json!(labels));
                    if volume.driver.is_some() || volume.options.is_some() {
                        let mut driver = Map::new();
                        driver.extend(volume.driver.map(|name| ("Name".to_owned(), json!(name))));
                        driver.extend(volume.options.map(|options| ("Options".to_owned(), json!(options))));
                        options.insert("DriverConfig".into(), Json::Object(driver));
                    }
                }
                out.insert("VolumeOptions".into(), Json::Object(options));
            }
        }
        out.insert("Type".into(), json!(mount.kind));
        if !source.is_empty() {
            out.insert("Source".into(), json!(source));
        }
        out.insert("Target".into(), json!(mount.target));
        if mount.read_only {
            out.insert("ReadOnly".into(), json!(true));
        }
        if let Some(consistency) = mount.consistency {
            out.insert("Consistency".into(), json!(consistency));
        }
        Some(Json::Object(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_forms() {
        let of = |text: &str| short(text).map(|m| (m.kind, m.source, m.target, m.read_only));
        let some = |kind: &str, source: &str, target: &str, ro| Some((kind.to_owned(), source.to_owned(), target.to_owned(), ro));
        assert_eq!(of("/data"), some("volume", "", "/data", false));
        assert_eq!(of("db:/data:ro"), some("volume", "db", "/data", true));
        assert_eq!(of("./x:/data"), some("bind", "./x", "/data", false));
        assert_eq!(of("/x:/data:ro,rshared"), some("bind", "/x", "/data", true));
        assert_eq!(short("/x:/data:z").unwrap().propagation, None);
        assert!(short("db:/data:nocopy").unwrap().no_copy);
        for wrong in ["", ":/x", "a:", "a:b:c:d"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
        assert_eq!(clean(Path::new("/a/./b/../c")), Path::new("/a/c"));
    }
}
