//! `swarm lab …`.

use crate::args::{LabCommand, LabName};
use crate::args_common::Format;
use crate::failure::Failure;
use crate::output;
use serde_json::{Value, json};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use swarm_lab::{Lab, LabHost, LabOptions};

pub(super) fn run(command: LabCommand, format: Format) -> Result<u8, Failure> {
    let done = match command {
        LabCommand::Up { name, managers, workers, dir, bare } => {
            let images = bare.iter().map(|suite| swarm_lab::image(suite)).collect::<Result<_, _>>()?;
            return up(&LabOptions { name, managers, workers, dir, engine: None, images }, format);
        }
        LabCommand::Image { suite } => {
            let path = swarm_lab::image(&suite)?;
            format!("{suite}: {}", path.display())
        }
        LabCommand::Packages { lab } => {
            find(&lab)?.serve_packages()?;
            return Ok(0);
        }
        LabCommand::Ls => return ls(format),
        LabCommand::Test { file, keep } => return super::lab_test::run(file.as_deref(), keep, format),
        LabCommand::Ssh { lab, host, command } => return ssh(&find(&lab)?, &host, &command),
        LabCommand::Exec { lab, host, command } => {
            // `--` before the command is allowed and not needed.
            let command = command.strip_prefix(&["--".to_owned()]).unwrap_or(&command);
            let error = find(&lab)?.host(&host)?.enter()?.args(command).exec();
            return Err(Failure::Other(format!("nsenter: {error}")));
        }
        LabCommand::Forward { dir, milliseconds } => return forward(&dir, milliseconds),
        LabCommand::Down { lab } => {
            let lab = find(&lab)?;
            lab.down()?;
            format!("lab {} is down", lab.name)
        }
        LabCommand::Kill { lab, host, hard } => on(&lab, &host, if hard { "power cut" } else { "stopped" }, |h| h.kill(hard))?,
        LabCommand::Start { lab, host } => on(&lab, &host, "started", LabHost::start)?,
        LabCommand::Loss { lab, host, share } => on(&lab, &host, &format!("loses {share}% of its packets"), |h| h.lose(share))?,
        LabCommand::Fill { lab, host, leave } => on(&lab, &host, &format!("disk full, {leave} bytes left"), |h| h.fill(leave))?,
        LabCommand::Freeze { lab, host } => on(&lab, &host, "engine frozen", LabHost::freeze)?,
        LabCommand::Cut { lab, a, b } => {
            let lab = find(&lab)?;
            let (one, other) = (lab.host(&a)?, lab.host(&b)?);
            one.cut(other.address)?;
            other.cut(one.address)?;
            format!("lab {}: {a} and {b} are cut off from each other", lab.name)
        }
        LabCommand::Heal { lab } => each(&find(&lab)?, "healed", LabHost::heal)?,
        LabCommand::Delay { lab, milliseconds } => {
            let program = std::env::current_exe().map_err(|e| Failure::Other(e.to_string()))?;
            let each_way = Duration::from_micros(milliseconds * 500);
            each(&find(&lab)?, &format!("SSH delayed by {milliseconds} ms"), |host| host.delay(each_way, Some(&program)))?
        }
        LabCommand::Load { lab, image } => {
            let lab = find(&lab)?;
            lab.load(&image)?;
            format!("lab {}: image loaded", lab.name)
        }
    };
    match format {
        Format::Json => output::json("lab", &json!({ "done": true, "message": done })),
        _ => output::note(&done),
    }
    Ok(0)
}

/// The process behind `lab delay`.
fn forward(dir: &Path, milliseconds: u64) -> Result<u8, Failure> {
    let hosts = Lab::all().into_iter().filter_map(|n| Lab::find(&n).ok()).flat_map(|l| l.hosts);
    let host = hosts.into_iter().find(|h| h.run_dir().parent() == Some(dir));
    host.ok_or_else(|| Failure::Usage(format!("{} is no host of a lab", dir.display())))?.forward(Duration::from_millis(milliseconds))?;
    Ok(0)
}

/// The lab that was named, or the only one that the working folder holds: no other is touched unasked.
fn find(name: &LabName) -> Result<Lab, Failure> {
    if let Some(name) = &name.name {
        return Ok(Lab::find(name)?);
    }
    let here = std::env::current_dir().map_err(|e| Failure::Other(format!("the working folder: {e}")))?;
    let all: Vec<Lab> = Lab::all().iter().filter_map(|n| Lab::find(n).ok()).collect();
    let list = |labs: &[&Lab]| labs.iter().map(|l| format!("{} ({})", l.name, l.dir.display())).collect::<Vec<_>>().join(", ");
    let held: Vec<&Lab> = all.iter().filter(|lab| lab.dir.starts_with(&here)).collect();
    match held.as_slice() {
        [lab] => Ok((*lab).clone()),
        [] if all.is_empty() => Err(Failure::Usage("there is no lab; `swarm lab up` makes one".into())),
        [] => Err(Failure::Usage(format!("this folder holds no lab; name one with --name: {}", list(&all.iter().collect::<Vec<_>>())))),
        several => Err(Failure::Usage(format!("this folder holds several labs; name one with --name: {}", list(several)))),
    }
}

/// Works on one host, and gives what was done in words.
fn on(lab: &LabName, host: &str, done: &str, work: impl Fn(&LabHost) -> Result<(), swarm_lab::LabError>) -> Result<String, Failure> {
    let lab = find(lab)?;
    work(lab.host(host)?)?;
    Ok(format!("lab {}: {host}: {done}", lab.name))
}

/// Works on every host that runs.
fn each(lab: &Lab, done: &str, work: impl Fn(&LabHost) -> Result<(), swarm_lab::LabError>) -> Result<String, Failure> {
    let running: Vec<&LabHost> = lab.hosts.iter().filter(|h| h.pid().is_some()).collect();
    for host in &running {
        work(host)?;
    }
    let names: Vec<&str> = running.iter().map(|h| h.name.as_str()).collect();
    Ok(format!("lab {}: {}: {done}", lab.name, names.join(", ")))
}

fn up(options: &LabOptions, format: Format) -> Result<u8, Failure> {
    let began = Instant::now();
    if format == Format::Jsonl {
        output::json_line(&json!({ "event": "lab-starting", "lab": options.name, "hosts": options.managers + options.workers }));
    }
    let lab = Lab::up(options)?;
    if !options.images.is_empty() {
        let program = std::env::current_exe().map_err(|e| Failure::Other(e.to_string()))?;
        lab.give_packages(Some(&program))?;
    }
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
