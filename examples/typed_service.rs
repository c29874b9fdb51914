//! A network and a service from typed specifications, brought up as a stack and read back with their types.
//!
//! `typed_service FILE IMAGE REPLICAS`: the cluster's file, an image that nodes can have, and how many tasks.
#![allow(clippy::print_stdout, reason = "a program shows its result")]

use std::collections::BTreeMap;
use swarm_core::Apply;
use swarm_core::engine::Api;
use swarm_core::family::{Families, Family};
use swarm_core::fleet::FleetRead;
use swarm_fleet::Connections;
use swarm_workload::typed::{
    ContainerSpec, EndpointMode, EndpointSpec, Mode, NetworkAttachment, NetworkSpec, Service, ServiceSpec, TaskSpec, UpdateConfig,
    UpdateOrder,
};
use swarm_workload::{Deploy, DeployOptions, NAMESPACE_LABEL, NetworkWanted, Resolve, ServiceWanted, Stack, Workload};

static FAMILIES: &[&dyn Family] = &[&Workload];

fn wanted(image: &str, replicas: u64) -> Stack {
    let labels: BTreeMap<String, String> = [(NAMESPACE_LABEL.to_owned(), "app".to_owned())].into();
    let back = NetworkSpec {
        name: "app_back".into(),
        driver: "overlay".into(),
        attachable: true,
        labels: labels.clone(),
        ..NetworkSpec::default()
    };
    let web = ServiceSpec {
        name: "app_web".into(),
        labels,
        mode: Some(Mode::replicated(replicas)),
        update_config: Some(UpdateConfig { parallelism: 1, order: Some(UpdateOrder::StartFirst), ..UpdateConfig::default() }),
        endpoint_spec: Some(EndpointSpec { mode: Some(EndpointMode::DnsRr), ..EndpointSpec::default() }),
        task_template: TaskSpec {
            container_spec: Some(ContainerSpec {
                image: image.into(),
                args: vec!["sleep".into(), "3600".into()],
                init: Some(true),
                ..ContainerSpec::default()
            }),
            networks: vec![NetworkAttachment { target: "app_back".into(), aliases: vec!["web".into()], ..NetworkAttachment::default() }],
            ..TaskSpec::default()
        },
        ..ServiceSpec::default()
    };
    Stack { name: "app".into(), networks: vec![NetworkWanted::of(&back)], services: vec![ServiceWanted::of(&web)], ..Stack::default() }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [path, image, replicas] = args.as_slice() else { return Err("typed_service FILE IMAGE REPLICAS".into()) };
    let cluster = swarm_file::parse(&std::fs::read_to_string(path)?, &|name| std::env::var(name).ok())?.spec;
    let (fleet, stack) = (Connections::default(), wanted(image, replicas.parse()?));
    let options = DeployOptions { resolve: Resolve::Never, ..DeployOptions::default() };
    let intent = Deploy { spec: &cluster, stack: &stack, options };
    let apply = Apply::new(&cluster, &fleet).families(Families(FAMILIES));
    let (plan, observed) = apply.plan_for(&intent).await?;
    let report = apply.run_for(&intent, &plan, &observed).await;
    let manager = cluster.managers().next().ok_or("the file has no manager")?;
    let reader = fleet.reader(manager).await?;
    let service = Api::<Service>::new(reader.engine.as_ref()).get("app_web").await?;
    let order = service.spec.update_config.and_then(|config| config.order);
    println!("{} steps, {:?}; {:?}, {order:?}", plan.steps.len(), report.ending, service.spec.mode);
    Ok(())
}
