//! A root certificate of the operator's own, and an authority outside of the swarm that signs with it.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use swarm_tests::cli;
use swarm_tests::lab::{TestLab, eventually, sh};

/// A root with its key, valid for so many days: `NAME.pem` and `NAME.key`.
fn root(dir: &Path, name: &str, days: &str) {
    let at = |end: &str| dir.join(format!("{name}.{end}")).display().to_string();
    let subject = format!("/CN={name}");
    let made = ["-keyout", &at("key"), "-out", &at("pem"), "-days", days, "-subj", &subject];
    let curve = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    sh(&[&curve[..], &made, &["-addext", "keyUsage=critical,keyCertSign,cRLSign"]].concat());
}

/// Signs a request with the root `authority`: under this subject, with these lines of extensions.
fn sign(dir: &Path, request: &Path, subject: &str, extensions: &str) -> String {
    let file = |end: &str| request.with_extension(end).display().to_string();
    std::fs::write(file("ext"), extensions).unwrap();
    let (ca, key) = (dir.join("authority.pem").display().to_string(), dir.join("authority.key").display().to_string());
    let request = request.display().to_string();
    let what = ["openssl", "x509", "-req", "-in", &request, "-subj", subject, "-days", "365", "-extfile", &file("ext")];
    sh(&[&what[..], &["-CA", &ca, "-CAkey", &key, "-set_serial", &fastrand::u32(1..).to_string()]].concat())
}

/// The extensions of a certificate that is asked for in the protocol of cfssl.
fn extensions(asked: &serde_json::Value) -> String {
    let own = |e: &serde_json::Value| {
        let id = e["id"].as_str().map(str::to_owned).unwrap_or_else(|| {
            let parts: Vec<String> = e["id"].as_array().unwrap().iter().map(ToString::to_string).collect();
            parts.join(".")
        });
        let critical = if e["critical"] == true { "critical," } else { "" };
        format!("{id}={critical}DER:{}\n", e["value"].as_str().unwrap())
    };
    let given: String = asked["extensions"].as_array().into_iter().flatten().map(own).collect();
    let names: Vec<String> = asked["hosts"].as_array().into_iter().flatten().map(|h| format!("DNS:{}", h.as_str().unwrap())).collect();
    if names.is_empty() {
        return given + "keyUsage=critical,keyCertSign,cRLSign\n";
    }
    given
        + &format!(
            "subjectAltName={}\nkeyUsage=critical,digitalSignature,keyEncipherment\nextendedKeyUsage=serverAuth,clientAuth\n",
            names.join(",")
        )
}

/// One request of a manager.
fn answer(dir: &Path, stream: &mut (impl Read + Write), number: usize) -> std::io::Result<()> {
    let mut reader = BufReader::new(&mut *stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let asked: serde_json::Value = serde_json::from_slice(&body)?;
    let request = dir.join(format!("request-{number}.csr"));
    std::fs::write(&request, asked["certificate_request"].as_str().unwrap())?;
    let names = asked["subject"]["names"].as_array().into_iter().flatten();
    let part = |name: &serde_json::Value, key: &str| name[key].as_str().filter(|v| !v.is_empty()).map(|v| format!("/{key}={v}"));
    let names: String = names.flat_map(|name| ["O", "OU"].into_iter().filter_map(move |key| part(name, key))).collect();
    let subject = format!("{names}/CN={}", asked["subject"]["CN"].as_str().unwrap());
    let certificate = sign(dir, &request, &subject, &extensions(&asked));
    let body = serde_json::json!({ "success": true, "result": { "certificate": certificate }, "errors": [], "messages": [] }).to_string();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )?;
    stream.flush()
}

