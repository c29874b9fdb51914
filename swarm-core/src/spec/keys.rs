//! The keys of the file, each described once. The reader, the JSON Schema and the commented example all read this table.

/// What kind of value a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
    /// `true` or `false`.
    Bool,
    /// A whole number in an inclusive range.
    Int(i64, i64),
    /// A duration such as `5m`.
    Duration,
    /// A list of texts.
    TextList,
    /// A mapping of free keys to texts; null removes.
    Labels,
    /// A list of another section of this table.
    Sections(&'static str),
    /// Another section of this table.
    Section(&'static str),
    /// A mapping of free names to a section.
    Named(&'static str),
    /// A mapping that someone else reads.
    Elsewhere,
}

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// The key itself.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// Whether it must be there.
    pub required: bool,
    /// What it means.
    pub doc: &'static str,
    /// The value a new file shows behind `#`: the default where there is one, else one that is accepted.
    pub shown: &'static str,
}

/// A mapping with fixed keys.
#[derive(Debug, Clone, Copy)]
pub struct Section {
    /// The name other keys refer to it by.
    pub name: &'static str,
    /// Its keys.
    pub keys: &'static [Key],
}

const fn key(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key { name, kind, required: false, doc, shown: "" }
}

const fn required(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key { name, kind, required: true, doc, shown: "" }
}

impl Key {
    const fn shown(self, shown: &'static str) -> Self {
        Self { shown, ..self }
    }
}

/// Words of `role`.
pub(super) const ROLES: &[&str] = &["manager", "worker", "none"];
/// Words of `prune`.
pub(super) const PRUNES: &[&str] = &["never", "owned"];
/// Words of `availability`.
pub(super) const ROTATE_TOKENS: &[&str] = &["never", "after_apply"];
pub(super) const AVAILABILITIES: &[&str] = &["active", "pause", "drain"];
/// Words of `connection`.
pub(super) const CONNECTIONS: &[&str] = &["ssh", "local", "docker"];
/// Words of `host_key`.
pub(super) const HOST_KEYS: &[&str] = &["strict", "accept-new"];
/// Words of `client`.
pub(super) const CLIENTS: &[&str] = &["auto", "native", "openssh"];

/// Words of `install`.
pub(super) const INSTALLS: &[&str] = &["none", "distro", "docker-ce", "offline"];
/// Words of `connect` of machines.
pub(super) const CONNECTS: &[&str] = &["public", "private"];
/// Words of `spread` of machines.
pub(super) const SPREADS: &[&str] = &["zones", "none"];
/// Words of `host_keys` of machines.
pub(super) const HOST_KEYS_FROM: &[&str] = &["console", "ssh"];
/// Words of `firewall`.
pub(super) const FIREWALLS: &[&str] = &["check", "open", "none"];

const MANY: i64 = i64::MAX;

/// Keys of the cluster file that are read as those of a Compose file.
pub const OWN_OBJECTS: &[&str] = &["services", "networks", "volumes", "secrets", "configs"];

const SECTIONS: &[Section] = &[
    Section {
        name: "cluster",
        keys: &[
            required(
                "name",
                Kind::Text,
                "Name of the cluster: a-z, 0-9 and -. Written to the swarm as a label, so that a file and a swarm can be matched.",
            ),
            key("ssh", Kind::Section("ssh"), "How to log in; defaults for every host."),
            required("hosts", Kind::Named("host"), "The hosts by name. Their order means nothing."),
            key(
                "swarm",
                Kind::Section("swarm"),
                "Options of `docker swarm init` and `docker swarm update`. What is not named stays as it is.",
            ),
            key("stacks", Kind::Named("stack"), "Applications from Compose files, by the names of their stacks; brought up with the cluster."),
            key("services", Kind::Elsewhere, "Services of the swarm itself, as in a Compose file; their names get nothing before them.").shown("{}"),
            key("networks", Kind::Elsewhere, "Networks of the swarm itself, as in a Compose file; for `external` networks of stacks too.").shown("{}"),
            key("volumes", Kind::Elsewhere, "Volumes of those services, as in a Compose file.").shown("{}"),
            key("secrets", Kind::Elsewhere, "Secrets of the swarm itself, as in a Compose file.").shown("{}"),
            key("configs", Kind::Elsewhere, "Configs of the swarm itself, as in a Compose file.").shown("{}"),
            key("machines", Kind::Section("machines"), "Who makes machines that are hosts beside those that the file names."),
            key("prepare", Kind::Section("prepare"), "How hosts are made ready before they join; defaults for every host."),
            key("checks", Kind::Section("checks"), "What `swarm check` is to pass over."),
            key("policy", Kind::Section("policy"), "How the tool itself behaves."),
        ],
    },
    Section {
        name: "ssh",
        keys: &[
            key("user", Kind::Text, "Login name. Default: as ssh_config says, else root.").shown("root"),
            key("port", Kind::Int(1, 65535), "TCP port. Default: as ssh_config says, else 22.").shown("22"),
            key("identity_file", Kind::Text, "Private key; tried before any key of an agent. `~` is the home directory.").shown("~/.ssh/id_ed25519"),
            key("known_hosts", Kind::Text, "known_hosts file of the user; the global one is read too. Default: ~/.ssh/known_hosts.").shown("~/.ssh/known_hosts"),
            key(
                "host_key",
                Kind::Word(HOST_KEYS),
                "strict (default) refuses an unknown host key, accept-new writes it down. A changed key is always refused.",
            ).shown("strict"),
            key("jump", Kind::TextList, "Jump hosts on the way, in order: user@host:port.").shown("[ops@bastion.example.org]"),
            key("password_env", Kind::Text, "Environment variable that holds the password. Keys are better.").shown("SSH_PASSWORD"),
            key("passphrase_env", Kind::Text, "Environment variable that holds the passphrase of identity_file.").shown("SSH_PASSPHRASE"),
            key(
                "client",
                Kind::Word(CLIENTS),
                "auto (default) connects by itself, and by your `ssh` program where ssh_config asks for what only that can do; native never does; openssh always.",
            ).shown("auto"),
            key("sudo", Kind::Bool, "Reach the engine through `sudo -n`, for users outside the docker group.").shown("false"),
        ],
    },
    Section {
        name: "host",
        keys: &[
            required("address", Kind::Text, "Where SSH goes: IP address or DNS name."),
            required(
                "role",
                Kind::Word(ROLES),
                "manager, worker, or none: in no swarm. A run takes a host of role none out of this one: drained, demoted, left, removed.",
            ),
            key(
                "advertise",
                Kind::Text,
                "Address other nodes use: an IP address, an interface name, or a CIDR to pick the address from. Default: address, if it is an IP address.",
            ).shown("eth0"),
            key("listen", Kind::Text, "Where a manager listens. Default: 0.0.0.0:2377.").shown("\"0.0.0.0:2377\""),
            key("data_path", Kind::Text, "Address of overlay traffic: IP address, interface name or CIDR. Default: the advertised one.").shown("eth0"),
            key(
                "availability",
                Kind::Word(AVAILABILITIES),
                "active, pause or drain. Where it is not given a new node is active and an old one stays as it is.",
            ).shown("active"),
            key("labels", Kind::Labels, "Node labels to set; null removes one. Labels not named are left alone.").shown("{ rack: a }"),
            key("engine", Kind::Text, "Where the engine listens on that host. Default: unix:///var/run/docker.sock.").shown("\"unix:///var/run/docker.sock\""),
            key("connection", Kind::Word(CONNECTIONS), "ssh (default), local, or docker (tcp:// with TLS files).").shown("ssh"),
            key("nat", Kind::Bool, "The advertised address is translated on the way, so it is not on the host itself.").shown("false"),
            key("tls_ca", Kind::Text, "CA of the engine, for connection: docker."),
            key("tls_cert", Kind::Text, "Client certificate, for connection: docker."),
            key("tls_key", Kind::Text, "Client key, for connection: docker."),
            key("ssh", Kind::Section("ssh"), "How to log in to this host; overrides single keys of the top-level ssh."),
            key("prepare", Kind::Section("prepare"), "How this host is made ready; overrides single keys of the top-level prepare."),
        ],
    },
    Section {
        name: "swarm",
        keys: &[
            key("task_history_limit", Kind::Int(0, MANY), "Finished tasks kept per slot. Engine default: 5.").shown("5"),
            key("dispatcher_heartbeat", Kind::Duration, "How often a node reports to its manager. Engine default: 5s.").shown("5s"),
            key("cert_expiry", Kind::Duration, "How long node certificates are valid; at least 1h. Engine default: 2160h.").shown("2160h"),
            key("snapshot_interval", Kind::Int(1, MANY), "Raft log entries between snapshots. Engine default: 10000.").shown("10000"),
            key("max_snapshots", Kind::Int(0, MANY), "Old snapshots kept. Engine default: 0.").shown("0"),
            key("external_ca", Kind::Sections("external_ca"), "Authorities outside the swarm that sign node certificates."),
            key("autolock", Kind::Bool, "Whether managers need the unlock key after a restart. Needs unlock_key_file or unlock_key_command.").shown("false"),
            key(
                "unlock_key_file",
                Kind::Text,
                "Where the unlock key is written on this machine, for its owner alone. Keep a copy elsewhere.",
            ).shown("~/.swarm/unlock.key"),
            key(
                "unlock_key_command",
                Kind::TextList,
                "A program that keeps the unlock key instead, such as a vault's. It gets `ready`, `load` or `store` as its last argument; \
                 `store` reads the key, `load` prints it.",
            ),
            key("default_addr_pool", Kind::TextList, "Networks from which overlay networks get their subnets. Fixed at init.").shown("[10.0.0.0/8]"),
            key("default_addr_pool_mask_length", Kind::Int(1, 29), "Prefix length of each such subnet. Fixed at init. Engine default: 24.").shown("24"),
            key("data_path_port", Kind::Int(1024, 49151), "UDP port of overlay traffic. Fixed at init. Engine default: 4789.").shown("4789"),
        ],
    },
    Section {
        name: "external_ca",
        keys: &[
            required("url", Kind::Text, "Where it is, for example https://ca.example.org."),
            key("protocol", Kind::Text, "How it is spoken to. Default: cfssl."),
            key("ca_cert", Kind::Text, "Its certificate in PEM. Default: the swarm's own root."),
            key("options", Kind::Labels, "Further options of the protocol."),
        ],
    },
    Section {
        name: "stack",
        keys: &[
            required("compose", Kind::TextList, "Its Compose files; later ones are laid over earlier ones. Paths start from this file's folder."),
            key("env_file", Kind::TextList, "Files of NAME=VALUE lines with variables for the Compose files."),
            key("prune", Kind::Bool, "Whether services that the Compose files no longer have are removed.").shown("false"),
            key(
                "with_registry_auth",
                Kind::Bool,
                "Whether nodes get the logins to the images' registries that the docker configuration here has.",
            )
            .shown("false"),
        ],
    },
    Section {
        name: "machines",
        keys: &[
            key("exec", Kind::Section("exec"), "A program that lists, creates and destroys them; docs/machines.md says how it is asked."),
            key("aws", Kind::Section("aws"), "Instances of Amazon EC2. Credentials are found as the AWS CLI finds them."),
            key("lab", Kind::Section("lab"), "Hosts in network namespaces of this machine, for trying things out; the lab has the cluster's name."),
        ],
    },
    Section {
        name: "lab",
        keys: &[
            key("managers", Kind::Int(1, 200), "How many managers (m1, m2, …).").shown("1"),
            key("workers", Kind::Int(0, 200), "How many workers (w1, w2, …).").shown("0"),
            key(
                "images",
                Kind::TextList,
                "Releases of Debian without an engine, one host after the other; without it, hosts have this machine's files and engine.",
            )
            .shown("[bookworm, trixie]"),
        ],
    },
    Section {
        name: "aws",
        keys: &[
            required("region", Kind::Text, "The region, such as us-west-1.").shown("us-west-1"),
            required("type", Kind::Text, "The instance type, such as t3.small.").shown("t3.small"),
            required(
                "image",
                Kind::Text,
                "debian-13, debian-12, ubuntu-24.04 or ubuntu-22.04 (the newest of its publisher, for the type's architecture), or an id (ami-…).",
            )
            .shown("debian-13"),
            key("user", Kind::Text, "The login of the image. Default: admin for Debian, ubuntu for Ubuntu.").shown("admin"),
            key("managers", Kind::Int(1, 99), "How many managers (m1, m2, …).").shown("1"),
            key("workers", Kind::Int(0, 999), "How many workers (w1, w2, …).").shown("0"),
            required("key", Kind::Text, "The private key that logs in. Its public half is beside it, with .pub.").shown("~/.ssh/id_ed25519"),
            key("vpc", Kind::Text, "The VPC's id, or default.").shown("default"),
            key("subnets", Kind::TextList, "Ids of subnets of that VPC. Default: all of them."),
            key("security_group", Kind::Text, "The id of a group that is there already, used as it is. Default: one is made for the cluster."),
            key("ssh_from", Kind::TextList, "Networks from which that group lets SSH in.").shown("[203.0.113.7/32]"),
            key("open", Kind::TextList, "Ports that it lets in from everywhere, for what the swarm publishes.").shown("[80, 443/tcp]"),
            key("connect", Kind::Word(CONNECTS), "Whether SSH goes to an instance's public (default) or private address.").shown("public"),
            key("spread", Kind::Word(SPREADS), "zones (default) goes round the zones of the subnets; none takes the first subnet.").shown("zones"),
            key("disk", Kind::Int(1, 16384), "GiB of the root volume. Default: what the image has.").shown("20"),
            key(
                "host_keys",
                Kind::Word(HOST_KEYS_FROM),
                "console (default) takes an instance's SSH host keys from what it printed at its first start; ssh checks them as `ssh` of the file says.",
            )
            .shown("console"),
        ],
    },
    Section {
        name: "exec",
        keys: &[required(
            "command",
            Kind::TextList,
            "The program and its first arguments; list, create or destroy comes last. A path in it starts from this file's folder.",
        )
        .shown("[./machines]")],
    },
    Section {
        name: "prepare",
        keys: &[
            key(
                "install",
                Kind::Word(INSTALLS),
                "Where a host without an engine gets one from: none (default), distro (its own packages), docker-ce (a repository laid out as Docker's), or offline (`bundle`).",
            )
            .shown("none"),
            key("version", Kind::Text, "The engine's version, by its beginning; its packages are held at it. Default: the newest that is offered."),
            key("bundle", Kind::Text, "For offline: an archive (.tgz) of Docker's static programs, or of packages. Paths start from this file's folder."),
            key("bundle_sha256", Kind::Text, "SHA-256 of the bundle; one with another is refused."),
            key("repository", Kind::Text, "For docker-ce: the repository. Default: https://download.docker.com."),
            key("repository_key", Kind::Text, "For docker-ce: a file with the key that signs the repository. Default: fetched from the repository."),
            key(
                "daemon",
                Kind::Elsewhere,
                "Laid over the engine's daemon.json; other keys there stay, null takes one away. An engine that is in a swarm is changed by `swarm engine configure`.",
            )
            .shown("{ log-driver: local }"),
            key("proxy", Kind::Section("proxy"), "What the engine goes through on its way to registries."),
            key(
                "firewall",
                Kind::Word(FIREWALLS),
                "check (default) tries before a join what the swarm needs; open lets exactly that in, from the other hosts of the file; none does neither.",
            )
            .shown("check"),
            key(
                "docker_group",
                Kind::Bool,
                "Whether the login becomes a member of the group docker, who may do on the host what root may. Default: false.",
            )
            .shown("false"),
            key("hooks", Kind::Section("hooks"), "Programs of the host's shell, run as root where something else is done on the host."),
        ],
    },
    Section {
        name: "proxy",
        keys: &[
            key("http", Kind::Text, "For http://. It may hold a password, and is shown nowhere.").shown("http://proxy.example.org:3128"),
            key("https", Kind::Text, "For https://. It may hold a password, and is shown nowhere.").shown("http://proxy.example.org:3128"),
            key("no_proxy", Kind::TextList, "What it is not used for.").shown("[localhost, 10.0.0.0/8]"),
        ],
    },
    Section {
        name: "hooks",
        keys: &[
            key("before", Kind::Text, "Runs before anything else is done on the host.").shown("\"true\""),
            key("after", Kind::Text, "Runs after everything else, before the host joins.").shown("\"true\""),
        ],
    },
    Section {
        name: "checks",
        keys: &[key("ignore", Kind::Labels, "Names of checks, each with the reason why it does not matter here.").shown("{ cgroup-v1: as it is meant }")],
    },
    Section {
        name: "policy",
        keys: &[
            key("concurrency", Kind::Int(1, 1024), "Hosts worked on at once. Default: 32.").shown("32"),
            key("timeout", Kind::Duration, "One deadline for the run. Default: 5m.").shown("5m"),
            key(
                "rotate_tokens",
                Kind::Word(ROTATE_TOKENS),
                "When join tokens are replaced: never, or after a run in which hosts joined, so that a token is good for one run only. Default: never.",
            )
            .shown("never"),
            key(
                "prune",
                Kind::Word(PRUNES),
                "Which nodes that the file does not name a run removes once they are down: never any, or those it owns. With owned, each node gets a label with the cluster's name. Default: never.",
            )
            .shown("never"),
        ],
    },
];

/// The whole table; the first section is the document itself.
pub fn sections() -> &'static [Section] {
    SECTIONS
}

/// The keys of one section.
pub(super) fn section(name: &str) -> &'static [Key] {
    SECTIONS.iter().find(|s| s.name == name).map_or(&[], |s| s.keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_section_that_is_named_exists() {
        for section_here in sections() {
            for key in section_here.keys {
                if let Kind::Section(name) | Kind::Sections(name) | Kind::Named(name) = key.kind {
                    assert!(!section(name).is_empty(), "{name}");
                }
                assert!(key.doc.ends_with('.'), "{}: a sentence", key.name);
            }
        }
    }
}
