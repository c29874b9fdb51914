//! Packages for bare hosts, which reach nothing but their lab: a proxy on the lab's bridge that gives what the mirrors of this machine's own
//! apt have, fetched by apt itself and kept.

use crate::error::LabError;
use crate::files::{PACKAGES_PORT, make_dir};
use crate::image::mirrors;
use crate::lab::Lab;
use crate::process::{begin, find_processes, kill_now, run, wait_until};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// Where what was fetched is kept.
const KEPT: &str = "/var/cache/swarm-lab/packages";
/// apt's own fetcher: it knows the machine's proxies and logins.
const FETCHER: &str = "/usr/lib/apt/apt-helper";

/// Where threads of this process serve.
static SERVED: Mutex<Vec<SocketAddr>> = Mutex::new(Vec::new());

type Busy = Arc<Mutex<BTreeMap<PathBuf, Arc<Mutex<()>>>>>;

impl Lab {
    fn packages_at(&self) -> Result<SocketAddr, LabError> {
        let gateway = self.hosts.first().map(|h| h.gateway).ok_or(LabError::NoHosts)?;
        Ok(SocketAddr::new(gateway, PACKAGES_PORT))
    }

    /// Lets the hosts install packages from now on. With `server`, that program is started as `PROGRAM lab packages`, and goes on until the
    /// lab is down; without, a thread serves.
    ///
    /// # Errors
    /// It does not begin to listen.
    pub fn give_packages(&self, server: Option<&Path>) -> Result<(), LabError> {
        let at = self.packages_at()?;
        match server {
            Some(program) => begin(program, &["lab", "packages", "--name", &self.name])?,
            None => {
                let mut served = SERVED.lock().unwrap_or_else(PoisonError::into_inner);
                // A thread outlives its lab, and serves the next one at this address.
                if !served.contains(&at) {
                    let (listener, allowed) = (listen(at)?, mirrors()?);
                    thread::spawn(move || accept(&listener, &allowed));
                    served.push(at);
                }
            }
        }
        if wait_until(Duration::from_secs(5), || TcpStream::connect_timeout(&at, Duration::from_secs(1)).is_ok()) {
            return Ok(());
        }
        Err(LabError::Command { command: "the package server".into(), message: "it did not begin to listen".into() })
    }

    /// Serves packages in this process until it ends.
    ///
    /// # Errors
    /// It cannot listen, or apt knows no mirror.
    pub fn serve_packages(&self) -> Result<(), LabError> {
        accept(&listen(self.packages_at()?)?, &mirrors()?);
        Ok(())
    }

    pub(crate) fn end_packages(&self) {
        find_processes(&["lab", "packages", "--name", &self.name]).into_iter().for_each(kill_now);
    }
}

fn listen(at: SocketAddr) -> Result<TcpListener, LabError> {
    TcpListener::bind(at).map_err(|e| LabError::Command { command: format!("listen on {at}"), message: e.to_string() })
}

fn accept(listener: &TcpListener, allowed: &[String]) {
    let busy = Busy::default();
    for client in listener.incoming().filter_map(Result::ok) {
        let (allowed, busy) = (allowed.to_vec(), Arc::clone(&busy));
        thread::spawn(move || answer(&client, &allowed, &busy));
    }
}

/// Answers requests one after the other until the client has no more.
fn answer(client: &TcpStream, allowed: &[String], busy: &Busy) -> Option<()> {
    let mut requests = BufReader::new(client);
    let mut out = client;
    loop {
        let mut first = String::new();
        if requests.read_line(&mut first).ok()? == 0 {
            return None;
        }
        let mut line = String::new();
        while requests.read_line(&mut line).ok()? > 2 {
            line.clear();
        }
        let url = first.split(' ').nth(1).unwrap_or_default();
        let body = match allowed.iter().any(|mirror| url.starts_with(mirror)) && !url.contains("..") {
            true => fetched(url, busy),
            false => None,
        };
        match body {
            Some(body) => {
                write!(out, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).ok()?;
                out.write_all(&body).ok()?;
            }
            None => write!(out, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").ok()?,
        }
    }
}

/// What is at an address; packages and what is named by its digest never change, and are kept.
fn fetched(url: &str, busy: &Busy) -> Option<Vec<u8>> {
    let path = Path::new(KEPT).join(url.trim_start_matches("http://"));
    let once = Arc::clone(busy.lock().ok()?.entry(path.clone()).or_default());
    let _one_at_a_time = once.lock().ok()?;
    let lasts = url.ends_with(".deb") || url.contains("/by-hash/");
    if lasts && let Ok(body) = std::fs::read(&path) {
        return Some(body);
    }
    make_dir(path.parent()?).ok()?;
    let new = tempfile::NamedTempFile::new_in(path.parent()?).ok()?;
    run(&[FETCHER, "download-file", url, &new.path().display().to_string()]).ok()?;
    let body = std::fs::read(new.path()).ok()?;
    if lasts {
        new.persist(&path).ok()?;
    }
    Some(body)
}
