//! What a name server has for names (RFC 1035).

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

/// How long a name server may take for an answer, and how often it is asked.
const ANSWERS: Duration = Duration::from_secs(2);
const ASKED: u32 = 3;

/// Asks a name server for each name: `NAME ADDRESS...`, or `NAME ! WHY`.
pub(crate) fn resolve(server: &str) -> std::io::Result<()> {
    let server: IpAddr = server.parse().map_err(std::io::Error::other)?;
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    for name in text.lines().filter(|line| !line.is_empty()) {
        match addresses(SocketAddr::new(server, 53), name) {
            Ok(found) => {
                let found: Vec<String> = found.iter().map(ToString::to_string).collect();
                println!("{name} {}", found.join(" "));
            }
            Err(error) => println!("{name} ! {error}"),
        }
    }
    println!("end");
    Ok(())
}

/// The IPv4 addresses of a name (RFC 1035: one question, type A, class IN). An answer that does not fit a datagram is asked for over TCP.
fn addresses(server: SocketAddr, name: &str) -> std::io::Result<BTreeSet<Ipv4Addr>> {
    let mut question = vec![0x53, 0x57, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        question.push(u8::try_from(label.len()).ok().filter(|l| *l < 64).ok_or_else(|| std::io::Error::other("a part of it is too long"))?);
        question.extend(label.as_bytes());
    }
    question.extend([0, 0, 1, 0, 1]);
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_read_timeout(Some(ANSWERS))?;
    let mut buffer = [0u8; 4096];
    let mut last = std::io::Error::other("it was not asked");
    for _ in 0..ASKED {
        socket.send_to(&question, server)?;
        match socket.recv(&mut buffer) {
            Ok(read) => {
                let answer = buffer.get(..read).unwrap_or_default();
                // TC: there is more than fits.
                if answer.get(2).is_some_and(|flags| flags & 2 != 0) {
                    return found(&over_tcp(server, &question)?, question.len());
                }
                return found(answer, question.len());
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn over_tcp(server: SocketAddr, question: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&server, ANSWERS)?;
    stream.set_read_timeout(Some(ANSWERS))?;
    let length = u16::try_from(question.len()).map_err(std::io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes()[..], question].concat())?;
    let mut length = [0u8; 2];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0u8; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

/// The addresses in an answer, whose question has as many bytes as ours. A name that is not known has none.
fn found(answer: &[u8], question: usize) -> std::io::Result<BTreeSet<Ipv4Addr>> {
    let short = || std::io::Error::other("the answer is not whole");
    let code = answer.get(3).ok_or_else(short)? & 15;
    if code != 0 && code != 3 {
        return Err(std::io::Error::other(format!("the name server answered with code {code}")));
    }
    let mut rest = answer.get(question..).ok_or_else(short)?;
    let mut all = BTreeSet::new();
    while !rest.is_empty() {
        // The name, with a pointer at its end or a zero (RFC 1035, 4.1.4).
        let name = rest.iter().position(|b| *b == 0 || *b >= 0xc0).ok_or_else(short)?;
        let name = name + if rest.get(name).is_some_and(|b| *b >= 0xc0) { 2 } else { 1 };
        let record = rest.get(name..).ok_or_else(short)?;
        let &[kind1, kind2, _, _, _, _, _, _, length1, length2, ref data @ ..] = record else { return Err(short()) };
        let length = usize::from(u16::from_be_bytes([length1, length2]));
        let value = data.get(..length).ok_or_else(short)?;
        if let (1, &[a, b, c, d]) = (u16::from_be_bytes([kind1, kind2]), value) {
            all.insert(Ipv4Addr::new(a, b, c, d));
        }
        rest = data.get(length..).ok_or_else(short)?;
    }
    Ok(all)
}
