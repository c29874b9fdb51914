//! Asks an engine that answers what a file holds, and prints what that cost: the bytes of the answer, the most memory beyond what was there
//! before, in KiB, and the outcome. A process of its own for each answer: memory that was once taken is not given back.
//!
//! `answer_probe nodes|cluster|info|count|services FILE`
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a testing program")]

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use swarm_core::engine::{EngineRead, Kind, Query};
use swarm_docker::DockerEngine;

/// A line of `/proc/self/status`, in KiB.
fn memory(key: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Answers one request after the other; the file is read as it is sent, so that it is in no memory of ours.
fn serve(stream: UnixStream, file: &str) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut out = stream;
    loop {
        let mut path = String::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if path.is_empty() {
                path = line.split(' ').nth(1).unwrap_or_default().to_owned();
            }
            if line == "\r\n" {
                break;
            }
        }
        // The engine is asked for its state as it is connected, and the answer is the file's where that is what is tried.
        let sent = if path.ends_with("/_ping") {
            out.write_all(b"HTTP/1.1 200 OK\r\napi-version: 1.41\r\ncontent-length: 2\r\n\r\nOK")
        } else if path == "/info" {
            out.write_all(b"HTTP/1.1 500 no\r\ncontent-length: 0\r\n\r\n")
        } else {
            let length = std::fs::metadata(file).unwrap().len();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
            let mut body = std::fs::File::open(file).unwrap();
            let mut piece = vec![0; 1 << 16];
            let mut sent = out.write_all(head.as_bytes());
            while let (true, Ok(got @ 1..)) = (sent.is_ok(), body.read(&mut piece)) {
                sent = out.write_all(piece.get(..got).unwrap_or_default());
            }
            sent
        };
        if sent.is_err() {
            return;
        }
    }
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let [_, what, file] = args.as_slice() else { return };
    let dir = std::env::temp_dir().join(format!("answer-probe-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let socket = dir.join("s");
    let listener = UnixListener::bind(&socket).unwrap();
    let served = file.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let file = served.clone();
            std::thread::spawn(move || serve(stream, &file));
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let outcome = runtime.block_on(async {
        let engine: Arc<dyn EngineRead> = Arc::new(DockerEngine::local(socket.to_str().unwrap()).await.unwrap());
        let before = memory("VmRSS:");
        let read = match what.as_str() {
            "nodes" => engine.nodes().await.map(|nodes| nodes.len()),
            "cluster" => engine.cluster().await.map(|_| 1),
            "info" => engine.info().await.map(|_| 1),
            "count" => engine.service_count().await,
            _ => engine.list(&Query::all(Kind::Service)).await.map(|services| services.len()),
        };
        let cost = memory("VmHWM:").saturating_sub(before);
        match read {
            Ok(count) => format!("{cost}\tread\t{count}"),
            Err(error) => format!("{cost}\trefused\t{error}"),
        }
    });
    println!("{}\t{outcome}", std::fs::metadata(file).unwrap().len());
    let _ = std::fs::remove_dir_all(&dir);
}
