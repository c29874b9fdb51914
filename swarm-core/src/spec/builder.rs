//! A cluster that is described by a program and not by a file. Every rule of the file holds, for the same reader judges both.

use super::{Availability, ClusterSpec, Entry, HostKeyPolicy, HostSpec, Node, Problems, SshClient, Value, read, show_duration};
use std::path::Path;
use std::time::Duration;

/// Keys of one mapping.
#[derive(Debug, Clone, Default)]
struct Fields(Vec<(String, Node)>);

fn node(value: Value) -> Node {
    Node { value, at: None }
}

fn text(value: impl ToString) -> Node {
    node(Value::Text(value.to_string()))
}

fn list<T: ToString>(values: impl IntoIterator<Item = T>) -> Node {
    node(Value::List(values.into_iter().map(text).collect()))
}

impl Fields {
    /// Said twice, the later word holds.
    fn set(&mut self, key: &str, value: Node) {
        self.0.retain(|(k, _)| k != key);
        self.0.push((key.to_owned(), value));
    }

    fn section(&mut self, key: &str, fields: Self) {
        if !fields.0.is_empty() {
            self.set(key, fields.node());
        }
    }

    fn node(self) -> Node {
        node(Value::Map(self.0.into_iter().map(|(key, node)| Entry { key, at: None, node }).collect()))
    }
}

/// How to log in.
#[derive(Debug, Clone, Default)]
pub struct SshBuilder(Fields);

impl SshBuilder {
    /// As ssh_config says.
    pub fn new() -> Self {
        Self::default()
    }

    fn with(mut self, key: &str, value: Node) -> Self {
        self.0.set(key, value);
        self
    }

    /// Login name.
    #[must_use]
    pub fn user(self, name: &str) -> Self {
        self.with("user", text(name))
    }

    /// TCP port.
    #[must_use]
    pub fn port(self, port: u16) -> Self {
        self.with("port", node(Value::Int(port.into())))
    }

    /// Private key; it is tried before any key of an agent.
    #[must_use]
    pub fn identity_file(self, path: &Path) -> Self {
        self.with("identity_file", text(path.display()))
    }

    /// The known_hosts file of the user.
    #[must_use]
    pub fn known_hosts(self, path: &Path) -> Self {
        self.with("known_hosts", text(path.display()))
    }

    /// What to do with an unknown host key.
    #[must_use]
    pub fn host_key(self, policy: HostKeyPolicy) -> Self {
        self.with(
            "host_key",
            text(match policy {
                HostKeyPolicy::Strict => "strict",
                HostKeyPolicy::AcceptNew => "accept-new",
            }),
        )
    }

    /// Hops on the way, in order: `user@host:port`.
    #[must_use]
    pub fn jump<T: ToString>(self, hops: impl IntoIterator<Item = T>) -> Self {
        self.with("jump", list(hops))
    }

    /// Reach the engine through `sudo -n`.
    #[must_use]
    pub fn sudo(self) -> Self {
        self.with("sudo", node(Value::Bool(true)))
    }

    /// Who connects.
    #[must_use]
    pub fn client(self, client: SshClient) -> Self {
        self.with(
            "client",
            text(match client {
                SshClient::Auto => "auto",
                SshClient::Native => "native",
                SshClient::Openssh => "openssh",
            }),
        )
    }
}

/// One host.
#[derive(Debug, Clone)]
pub struct HostBuilder {
    name: String,
    fields: Fields,
    labels: Fields,
}

impl HostBuilder {
    fn new(name: &str, address: &str, role: &str) -> Self {
        let mut fields = Fields::default();
        fields.set("address", text(address));
        fields.set("role", text(role));
        Self { name: name.to_owned(), fields, labels: Fields::default() }
    }

    fn with(mut self, key: &str, value: Node) -> Self {
        self.fields.set(key, value);
        self
    }

    /// Which address other nodes use: an IP address, an interface, or a network in CIDR form to pick it from.
    #[must_use]
    pub fn advertise(self, selector: &str) -> Self {
        self.with("advertise", text(selector))
    }

    /// Which address carries overlay traffic.
    #[must_use]
    pub fn data_path(self, selector: &str) -> Self {
        self.with("data_path", text(selector))
    }

    /// Whether its node takes tasks.
    #[must_use]
    pub fn availability(self, availability: Availability) -> Self {
        self.with("availability", text(availability))
    }

    /// A label of its node.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.set(key, text(value));
        self
    }

    /// A label that its node must not have.
    #[must_use]
    pub fn without_label(mut self, key: &str) -> Self {
        self.labels.set(key, node(Value::Null));
        self
    }

    /// How to log in to this host; what is not set is as the cluster has it.
    #[must_use]
    pub fn ssh(self, ssh: SshBuilder) -> Self {
        self.with("ssh", ssh.0.node())
    }

    /// Its engine is the one of this machine.
    #[must_use]
    pub fn local(self) -> Self {
        self.with("connection", text("local"))
    }

    /// Straight to its engine's TCP port (`tcp://ADDRESS:PORT`) with mutual TLS.
    #[must_use]
    pub fn docker(self, engine: &str, ca: &Path, cert: &Path, key: &Path) -> Self {
        self.with("connection", text("docker"))
            .with("engine", text(engine))
            .with("tls_ca", text(ca.display()))
            .with("tls_cert", text(cert.display()))
            .with("tls_key", text(key.display()))
    }
}

impl HostSpec {
    /// A manager at an IP address or DNS name.
    pub fn manager(name: &str, address: &str) -> HostBuilder {
        HostBuilder::new(name, address, "manager")
    }

