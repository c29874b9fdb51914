//! The docker CLI in front of an engine that is not there: what it would send is kept.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

/// What a client sent: the bodies of `…/create`, by kind and name.
pub type Sent = BTreeMap<String, Value>;

/// Networks, secrets and configs that are there before.
pub const THERE: &[&str] = &["outer", "outside", "net-a", "net-b", "key-a", "key-b", "conf-a", "conf-b"];

/// A docker CLI.
pub struct Docker {
    cli: PathBuf,
    dir: PathBuf,
    /// Whether its `stack deploy` waits for tasks unless it is asked not to (26.0).
    waits: bool,
}

impl Docker {
    /// One that keeps its sockets in this folder.
    pub fn new(cli: &Path, dir: &Path) -> Self {
        std::fs::create_dir_all(dir.join("config")).unwrap();
        let help = Command::new(cli).args(["stack", "deploy", "--help"]).output().unwrap();
        let waits = String::from_utf8_lossy(&help.stdout).contains("--detach");
        Self { cli: cli.to_owned(), dir: dir.to_owned(), waits }
    }

    /// `docker stack deploy`: what it sends, and what it says; or why it refuses.
    pub fn deploy(&self, name: &str, files: &[PathBuf], variables: &[(String, String)]) -> Result<(Sent, String), String> {
        let mut args: Vec<String> = ["stack", "deploy", "--resolve-image", "never"].map(str::to_owned).into();
        args.extend(self.waits.then(|| "--detach=true".to_owned()));
        args.extend(files.iter().flat_map(|file| ["-c".to_owned(), file.to_str().unwrap().to_owned()]));
        args.push("app".into());
        self.run(name, &args, variables, None)
    }

    /// Any command of it. `service` is there before, by its name.
    pub fn run(
        &self,
        name: &str,
        args: &[String],
        variables: &[(String, String)],
        service: Option<&Value>,
    ) -> Result<(Sent, String), String> {
        let socket = self.dir.join(format!("{name}.sock"));
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).unwrap();
        let sent: Arc<Mutex<Sent>> = Arc::default();
        let record = Arc::clone(&sent);
        if let Some(service) = service {
            let name = service.get("Name").and_then(Value::as_str).unwrap();
            record.lock().unwrap().insert(format!("services {name}"), service.clone());
        }
        // It ends when the socket's last connection says so.
        let server = std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                if !serve(stream, &record) {
                    return;
                }
            }
        });
        let mut command = Command::new(&self.cli);
        command.env_clear().env("HOME", &self.dir).env("PATH", "/usr/bin:/bin").env("DOCKER_CONFIG", self.dir.join("config"));
        command.env("DOCKER_HOST", format!("unix://{}", socket.display())).envs(variables.iter().cloned());
        let output = command.args(args).output().unwrap();
        let mut end = UnixStream::connect(&socket).unwrap();
        end.write_all(b"END / HTTP/1.1\r\n\r\n").unwrap();
        server.join().unwrap();
        let _ = std::fs::remove_file(&socket);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() {
            return Err(said);
        }
        let sent = std::mem::take(&mut *sent.lock().unwrap());
        Ok((sent, said))
    }
}

/// Serves one connection; false where it was the one that ends the server.
fn serve(stream: UnixStream, sent: &Mutex<Sent>) -> bool {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return true;
        }
        let mut words = line.split_whitespace();
        let (method, target) = (words.next().unwrap_or_default().to_owned(), words.next().unwrap_or_default().to_owned());
        if method == "END" {
            return false;
        }
        let (mut length, mut chunked) = (0, false);
        loop {
            let mut header = String::new();
            if reader.read_line(&mut header).unwrap_or(0) == 0 {
                return true;
            }
            let header = header.trim().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            chunked |= header.starts_with("transfer-encoding:") && header.contains("chunked");
        }
        assert!(!chunked, "the docker CLI sends bodies whole");
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let (status, answer) = answer(&method, &target, &body, sent);
        let answer = if method == "HEAD" { String::new() } else { answer.to_string() };
        let head = format!(
            "HTTP/1.1 {status}\r\nApi-Version: 1.51\r\nOstype: linux\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            answer.len()
        );
        if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(answer.as_bytes())).is_err() {
            return true;
        }
    }
}

fn answer(method: &str, target: &str, body: &[u8], sent: &Mutex<Sent>) -> (&'static str, Value) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let path: Vec<&str> = path.trim_start_matches('/').split('/').skip_while(|part| part.starts_with("v1.")).collect();
    let mut sent = sent.lock().unwrap();
    let object = |kind: &str, name: &str| match kind {
        "networks" => json!({ "Id": format!("id-{name}"), "Name": name, "Scope": "swarm", "Driver": "overlay" }),
        _ => json!({ "ID": format!("id-{name}"), "Spec": { "Name": name } }),
    };
    let bare = |name: &str| name.strip_prefix("id-").unwrap_or(name).to_owned();
    let known = |sent: &Sent, kind: &str, name: &str| THERE.contains(&name) || sent.contains_key(&format!("{kind} {name}"));
    match (method, path.as_slice()) {
        (_, ["_ping"]) => ("200 OK", json!("OK")),
        ("GET", ["info"]) => ("200 OK", json!({ "Swarm": { "LocalNodeState": "active", "ControlAvailable": true, "NodeID": "n1" } })),
        ("GET", ["version"]) => ("200 OK", json!({ "Version": "28.5.2", "ApiVersion": "1.51", "MinAPIVersion": "1.24", "Os": "linux" })),
        ("POST", [kind, "create"]) => {
            let body: Value = serde_json::from_slice(body).unwrap();
            let name = body.get("Name").and_then(Value::as_str).unwrap_or_default().to_owned();
            sent.insert(format!("{kind} {name}"), body);
            ("201 Created", json!({ "ID": format!("id-{name}"), "Id": format!("id-{name}") }))
        }
        ("GET", [kind @ ("secrets" | "configs")]) => {
            // By name: `filters={"name":{"a":true}}`.
            let mut all: Vec<String> = sent.keys().filter_map(|key| key.strip_prefix(&format!("{kind} ")).map(str::to_owned)).collect();
            all.extend(THERE.iter().map(|name| (*name).to_owned()));
            if !query.contains("name") {
                all.clear();
            }
            ("200 OK", all.iter().map(|name| object(kind, name)).collect())
        }
        ("POST", [kind @ "services", name, "update"]) => {
            sent.insert(format!("{kind} {}", bare(name)), serde_json::from_slice(body).unwrap());
            ("200 OK", json!({ "Warnings": [] }))
        }
        ("GET", [kind @ "services", name]) => match sent.get(&format!("{kind} {}", bare(name))) {
            Some(spec) => ("200 OK", json!({ "ID": format!("id-{}", bare(name)), "Version": { "Index": 7 }, "Spec": spec })),
            None => ("404 Not Found", json!({ "message": format!("service {name} not found") })),
        },
        ("GET", ["volumes"]) => ("200 OK", json!({ "Volumes": [] })),
        ("GET", [_]) => ("200 OK", json!([])),
        ("GET", [kind, name]) if known(&sent, kind, &bare(name)) => ("200 OK", object(kind, &bare(name))),
        _ => ("404 Not Found", json!({ "message": format!("no such thing: {method} {target}") })),
    }
}
