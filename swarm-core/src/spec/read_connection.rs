//! How a host and its engine are reached: the part of the reader about `engine`, `connection` and `ssh`.

use super::fields::{Fields, Reader};
use super::keys::{CLIENTS, CONNECTIONS, HOST_KEYS};
use super::{Connection, EngineEndpoint, HostKeyPolicy, Jump, SshClient, SshSpec, TlsFiles};
use std::path::PathBuf;

impl Reader {
    pub(super) fn engine(&mut self, fields: &Fields<'_>) -> Option<EngineEndpoint> {
        let text = self.text(fields, "engine")?;
        let fix = "write unix:///path/of/the/socket, or tcp://host:2376 with connection: docker";
        let parsed = if let Some(path) = text.strip_prefix("unix://") {
            (path.starts_with('/') && !path.contains(['\0', '\n'])).then(|| EngineEndpoint::Unix(path.to_owned()))
        } else {
            text.strip_prefix("tcp://").and_then(|rest| {
                let (address, port) = rest.rsplit_once(':')?;
                Some(EngineEndpoint::Tcp { address: address.parse().ok()?, port: port.parse().ok()? })
            })
        };
        if parsed.is_none() {
            self.error(
                fields.path_of("engine"),
                fields.node("engine").and_then(|n| n.at),
                format!("`{text}` is not an engine address"),
                fix,
            );
        }
        parsed
    }

    pub(super) fn connection(
        &mut self,
        fields: &Fields<'_>,
        default_ssh: &Fields<'_>,
        engine: &Option<EngineEndpoint>,
    ) -> Option<Connection> {
        let kind = self.word(fields, "connection", CONNECTIONS).unwrap_or("ssh");
        let tls: Vec<Option<String>> = ["tls_ca", "tls_cert", "tls_key"].iter().map(|key| self.text(fields, key)).collect();
        let at = fields.node("connection").and_then(|n| n.at).or(fields.at);
        let tcp = matches!(engine, Some(EngineEndpoint::Tcp { .. }));
        if kind != "docker" && (tcp || tls.iter().any(Option::is_some)) {
            self.error(
                fields.path_of("connection"),
                at,
                "a tcp:// engine and TLS files need connection: docker",
                "set `connection: docker`, or remove them",
            );
            return None;
        }
        match kind {
            "local" => Some(Connection::Local),
            "docker" => {
                let files = match tls.as_slice() {
                    [Some(ca), Some(cert), Some(key)] if tcp => {
                        Some(TlsFiles { ca: PathBuf::from(ca), cert: PathBuf::from(cert), key: PathBuf::from(key) })
                    }
                    _ => None,
                };
                if files.is_none() {
                    let fix = "set `engine: tcp://host:2376`, `tls_ca`, `tls_cert` and `tls_key`; an engine port without TLS gives root to everyone who reaches it";
                    self.error(fields.path_of("connection"), at, "connection: docker needs a tcp:// engine and all three TLS files", fix);
                }
                files.map(Connection::Docker)
            }
            _ => {
                let base = self.silently(|quiet| quiet.ssh(default_ssh, SshSpec::default()));
                let ssh = match fields.node("ssh") {
                    Some(node) => {
                        let own = self.fields(&fields.path_of("ssh"), "ssh", node)?;
                        self.ssh(&own, base)
                    }
                    None => base,
                };
                Some(Connection::Ssh(ssh))
            }
        }
    }

    /// Reads again what was read and reported before.
    pub(super) fn silently<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> T {
        let mut quiet = Self::default();
        read(&mut quiet)
    }

    pub(super) fn ssh(&mut self, fields: &Fields<'_>, base: SshSpec) -> SshSpec {
        let user = self.text(fields, "user");
        if let Some(name) = &user {
            let fits = !name.is_empty()
                && !name.starts_with('-')
                && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@' | '+'));
            if !fits {
                self.error(
                    fields.path_of("user"),
                    fields.node("user").and_then(|n| n.at),
                    format!("`{name}` is not a login name"),
                    "use letters, digits, - _ . and +",
                );
            }
        }
        let port = self.int(fields, "port").and_then(|p| u16::try_from(p).ok());
        let host_key =
            self.word(fields, "host_key", HOST_KEYS).map(|w| if w == "strict" { HostKeyPolicy::Strict } else { HostKeyPolicy::AcceptNew });
        let client = self.word(fields, "client", CLIENTS).map(|w| match w {
            "native" => SshClient::Native,
            "openssh" => SshClient::Openssh,
            _ => SshClient::Auto,
        });
        let jump = fields.node("jump").is_some().then(|| {
            let mut hops = Vec::new();
            for (text, at) in self.texts(fields, "jump") {
                match parse_jump(&text) {
                    Some(hop) => hops.push(hop),
                    None => self.error(
                        fields.path_of("jump"),
                        at,
                        format!("`{text}` is not a jump host"),
                        "write user@host:port; user and port may be left out",
                    ),
                }
            }
            hops
        });
        SshSpec {
            user: user.or(base.user),
            port: port.or(base.port),
            identity_file: self.text(fields, "identity_file").map(PathBuf::from).or(base.identity_file),
            known_hosts: self.text(fields, "known_hosts").map(PathBuf::from).or(base.known_hosts),
            host_key: host_key.unwrap_or(base.host_key),
            jump: jump.or(base.jump),
            password_env: self.text(fields, "password_env").or(base.password_env),
            passphrase_env: self.text(fields, "passphrase_env").or(base.passphrase_env),
            sudo: self.boolean(fields, "sudo").unwrap_or(base.sudo),
            client: client.unwrap_or(base.client),
        }
    }
}

fn parse_jump(text: &str) -> Option<Jump> {
    let (user, rest) = match text.rsplit_once('@') {
        Some((user, rest)) if !user.is_empty() && !user.starts_with('-') => (Some(user.to_owned()), rest),
        Some(_) => return None,
        None => (None, text),
    };
    if let Ok(address) = rest.parse() {
        return Some(Jump { user, address, port: None });
    }
    let (host, port) = rest.rsplit_once(':')?;
    Some(Jump { user, address: host.parse().ok()?, port: Some(port.parse().ok().filter(|p| *p != 0)?) })
}