/// An authority that speaks as cfssl does, with the root of this name. Gives its port, and how often it signed.
fn authority(dir: &Path, address: IpAddr) -> (u16, Arc<AtomicUsize>) {
    let (csr, key) = (dir.join("server.csr"), dir.join("server.key"));
    let out = ["-out", csr.to_str().unwrap(), "-keyout", key.to_str().unwrap(), "-subj", "/CN=authority"];
    sh(&[&["openssl", "req", "-newkey", "rsa:2048", "-nodes"][..], &out].concat());
    let certificate = sign(dir, &csr, "/CN=authority", &format!("subjectAltName=IP:{address}\nextendedKeyUsage=serverAuth\n"));
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_file(key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap());
    let listener = TcpListener::bind((address, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let signed = Arc::new(AtomicUsize::new(0));
    let (counts, dir): (_, PathBuf) = (signed.clone(), dir.to_owned());
    std::thread::spawn(move || {
        let serve = |number: usize, tcp: TcpStream| -> std::io::Result<()> {
            tcp.set_read_timeout(Some(Duration::from_secs(10)))?;
            let session = rustls::ServerConnection::new(config.clone()).map_err(std::io::Error::other)?;
            let mut stream = rustls::StreamOwned::new(session, tcp);
            answer(&dir, &mut stream, number)?;
            stream.conn.send_close_notify();
            stream.flush()
        };
        // A manager that only looks whether it is there asks for nothing.
        for (number, tcp) in listener.incoming().flatten().enumerate() {
            if serve(number, tcp).is_ok() {
                counts.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    (port, signed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "full"]
async fn an_authority_outside_of_the_swarm_signs_for_its_nodes() {
    let lab = TestLab::up(3, 2);
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    root(dir.path(), "authority", "3650");
    root(dir.path(), "own", "3650");
    root(dir.path(), "short", "30");
    let gateway = lab.host("m1").gateway();
    let (port, signed) = authority(dir.path(), gateway);
    let most: Vec<(&str, &str, &str)> = lab.all("").into_iter().filter(|(name, ..)| *name != "w2").collect();
    let file = lab.file(&lab.text(&most));
    let swarm = |args: &[&str]| cli::run(&[args, &["-f", file.to_str().unwrap()]].concat());
    assert_eq!(swarm(&["apply", "--yes"]).code, 0);
    let trusted = |host: &str| lab.docker(host, &["info", "--format", "{{.Swarm.Cluster.TLSInfo.TrustRoot}}"]).trim().to_owned();
    let first = trusted("m1");

    // What docker refuses, and what engines would.
    let url = format!("https://{gateway}:{port}/api/v1/cfssl/sign");
    let nowhere = format!("https://{gateway}:1/api/v1/cfssl/sign");
    for (args, code, says) in [
        (vec!["--ca-cert", &at("own.pem")], 64, "--ca-key"),
        (vec!["--ca-key", &at("own.key")], 64, "--ca-cert"),
        (vec!["--external-ca", &url], 64, "--ca-cert"),
        (vec!["--ca-cert", &at("short.pem"), "--ca-key", &at("short.key")], 1, "valid for a year"),
        (vec!["--ca-cert", &at("own.key"), "--ca-key", &at("own.key")], 1, "no certificate"),
        (vec!["--ca-cert", &at("authority.pem"), "--external-ca", &nowhere], 1, "at least one valid, reachable external CA"),
        (vec!["--ca-cert", &at("own.pem"), "--external-ca", &url], 1, "at least one valid, reachable external CA"),
        (vec!["--ca-cert", &at("own.pem"), "--ca-key", &at("short.key")], 1, "certificate key mismatch"),
    ] {
        let ran = swarm(&[&["ca", "rotate", "--yes"][..], &args].concat());
        assert!(ran.code == code && ran.err.contains(says) && trusted("m2") == first, "{args:?}: {ran:?}");
    }

    // The authority's root: every node's certificate is signed there.
    let args = ["ca", "rotate", "--ca-cert", &at("authority.pem"), "--external-ca", &url];
    let shown = swarm(&[&args[..], &["--dry-run"]].concat());
    assert!(shown.code == 2 && shown.out.contains(&format!("external_ca: {url}")) && trusted("m1") == first, "{shown:?}");
    let rotated = swarm(&[&args[..], &["--yes"]].concat());
    assert_eq!(rotated.code, 0, "{rotated:?}");
    let pem = |name: &str| std::fs::read_to_string(at(name)).unwrap().trim().to_owned();
    for host in ["m1", "m2", "m3"] {
        assert_eq!(trusted(host), pem("authority.pem"));
    }
    let issuers = || -> Vec<String> {
        let certs: serde_json::Value = serde_json::from_str(&swarm(&["certs", "--format", "json"]).out).unwrap();
        certs["certificates"].as_array().unwrap().iter().map(|c| c["issuer"].as_str().unwrap().to_owned()).collect()
    };
    eventually("every node has its certificate", Duration::from_secs(30), || issuers() == ["authority"; 4]).await;
    let before = signed.load(Ordering::SeqCst);
    assert!(before >= 4, "{before}");

    // The next plan has nothing to do, also where the file names the authority; a host that joins gets its certificate there.
    assert_eq!(swarm(&["plan"]).code, 0);
    let all = lab.file(&format!("{}swarm: {{ external_ca: [{{ url: \"{url}\" }}] }}\n", lab.text(&lab.all(""))));
    let joined = cli::run(&["apply", "--yes", "-f", all.to_str().unwrap()]);
    assert!(joined.code == 0 && !joined.out.contains("external_ca"), "{joined:?}");
    assert!(signed.load(Ordering::SeqCst) > before && lab.nodes("m1").len() == 5);

    // Back to a root whose key the swarm has: the authority signs that root once, and its key is in no output.
    let rotated = swarm(&["ca", "rotate", "--ca-cert", &at("own.pem"), "--ca-key", &at("own.key"), "--yes", "-vvv"]);
    assert!(rotated.code == 0 && rotated.out.contains(&format!("{url} signed with the old root")), "{rotated:?}");
    assert_eq!(trusted("m3"), pem("own.pem"));
    let key = pem("own.key");
    let secret = key.lines().nth(1).unwrap();
    assert!(!rotated.out.contains(secret) && !rotated.err.contains(secret), "the key is shown");
    assert_eq!(cli::run(&["ca", "show", "--pem", "-f", all.to_str().unwrap()]).out.trim(), pem("own.pem"));
}
