//! Tries to log in to hosts with our client, each as `ssh` would, and prints the outcome: host, verdict, who connected, what was said.
//!
//! `ssh_probe auto|native|openssh HOST...`
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a testing program")]

use std::sync::Arc;
use swarm_core::host::{Command, Host};
use swarm_core::spec::{SshClient, SshSpec};
use swarm_ssh::{NoPrompt, SshConnector, SshError};
use tokio::sync::Semaphore;

fn main() {
    let mut args = std::env::args().skip(1);
    let client = match args.next().as_deref() {
        Some("native") => SshClient::Native,
        Some("openssh") => SshClient::Openssh,
        _ => SshClient::Auto,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let connector = SshConnector::new(Arc::new(NoPrompt));
        let turns = Arc::new(Semaphore::new(4));
        let tasks: Vec<_> = args
            .map(|name| {
                let host = connector.host("h".into(), name.parse().unwrap(), SshSpec { client, ..SshSpec::default() });
                let turns = Arc::clone(&turns);
                tokio::spawn(async move {
                    let _turn = turns.acquire().await.unwrap();
                    let connected = tokio::time::timeout(std::time::Duration::from_secs(60), host.connect()).await;
                    let Ok(connected) = connected else {
                        println!("{name}\trefused\tnobody\tit did not end within 60 s");
                        return;
                    };
                    let (word, said) = match connected {
                        Ok(()) => match host.run(&Command::new(["true"])).await {
                            Ok(output) if output.status == Some(0) => ("connects", String::new()),
                            other => ("refused", format!("{other:?}")),
                        },
                        Err(error) => (verdict(&error), error.to_string()),
                    };
                    let way = host.by_openssh().await.map_or("native".to_owned(), |because| format!("openssh ({because})"));
                    println!("{name}\t{word}\t{}\t{}", way.replace(['\t', '\n'], " "), said.replace(['\t', '\n'], " "));
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

fn verdict(error: &SshError) -> &'static str {
    let SshError::HostKey { message, .. } = error else { return "refused" };
    let has = |text: &str| message.contains(text);
    match () {
        () if has("revoked") || has("REVOKED") => "revoked",
        () if has("has changed") || has("HAS CHANGED") => "changed",
        () if has("not known") || has("host key is known") => "unknown",
        () => "refused",
    }
}
