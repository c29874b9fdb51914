//! A link with a delay. The kernel may have no netem, so a forwarder inside the host's network takes what comes for port 22,
//! holds every piece back for a while, and hands it to sshd.

use crate::error::LabError;
use crate::host::LabHost;
use crate::process::{begin, find_processes, kill_now};
use nix::sched::{CloneFlags, setns};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// The forwarder's port inside the host.
const PORT: u16 = 2022;
/// Pieces that are on the way at once in one direction: 4 MiB, as the buffers of a long link hold.
const UNDER_WAY: usize = 128;

impl LabHost {
    /// Delays what goes over SSH by this much in each direction, until the host ends or the delay is zero.
    pub fn delay(&self, each_way: Duration, forwarder: Option<&Path>) -> Result<(), LabError> {
        set(self, Link { each_way, rate: None }, forwarder)
    }

    /// The same, and each connection carries no more than so many bytes a second in each direction. A thread of this process serves.
    pub fn narrow(&self, each_way: Duration, bytes_per_second: u32) -> Result<(), LabError> {
        set(self, Link { each_way, rate: Some(bytes_per_second) }, None)
    }

    /// Runs the forwarder of [`LabHost::delay`] in this process, inside the host's network, until the process ends.
    pub fn forward(&self, each_way: Duration) -> Result<(), LabError> {
        serve(self.running()?, Link { each_way, rate: None })
    }
}

/// What a way over SSH is like.
#[derive(Clone, Copy)]
struct Link {
    each_way: Duration,
    /// Bytes a second; `None` is as many as there is room for.
    rate: Option<u32>,
}

/// Sets or ends the delay. With `forwarder`, that program is started as `PROGRAM lab forward`; without, a thread serves.
fn set(host: &LabHost, link: Link, forwarder: Option<&Path>) -> Result<(), LabError> {
    let redirect = |how: &str| {
        let port = PORT.to_string();
        host.exec(&[
            "iptables",
            "-w",
            "-t",
            "nat",
            how,
            "PREROUTING",
            "-i",
            "eth0",
            "-p",
            "tcp",
            "--dport",
            "22",
            "-j",
            "REDIRECT",
            "--to-ports",
            &port,
        ])
    };
    let mark = mark(host);
    for pid in find_processes(&["lab", "forward", &mark]) {
        kill_now(pid);
    }
    while redirect("-D").is_ok() {}
    if link.each_way.is_zero() {
        return Ok(());
    }
    match forwarder {
        Some(program) => begin(program, &["lab", "forward", &mark, &link.each_way.as_millis().to_string()])?,
        None => serve_in_thread(host.pid().ok_or_else(|| LabError::NotRunning(host.name.clone()))?, link)?,
    }
    let listening = crate::process::wait_until(Duration::from_secs(5), || {
        host.exec(&["ss", "-Hltn", &format!("sport = :{PORT}")]).is_ok_and(|out| !out.trim().is_empty())
    });
    if !listening {
        return Err(LabError::Command { command: "forwarder".into(), message: "it did not begin to listen".into() });
    }
    redirect("-A")?;
    Ok(())
}

/// What tells one host's forwarder from another's on the command line.
fn mark(host: &LabHost) -> String {
    host.dir.display().to_string()
}

fn listen_inside(pid: i32) -> Result<TcpListener, LabError> {
    let path = format!("/proc/{pid}/ns/net");
    let file = std::fs::File::open(&path).map_err(|source| LabError::File { path: path.into(), source })?;
    let failed = |message: String| LabError::Command { command: "setns".into(), message };
    setns(file, CloneFlags::CLONE_NEWNET).map_err(|e| failed(e.to_string()))?;
    TcpListener::bind(("0.0.0.0", PORT)).map_err(|e| failed(e.to_string()))
}

/// Serves in this thread, which stays in the host's network.
fn serve(pid: i32, link: Link) -> Result<(), LabError> {
    accept(&listen_inside(pid)?, link);
    Ok(())
}

fn serve_in_thread(pid: i32, link: Link) -> Result<(), LabError> {
    let (reported, heard) = mpsc::channel();
    thread::spawn(move || match listen_inside(pid) {
        Ok(listener) => {
            let _ = reported.send(Ok(()));
            accept(&listener, link);
        }
        Err(error) => {
            let _ = reported.send(Err(error));
        }
    });
    heard.recv().unwrap_or_else(|_| Err(LabError::Command { command: "forwarder".into(), message: "it ended".into() }))
}

fn accept(listener: &TcpListener, link: Link) {
    for client in listener.incoming().filter_map(Result::ok) {
        // Connected from this thread: only it is in the host's network.
        let Ok(server) = TcpStream::connect(("127.0.0.1", 22)) else { continue };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let (Ok(client_again), Ok(server_again)) = (client.try_clone(), server.try_clone()) else { continue };
        pump(client, server, link);
        pump(server_again, client_again, link);
    }
}

/// Copies one way. A second thread writes, so that pieces that follow each other are delayed side by side.
fn pump(mut from: TcpStream, mut to: TcpStream, link: Link) {
    let (sender, receiver) = mpsc::sync_channel::<(Instant, Vec<u8>)>(UNDER_WAY);
    thread::spawn(move || {
        for (at, piece) in receiver {
            thread::sleep(at.saturating_duration_since(Instant::now()));
            if to.write_all(&piece).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    });
    thread::spawn(move || {
        let mut buffer = vec![0u8; 32 * 1024];
        let mut free = Instant::now();
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            let piece = buffer.get(..read).unwrap_or_default().to_vec();
            free = free.max(Instant::now()) + link.rate.map_or(Duration::ZERO, |rate| Duration::from_secs(1) * read as u32 / rate);
            if sender.send((free + link.each_way, piece)).is_err() {
                break;
            }
        }
    });
}
