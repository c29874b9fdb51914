//! Ports of a service, in both forms.

use crate::reader::Reader;
use serde_json::{Value as Json, json};
use swarm_core::spec::{Node, Value};
use swarm_workload::{Port, short_ports};

impl Reader<'_> {
    /// The engine's list, in the docker CLI's order.
    pub(crate) fn ports(&mut self, node: &Node, path: &str) -> Json {
        let mut all: Vec<Port> = Vec::new();
        for (index, item) in self.items(node, path).iter().enumerate() {
            let path = format!("{path}[{index}]");
            match &item.value {
                Value::Map(_) => all.extend(self.long_port(item, &path)),
                _ => {
                    let Some(text) = self.scalar(item, &path) else { continue };
                    match short_ports(&text) {
                        Some((ports, dropped)) => {
                            if dropped {
                                self.warnings.push(format!(
                                    "{path}: the address in {text} is dropped: a service's ports are published on every address"
                                ));
                            }
                            all.extend(ports);
                        }
                        None => self.say(
                            item.at,
                            &path,
                            format!("`{text}` is no port"),
                            "write PUBLISHED:TARGET, for example 8080:80 or 53:53/udp",
                        ),
                    }
                }
            }
        }
        all.sort_by_key(|port| port.published);
        json!(all.iter().map(Port::json).collect::<Vec<_>>())
    }

    fn long_port(&mut self, node: &Node, path: &str) -> Option<Port> {
        let mut port = Port { published: 0, target: 0, protocol: "tcp".into(), mode: "ingress".into() };
        for entry in self.entries(node, path) {
            let at = format!("{path}.{}", entry.key);
            match entry.key.as_str() {
                "target" => port.target = self.count(&entry.node, &at)?,
                "published" => port.published = self.count(&entry.node, &at)?,
                "protocol" => port.protocol = self.word(&entry.node, &at, &["tcp", "udp", "sctp"])?,
                "mode" => port.mode = self.word(&entry.node, &at, &["ingress", "host"])?,
                _ => self.unknown(entry, path),
            }
        }
        for (what, number) in [("target", port.target), ("published", port.published)] {
            if number > 65535 {
                self.say(node.at, &format!("{path}.{what}"), format!("{number} is no port"), "write 1 to 65535");
                return None;
            }
        }
        if port.target == 0 {
            self.say(node.at, path, "it has no target", "add target:, the port that the task listens on");
            return None;
        }
        Some(port)
    }
}
