//! Instances of Amazon EC2 that become hosts of a swarm. What there is, is known by tags alone: whoever has the cluster file and the account's
//! credentials sees the same machines, and a run that was cut off is found again.
//!
//! The calls are signed by AWS's own library and are few: describe, run, start and terminate instances; import and delete a key pair; create, open
//! and delete a security group; tags; a console's output.

mod answers;
mod make;
mod query;
mod wanted;
mod wire;

pub use wire::{Answer, Unsent, Wire};

use answers::{Instance, Instances};
use query::{Call, Region};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use swarm_core::Stop;
use swarm_core::spec::{Aws, Entry, Node, Value};
use swarm_machines::{HostKey, Listed, Missing, ProvisionError, Provisioner, Say};
use wire::Https;

/// Tags of what is made: which cluster it is of, which host an instance is, whether it is a manager, and the host key that its console printed.
const CLUSTER: &str = "swarm.cluster";
const HOST: &str = "swarm.host";
const ROLE: &str = "swarm.role";
const HOST_KEY: &str = "swarm.host-key";

/// What the cluster needs of its network, and what this machine has.
#[derive(Debug, Clone)]
pub struct Around {
    /// The UDP port of overlay traffic.
    pub data_path_port: u16,
    /// Whether an encrypted network is declared: its packets are let through between members.
    pub esp: bool,
    /// The private key that logs in, as a path that can be opened.
    pub identity: PathBuf,
    /// Its public half as one line of text; or why it is not known, which matters only where machines are created.
    pub public_key: Result<String, String>,
}

/// The EC2 instances of one cluster.
#[derive(Debug, Clone)]
pub struct Ec2 {
    cluster: String,
    aws: Aws,
    around: Around,
}

fn failed(why: impl Into<String>) -> ProvisionError {
    ProvisionError(why.into())
}

impl Ec2 {
    /// The instances of a cluster of this name, as the file wants them.
    pub fn new(cluster: &str, aws: &Aws, around: Around) -> Self {
        Self { cluster: cluster.to_owned(), aws: aws.clone(), around }
    }

    /// The name of the group and the key pair that are made for the cluster.
    fn name(&self) -> String {
        format!("swarm-{}", self.cluster)
    }

