//! Amazon EC2 on this machine: moto answers, and what stands before it does what moto leaves out. Each account (the id of its access key) is a
//! world of its own. Client tokens are known again, lists are late, a group that is in use is not deleted, a console prints host keys; and any
//! call can be throttled, refused, or cut before or after it took effect.

use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The newest image of Debian 13, as moto has it here.
pub const IMAGE: &str = "ami-00debian13";

/// What is done to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// It does not arrive.
    Before,
    /// It takes effect, and its answer is lost.
    After,
}

/// Hears that an instance of a host is run in a group that lets in what these calls said.
pub type OnRun = Box<dyn Fn(&str, &[BTreeMap<String, String>]) + Send>;

/// One account.
#[derive(Default)]
pub struct Account {
    /// The actions of all calls that arrived, in order.
    pub calls: Vec<String>,
    /// The call of this number is cut, and no other arrives after it: whoever made it is gone.
    pub cut: Option<(usize, Cut)>,
    dead: bool,
    /// Every so many calls one is answered with `RequestLimitExceeded`.
    pub throttled: usize,
    /// The next creation of this host is refused with this code.
    pub refused: Option<(String, String)>,
    /// So long after its creation an instance is in no list.
    pub late: Duration,
    /// So long after its termination an instance is still in its group.
    pub lingers: Duration,
    /// What the console of each host's instance prints.
    pub consoles: HashMap<String, String>,
    /// The private address that each host's instance gets.
    pub addresses: HashMap<String, String>,
    /// Is called for each instance that is run.
    pub on_run: Option<OnRun>,
    rules: Vec<BTreeMap<String, String>>,
    hosts: HashMap<String, String>,
    born: HashMap<String, Instant>,
    died: HashMap<String, Instant>,
    tokens: HashMap<String, (BTreeMap<String, String>, String, String)>,
}

impl Account {
    /// Whoever comes now is let in, from the first call on.
    pub fn revive(&mut self) {
        self.dead = false;
        self.cut = None;
        self.calls.clear();
    }
}

/// Moto and what stands before it.
pub struct Cloud {
    moto: Child,
    moto_port: u16,
    port: u16,
    accounts: Arc<Mutex<HashMap<String, Account>>>,
    _folder: tempfile::TempDir,
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

impl Cloud {
    /// Starts both.
    pub fn start() -> Self {
        let program = root().join("target/moto/bin/moto_server");
        assert!(program.is_file(), "moto is not there; run scripts/moto first");
        let folder = tempfile::tempdir().unwrap();
        let image = |id: &str, made: &str| {
            serde_json::json!({ "ami_id": id, "name": format!("debian-13-amd64-{made}"), "owner_id": "136693071363", "public": true,
                "virtualization_type": "hvm", "architecture": "x86_64", "state": "available", "platform": null, "image_type": "machine",
                "hypervisor": "xen", "root_device_name": "/dev/xvda", "root_device_type": "ebs", "sriov": "simple", "description": "Debian 13",
                "image_location": "x", "creation_date": format!("{made}T00:00:00.000Z") })
        };
        let images = serde_json::json!([image(IMAGE, "2026-11-01"), image("ami-00debian13old", "2026-01-01")]);
        let file = folder.path().join("images.json");
        std::fs::write(&file, images.to_string()).unwrap();
        let moto_port = free_port();
        let moto = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", &moto_port.to_string()])
            .env("MOTO_AMIS_PATH", &file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let until = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("127.0.0.1", moto_port)).is_err() {
            assert!(Instant::now() < until, "moto does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let accounts: Arc<Mutex<HashMap<String, Account>>> = Arc::default();
        let shared = accounts.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let accounts = shared.clone();
                std::thread::spawn(move || serve(stream, moto_port, &accounts));
            }
        });
        Self { moto, moto_port, port, accounts, _folder: folder }
    }

