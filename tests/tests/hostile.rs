//! Servers that stall, drip, lie or close: each ends in time, with the layer named, and costs little memory.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use swarm_core::host::{Command, Host, HostError};
use swarm_core::spec::SshSpec;
use swarm_ssh::{NoPrompt, SshConnector, SshError, SshHost};
use swarm_tests::lab::TestLab;

/// A second beyond a layer's deadline, and what a busy machine adds.
pub(crate) const SLACK: Duration = Duration::from_secs(4);

/// Serves each connection by a function, on a thread of its own. Gives the port.
fn serve(work: impl Fn(TcpStream) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let work = Arc::new(work);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let work = Arc::clone(&work);
            std::thread::spawn(move || work(stream));
        }
    });
    port
}

/// Reads until the other side is gone.
fn drain(mut stream: &TcpStream) {
    let mut buffer = [0; 4096];
    while let Ok(1..) = stream.read(&mut buffer) {}
}

fn host_at(port: u16, spec: SshSpec) -> SshHost {
    let spec = SshSpec { port: Some(port), user: Some("root".into()), ..spec };
    SshConnector::new(Arc::new(NoPrompt)).host("h".into(), "127.0.0.1".parse().unwrap(), spec)
}

pub(crate) fn layer(error: &SshError) -> &'static str {
    match error {
        SshError::Settings { .. } => "settings",
        SshError::Name { .. } => "name",
        SshError::Connect { .. } => "connect",
        SshError::Banner { .. } => "banner",
        SshError::KeyExchange { .. } => "key exchange",
        SshError::HostKey { .. } => "host key",
        SshError::Login { .. } => "login",
        SshError::Session { .. } => "session",
        _ => "?",
    }
}

pub(crate) fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

type Server = fn(TcpStream);

