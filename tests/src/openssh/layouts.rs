//! The layouts: each production of known_hosts and each keyword of ssh_config, with layouts that connect and layouts that do not, and
//! generated files beside them.

use super::Layout;
use super::servers::{Keys, Server};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

/// The servers that the layouts go to, by what they show.
pub type Servers = BTreeMap<&'static str, Server>;

/// Starts them.
pub fn servers(keys: &Keys) -> Servers {
    let mut authorized = String::new();
    for name in ["user", "userrsa", "usersmall", "agent", "locked"] {
        let _ = writeln!(authorized, "{}", keys.public(name));
    }
    std::fs::write(keys.at("authorized"), authorized).unwrap();
    let names = "127.0.0.1,localhost,ali";
    keys.certify("host", "good", "ca", &["-h", "-n", names]);
    keys.certify("host", "noname", "ca", &["-h"]);
    keys.certify("host", "othername", "ca", &["-h", "-n", "other"]);
    keys.certify("host", "expired", "ca", &["-h", "-n", names, "-V", "20200101:20210101"]);
    keys.certify("host", "future", "ca", &["-h", "-n", names, "-V", "20400101:20410101"]);
    keys.certify("host", "byrsa", "rsaca", &["-h", "-n", names, "-t", "rsa-sha2-512"]);
    keys.certify("host", "bysha1", "rsaca", &["-h", "-n", names, "-t", "ssh-rsa"]);
    keys.certify("host", "serial", "ca", &["-h", "-n", names, "-z", "7"]);
    keys.certify("rsa", "rsacert", "ca", &["-h", "-n", names]);
    let mut all = Servers::new();
    all.insert("plain", keys.serve("plain", &["host"], ""));
    all.insert("three", keys.serve("three", &["host", "ecdsa", "rsa"], ""));
    all.insert("ecdsa", keys.serve("ecdsa", &["ecdsa"], ""));
    all.insert("rsa", keys.serve("rsa", &["rsa"], ""));
    for cert in ["good", "noname", "othername", "expired", "future", "byrsa", "bysha1", "serial", "rsacert"] {
        all.insert(cert, keys.serve(cert, &[cert], ""));
    }
    all.insert("both", keys.serve("both", &["good", "rsa"], ""));
    all.insert("gcm", keys.serve("gcm", &["host"], "KexAlgorithms ecdh-sha2-nistp521\nCiphers aes128-gcm@openssh.com"));
    all.insert("sha1", keys.serve("sha1", &["host"], "KexAlgorithms diffie-hellman-group14-sha256\nCiphers aes128-ctr\nMACs hmac-sha1"));
    all.insert("sntrup", keys.serve("sntrup", &["host"], "KexAlgorithms sntrup761x25519-sha512@openssh.com"));
    all.insert("umac", keys.serve("umac", &["host"], "Ciphers aes256-ctr\nMACs umac-64@openssh.com"));
    all
}

/// What the matcher is given for a layout.
#[derive(Debug, Clone)]
pub struct Case {
    /// The name that is looked up.
    pub name: String,
    /// Whether it is an alias.
    pub alias: bool,
    /// The port.
    pub port: u16,
    /// The server, which is the name of the key it shows.
    pub server: String,
    /// The known_hosts files.
    pub files: Vec<Vec<u8>>,
}

/// Builds layouts.
pub struct Builder<'a> {
    pub(super) keys: &'a Keys,
    servers: &'a Servers,
    pub(super) dir: PathBuf,
    /// What was built.
    pub all: Vec<Layout>,
    /// The layouts that the matcher alone decides, by host.
    pub cases: BTreeMap<String, Case>,
}

impl<'a> Builder<'a> {
    /// Nothing built.
    pub fn new(keys: &'a Keys, servers: &'a Servers) -> Self {
        let dir = keys.dir.join("layouts");
        std::fs::create_dir_all(&dir).unwrap();
        Self { keys, servers, dir, all: Vec::new(), cases: BTreeMap::new() }
    }

    pub(super) fn port(&self, server: &str) -> u16 {
        self.servers[server].port
    }