    /// A worker at an IP address or DNS name.
    pub fn worker(name: &str, address: &str) -> HostBuilder {
        HostBuilder::new(name, address, "worker")
    }

    /// A host that is to be in no swarm: a run takes it out of this one, where it is in it.
    pub fn absent(name: &str, address: &str) -> HostBuilder {
        HostBuilder::new(name, address, "none")
    }
}

/// A cluster.
#[derive(Debug, Clone)]
pub struct ClusterBuilder {
    name: String,
    hosts: Vec<HostBuilder>,
    ssh: Fields,
    swarm: Fields,
    policy: Fields,
}

impl ClusterSpec {
    /// A cluster of this name: a-z, 0-9 and `-`.
    ///
    /// ```
    /// use std::path::Path;
    /// use swarm_core::spec::{ClusterSpec, HostSpec, SshBuilder};
    ///
    /// let cluster = ClusterSpec::builder("prod")
    ///     .ssh(SshBuilder::new().user("root").identity_file(Path::new("/etc/deploy/id_ed25519")))
    ///     .host(HostSpec::manager("m1", "10.0.0.11"))
    ///     .host(HostSpec::worker("w1", "w1.example.org").advertise("eth0").label("disk", "ssd"))
    ///     .task_history_limit(3)
    ///     .build()?;
    /// assert_eq!(cluster.hosts().len(), 2);
    ///
    /// // Everything that is wrong is found at once.
    /// let problems = ClusterSpec::builder("Prod").host(HostSpec::worker("w1", "300.1.2.3")).build().unwrap_err();
    /// assert!(problems.0.len() >= 2);
    /// # Ok::<(), swarm_core::spec::Problems>(())
    /// ```
    pub fn builder(name: &str) -> ClusterBuilder {
        ClusterBuilder {
            name: name.to_owned(),
            hosts: Vec::new(),
            ssh: Fields::default(),
            swarm: Fields::default(),
            policy: Fields::default(),
        }
    }
}

impl ClusterBuilder {
    fn option(mut self, key: &str, value: Node) -> Self {
        self.swarm.set(key, value);
        self
    }

    /// How to log in, for every host that does not say otherwise.
    #[must_use]
    pub fn ssh(mut self, ssh: SshBuilder) -> Self {
        self.ssh = ssh.0;
        self
    }

    /// One more host.
    #[must_use]
    pub fn host(mut self, host: HostBuilder) -> Self {
        self.hosts.push(host);
        self
    }

    /// Managers are locked, and their unlock key is kept in this file.
    #[must_use]
    pub fn autolock(self, unlock_key_file: &Path) -> Self {
        self.option("autolock", node(Value::Bool(true))).option("unlock_key_file", text(unlock_key_file.display()))
    }

    /// Finished tasks kept per slot.
    #[must_use]
    pub fn task_history_limit(self, tasks: u32) -> Self {
        self.option("task_history_limit", node(Value::Int(tasks.into())))
    }

    /// How long node certificates are valid; at least an hour.
    #[must_use]
    pub fn cert_expiry(self, expiry: Duration) -> Self {
        self.option("cert_expiry", text(show_duration(expiry)))
    }

    /// How often a node reports to its manager.
    #[must_use]
    pub fn dispatcher_heartbeat(self, period: Duration) -> Self {
        self.option("dispatcher_heartbeat", text(show_duration(period)))
    }

    /// Networks in CIDR form from which overlay networks get their subnets. Fixed when the swarm is made.
    #[must_use]
    pub fn default_addr_pool<T: ToString>(self, pools: impl IntoIterator<Item = T>) -> Self {
        self.option("default_addr_pool", list(pools))
    }

    /// UDP port of overlay traffic. Fixed when the swarm is made.
    #[must_use]
    pub fn data_path_port(self, port: u16) -> Self {
        self.option("data_path_port", node(Value::Int(port.into())))
    }

    /// Hosts worked on at once.
    #[must_use]
    pub fn concurrency(mut self, hosts: u16) -> Self {
        self.policy.set("concurrency", node(Value::Int(hosts.into())));
        self
    }

    /// One deadline for the whole run.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.policy.set("timeout", text(show_duration(timeout)));
        self
    }

    /// Join tokens are replaced after a run in which hosts joined.
    #[must_use]
    pub fn rotate_tokens_after_apply(mut self) -> Self {
        self.policy.set("rotate_tokens", text("after_apply"));
        self
    }

    /// Nodes get a label with the cluster's name, and those that the file does not name any more are removed once they are down.
    #[must_use]
    pub fn prune_owned(mut self) -> Self {
        self.policy.set("prune", text("owned"));
        self
    }

    /// The cluster, if nothing is wrong with it. What is only worth knowing is dropped; [`read`] gives it.
    ///
    /// # Errors
    /// Everything that is wrong, each with its path (`hosts.w1.address`) and its fix.
    pub fn build(self) -> Result<ClusterSpec, Problems> {
        let mut whole = Fields::default();
        whole.set("name", text(&self.name));
        whole.section("ssh", self.ssh);
        // A name that is given twice stays so: the reader finds it.
        let hosts = self.hosts.into_iter().map(|mut host| {
            host.fields.section("labels", host.labels);
            Entry { key: host.name, at: None, node: host.fields.node() }
        });
        whole.set("hosts", node(Value::Map(hosts.collect())));
        whole.section("swarm", self.swarm);
        whole.section("policy", self.policy);
        read(&whole.node()).map(|read| read.spec)
    }
}