/// By name: what it does, the layer that is named, and that layer's deadline in seconds.
const SERVERS: &[(&str, Server, &str, u64)] = &[
    ("says nothing", |s| drain(&s), "banner", 10),
    ("closes at once", |s| drop(s), "banner", 10),
    ("resets", |s| drop(s.shutdown(Shutdown::Both)), "banner", 10),
    (
        "drips a byte a second",
        |mut s| {
            for byte in b"SSH-2.0-a_server_that_takes_its_time".iter().cycle() {
                if s.write_all(&[*byte]).is_err() {
                    return;
                }
                std::thread::sleep(Duration::from_secs(1));
            }
        },
        "banner",
        10,
    ),
    ("greets without end", |mut s| while s.write_all(b"welcome to this machine\r\n").is_ok() {}, "banner", 10),
    ("sends one endless line", |mut s| while s.write_all(&[b'x'; 4096]).is_ok() {}, "banner", 10),
    (
        "speaks HTTP",
        |mut s| {
            let _ = s.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        },
        "banner",
        10,
    ),
    (
        "speaks SSH 1",
        |mut s| {
            let _ = s.write_all(b"SSH-1.5-old\r\n");
            drain(&s);
        },
        "banner",
        10,
    ),
    (
        "stalls after its greeting",
        |mut s| {
            let _ = s.write_all(b"SSH-2.0-x\r\n");
            drain(&s);
        },
        "key exchange",
        10,
    ),
    (
        "closes after its greeting",
        |mut s| {
            let _ = s.write_all(b"SSH-2.0-x\r\n");
        },
        "key exchange",
        10,
    ),
    (
        "sends garbage for packets",
        |mut s| {
            let _ = s.write_all(b"SSH-2.0-x\r\n");
            while s.write_all(&[0xa5; 1024]).is_ok() {}
        },
        "key exchange",
        10,
    ),
    (
        "announces a huge packet",
        |mut s| {
            let _ = s.write_all(b"SSH-2.0-x\r\n\x7f\xff\xff\xff");
            while s.write_all(&[0; 65536]).is_ok() {}
        },
        "key exchange",
        10,
    ),
    (
        "sends empty packets without end",
        |mut s| {
            let _ = s.write_all(b"SSH-2.0-x\r\n");
            // SSH_MSG_IGNORE, padded to 16 bytes.
            while s.write_all(b"\0\0\0\x0c\x06\x02\0\0\0\0PADPAD").is_ok() {}
        },
        "key exchange",
        10,
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_servers_end_in_time_with_their_layer_named() {
    if !swarm_tests::cli::is_alone("hostile::hostile_servers_end_in_time_with_their_layer_named") {
        return;
    }
    let lab = TestLab::up(1, 0);
    let before = resident();
    let tries = SERVERS.iter().map(|(name, server, wanted, seconds)| async move {
        let host = host_at(serve(*server), SshSpec::default());
        let began = Instant::now();
        let error = host.connect().await.unwrap_err();
        let took = began.elapsed();
        assert_eq!(layer(&error), *wanted, "{name}: {error}");
        assert!(took < Duration::from_secs(*seconds) + SLACK, "{name} took {took:?}: {error}");
        let text = error.to_string();
        assert!(!text.contains(".rs:") && !text.contains('\n'), "{name}: {text}");
    });
    // Another host is done meanwhile.
    let good = async {
        let began = Instant::now();
        let m1 = lab.host("m1");
        let spec = SshSpec {
            user: Some("root".into()),
            identity_file: Some(lab.lab.key()),
            known_hosts: Some(lab.lab.known_hosts()),
            ..SshSpec::default()
        };
        let host = SshConnector::new(Arc::new(NoPrompt)).host("m1".into(), m1.address.to_string().parse().unwrap(), spec);
        host.run(&Command::new(["true"])).await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    };
    tokio::join!(futures(tries), good);
    let grown = resident().saturating_sub(before);
    assert!(grown < 32 * 1024 * SERVERS.len() as u64, "{grown} KiB more");
}

async fn futures(all: impl Iterator<Item = impl Future<Output = ()>>) {
    let mut all: Vec<_> = all.map(Box::pin).collect();
    std::future::poll_fn(|cx| {
        all.retain_mut(|f| f.as_mut().poll(cx).is_pending());
        if all.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

/// A forwarder to a real sshd that passes on so many bytes of it, and then none, or closes.
fn cut_after(to: (std::net::IpAddr, u16), limit: u64, close: bool) -> (u16, Arc<AtomicU64>) {
    let passed = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&passed);
    let port = serve(move |client| {
        let Ok(server) = TcpStream::connect(to) else { return };
        let (mut up, mut sink) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut up, &mut sink);
            let _ = sink.shutdown(Shutdown::Both);
        });
        let (mut from, mut into) = (server, client);
        let mut buffer = [0; 64];
        let mut sent = 0;
        while let Ok(got @ 1..) = from.read(&mut buffer) {
            if sent + got as u64 > limit {
                if close {
                    let _ = into.shutdown(Shutdown::Both);
                }
                drain(&into);
                return;
            }
            sent += got as u64;
            count.store(sent, Ordering::SeqCst);
            if into.write_all(&buffer[..got]).is_err() {
                return;
            }
        }
    });
    (port, passed)
}

/// A real sshd whose line stalls, or breaks, at each of many points: banner, key exchange, login, in this order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_stalls_or_breaks_anywhere_is_named_by_its_layer() {
    let lab = TestLab::up(1, 0);
    let m1 = lab.host("m1");
    let dir = tempfile::tempdir().unwrap();
    let key = std::fs::read_to_string(lab.lab.known_hosts()).unwrap().split_once(' ').unwrap().1.to_owned();
    let known = dir.path().join("known");
    std::fs::write(&known, format!("127.0.0.1 {key}")).unwrap();
    let spec = SshSpec { identity_file: Some(lab.lab.key()), known_hosts: Some(known), ..SshSpec::default() };
    let to = (m1.address, 22);
    let (port, passed) = cut_after(to, u64::MAX, false);
    host_at(port, spec.clone()).connect().await.unwrap();
    let whole = passed.load(Ordering::SeqCst);
    assert!(whole > 1000, "{whole}");
    let points: Vec<u64> = (0..12).map(|i| whole * i / 12).collect();
    for close in [false, true] {
        let tries = points.iter().copied().map(|point| {
            let spec = spec.clone();
            async move {
                let began = Instant::now();
                let Err(error) = host_at(cut_after(to, point, close).0, spec).connect().await else {
                    // The login had ended: sshd says some more after it.
                    return (point, "done", String::new());
                };
                assert!(began.elapsed() < Duration::from_secs(30) + SLACK, "{point}: {:?}", began.elapsed());
                (point, layer(&error), error.to_string())
            }
        });
        let mut found = Vec::new();
        for task in tries.map(tokio::spawn).collect::<Vec<_>>() {
            found.push(task.await.unwrap());
        }
        let order = ["banner", "key exchange", "login", "done"];
        let ranks: Vec<usize> =
            found.iter().map(|(_, l, text)| order.iter().position(|o| o == l).unwrap_or_else(|| panic!("{text}"))).collect();
        assert!(ranks.is_sorted() && ranks.first() == Some(&0) && ranks.contains(&1) && ranks.contains(&2), "{found:#?}");
    }
    // A host that falls silent after the login is missed within its keepalives.
    let (port, passed) = cut_after(to, whole + 1200, false);
    let host = host_at(port, spec);
    host.connect().await.unwrap();
    let began = Instant::now();
    let mut command = Command::new(["sh", "-c", "sleep 1; yes"]);
    (command.timeout, command.output_limit) = (Duration::from_secs(60), 1 << 30);
    let error = host.run(&command).await.unwrap_err();
    assert!(matches!(error, HostError::Lost { .. }), "{error:?}");
    assert!(began.elapsed() < Duration::from_secs(25) + SLACK, "{:?} after {passed:?} bytes", began.elapsed());
}