    /// The environment of a program that acts as an account, of twelve digits.
    pub fn environment(&self, account: &str) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", self.port)),
            ("AWS_ACCESS_KEY_ID", account.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI-K7MDENG-bPxRfiCYEXAMPLEKEY".into()),
            ("AWS_EC2_METADATA_DISABLED", "true".into()),
            ("AWS_CONFIG_FILE", "/dev/null".into()),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null".into()),
        ]
    }

    /// Changes an account.
    pub fn with<T>(&self, account: &str, change: impl FnOnce(&mut Account) -> T) -> T {
        change(self.accounts.lock().unwrap().entry(account.to_owned()).or_default())
    }

    /// Makes a call of moto itself.
    pub fn ask(&self, account: &str, parameters: &[(&str, &str)]) -> String {
        Self::call(self.moto_port, account, parameters)
    }

    /// Makes a call as someone else with the account's credentials, who is counted as they are.
    pub fn by_hand(&self, account: &str, parameters: &[(&str, &str)]) -> String {
        Self::call(self.port, account, parameters)
    }

    fn call(port: u16, account: &str, parameters: &[(&str, &str)]) -> String {
        let body: Vec<String> = [("Version", "2016-11-15")].iter().chain(parameters).map(|(k, v)| format!("{k}={}", escape(v))).collect();
        let body = body.join("&");
        let head = format!(
            "POST / HTTP/1.1\r\nHost: ec2.us-west-1.amazonaws.com\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential={account}/20261128/us-west-1/ec2/aws4_request, SignedHeaders=host, Signature=0\r\n",
            body.len()
        );
        let (status, text) = forward(port, &head, account, &body).unwrap();
        assert!(status.starts_with("200"), "{status} {text}");
        text
    }

    /// The hosts of instances that are not terminated, and what else is left of a cluster: groups and key pairs.
    pub fn left(&self, account: &str) -> Vec<String> {
        let instances = self.ask(
            account,
            &[
                ("Action", "DescribeInstances"),
                ("Filter.1.Name", "instance-state-name"),
                ("Filter.1.Value.1", "pending"),
                ("Filter.1.Value.2", "running"),
                ("Filter.1.Value.3", "stopped"),
            ],
        );
        let mut left: Vec<String> =
            instances.split("<key>swarm.host</key>").skip(1).map(|rest| between(rest, "<value>", "</value>").to_owned()).collect();
        let groups = self.ask(account, &[("Action", "DescribeSecurityGroups")]);
        left.extend(groups.split("<groupName>swarm-").skip(1).map(|_| "group".to_owned()));
        let keys = self.ask(account, &[("Action", "DescribeKeyPairs")]);
        left.extend(keys.split("<keyName>").skip(1).map(|_| "key".to_owned()));
        let volumes = self.ask(account, &[("Action", "DescribeVolumes")]);
        left.extend(volumes.split("<volumeId>").skip(1).filter(|_| !instances.contains("<volumeId>")).map(|_| "volume".to_owned()));
        left.sort();
        left
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        // What accounts hold, as a lab, ends with the test; the thread that answers does not.
        self.accounts.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clear();
        let _ = self.moto.kill();
        let _ = self.moto.wait();
    }
}

fn escape(text: &str) -> String {
    text.bytes()
        .map(|b| if b.is_ascii_alphanumeric() || b"-._~".contains(&b) { (b as char).to_string() } else { format!("%{b:02X}") })
        .collect()
}

fn unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'%' => {
                out.push(u8::from_str_radix(&text[at + 1..at + 3], 16).unwrap());
                at += 2;
            }
            b'+' => out.push(b' '),
            other => out.push(other),
        }
        at += 1;
    }
    String::from_utf8(out).unwrap()
}

fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    text.split_once(from).and_then(|(_, rest)| rest.split_once(to)).map_or("", |(inner, _)| inner)
}

fn refusal(code: &str, message: &str) -> (String, String) {
    let text = format!(
        "<?xml version=\"1.0\"?><Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors><RequestID>r</RequestID></Response>"
    );
    let status = if code == "RequestLimitExceeded" { "503 Service Unavailable" } else { "400 Bad Request" };
    (status.into(), text)
}

