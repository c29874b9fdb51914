//! `swarm lab …`.

use crate::args::{Format, LabCommand, LabName};
use crate::failure::Failure;
use crate::output;
use serde_json::{Value, json};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};
use swarm_lab::{Lab, LabHost, LabOptions};

pub(super) fn run(command: LabCommand, format: Format) -> Result<u8, Failure> {
    let code = match command {
        LabCommand::Up { lab, managers, workers, dir } => return up(&LabOptions { name: lab.name, managers, workers, dir }, format),
        LabCommand::Down { lab } => {
            find(&lab)?.down()?;
            output::note(&format!("lab {} is down", lab.name));
            Ok(0)
        }
        LabCommand::Ls => return ls(format),
        LabCommand::Ssh { lab, host, command } => ssh(&find(&lab)?, &host, &command),
        LabCommand::Exec { lab, host, command } => {
            let lab = find(&lab)?;
            let error = lab.host(&host)?.enter()?.args(&command).exec();
            Err(Failure::Other(format!("nsenter: {error}")))
        }
        LabCommand::Kill { lab, host, hard } => on(&lab, &host, |h| h.kill(hard)),
        LabCommand::Start { lab, host } => on(&lab, &host, LabHost::start),
        LabCommand::Cut { lab, a, b } => {
            let lab = find(&lab)?;
            let (a, b) = (lab.host(&a)?, lab.host(&b)?);
            a.cut(b.address)?;
            b.cut(a.address)?;
            Ok(0)
        }
        LabCommand::Heal { lab } => each(&find(&lab)?, LabHost::heal),
        LabCommand::Delay { lab, milliseconds } => {
            let program = std::env::current_exe().map_err(|e| Failure::Other(e.to_string()))?;
            let each_way = Duration::from_micros(milliseconds * 500);
            each(&find(&lab)?, |host| host.delay(each_way, Some(&program)))
        }
        LabCommand::Load { lab, image } => {
            find(&lab)?.load(&image)?;
            Ok(0)
        }
        LabCommand::Forward { dir, milliseconds } => {
            let host =
                Lab::all().iter().filter_map(|n| Lab::find(n).ok()).flat_map(|l| l.hosts).find(|h| h.run_dir().parent() == Some(&dir));
            let host = host.ok_or_else(|| Failure::Usage(format!("{} is no host of a lab", dir.display())))?;
            host.forward(Duration::from_millis(milliseconds))?;
            Ok(0)
        }
    };
    let code = code?;
    if format == Format::Json {
        output::json("lab", &json!({ "done": true }));
    }
    Ok(code)
}

fn find(name: &LabName) -> Result<Lab, Failure> {
    Ok(Lab::find(&name.name)?)
}

fn on(lab: &LabName, host: &str, work: impl Fn(&LabHost) -> Result<(), swarm_lab::LabError>) -> Result<u8, Failure> {
    work(find(lab)?.host(host)?)?;
    Ok(0)
}

fn each(lab: &Lab, work: impl Fn(&LabHost) -> Result<(), swarm_lab::LabError>) -> Result<u8, Failure> {
    for host in lab.hosts.iter().filter(|h| h.pid().is_some()) {
        work(host)?;
    }
    Ok(0)
}

fn up(options: &LabOptions, format: Format) -> Result<u8, Failure> {
    let began = Instant::now();
    if format == Format::Jsonl {
        output::json_line(&json!({ "event": "lab-starting", "lab": options.name, "hosts": options.managers + options.workers }));
    }
    let lab = Lab::up(options)?;
    let seconds = began.elapsed().as_secs_f64();
    match format {
        Format::Text => output::data(&format!(
            "lab {}: {} hosts up in {seconds:.1} s\ncluster file: {}\nnext: swarm apply -f {}",
            lab.name,
            lab.hosts.len(),
            lab.file().display(),
            lab.file().display()
        )),
        Format::Json => output::json("lab up", &json!({ "lab": lab.name, "file": lab.file(), "seconds": seconds, "hosts": rows(&lab) })),
        Format::Jsonl => {
            for row in rows(&lab) {
                output::json_line(&json!({ "event": "lab-host-up", "host": row }));
            }
            output::json_line(&json!({ "event": "lab-up", "lab": lab.name, "file": lab.file(), "seconds": seconds }));
        }
    }
    Ok(0)
}

fn rows(lab: &Lab) -> Vec<Value> {
    lab.hosts
        .iter()
        .map(|h| json!({ "name": h.name, "address": h.address, "role": h.role, "running": h.pid().is_some(), "memory": h.memory() }))
        .collect()
}

fn ls(format: Format) -> Result<u8, Failure> {
    let labs: Vec<Lab> = Lab::all().iter().filter_map(|n| Lab::find(n).ok()).collect();
    if format != Format::Text {
        let labs: Vec<Value> = labs.iter().map(|lab| json!({ "name": lab.name, "file": lab.file(), "hosts": rows(lab) })).collect();
        output::json("lab ls", &json!({ "labs": labs }));
        return Ok(0);
    }
    if labs.is_empty() {
        output::note("there is no lab; `swarm lab up` makes one");
    }
    for lab in labs {
        output::data(&format!("{}  {}", lab.name, lab.file().display()));
        for host in &lab.hosts {
            let state = if host.pid().is_some() { format!("running, {} MB", host.memory() / 1_000_000) } else { "stopped".into() };
            output::data(&format!("  {:4} {:15} {state}", host.name, host.address.to_string()));
        }
    }
    Ok(0)
}

fn ssh(lab: &Lab, host: &str, command: &[String]) -> Result<u8, Failure> {
    let host = lab.host(host)?;
    let known = format!("UserKnownHostsFile={}", lab.known_hosts().display());
    let error = Command::new("ssh")
        .args(["-o", "StrictHostKeyChecking=yes", "-o", &known, "-o", "IdentitiesOnly=yes", "-i"])
        .arg(lab.key())
        .arg(format!("root@{}", host.address))
        .args(command)
        .exec();
    Err(Failure::Other(format!("ssh: {error}")))
}
