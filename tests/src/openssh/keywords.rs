//! Layouts about keywords of ssh_config.

use super::layouts::Builder;

/// Production, what comes before the common settings, known_hosts.
type Row = (&'static str, String, String);

fn add(rows: &mut Vec<Row>, production: &'static str, more: &str, known: &str) {
    rows.push((production, more.to_owned(), known.to_owned()));
}

impl Builder<'_> {
    /// Each keyword that decides, at values that let in and at values that do not.
    pub fn keywords(&mut self) {
        let good = self.good("plain", "host");
        let wrong = self.good("plain", "wrong");
        let host = self.keys.public("host");
        let three = |b: &Self| format!("{}{}{}", b.good("three", "host"), b.good("three", "ecdsa"), b.good("three", "rsa"));
        let (known3, port) = (three(self), self.port("plain"));
        let at = |b: &Self, name: &str| b.keys.at(name);
        let [user, agent_key, userrsa, small] = ["user", "agent", "userrsa", "usersmall"].map(|k| at(self, k));

        let mut plain: Vec<Row> = Vec::new();
        // Names.
        add(&mut plain, "HostKeyAlias", "  HostKeyAlias ali", &format!("ali {host}\n"));
        add(&mut plain, "HostKeyAlias", "  HostKeyAlias ali", &good);
        add(&mut plain, "HostKeyAlias", "  HostKeyAlias ali", &format!("[ali]:{port} {host}\n"));
        add(&mut plain, "HostKeyAlias", "  HostKeyAlias ALI", &format!("ali {host}\n"));
        add(&mut plain, "HostName", "  HostName localhost", &format!("[localhost]:{port} {host}\n"));
        add(&mut plain, "HostName", "  HostName LocalHost", &format!("[localhost]:{port} {host}\n"));
        add(&mut plain, "HostName", "  HostName localhost", &good);
        add(&mut plain, "HostName", "  HostName localhost.", &format!("[localhost]:{port} {host}\n"));
        add(&mut plain, "HostName", "  HostName 127.0.0.2", &format!("[127.0.0.2]:{port} {host}\n"));
        add(&mut plain, "IPv6", "  HostName ::1", &format!("[::1]:{port} {host}\n"));
        add(&mut plain, "IPv6", "  HostName ::1", &format!("::1 {host}\n"));
        add(&mut plain, "IPv6", "  HostName ::1", &good);
        add(&mut plain, "IPv4-mapped", "  HostName ::ffff:127.0.0.1", &good);
        add(&mut plain, "IPv4-mapped", "  HostName ::ffff:127.0.0.1", &format!("[::ffff:127.0.0.1]:{port} {host}\n"));
        add(&mut plain, "upper case", "  HostName localhost", &format!("[LOCALHOST]:{port} {host}\n"));
        add(&mut plain, "upper case", "  HostName localhost", &format!("[LocalHos?]:{port},other {host}\n"));
        add(&mut plain, "upper case", "  HostName localhost", &format!("*,![LOCALHOST]:{port} {host}\n"));
        add(&mut plain, "upper case", "  HostName localhost", &format!("[LOCALHOST]:{} {host}\n", port.wrapping_add(1)));
        add(&mut plain, "User", "  User no-such-user", &good);
        add(&mut plain, "User", "  User root", &good);
        add(&mut plain, "Port", "  Port 1", &good);
        add(&mut plain, "Port", &format!("  Port {port}"), &good);
        // Files.
        let other = self.file(".other", good.as_bytes());
        add(&mut plain, "UserKnownHostsFile", &format!("  UserKnownHostsFile {other}"), "");
        add(&mut plain, "UserKnownHostsFile", &format!("  UserKnownHostsFile /nonexistent {other}"), "");
        add(&mut plain, "UserKnownHostsFile", "  UserKnownHostsFile none", &good);
        add(&mut plain, "UserKnownHostsFile", "  UserKnownHostsFile /dev/null", &good);
        add(&mut plain, "GlobalKnownHostsFile", &format!("  GlobalKnownHostsFile {other}"), "");
        add(&mut plain, "GlobalKnownHostsFile", &format!("  GlobalKnownHostsFile {other}"), &wrong);
        add(&mut plain, "GlobalKnownHostsFile", "  GlobalKnownHostsFile /nonexistent", &good);
        let revoked_global = self.file(".revoked-global", format!("@revoked * {host}\n").as_bytes());
        add(&mut plain, "GlobalKnownHostsFile", &format!("  GlobalKnownHostsFile {revoked_global}"), &good);
        let blank = self.dir.join("with blank");
        std::fs::create_dir_all(&blank).unwrap();
        std::fs::write(blank.join("known"), &good).unwrap();
        std::fs::write(blank.join("tok-127.0.0.1"), &good).unwrap();
        std::fs::copy(self.keys.at("user"), self.keys.at("root-key")).unwrap();
        add(&mut plain, "blanks in paths", &format!("  UserKnownHostsFile \"{}/known\"", blank.display()), "");
        add(&mut plain, "blanks in paths", &format!("  UserKnownHostsFile {}/known", blank.display()), "");
        add(&mut plain, "tokens in paths", &format!("  UserKnownHostsFile {}/tok-%h", blank.display()), "");
        add(&mut plain, "tokens in paths", &format!("  UserKnownHostsFile {}/tok-%p", blank.display()), &good);
        add(&mut plain, "tokens in paths", &format!("  IdentityFile {}\n  IdentityFile none", user.replace("user", "%r-key")), &good);
        add(&mut plain, "tokens in paths", &format!("  IdentityFile {}", user.replace("user", "%%-key")), &good);
        // Revoked keys.
        for (text, name) in [
            (format!("{host}\n"), ".rk1"),
            (format!("{}\n", self.keys.public("wrong")), ".rk2"),
            (String::new(), ".rk3"),
            ("garbage\n".to_owned(), ".rk4"),
            (format!("# comment\n\n  {host} comment\n"), ".rk5"),
            (format!("@revoked * {host}\n"), ".rk6"),
        ] {
            let file = self.file(name, text.as_bytes());
            plain.push(("RevokedHostKeys", format!("  RevokedHostKeys {file}"), good.clone()));
        }
        plain.push(("RevokedHostKeys", "  RevokedHostKeys /nonexistent".into(), good.clone()));
        plain.push(("RevokedHostKeys", "  RevokedHostKeys none".into(), good.clone()));
        plain.push(("RevokedHostKeys", "  RevokedHostKeys ~/.ssh/no-such-file".into(), good.clone()));
        for (name, keys) in [("krl1", &["host.pub"][..]), ("krl2", &["wrong.pub"]), ("krl3", &["wrong.pub", "ecdsa.pub", "host.pub"])] {
            let krl = at(self, name);
            let paths: Vec<String> = keys.iter().map(|k| at(self, k)).collect();
            let args: Vec<&str> = ["ssh-keygen", "-q", "-k", "-f", &krl].into_iter().chain(paths.iter().map(String::as_str)).collect();
            crate::lab::sh(&args);
            plain.push(("a revocation list", format!("  RevokedHostKeys {krl}"), good.clone()));
        }
        for (name, text) in [("krl4", "sha256:"), ("krl5", "sha1:")] {
            let (spec, krl) = (at(self, &format!("{name}.spec")), at(self, name));
            std::fs::write(&spec, format!("{text} {host}\n")).unwrap();
            crate::lab::sh(&["ssh-keygen", "-q", "-k", "-f", &krl, &spec]);
            plain.push(("a revocation list", format!("  RevokedHostKeys {krl}"), good.clone()));
        }
        let whole = std::fs::read(at(self, "krl1")).unwrap();
        let half = self.file(".half", whole.get(..whole.len() - 5).unwrap());
        plain.push(("a revocation list", format!("  RevokedHostKeys {half}"), good.clone()));

        // Algorithms.
        for algorithms in ["ssh-ed25519", "rsa-sha2-512", "ecdsa-sha2-nistp256", "-ssh-ed25519", "^ecdsa-sha2-nistp256", "-*", "ssh-rsa"] {
            add(&mut plain, "HostKeyAlgorithms", &format!("  HostKeyAlgorithms {algorithms}"), &good);
        }
        for algorithms in ["ssh-ed25519", "rsa-sha2-512", "-ssh-ed25519", "ssh-ed25519-cert-v01@openssh.com"] {
            add(&mut plain, "PubkeyAcceptedAlgorithms", &format!("  PubkeyAcceptedAlgorithms {algorithms}"), &good);
        }
        for (algorithms, key) in [("rsa-sha2-256", &userrsa), ("ssh-rsa", &userrsa), ("-rsa-*", &userrsa), ("rsa-sha2-512", &userrsa)] {
            add(
                &mut plain,
                "PubkeyAcceptedAlgorithms",
                &format!("  PubkeyAcceptedAlgorithms {algorithms}\n  IdentityFile {key}\n  IdentityFile none"),
                &good,
            );
        }
        for ciphers in ["aes256-ctr", "chacha20-poly1305@openssh.com", "aes128-gcm@openssh.com", "3des-cbc", "aes256-cbc"] {
            add(&mut plain, "Ciphers", &format!("  Ciphers {ciphers}"), &good);
        }
        for macs in ["hmac-sha2-256", "hmac-sha1", "umac-64@openssh.com", "hmac-md5"] {
            add(&mut plain, "MACs", &format!("  Ciphers aes128-ctr\n  MACs {macs}"), &good);
        }
        for kex in [
            "curve25519-sha256",
            "ecdh-sha2-nistp521",
            "diffie-hellman-group14-sha256",
            "sntrup761x25519-sha512@openssh.com",
            "diffie-hellman-group1-sha1",
        ] {
            add(&mut plain, "KexAlgorithms", &format!("  KexAlgorithms {kex}"), &good);
        }
        for bits in ["1024", "2048", "4096"] {
            add(&mut plain, "RequiredRSASize", &format!("  RequiredRSASize {bits}\n  IdentityFile {userrsa}\n  IdentityFile none"), &good);
            add(&mut plain, "RequiredRSASize", &format!("  RequiredRSASize {bits}\n  IdentityFile {small}\n  IdentityFile none"), &good);
        }
        // Logins.
        add(&mut plain, "PubkeyAuthentication", "  PubkeyAuthentication no", &good);
        add(&mut plain, "PubkeyAuthentication", "  PubkeyAuthentication yes", &good);
        add(&mut plain, "PreferredAuthentications", "  PreferredAuthentications password", &good);
        add(&mut plain, "PreferredAuthentications", "  PreferredAuthentications keyboard-interactive,publickey", &good);
        add(&mut plain, "PreferredAuthentications", "  PreferredAuthentications gssapi-with-mic", &good);
        add(&mut plain, "IdentityFile", "  IdentityFile none", &good);
        add(&mut plain, "IdentityFile", &format!("  IdentityFile {agent_key}"), &good);
        add(&mut plain, "IdentityFile", "  IdentityFile /nonexistent", &good);
        add(&mut plain, "AddressFamily", "  AddressFamily inet", &good);
        add(&mut plain, "AddressFamily", "  AddressFamily inet6", &good);
        add(&mut plain, "BindAddress", "  BindAddress 127.0.0.2", &good);
        add(&mut plain, "BindAddress", "  BindAddress 192.0.2.1", &good);
        add(&mut plain, "ConnectTimeout", "  ConnectTimeout 5", &good);
        add(&mut plain, "ConnectTimeout", "  ConnectTimeout 5\n  Port 1", &good);
        // What OpenSSH itself does.
        add(&mut plain, "ProxyCommand", &format!("  ProxyCommand /bin/busybox nc 127.0.0.1 {port}"), &good);
        add(&mut plain, "ProxyCommand", "  ProxyCommand false", &good);
        add(&mut plain, "KnownHostsCommand", &format!("  KnownHostsCommand /bin/cat {other}"), "");
        add(&mut plain, "KnownHostsCommand", &format!("  KnownHostsCommand /bin/echo @revoked * {host}"), &good);
        add(&mut plain, "KnownHostsCommand", "  KnownHostsCommand /bin/false", &good);
        add(&mut plain, "CheckHostIP", "  CheckHostIP yes\n  HostName localhost", &format!("[localhost]:{port} {host}\n"));
        add(&mut plain, "CheckHostIP", "  CheckHostIP yes\n  HostName localhost", &format!("[localhost]:{port} {host}\n{wrong}"));
        add(&mut plain, "CheckHostIP", "  CheckHostIP yes\n  HostName localhost", &wrong);
        add(&mut plain, "VerifyHostKeyDNS", "  VerifyHostKeyDNS yes", &good);
        add(&mut plain, "VerifyHostKeyDNS", "  VerifyHostKeyDNS yes", "");
        add(&mut plain, "RemoteCommand", "  RemoteCommand echo", &good);
        add(&mut plain, "RemoteCommand", "  RemoteCommand none", &good);
        add(&mut plain, "SessionType", "  SessionType none", &good);
        add(&mut plain, "SessionType", "  SessionType default", &good);
        add(&mut plain, "PKCS11Provider", "  PKCS11Provider /nonexistent.so", &good);
        add(&mut plain, "PKCS11Provider", "  PKCS11Provider /nonexistent.so\n  IdentityFile none", &good);
        add(&mut plain, "ControlPath", "  ControlPath /nonexistent/c", &good);
        add(&mut plain, "ControlPath", "  ControlPath none", &good);
        add(&mut plain, "ControlPath", "  ControlPath /nonexistent/c", &wrong);
        add(&mut plain, "StrictHostKeyChecking", "  StrictHostKeyChecking yes", &good);
        add(&mut plain, "StrictHostKeyChecking", "  StrictHostKeyChecking no", &wrong);
        for (production, more, known) in plain {
            self.add(production, "plain", &more, &known);
        }

        // Servers with more than one key, or with algorithms of their own.
        for algorithms in ["rsa-sha2-512", "ecdsa-sha2-nistp256", "ssh-ed25519", "ssh-rsa", "rsa-sha2-256,ssh-ed25519"] {
            self.add("HostKeyAlgorithms", "three", &format!("  HostKeyAlgorithms {algorithms}"), &known3);
        }
        for key in ["host", "ecdsa", "rsa", "wrong"] {
            let known = self.good("three", key);
            self.add("the order of algorithms", "three", "", &known);
        }
        for bits in ["2048", "3072"] {
            let known = self.good("rsa", "rsa");
            self.add("RequiredRSASize", "rsa", &format!("  RequiredRSASize {bits}"), &known);
        }
        for server in ["gcm", "sha1", "sntrup", "umac", "ecdsa"] {
            let known = self.good(server, if server == "ecdsa" { "ecdsa" } else { "host" });
            self.add("the algorithms of a server", server, "", &known);
            self.add("the algorithms of a server", server, "", "");
        }
        self.keys_and_jumps(&good);
    }

    fn keys_and_jumps(&mut self, good: &str) {
        // Keys that others can read, certificates, only a public half.
        let open = self.file(".open", &std::fs::read(self.keys.at("user")).unwrap());
        crate::lab::sh(&["chmod", "644", &open]);
        self.add("a key that others can read", "plain", &format!("  IdentityFile {open}\n  IdentityFile none"), good);
        let closed = self.file(".closed", &std::fs::read(self.keys.at("user")).unwrap());
        crate::lab::sh(&["chmod", "600", &closed]);
        self.add("a key that others can read", "plain", &format!("  IdentityFile {closed}"), good);
        let certified = self.keys.certify("wrong", "certified", "ca2", &["-n", "root"]);
        let for_other = self.keys.certify("wrong", "forother", "ca2", &["-n", "other"]);
        let old = self.keys.certify("wrong", "old", "ca2", &["-n", "root", "-V", "20200101:20210101"]);
        let rsa = self.keys.certify("rsaca", "rsacertified", "ca2", &["-n", "root"]);
        for key in [&certified, &for_other, &old, &rsa] {
            self.add("a user's certificate", "plain", &format!("  IdentityFile {key}"), good);
        }
        let bare = self.keys.at("wrong");
        self.add("CertificateFile", "plain", &format!("  IdentityFile {bare}\n  CertificateFile {certified}-cert.pub"), good);
        self.add("CertificateFile", "plain", &format!("  IdentityFile {bare}\n  CertificateFile none"), good);
        self.add("a key with a passphrase", "plain", &format!("  IdentityFile {}", self.keys.at("locked")), good);
        let unlocked = self.file(".unlocked", &std::fs::read(self.keys.at("locked")).unwrap());
        crate::lab::sh(&["chmod", "600", &unlocked]);
        crate::lab::sh(&["ssh-keygen", "-q", "-p", "-P", "secret", "-N", "", "-f", &unlocked]);
        self.add("a key with a passphrase", "plain", &format!("  IdentityFile {unlocked}"), good);

        // Jump hosts: each is a host of the configuration, judged by its own settings.
        let plain = self.port("plain");
        for (production, known) in
            [("ProxyJump", good.to_owned()), ("ProxyJump", self.good("plain", "wrong")), ("ProxyJump", String::new())]
        {
            self.add(production, "three", "", &known.replace(&plain.to_string(), &self.port("three").to_string()));
            let jump = format!("l{}", self.all.len() - 1);
            self.add(production, "plain", &format!("  ProxyJump {jump}"), good);
            self.add(production, "plain", &format!("  ProxyJump {jump}"), "");
            let first = format!("l{}", self.all.len() - 2);
            self.add("two jump hosts", "plain", &format!("  ProxyJump {jump},{first}"), good);
            self.add("a jump host's own way", "plain", &format!("  ProxyJump {first}"), good);
        }
        self.add("ProxyJump", "plain", "  ProxyJump none", good);
        self.add("ProxyJump", "plain", "  ProxyJump someone@127.0.0.1:1", good);
        self.add("ProxyJump", "plain", "  ProxyJump [::1]:1", good);
    }
}