/// Reads one message; gives its first line with its headers, and its body.
fn message(stream: &mut impl Read) -> Option<(String, String)> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 65536];
    loop {
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n");
        if let Some(end) = end {
            let head = String::from_utf8_lossy(&bytes[..end + 2]).into_owned();
            let length = head.to_ascii_lowercase();
            let length: usize = between(&length, "content-length: ", "\r\n").trim().parse().unwrap_or(0);
            if bytes.len() >= end + 4 + length {
                return Some((head, String::from_utf8_lossy(&bytes[end + 4..end + 4 + length]).into_owned()));
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(count) => bytes.extend(&buffer[..count]),
        }
    }
}

/// The same call at moto.
fn forward(port: u16, head: &str, account: &str, body: &str) -> Option<(String, String)> {
    let mut moto = TcpStream::connect(("127.0.0.1", port)).ok()?;
    // What this sets itself is not there twice.
    let own = |line: &&str| {
        let line = line.to_ascii_lowercase();
        line.is_empty() || ["content-length:", "connection:", "x-moto-account-id:"].iter().any(|name| line.starts_with(name))
    };
    let kept: Vec<&str> = head.split("\r\n").filter(|line| !own(line)).collect();
    let request = format!(
        "{}\r\nContent-Length: {}\r\nx-moto-account-id: {account}\r\nConnection: close\r\n\r\n{body}",
        kept.join("\r\n"),
        body.len()
    );
    moto.write_all(request.as_bytes()).ok()?;
    let (head, text) = message(&mut moto)?;
    Some((head.lines().next()?.split_once(' ')?.1.to_owned(), text))
}

fn serve(mut stream: TcpStream, moto: u16, accounts: &Mutex<HashMap<String, Account>>) {
    while let Some((head, body)) = message(&mut stream) {
        let account = between(&head, "Credential=", "/").to_owned();
        assert!(head.to_ascii_lowercase().contains("\r\nauthorization: aws4-hmac-sha256"), "a call that is not signed: {head}");
        // One call of all accounts at a time: moto keeps no order of its own.
        let mut accounts = accounts.lock().unwrap();
        let answer = answer(accounts.entry(account.clone()).or_default(), moto, &head, &account, &body);
        drop(accounts);
        let Some((status, text)) = answer else { return };
        let reply = format!("HTTP/1.1 {status}\r\nContent-Type: text/xml\r\nContent-Length: {}\r\n\r\n{text}", text.len());
        if stream.write_all(reply.as_bytes()).is_err() {
            return;
        }
    }
}

/// What a call is answered; `None` where the connection breaks.
fn answer(of: &mut Account, moto: u16, head: &str, account: &str, body: &str) -> Option<(String, String)> {
    if of.dead {
        return Some(refusal("AuthFailure", "whoever asks is gone"));
    }
    let mut given: BTreeMap<String, String> =
        body.split('&').filter_map(|pair| pair.split_once('=')).map(|(key, value)| (unescape(key), unescape(value))).collect();
    let action = given["Action"].clone();
    let number = of.calls.len();
    of.calls.push(action.clone());
    if of.throttled > 0 && number % of.throttled == of.throttled - 1 {
        return Some(refusal("RequestLimitExceeded", "Request limit exceeded."));
    }
    let cut = of.cut.filter(|(at, _)| *at == number).map(|(_, cut)| cut);
    of.dead = cut.is_some();
    if cut == Some(Cut::Before) {
        return None;
    }
    let result = carry_out(of, moto, head, account, &action, &mut given)?;
    (cut != Some(Cut::After)).then_some(result)
}