    /// A file of a layout to come.
    pub(super) fn file(&self, ending: &str, text: &[u8]) -> String {
        let path = self.dir.join(format!("l{}{ending}", self.all.len()));
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// A layout: what `more` sets comes before what is set for all.
    pub(super) fn add(&mut self, production: &'static str, server: &str, more: &str, known: &str) {
        self.add_bytes(production, server, more, known.as_bytes());
    }

    fn add_bytes(&mut self, production: &'static str, server: &str, more: &str, known: &[u8]) {
        let host = format!("l{}", self.all.len());
        let file = self.file(".known", known);
        // Identity files add up: one that the layout is about would be tried beside the usual one, and the latter would open the door.
        let identity = if more.contains("IdentityFile") { String::new() } else { format!("  IdentityFile {}\n", self.keys.at("user")) };
        let section = format!(
            "{more}\n  HostName 127.0.0.1\n  Port {}\n  User root\n{identity}  IdentitiesOnly yes\n  UserKnownHostsFile {file}\n  GlobalKnownHostsFile none\n",
            self.port(server),
        );
        let mut case =
            Case { name: "127.0.0.1".into(), alias: false, port: self.port(server), server: server.into(), files: vec![known.to_vec()] };
        let fits = match more.trim().split_once(' ') {
            None => more.is_empty(),
            Some(("HostKeyAlias", alias)) => {
                (case.name, case.alias) = (alias.to_lowercase(), true);
                !alias.contains('\n')
            }
            Some(("HostName", name)) => {
                // `ssh` writes an address its own way before it looks for it (ssh.c, resolve_addr).
                case.name = name.parse::<std::net::IpAddr>().map_or(name.to_lowercase(), |ip| ip.to_string());
                !name.contains('\n')
            }
            Some(("GlobalKnownHostsFile", file)) => {
                case.files.extend(std::fs::read(file).ok());
                true
            }
            Some(_) => false,
        };
        // Servers that show one key, with or without a certificate.
        if fits && !matches!(server, "three" | "both") {
            self.cases.insert(host.clone(), case);
        }
        self.all.push(Layout { production, host, section });
    }

    /// `[127.0.0.1]:port key`, as it should be.
    pub(super) fn good(&self, server: &str, key: &str) -> String {
        format!("[127.0.0.1]:{} {}\n", self.port(server), self.keys.public(key))
    }

    /// Lines of known_hosts, one production after the other.
    pub fn lines(&mut self) {
        let (right, wrong) = (self.keys.public("host"), self.keys.public("wrong"));
        let (ecdsa, rsa) = (self.keys.public("ecdsa2"), self.keys.public("rsaca"));
        let port = self.port("plain");
        let at = format!("[127.0.0.1]:{port}");
        let encoded = right.split(' ').nth(1).unwrap().to_owned();
        let hashed = |text: &str| {
            let path = self.dir.join("to-hash");
            std::fs::write(&path, text).unwrap();
            crate::lab::sh(&["ssh-keygen", "-H", "-f", path.to_str().unwrap()]);
            std::fs::read_to_string(&path).unwrap()
        };
        let (hash, hash_bare) = (hashed(&format!("{at} {right}\n")), hashed(&format!("127.0.0.1 {right}\n")));
        let long = "a".repeat(1500);
        let cases: Vec<(&'static str, String)> = vec![
            ("a key", format!("{at} {right}\n")),
            ("a key", format!("{at} {wrong}\n")),
            ("a key of another type", format!("{at} {ecdsa}\n")),
            ("a key of another type", format!("{at} {ecdsa}\n{at} {right}\n")),
            ("several keys", format!("{at} {wrong}\n{at} {right}\n")),
            ("several keys", format!("{at} {wrong}\n{at} {ecdsa}\n{at} {rsa}\n")),
            ("no line", String::new()),
            ("no line", "# nothing\n\n   \n".into()),
            ("no line", format!("# nothing\n\n   \n{at} {right}\n")),
            ("the port", format!("127.0.0.1 {right}\n")),
            ("the port", format!("127.0.0.1 {wrong}\n")),
            ("the port", format!("[127.0.0.1]:22 {right}\n")),
            ("the port", format!("[127.0.0.1]:{} {right}\n", port.wrapping_add(1))),
            ("the port", format!("[127.0.0.1] {right}\n")),
            ("the port", format!("127.0.0.1:{port} {right}\n")),
            ("a wildcard", format!("* {right}\n")),
            ("a wildcard", format!("[127.0.0.*]:* {right}\n")),
            ("a wildcard", format!("[127.0.0.?]:{port} {right}\n")),
            ("a wildcard", format!("[127.0.0.??]:{port} {right}\n")),
            ("a wildcard", format!("* {wrong}\n")),
            ("negation", format!("*,!{at} {right}\n")),
            ("negation", format!("!{at},* {right}\n")),
            ("negation", format!("*,!other {right}\n")),
            ("negation", format!("!{at} {right}\n")),
            ("negation", format!("*,!{at} {wrong}\n{at} {right}\n")),
            ("negation", format!("*,!127.0.0.1 {right}\n")),
            ("a list", format!("other,{at} {right}\n")),
            ("a list", format!("other,,{at} {right}\n")),
            ("a list", format!("other, {at} {right}\n")),
            ("a hashed name", hash.clone()),
            ("a hashed name", hash_bare.clone()),
            ("a hashed name", hash.replace(&right, &wrong)),
            ("a hashed name", hash.replacen("|1|", "|2|", 1)),
            ("a hashed name", hash.replacen("|1|", "|1|A", 1)),
            ("a hashed name", hash.replacen(' ', ",other ", 1)),
            ("a hash's salt", format!("|1|AAAA|AAAA {right}\n")),
            ("a hash's salt", format!("|1|| {right}\n{at} {right}\n")),
            ("a comment", format!("# {at} {right}\n")),
            ("a comment", format!("{at} {right} a comment here\n")),
            ("a comment", format!("{at} # {right}\n")),
            ("blanks", format!("   {at}   {right}   \n")),
            ("blanks", format!("{at}\t{}\n", right.replace(' ', "\t"))),
            ("blanks", format!("\t{at} {right}\n")),
            ("blanks", format!("\u{b}{at} {right}\n")),
            ("CR LF", format!("{at} {right}\r\n")),
            ("CR LF", format!("{at} {right} comment\r\n")),
            ("CR LF", format!("{at}\r {right}\n")),
            ("NUL", format!("{at} {right}\0\n")),
            ("NUL", format!("\0{at} {right}\n")),
            ("NUL", format!("{at}\0 {right}\n")),
            ("no end of line", format!("{at} {right}")),
            ("no end of line", format!("{at} {wrong}")),
            ("very long lines", format!("{long},{at} {right}\n")),
            ("very long lines", format!("{at},{long} {right}\n")),
            ("very long lines", format!("{at} {right} {}\n", "c".repeat(100_000))),
            ("very long lines", format!("{}{at} {right}\n", "x,".repeat(20_000))),
            ("@revoked", format!("@revoked {at} {right}\n{at} {right}\n")),
            ("@revoked", format!("{at} {right}\n@revoked * {right}\n")),
            ("@revoked", format!("@revoked {at} {wrong}\n{at} {right}\n")),
            ("@revoked", format!("@revoked other {right}\n{at} {right}\n")),
            ("@revoked", format!("@revoked\t{at} {right}\n{at} {right}\n")),
            ("@revoked", format!("@REVOKED {at} {right}\n{at} {right}\n")),
            ("@revoked", format!("@revoked 127.0.0.1 {right}\n{at} {right}\n")),
            ("@revoked", format!("@revoked 127.0.0.1 {right}\n127.0.0.1 {right}\n")),
            ("an unknown marker", format!("@other {at} {right}\n")),
            ("an unknown marker", format!("@other {at} {wrong}\n{at} {right}\n")),
            ("two markers", format!("@revoked @cert-authority {at} {right}\n{at} {right}\n")),
            ("two markers", format!("@cert-authority @revoked {at} {right}\n")),
            ("an authority is no key", format!("@cert-authority {at} {right}\n")),
            ("an authority is no key", format!("@cert-authority * {wrong}\n{at} {right}\n")),
            ("a broken key", format!("{at} ssh-ed25519 !!!\n{at} {right}\n")),
            ("a broken key", format!("{at} ssh-ed25519 {}\n", encoded.get(..40).unwrap())),
            ("a broken key", format!("{at} ssh-ed25519 {}\n", encoded.replace('A', "B"))),
            ("a broken key", format!("{at} ssh-ed25519 {encoded}=\n")),
            ("a broken key", format!("{at} ssh-ed25519 {encoded}AAAA\n")),
            ("a broken key", format!("{at}\n{at} ssh-ed25519\n")),
            ("a key's name", format!("{at} ssh-rsa {encoded}\n")),
            ("a key's name", format!("{at} SSH-ED25519 {encoded}\n")),
            ("a key's name", format!("{at} other {encoded}\n{at} {right}\n")),
            ("a key's name", format!("{at} {encoded}\n")),
            ("a key's name", format!("{at} rsa-sha2-512 {}\n", rsa.split(' ').nth(1).unwrap())),
            ("a certificate as a key", {
                let text = std::fs::read_to_string(self.keys.at("good-cert.pub")).unwrap();
                format!("{at} {text}")
            }),
            ("a certificate as a key", {
                let text = std::fs::read_to_string(self.keys.at("good-cert.pub")).unwrap();
                format!("{at} {text}{at} {right}\n")
            }),
            ("quotes", format!("\"{at}\" {right}\n")),
            ("quotes", format!("{at} {right} \"a comment\n")),
            ("quotes", format!("{at} \"{right}\"\n")),
            ("an old RSA line", format!("{at} 1024 35 12345678901234567890\n{at} {right}\n")),
            ("an old RSA line", format!("{at} 1024 35 12345678901234567890\n")),
            ("IPv4-mapped", format!("[::ffff:127.0.0.1]:{port} {right}\n")),
        ];
        for (production, text) in cases {
            self.add(production, "plain", "", &text);
        }
        for (production, bytes) in [
            ("odd bytes", [at.as_bytes(), b"\xff ", right.as_bytes(), b"\n"].concat()),
            ("odd bytes", [b"\xe9,", at.as_bytes(), b" ", right.as_bytes(), b"\n"].concat()),
            ("odd bytes", [b"\xef\xbb\xbf", at.as_bytes(), b" ", right.as_bytes(), b"\n"].concat()),
            ("odd bytes", [at.as_bytes(), b" ", right.as_bytes(), b" \xff\xfe\n"].concat()),
        ] {
            self.add_bytes(production, "plain", "", &bytes);
        }
        // IPv6, as it is written in many ways: a name is looked up as it is, not as the address that it means.
        for name in ["::1", "0:0:0:0:0:0:0:1", "::0001", "0::1"] {
            for line in ["::1", "0:0:0:0:0:0:0:1", "*", "*:*", "::?", "!::1,*"] {
                self.add("IPv6, written", "plain", &format!("  HostName {name}"), &format!("[{line}]:{port} {right}\n"));
            }
        }
        for production in ["a file that others can write", "a file of another user", "a symbolic link"] {
            self.add(production, "plain", "", &format!("{at} {wrong}\n"));
        }
        for mode in ["664", "646", "666", "644", "600", "440"] {
            let known = self.file(".known", b"");
            self.add("a file that others can write", "plain", "", &format!("{at} {right}\n"));
            crate::lab::sh(&["chmod", mode, &known]);
            if mode.ends_with('6') || mode.starts_with("66") {
                self.cases.remove(&self.all.last().unwrap().host);
            }
        }
        for (ending, linked) in [(".real", true), (".plain", false)] {
            self.add("a symbolic link", "plain", "", &format!("{at} {right}\n"));
            let host = self.all.last().unwrap().host.clone();
            let (known, real) = (self.dir.join(format!("{host}.known")), self.dir.join(format!("{host}{ending}")));
            if linked {
                std::fs::rename(&known, &real).unwrap();
                std::os::unix::fs::symlink(&real, &known).unwrap();
                self.cases.remove(&host);
            }
        }
        for user in ["0", "65534"] {
            let known = self.file(".known", b"");
            self.add("a file of another user", "plain", "", &format!("{at} {right}\n"));
            crate::lab::sh(&["chown", user, &known]);
            if user != "0" {
                self.cases.remove(&self.all.last().unwrap().host);
            }
        }
    }

    /// Files of random lines.
    pub fn random(&mut self, count: usize) {
        let port = self.port("plain");
        let at = format!("[127.0.0.1]:{port}");
        let hosts = [
            at.clone(),
            "127.0.0.1".into(),
            "*".into(),
            format!("*,!{at}"),
            "[127.0.0.?]:*".into(),
            "other".into(),
            format!("other,{at}"),
            format!("!other,{at}"),
            "[*]:22".into(),
            format!("{at},!127.*"),
            "!*".into(),
        ];
        let keys: Vec<String> = ["host", "host", "wrong", "ecdsa2", "ca"].iter().map(|k| self.keys.public(k)).collect();
        let mut rng = fastrand::Rng::with_seed(2026);
        for _ in 0..count {
            let mut text = String::new();
            for _ in 0..rng.usize(1..5) {
                let marker = ["", "", "", "", "@revoked ", "@cert-authority ", "@other ", "# "][rng.usize(0..8)];
                let (host, key) = (rng.choice(&hosts).unwrap(), rng.choice(&keys).unwrap());
                let blank = [" ", "  ", "\t"][rng.usize(0..3)];
                let end = ["\n", "\n", "\r\n", " comment\n", "\0x\n"][rng.usize(0..5)];
                let _ = write!(text, "{marker}{host}{blank}{key}{end}");
            }
            self.add("random lines", "plain", "", &text);
        }
    }

    /// Host certificates and who signs them.
    pub fn certificates(&mut self) {
        let (ca, other) = (self.keys.public("ca"), self.keys.public("ca2"));
        let (rsaca, key) = (self.keys.public("rsaca"), self.keys.public("host"));
        for server in ["good", "noname", "othername", "expired", "future", "byrsa", "bysha1", "serial", "rsacert"] {
            let at = format!("[127.0.0.1]:{}", self.port(server));
            let production = match server {
                "expired" | "future" => "a certificate's time",
                "othername" | "noname" => "a certificate's names",
                "byrsa" | "bysha1" => "a certificate's signature",
                _ => "a certificate",
            };
            let plain = if server == "rsacert" { self.keys.public("rsa") } else { key.clone() };
            for known in [
                format!("@cert-authority {at} {ca}\n"),
                format!("@cert-authority * {rsaca}\n"),
                format!("@cert-authority 127.0.0.1 {ca}\n"),
                format!("@cert-authority {at} {other}\n"),
                format!("{at} {plain}\n"),
                format!("@cert-authority {at} {ca}\n{at} {plain}\n"),
                format!("@cert-authority {at} {ca}\n@revoked * {ca}\n"),
                format!("@cert-authority {at} {ca}\n@revoked * {plain}\n"),
                format!("{at} {plain}\n@revoked * {ca}\n"),
                format!("@cert-authority *,!{at} {ca}\n"),
            ] {
                self.add(production, server, "", &known);
            }
            self.add(
                production,
                server,
                "  CASignatureAlgorithms rsa-sha2-256",
                &format!("@cert-authority * {ca}\n@cert-authority * {rsaca}\n"),
            );
            self.add(
                production,
                server,
                "  CASignatureAlgorithms +ssh-rsa",
                &format!("@cert-authority * {ca}\n@cert-authority * {rsaca}\n"),
            );
            self.add(production, server, "  HostKeyAlias ali", &format!("@cert-authority ali {ca}\n"));
            self.add(production, server, "  HostKeyAlias other", &format!("@cert-authority other {ca}\n"));
            self.add(production, server, "  HostKeyAlgorithms ssh-ed25519", &format!("@cert-authority * {ca}\n"));
            self.add(production, server, "  HostKeyAlgorithms ssh-ed25519-cert-v01@openssh.com", &format!("@cert-authority * {ca}\n"));
        }
        let at = format!("[127.0.0.1]:{}", self.port("both"));
        let rsa = self.keys.public("rsa");
        self.add("a certificate beside a key", "both", "", &format!("{at} {rsa}\n"));
        self.add("a certificate beside a key", "both", "", &format!("@cert-authority {at} {other}\n{at} {rsa}\n"));
        self.add("a certificate beside a key", "both", "", &format!("@cert-authority {at} {ca}\n{at} {rsa}\n@revoked * {rsa}\n"));
        self.add("a certificate beside a key", "both", "", &format!("@revoked * {ca}\n{at} {rsa}\n"));
    }
}
