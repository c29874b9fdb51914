//! Keys of the file that change nothing: each is a warning, because whoever wrote it expects something of it.

use super::fields::{Fields, Reader};
use super::problem::Severity;
use super::tree::{Location, Node};
use super::{Connection, HostSpec};

impl Reader {
    fn useless(&mut self, path: String, at: Option<Location>, why: &str, fix: &str) {
        self.push(Severity::Warning, path, at, format!("this key changes nothing: {why}"), fix.into());
    }

    /// Keys of one host.
    pub(super) fn useless_of_host(&mut self, fields: &Fields<'_>, connection: &Connection) {
        let Some(ssh) = fields.node("ssh") else { return };
        let way = match connection {
            Connection::Ssh(_) => return,
            Connection::Local => "local",
            Connection::Docker(_) => "docker",
        };
        let why = format!("with `connection: {way}` the host is not reached by SSH");
        self.useless(fields.path_of("ssh"), ssh.at, &why, "remove it, or remove `connection`");
    }

    /// Keys of a host that is to be in no swarm.
    pub(super) fn useless_of_absent(&mut self, fields: &Fields<'_>) {
        for key in ["availability", "labels"] {
            if let Some(node) = fields.node(key) {
                self.useless(fields.path_of(key), node.at, "with `role: none` the host is no node", "remove it, or give the host a role");
            }
        }
    }

    /// Keys of the whole file.
    pub(super) fn useless_of_cluster<'a>(&mut self, given: Option<&Node>, ssh: &Fields<'_>, hosts: impl Iterator<Item = &'a HostSpec>) {
        let logins: Vec<_> = hosts.filter_map(|h| if let Connection::Ssh(ssh) = &h.connection { Some(ssh) } else { None }).collect();
        if let Some(node) = given.filter(|_| logins.is_empty()) {
            self.useless("ssh".into(), node.at, "no host is reached by SSH", "remove it");
        }
        let all_root = !logins.is_empty() && logins.iter().all(|l| l.user.as_deref() == Some("root"));
        if let Some(node) = ssh.node("sudo").filter(|_| all_root && logins.iter().any(|l| l.sudo)) {
            self.useless("ssh.sudo".into(), node.at, "every login is as root already", "remove it, or log in as another user");
        }
    }

    /// Keys of `swarm:`.
    pub(super) fn useless_of_swarm(&mut self, fields: &Fields<'_>, autolock: Option<bool>) {
        for key in ["unlock_key_file", "unlock_key_command"] {
            let Some(node) = fields.node(key).filter(|_| autolock == Some(false)) else { continue };
            self.useless(format!("swarm.{key}"), node.at, "with `autolock: false` there is no key", "remove it, or set `autolock: true`");
        }
        // moby daemon/cluster/swarm.go, validateDefaultAddrPool: without a pool the size is not looked at.
        let mask = "default_addr_pool_mask_length";
        if let Some(node) = fields.node(mask).filter(|_| fields.node("default_addr_pool").is_none()) {
            self.useless(
                fields.path_of(mask),
                node.at,
                "it divides `default_addr_pool`, which is not set",
                "set `default_addr_pool` too, or remove it",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::spec::tree::made::{map, text};
    use crate::spec::{Node, Value, read};

    fn warned(host: Vec<(&str, Node)>, more: Vec<(&str, Node)>) -> Vec<String> {
        let host = map([vec![("address", text("10.0.0.1")), ("role", text("manager"))], host].concat());
        let document = map([vec![("name", text("x")), ("hosts", map(vec![("m1", host)]))], more].concat());
        read(&document).unwrap().warnings.into_iter().map(|w| w.path).collect()
    }

    #[test]
    fn keys_that_change_nothing_are_named() {
        let yes = || Node { value: Value::Bool(true), at: None };
        let no = || Node { value: Value::Bool(false), at: None };
        let root = || map(vec![("user", text("root")), ("sudo", yes())]);
        assert_eq!(warned(vec![], vec![]), Vec::<String>::new());
        assert_eq!(warned(vec![("connection", text("local")), ("ssh", map(vec![]))], vec![]), ["hosts.m1.ssh"]);
        assert_eq!(warned(vec![("connection", text("local"))], vec![("ssh", root())]), ["ssh"]);
        assert_eq!(warned(vec![], vec![("ssh", root())]), ["ssh.sudo"]);
        assert_eq!(warned(vec![("ssh", map(vec![("user", text("op"))]))], vec![("ssh", root())]), Vec::<String>::new());
        let mask = Node { value: Value::Int(25), at: None };
        assert_eq!(
            warned(vec![], vec![("swarm", map(vec![("default_addr_pool_mask_length", mask)]))]),
            ["swarm.default_addr_pool_mask_length"]
        );
        let key = |autolock| map(vec![("autolock", autolock), ("unlock_key_file", text("k"))]);
        assert_eq!(warned(vec![], vec![("swarm", key(no()))]), ["swarm.unlock_key_file"]);
        assert_eq!(warned(vec![], vec![("swarm", key(yes()))]), Vec::<String>::new());
    }
}
