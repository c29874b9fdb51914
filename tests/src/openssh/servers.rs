//! Servers of OpenSSH on loopback, each with other host keys and certificates.

use crate::lab::sh;
use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A server.
pub struct Server {
    /// Its port, on 127.0.0.0/8 and ::1.
    pub port: u16,
    child: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Keys and certificates, made once.
pub struct Keys {
    /// Where they are.
    pub dir: PathBuf,
    /// Variables that servers see besides those of this process.
    pub variables: Vec<(String, String)>,
}

impl Keys {
    /// Makes all keys.
    pub fn new(dir: &Path) -> Self {
        std::fs::create_dir_all(dir).unwrap();
        let keys = Self { dir: dir.to_owned(), variables: Vec::new() };
        for name in ["host", "wrong", "user", "ca", "ca2", "agent"] {
            keys.make(name, &["-t", "ed25519"]);
        }
        keys.make("ecdsa", &["-t", "ecdsa"]);
        keys.make("ecdsa2", &["-t", "ecdsa"]);
        keys.make("rsa", &["-t", "rsa", "-b", "2048"]);
        keys.make("userrsa", &["-t", "rsa", "-b", "2048"]);
        keys.make("usersmall", &["-t", "rsa", "-b", "1024"]);
        keys.make("rsaca", &["-t", "rsa", "-b", "2048"]);
        keys.make("locked", &["-t", "ed25519", "-N", "secret"]);
        keys
    }

    fn make(&self, name: &str, more: &[&str]) {
        let path = self.at(name);
        let phrase = if more.contains(&"-N") { &[][..] } else { &["-N", ""] };
        sh(&[&["ssh-keygen", "-q", "-C", name, "-f", &path], phrase, more].concat());
    }

    /// A path in the folder.
    pub fn at(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    /// `type base64` of a key.
    pub fn public(&self, name: &str) -> String {
        let text = std::fs::read_to_string(self.at(&format!("{name}.pub"))).unwrap();
        text.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
    }

    /// Signs a copy of a key; gives the path of the copy, whose certificate is beside it.
    pub fn certify(&self, key: &str, as_name: &str, ca: &str, more: &[&str]) -> String {
        for ending in ["", ".pub"] {
            std::fs::copy(self.at(&format!("{key}{ending}")), self.at(&format!("{as_name}{ending}"))).unwrap();
        }
        let (ca, public) = (self.at(ca), self.at(&format!("{as_name}.pub")));
        sh(&[&["ssh-keygen", "-q", "-s", &ca, "-I", as_name], more, &[&public]].concat());
        self.at(as_name)
    }

    /// Starts a server with host keys; a key with a certificate beside it shows that too.
    pub fn serve(&self, name: &str, host_keys: &[&str], more: &str) -> Server {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut text = format!(
            "Port {port}\nListenAddress 127.0.0.1\nListenAddress 127.0.0.2\nListenAddress ::1\nPidFile none\nUsePAM no\nStrictModes no\nPermitRootLogin prohibit-password\n\
             PasswordAuthentication no\nMaxStartups 100\nAuthorizedKeysFile {}\nTrustedUserCAKeys {}\n{more}\n",
            self.at("authorized"),
            self.at("ca2.pub"),
        );
        for key in host_keys {
            let path = self.at(key);
            let _ = writeln!(text, "HostKey {path}");
            if Path::new(&format!("{path}-cert.pub")).exists() {
                let _ = writeln!(text, "HostCertificate {path}-cert.pub");
            }
        }
        let config = self.at(&format!("sshd-{name}"));
        std::fs::write(&config, text).unwrap();
        std::fs::create_dir_all("/run/sshd").unwrap();
        let log = std::fs::File::create(self.at(&format!("sshd-{name}.log"))).unwrap();
        let mut command = Command::new("/usr/sbin/sshd");
        command.args(["-D", "-e", "-f", &config]).envs(self.variables.iter().map(|(k, v)| (k, v)));
        let mut child = command.stdin(Stdio::null()).stderr(log).spawn().unwrap();
        let until = Instant::now() + Duration::from_secs(10);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = child.try_wait().unwrap();
            assert!(
                ended.is_none() && Instant::now() < until,
                "sshd {name}: {}",
                std::fs::read_to_string(self.at(&format!("sshd-{name}.log"))).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Server { port, child }
    }
}
