//! A lab as the machines of a cluster file: `apply` makes it, `destroy --machines` takes it down.

use crate::error::LabError;
use crate::host::{LabHost, LabRole};
use crate::image::image;
use crate::lab::{Lab, LabOptions};
use std::path::{Path, PathBuf};
use swarm_core::Stop;
use swarm_core::spec::{Entry, LabHosts, Node, Value};
use swarm_machines::{Listed, Missing, ProvisionError, Provisioner, Say};

/// The lab of a cluster.
#[derive(Debug, Clone)]
pub struct LabMachines {
    cluster: String,
    wanted: LabHosts,
    folder: PathBuf,
    program: PathBuf,
}

fn text(value: impl Into<String>) -> Node {
    Node { value: Value::Text(value.into()), at: None }
}

fn map(entries: impl IntoIterator<Item = (&'static str, Node)>) -> Node {
    let entries = entries.into_iter().map(|(key, node)| Entry { key: key.to_owned(), at: None, node });
    Node { value: Value::Map(entries.collect()), at: None }
}

fn failed(error: &LabError) -> ProvisionError {
    ProvisionError(error.to_string())
}

impl LabMachines {
    /// The lab of a cluster, in a folder of its name below `folder`. `program` gives its hosts packages, as `PROGRAM lab packages`.
    pub fn new(cluster: &str, wanted: &LabHosts, folder: &Path, program: &Path) -> Self {
        Self { cluster: cluster.to_owned(), wanted: wanted.clone(), folder: folder.to_owned(), program: program.to_owned() }
    }

    /// The lab, where there is one. One of this name that another folder holds is another cluster's.
    fn lab(&self) -> Result<Option<Lab>, ProvisionError> {
        let lab = match Lab::find(&self.cluster) {
            Err(LabError::NotFound(_)) => return Ok(None),
            found => found.map_err(|e| failed(&e))?,
        };
        if self.folder.join(&self.cluster).canonicalize().is_ok_and(|own| own == lab.dir) {
            return Ok(Some(lab));
        }
        let dir = lab.dir.display();
        Err(ProvisionError(format!(
            "there is a lab {} of another file, in {dir}; take it down, or give the cluster another name",
            lab.name
        )))
    }

    fn options(&self) -> Result<LabOptions, ProvisionError> {
        let images = self.wanted.images.iter().map(|name| image(name)).collect::<Result<_, _>>().map_err(|e| failed(&e))?;
        let (managers, workers) = (self.wanted.managers.into(), self.wanted.workers.into());
        Ok(LabOptions { name: self.cluster.clone(), managers, workers, dir: self.folder.clone(), engine: None, images })
    }

    /// A host as the cluster file has it.
    fn entry(lab: &Lab, host: &LabHost) -> Entry {
        let role = if host.role == LabRole::Manager { "manager" } else { "worker" };
        let path = |path: PathBuf| text(path.display().to_string());
        let ssh = map([("user", text("root")), ("identity_file", path(lab.key())), ("known_hosts", path(lab.known_hosts()))]);
        let node = map([("address", text(host.address.to_string())), ("role", text(role)), ("ssh", ssh)]);
        Entry { key: host.name.clone(), at: None, node }
    }

    fn what(&self, index: usize) -> String {
        let images = &self.wanted.images;
        let image = images.get(index % images.len().max(1));
        image.map_or("this machine's files".to_owned(), |image| format!("{image}, without an engine"))
    }
}

impl Provisioner for LabMachines {
    fn list(&self) -> Result<Listed, ProvisionError> {
        let lab = self.lab()?;
        let runs = |name: &str| lab.as_ref().and_then(|lab| lab.host(name).ok()).is_some_and(|host| host.pid().is_some());
        let mut listed = Listed::default();
        for (index, (name, _)) in self.wanted.hosts().into_iter().enumerate() {
            if !runs(&name) {
                let what = format!("a host in a network namespace, {}", self.what(index));
                listed.missing.push(Missing { name, what });
            }
        }
        if let Some(lab) = &lab {
            // Those that the file no longer wants are hosts too: they are nodes of the swarm until they are taken out.
            let running = lab.hosts.iter().filter(|host| host.pid().is_some());
            listed.hosts.extend(running.map(|host| Self::entry(lab, host)));
        }
        Ok(listed)
    }

    fn create(&self, say: Say<'_>, stop: &Stop) -> Result<(), ProvisionError> {
        let mut lab = self.lab()?;
        // Its file is written last, before its hosts start.
        if let Some(begun) = lab.take_if(|lab| !lab.file().exists()) {
            begun.down().map_err(|e| failed(&e))?;
        }
        let lab = match lab {
            Some(lab) => lab,
            None => {
                say("making the files of the hosts");
                let options = self.options()?;
                if stop.is_stopped() {
                    return Err(ProvisionError("stopped".into()));
                }
                Lab::up(&options).map_err(|e| failed(&e))?
            }
        };
        let new: Vec<String> = self.wanted.hosts().into_iter().map(|(name, _)| name).filter(|name| lab.host(name).is_err()).collect();
        if !new.is_empty() {
            let why =
                format!("a lab keeps the hosts it was made with, and {} is new; destroy the machines and apply again", new.join(", "));
            return Err(ProvisionError(why));
        }
        for host in lab.hosts.iter().filter(|host| host.pid().is_none()) {
            say(&format!("starting {}", host.name));
            host.start().map_err(|e| failed(&e))?;
        }
        if !self.wanted.images.is_empty() {
            lab.give_packages(Some(&self.program)).map_err(|e| failed(&e))?;
        }
        Ok(())
    }

    fn destroy(&self, say: Say<'_>, _: &Stop) -> Result<(), ProvisionError> {
        if let Some(lab) = self.lab()? {
            say("taking the lab down");
            lab.down().map_err(|e| failed(&e))?;
        }
        Ok(())
    }
}