/// What an engine answers costs at most four times its bytes and 60 MB, whatever it holds: nodes, counts, services, and what is about one thing.
#[test]
fn answers_cost_at_most_four_times_their_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let repeated = |text: &str, count: usize| text.repeat(count);
    let plugins: Vec<String> = (0..17).map(|i| format!("{{\"Type\":\"Log\",\"Name\":\"plugin{i}\"}}")).collect();
    let node = |i: usize| {
        format!(
            "{{\"ID\":\"{i:025x}\",\"Version\":{{\"Index\":{i}}},\"Spec\":{{\"Labels\":{{\"rack\":\"a\"}},\"Role\":\"worker\",\"Availability\":\"active\"}},\"Description\":{{\"Hostname\":\"h{i}\",\
             \"Engine\":{{\"EngineVersion\":\"28.5.2\",\"Plugins\":[{}]}},\"TLSInfo\":{{\"TrustRoot\":\"{}\"}}}},\"Status\":{{\"State\":\"ready\",\"Addr\":\"10.0.0.1\"}}}}",
            plugins.join(","),
            "M".repeat(700)
        )
    };
    let nodes: Vec<String> = (0..15_000).map(node).collect();
    let service = |i: usize| {
        format!(
            "{{\"ID\":\"{i:025x}\",\"Version\":{{\"Index\":{i}}},\"CreatedAt\":\"2026-01-01T00:00:00Z\",\"Spec\":{{\"Name\":\"web{i}\",\"Labels\":{{\"com.docker.stack.namespace\":\"app\"}},\
             \"TaskTemplate\":{{\"ContainerSpec\":{{\"Image\":\"web:{i}\",\"Env\":[\"A=1\",\"B=2\"],\"Isolation\":\"default\"}},\"Resources\":{{\"Limits\":{{}}}},\"Networks\":[{{\"Target\":\"n{i}\"}}],\"ForceUpdate\":0}},\
             \"Mode\":{{\"Replicated\":{{\"Replicas\":2}}}},\"UpdateConfig\":{{\"Parallelism\":1}}}},\"Endpoint\":{{\"Spec\":{{}}}},\"ServiceStatus\":{{\"RunningTasks\":2,\"DesiredTasks\":2}}}}"
        )
    };
    let services: Vec<String> = (0..15_000).map(service).collect();
    let small: Vec<String> = (0..2_000_000).map(|i| format!("{{\"ID\":\"{i:x}\"}}")).collect();
    let labels: Vec<String> = (0..2_500_000).map(|i| format!("\"{i:x}\":\"\"")).collect();
    let files = [
        ("real", format!("[{}]", nodes.join(","))),
        ("services", format!("[{}]", services.join(","))),
        ("empty", format!("[{}{{}}]", repeated("{},", 2_000_000))),
        ("small", format!("[{}]", small.join(","))),
        ("labels", format!("[{{\"ID\":\"a\",\"Spec\":{{\"Labels\":{{{}}}}}}}]", labels.join(","))),
        ("zeros", format!("[{{\"ID\":\"a\",\"x\":[{}0]}}]", repeated("0,", 12_000_000))),
        ("maps", format!("[{{\"ID\":\"a\",\"x\":[{}{{}}]}}]", repeated("{},", 8_000_000))),
        ("deep", repeated("[", 20_000_000)),
        ("text", format!("[\"{}\"]", repeated("x", 33_000_000))),
    ];
    for (name, text) in &files {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let probe = swarm_tests::cli::binary().with_file_name("answer_probe");
    let mut dear = Vec::new();
    for (what, name) in [
        ("nodes", "real"),
        ("nodes", "empty"),
        ("nodes", "small"),
        ("nodes", "labels"),
        ("nodes", "zeros"),
        ("nodes", "maps"),
        ("nodes", "deep"),
        ("nodes", "text"),
        ("count", "real"),
        ("count", "small"),
        ("count", "zeros"),
        ("cluster", "labels"),
        ("cluster", "maps"),
        ("info", "labels"),
        ("info", "zeros"),
        ("services", "services"),
        ("services", "real"),
        ("services", "empty"),
        ("services", "small"),
        ("services", "labels"),
        ("services", "zeros"),
        ("services", "maps"),
        ("services", "deep"),
        ("services", "text"),
    ] {
        let output = std::process::Command::new(&probe).arg(what).arg(dir.path().join(name)).output().unwrap();
        let line = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut fields = line.trim().splitn(4, '\t');
        let mut number = || fields.next().and_then(|f| f.parse::<u64>().ok()).unwrap_or_else(|| panic!("{what} {name}: {output:?}"));
        let (bytes, cost) = (number(), number() * 1024);
        if name == "real" || name == "services" {
            assert!(line.contains("\tread\t15000"), "{what} {name}: {line}");
        }
        if cost > 4 * bytes + 60_000_000 {
            dear.push(format!("{what} {name}: {cost} bytes of memory for {bytes}"));
        }
    }
    assert!(dear.is_empty(), "{}", dear.join("\n"));
}
