//! Machines at Amazon EC2 without the command line: lists, creates or destroys what a cluster file's `machines: { aws: … }` wants.
//!
//! `cargo run --example ec2 -- cluster.yaml list`
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::path::Path;
use std::process::ExitCode;
use swarm_core::Stop;
use swarm_core::spec::Machines;
use swarm_ec2::{Around, Ec2};
use swarm_machines::Provisioner;

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(file), Some(verb)) = (arguments.next(), arguments.next()) else {
        return Err("which file, and list, create or destroy?".into());
    };
    let read = swarm_file::parse(&std::fs::read_to_string(file)?, &|_| None)?;
    let Some(Machines::Aws(aws)) = read.spec.machines() else { return Err("the file names no machines at AWS".into()) };
    let public = Path::new(&aws.key).with_extension("pub");
    let around = Around {
        data_path_port: read.spec.init().data_path_port.unwrap_or(4789),
        esp: false,
        identity: aws.key.clone(),
        public_key: std::fs::read_to_string(&public).map_err(|e| format!("{}: {e}", public.display())),
    };
    let ec2 = Ec2::new(read.spec.name(), aws, around);
    let say = |line: &str| println!("{line}");
    // A handler of signals would stop this.
    let stop = Stop::default();
    match verb.as_str() {
        "create" => ec2.create(&say, &stop)?,
        "destroy" => ec2.destroy(&say, &stop)?,
        _ => {
            let listed = ec2.list()?;
            for host in listed.hosts {
                println!("{} is there", host.key);
            }
            for missing in listed.missing {
                println!("{} is missing: {}", missing.name, missing.what);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