fn carry_out(
    of: &mut Account,
    moto: u16,
    head: &str,
    account: &str,
    action: &str,
    given: &mut BTreeMap<String, String>,
) -> Option<(String, String)> {
    let tagged = |key: &str| {
        let at = given.iter().find(|(name, value)| name.ends_with(".Key") && *value == key).map(|(name, _)| name.replace(".Key", ".Value"));
        at.and_then(|at| given.get(&at)).cloned().unwrap_or_default()
    };
    let host = tagged("swarm.host");
    match action {
        "RunInstances" => {
            if let Some((_, code)) = of.refused.take_if(|(refused, _)| *refused == host) {
                return Some(refusal(&code, "We currently do not have sufficient capacity in the Availability Zone you requested."));
            }
            if let Some((parameters, text, id)) = of.tokens.get(&given["ClientToken"]) {
                return Some(match (parameters == given, of.died.contains_key(id)) {
                    (false, _) => refusal(
                        "IdempotentParameterMismatch",
                        "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).",
                    ),
                    (true, true) => refusal("IdempotentInstanceTerminated", "The instance of this token is terminated."),
                    (true, false) => ("200 OK".into(), text.clone()),
                });
            }
        }
        "GetConsoleOutput" => {
            let printed = of.hosts.get(&given["InstanceId"]).and_then(|host| of.consoles.get(host)).cloned().unwrap_or_default();
            use base64::Engine;
            let output = base64::engine::general_purpose::STANDARD.encode(printed);
            return Some(("200 OK".into(), format!("<GetConsoleOutputResponse><output>{output}</output></GetConsoleOutputResponse>")));
        }
        "DeleteSecurityGroup" => {
            let uses = |id: &String| of.died.get(id).is_none_or(|at| at.elapsed() < of.lingers);
            if of.born.keys().any(uses) {
                return Some(refusal("DependencyViolation", "resource has a dependent object"));
            }
        }
        "AuthorizeSecurityGroupIngress" => of.rules.push(given.clone()),
        _ => {}
    }
    let asked = given.clone();
    if let Some(address) = of.addresses.get(&host).filter(|_| action == "RunInstances") {
        given.insert("NetworkInterface.1.PrivateIpAddress".into(), address.clone());
    }
    let body: Vec<String> = given.iter().map(|(key, value)| format!("{}={}", escape(key), escape(value))).collect();
    let (status, mut text) = forward(moto, head, account, &body.join("&"))?;
    if !status.starts_with("200") {
        return Some((status, text));
    }
    match action {
        "RunInstances" => {
            let id = between(&text, "<instanceId>", "</instanceId>").to_owned();
            of.hosts.insert(id.clone(), host.clone());
            of.born.insert(id.clone(), Instant::now());
            of.tokens.insert(asked["ClientToken"].clone(), (asked.clone(), text.clone(), id));
            if let Some(on_run) = &of.on_run {
                on_run(&host, &of.rules);
            }
        }
        "TerminateInstances" => {
            of.died.entry(asked["InstanceId.1"].clone()).or_insert_with(Instant::now);
        }
        "DescribeInstances" => {
            for (id, born) in &of.born {
                if born.elapsed() < of.late && !asked.contains_key("InstanceId.1") {
                    text = without(&text, id);
                }
            }
        }
        _ => {}
    }
    Some((status, text))
}

/// A list of reservations without that of one instance.
fn without(text: &str, id: &str) -> String {
    let Some((before, rest)) = text.split_once("<reservationSet>") else { return text.to_owned() };
    let Some((items, after)) = rest.rsplit_once("</reservationSet>") else { return text.to_owned() };
    let (mut kept, mut depth, mut from) = (String::new(), 0, 0);
    let mut at = 0;
    while at < items.len() {
        if items[at..].starts_with("<item>") {
            if depth == 0 {
                from = at;
            }
            depth += 1;
        } else if items[at..].starts_with("</item>") {
            depth -= 1;
            if depth == 0 {
                let item = &items[from..at + "</item>".len()];
                if !item.contains(&format!("<instanceId>{id}</instanceId>")) {
                    kept.push_str(item);
                }
            }
        }
        at += items[at..].chars().next().map_or(1, char::len_utf8);
    }
    format!("{before}<reservationSet>{kept}</reservationSet>{after}")
}