    /// Does work that waits, from a caller that may be anywhere. It may be stopped anywhere: every call can be made again.
    fn block<T: Send>(
        &self,
        stop: &Stop,
        work: impl AsyncFnOnce(&dyn Wire) -> Result<T, ProvisionError> + Send,
    ) -> Result<T, ProvisionError> {
        let run = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| failed(e.to_string()))?;
            runtime.block_on(async {
                let wire = Https::open(&self.aws.region).await.map_err(failed)?;
                tokio::select! {
                    result = work(&wire) => result,
                    () = stop.stopped() => Err(failed("it was stopped")),
                }
            })
        };
        // A thread of its own: the caller may be on a runtime's.
        std::thread::scope(|scope| scope.spawn(run).join()).unwrap_or_else(|_| Err(failed("the work on EC2 ended without an answer")))
    }

    /// [`Provisioner::list`] on the caller's own runtime, over a wire of its own.
    ///
    /// # Errors
    /// The machines are not known.
    pub async fn list_over(&self, wire: &dyn Wire) -> Result<Listed, ProvisionError> {
        self.listed(&self.instances(&Region::over(wire)).await?)
    }

    /// [`Provisioner::create`] on the caller's own runtime, over a wire of its own. It may be dropped anywhere, and made again.
    ///
    /// # Errors
    /// Some machines may be there now and others not: [`Ec2::list_over`] says which.
    pub async fn create_over(&self, wire: &dyn Wire, say: Say<'_>) -> Result<(), ProvisionError> {
        make::create(self, &Region::over(wire), say).await
    }

    /// [`Provisioner::destroy`] on the caller's own runtime, over a wire of its own. It may be dropped anywhere, and made again.
    ///
    /// # Errors
    /// Some machines may be left: [`Ec2::list_over`] says which.
    pub async fn destroy_over(&self, wire: &dyn Wire, say: Say<'_>) -> Result<(), ProvisionError> {
        make::destroy(self, &Region::over(wire), say).await
    }

    /// The cluster's instances that are not gone, in the order of their ids.
    async fn instances(&self, region: &Region<'_>) -> Result<Vec<Instance>, ProvisionError> {
        let mut found: Vec<Instance> = Vec::new();
        let mut next = String::new();
        loop {
            let mut call = Call::new("DescribeInstances")
                .filter(&format!("tag:{CLUSTER}"), &[&self.cluster])
                .filter("instance-state-name", &["pending", "running", "stopping", "stopped"]);
            if !next.is_empty() {
                call = call.with("NextToken", &*next);
            }
            let answer: Instances = region.call(&call).await.map_err(|e| failed(e.message))?;
            found.extend(answer.reservation_set.item.into_iter().flat_map(|r| r.instances_set.item));
            next = answer.next_token;
            if next.is_empty() {
                break;
            }
        }
        found.sort_by(|a, b| a.instance_id.cmp(&b.instance_id));
        Ok(found)
    }

    /// By the names of their hosts.
    fn by_host<'a>(&self, instances: &'a [Instance]) -> Result<BTreeMap<&'a str, &'a Instance>, ProvisionError> {
        let mut by_host: BTreeMap<&str, &Instance> = BTreeMap::new();
        for instance in instances {
            let Some(host) = instance.tag(HOST) else { continue };
            if let Some(other) = by_host.insert(host, instance) {
                let (one, two) = (&other.instance_id, &instance.instance_id);
                return Err(failed(format!(
                    "{one} and {two} both have the tag {HOST}={host}; terminate the one that is not a node of the swarm"
                )));
            }
        }
        Ok(by_host)
    }

    /// Why an instance is not yet a host; `None` where it is one.
    fn lacks(&self, instance: &Instance) -> Option<String> {
        let id = &instance.instance_id;
        let address = if self.aws.private { &instance.private_ip_address } else { &instance.ip_address };
        match instance.instance_state.name.as_str() {
            "stopping" | "stopped" => Some(format!("{id} is {}, and is started", instance.instance_state.name)),
            "running" if instance.private_ip_address.is_empty() || address.is_empty() => {
                let kind = if self.aws.private { "private" } else { "public" };
                Some(format!("{id} has no {kind} address"))
            }
            "running" if self.aws.console_keys && instance.tag(HOST_KEY).is_none() => {
                Some(format!("the SSH host keys of {id} are not known yet"))
            }
            "running" => None,
            state => Some(format!("{id} is {state}")),
        }
    }

    fn entry(&self, host: &str, instance: &Instance) -> Entry {
        let text = |text: &str| Node { value: Value::Text(text.to_owned()), at: None };
        let map = |entries: Vec<(&str, Node)>| {
            let entries = entries.into_iter().map(|(key, node)| Entry { key: key.to_owned(), at: None, node }).collect();
            Node { value: Value::Map(entries), at: None }
        };
        let address = if self.aws.private { &instance.private_ip_address } else { &instance.ip_address };
        let user = wanted::login(&self.aws);
        let mut ssh = vec![("user", text(&user)), ("identity_file", text(&path(&self.around.identity)))];
        if user != "root" {
            ssh.push(("sudo", Node { value: Value::Bool(true), at: None }));
        }
        let role = instance.tag(ROLE).unwrap_or("worker");
        let node = map(vec![
            ("address", text(address)),
            ("advertise", text(&instance.private_ip_address)),
            ("role", text(role)),
            ("labels", map(vec![("zone", text(&instance.placement.availability_zone))])),
            ("ssh", map(ssh)),
        ]);
        Entry { key: host.to_owned(), at: None, node }
    }

    fn listed(&self, instances: &[Instance]) -> Result<Listed, ProvisionError> {
        let by_host = self.by_host(instances)?;
        let wanted = self.aws.hosts();
        let mut listed = Listed::default();
        // Those that the file no longer wants are hosts too: they are nodes of the swarm until they are taken out.
        for (host, instance) in &by_host {
            match self.lacks(instance) {
                None => {
                    listed.hosts.push(self.entry(host, instance));
                    let address = if self.aws.private { &instance.private_ip_address } else { &instance.ip_address };
                    if let Some(key) = instance.tag(HOST_KEY).filter(|_| self.aws.console_keys) {
                        let (address, key, id) = (address.clone(), key.to_owned(), instance.instance_id.clone());
                        listed.host_keys.push(HostKey { host: (*host).to_owned(), address, key, id });
                    }
                }
                Some(what) if wanted.iter().any(|(name, _)| name == host) => {
                    listed.missing.push(Missing { name: (*host).to_owned(), what })
                }
                Some(_) => {}
            }
        }
        for (host, _) in wanted {
            if !by_host.contains_key(host.as_str()) {
                let disk = self.aws.disk.map(|gib| format!(", {gib} GiB")).unwrap_or_default();
                let what = format!("{} of {} in {}{disk}, which AWS bills", self.aws.instance_type, self.aws.image, self.aws.region);
                listed.missing.push(Missing { name: host, what });
            }
        }
        listed.missing.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(listed)
    }
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

impl Provisioner for Ec2 {
    fn list(&self) -> Result<Listed, ProvisionError> {
        self.block(&Stop::default(), async |wire: &dyn Wire| self.list_over(wire).await)
    }

    fn create(&self, say: Say<'_>, stop: &Stop) -> Result<(), ProvisionError> {
        self.block(stop, async |wire: &dyn Wire| self.create_over(wire, say).await)
    }

    fn destroy(&self, say: Say<'_>, stop: &Stop) -> Result<(), ProvisionError> {
        self.block(stop, async |wire: &dyn Wire| self.destroy_over(wire, say).await)
    }
}
