//! Logins that are OpenSSH's own: a key in hardware (a software one behind its interface), and a ticket of a real Kerberos server.

use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use swarm_tests::lab::{eventually, sh};
use swarm_tests::openssh::servers::Keys;
use swarm_tests::openssh::{Bench, Layout, Verdict};

const TOOL: &str = r#"set -eu
verb=$1 dir=$2 application=$3
case $verb in
enroll)
    openssl genpkey -algorithm ed25519 -out "$dir/key.pem" 2>/dev/null
    openssl pkey -in "$dir/key.pem" -pubout -outform DER | tail -c 32
    ;;
sign)
    { printf %s "$application" | openssl dgst -sha256 -binary; printf '\001\000\000\000\001'; openssl dgst -sha256 -binary < "$dir/asked"; } > "$dir/message"
    openssl pkeyutl -sign -rawin -inkey "$dir/key.pem" -in "$dir/message"
    ;;
esac
"#;

fn layout(number: usize, keys: &Keys, host: &str, port: u16, more: &str) -> Layout {
    let section = format!(
        "  HostName {host}\n  Port {port}\n  User root\n  UserKnownHostsFile {}\n  GlobalKnownHostsFile none\n{more}\n",
        keys.at("known")
    );
    Layout { production: "credentials", host: format!("c{number}"), section }
}

/// What `ssh` and we make of each layout, and who connected for us.
fn compare(bench: &Bench, layouts: &[Layout], agent: Option<&Path>) -> Vec<(Verdict, Verdict, String, String)> {
    let compared = layouts.iter().map(|l| {
        let (theirs, ours) = (bench.openssh(&l.host, agent), bench.ours("auto", &[&l.host], agent));
        let (verdict, way, said) = ours[&l.host].clone();
        (theirs.0, verdict, way, format!("{}\nssh: {}\nwe: {said}", l.section, theirs.1))
    });
    compared.collect()
}

/// A key file that only names a security key makes OpenSSH connect; without the key's provider the login is refused by both, and `client: native` refuses by the file's name.
#[test]
fn a_security_key_opens_what_it_opens_for_ssh() {
    let dir = tempfile::tempdir().unwrap();
    let keys = Keys::new(&dir.path().join("keys"));
    std::fs::write(keys.at("known"), format!("* {}\n", keys.public("host"))).unwrap();
    std::fs::write(keys.at("tool"), TOOL).unwrap();
    let (provider, folder) = (keys.at("provider.so"), keys.dir.display().to_string());
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/openssh/sk_provider.c");
    sh(&["cc", "-shared", "-fPIC", "-Wall", "-Werror", "-o", &provider, source.to_str().unwrap()]);
    let mut make = Command::new("ssh-keygen");
    make.args(["-q", "-t", "ed25519-sk", "-w", &provider, "-N", "", "-f", &keys.at("sk")]).env("SK_DIR", &folder);
    let made = make.stdin(Stdio::null()).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    std::fs::write(keys.at("authorized"), format!("{}\n", keys.public("sk"))).unwrap();
    std::fs::copy(keys.at("sk"), keys.at("alone")).unwrap();
    let server = keys.serve("sk", &["host"], "");
    let named = |file: &str| format!("  IdentitiesOnly yes\n  IdentityFile {}\n", keys.at(file));
    let layouts = [
        layout(0, &keys, "127.0.0.1", server.port, &format!("{}  SecurityKeyProvider {provider}", named("sk"))),
        // Without the public half beside it.
        layout(1, &keys, "127.0.0.1", server.port, &format!("{}  SecurityKeyProvider {provider}", named("alone"))),
        // The built-in provider finds no device.
        layout(2, &keys, "127.0.0.1", server.port, &named("sk")),
        // A usual key before it, which the host does not take.
        layout(3, &keys, "127.0.0.1", server.port, &format!("{}{}  SecurityKeyProvider {provider}", named("user"), named("sk"))),
    ];
    let mut bench = Bench::new(dir.path(), &layouts);
    bench.variables = vec![("SK_DIR".into(), folder.clone())];
    let found = compare(&bench, &layouts, None);
    for (row, (theirs, ours, way, said)) in found.iter().enumerate() {
        let expected = if row == 2 { Verdict::Refused } else { Verdict::Connects };
        assert_eq!((*theirs, *ours), (expected, expected), "{said}");
        assert!(way.contains("the security key") && way.contains(&keys.at(if row == 1 { "alone" } else { "sk" })), "{way}");
    }
    let native = &bench.ours("native", &["c0"], None)["c0"];
    assert_eq!(native.0, Verdict::Refused, "{native:?}");
    assert!(native.2.contains(&format!("the security key {}", keys.at("sk"))), "{native:?}");

    // An agent that holds it signs for us too.
    let socket = dir.path().join("agent");
    let agent = sh(&["sh", "-c", &format!("SK_DIR={folder} ssh-agent -P '{folder}/*' -a {}", socket.display())]);
    let pid = agent.split_once("SSH_AGENT_PID=").unwrap().1.split(';').next().unwrap().to_owned();
    let add = Command::new("ssh-add").args(["-S", &provider, &keys.at("sk")]).env("SSH_AUTH_SOCK", &socket).output().unwrap();
    let layouts = [layout(0, &keys, "127.0.0.1", server.port, "  IdentityFile none\n  IdentitiesOnly no")];
    let bench = Bench::new(dir.path(), &layouts);
    let found = compare(&bench, &layouts, Some(&socket));
    sh(&["kill", &pid]);
    assert!(add.status.success(), "{add:?}");
    assert_eq!((found[0].0, found[0].1), (Verdict::Connects, Verdict::Connects), "{}", found[0].3);
}

/// A Kerberos server on loopback, with its realm, its keys and a ticket.
struct Realm {
    child: Child,
    dir: String,
}

impl Drop for Realm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Realm {
    async fn up(dir: &Path) -> Self {
        std::fs::create_dir_all(dir).unwrap();
        let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let d = dir.display().to_string();
        let common =
            "default_realm = LAB.TEST\ndns_lookup_kdc = false\ndns_canonicalize_hostname = false\nrdns = false\nudp_preference_limit = 1\n";
        let krb5 = format!(
            "[libdefaults]\n{common}[realms]\nLAB.TEST = {{\n kdc = 127.0.0.1:{port}\n auth_to_local = RULE:[1:$1@$0](operator@LAB.TEST)s/.*/root/\n}}\n[domain_realm]\nlocalhost = LAB.TEST\n"
        );
        std::fs::write(dir.join("krb5.conf"), krb5).unwrap();
        let kdc = format!(
            "[kdcdefaults]\nkdc_listen = 127.0.0.1:{port}\nkdc_tcp_listen = 127.0.0.1:{port}\n[realms]\nLAB.TEST = {{\n database_name = {d}/principal\n key_stash_file = {d}/stash\n acl_file = {d}/acl\n}}\n"
        );
        std::fs::write(dir.join("kdc.conf"), kdc).unwrap();
        let run = |program: &str, args: &[&str]| {
            let output = realm_command(program, &d).args(args).output().unwrap();
            assert!(output.status.success(), "{program} {args:?}: {output:?}");
        };
        run("kdb5_util", &["create", "-s", "-W", "-P", "only-for-this-test"]);
        for (principal, file) in [("host/localhost", "host.keytab"), ("operator", "operator.keytab"), ("stranger", "stranger.keytab")] {
            run("kadmin.local", &["-q", &format!("addprinc -randkey {principal}")]);
            run("kadmin.local", &["-q", &format!("ktadd -k {d}/{file} {principal}")]);
        }
        let child = realm_command("krb5kdc", &d).args(["-n"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let realm = Self { child, dir: d.clone() };
        eventually("the Kerberos server listens", Duration::from_secs(20), || TcpListener::bind(("127.0.0.1", port)).is_err()).await;
        for who in ["operator", "stranger"] {
            let keytab = format!("{}/{who}.keytab", realm.dir);
            run("kinit", &["-c", &realm.ticket(who), "-k", "-t", &keytab, who]);
        }
        realm
    }

    fn ticket(&self, who: &str) -> String {
        format!("{}/{who}.ticket", self.dir)
    }

    fn variables(&self, who: Option<&str>) -> Vec<(String, String)> {
        let config = ("KRB5_CONFIG".to_owned(), format!("{}/krb5.conf", self.dir));
        std::iter::once(config).chain(who.map(|who| ("KRB5CCNAME".to_owned(), self.ticket(who)))).collect()
    }
}

fn realm_command(program: &str, dir: &str) -> Command {
    let mut command = Command::new(program);
    command.env("PATH", format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap()));
    command.env("KRB5_CONFIG", format!("{dir}/krb5.conf")).env("KRB5_KDC_PROFILE", format!("{dir}/kdc.conf"));
    command.stdin(Stdio::null());
    command
}

/// A ticket opens the door through OpenSSH where the configuration asks for GSSAPI, and only there; a ticket of another, or none, opens
/// nothing. A key is used natively where there is no ticket, though GSSAPI is switched on.
#[tokio::test]
async fn a_kerberos_ticket_opens_what_it_opens_for_ssh() {
    let dir = tempfile::tempdir().unwrap();
    let realm = Realm::up(&dir.path().join("realm")).await;
    let mut keys = Keys::new(&dir.path().join("keys"));
    keys.variables = realm.variables(None);
    keys.variables.push(("KRB5_KTNAME".into(), format!("{}/host.keytab", realm.dir)));
    std::fs::write(keys.at("known"), format!("* {}\n", keys.public("host"))).unwrap();
    std::fs::write(keys.at("authorized"), format!("{}\n", keys.public("user"))).unwrap();
    let server = keys.serve("gss", &["host"], "GSSAPIAuthentication yes\nGSSAPIStrictAcceptorCheck no");
    let key = format!("  IdentitiesOnly yes\n  IdentityFile {}", keys.at("user"));
    let layouts = [
        layout(0, &keys, "localhost", server.port, "  GSSAPIAuthentication yes\n  IdentityFile none\n  IdentitiesOnly yes"),
        layout(1, &keys, "localhost", server.port, "  GSSAPIAuthentication no\n  IdentityFile none\n  IdentitiesOnly yes"),
        layout(2, &keys, "localhost", server.port, &format!("  GSSAPIAuthentication yes\n{key}")),
    ];
    let mut bench = Bench::new(dir.path(), &layouts);
    let (yes, no) = (Verdict::Connects, Verdict::Refused);
    for (who, expected) in [(Some("operator"), [yes, no, yes]), (Some("stranger"), [no, no, yes]), (None, [no, no, yes])] {
        bench.variables = realm.variables(who);
        for (row, (theirs, ours, way, said)) in compare(&bench, &layouts, None).into_iter().enumerate() {
            assert_eq!((theirs, ours), (expected[row], expected[row]), "{who:?}: {said}");
            let by_ssh = who.is_some() && row != 1;
            assert_eq!(way.contains("gssapiauthentication"), by_ssh, "{who:?} {row}: {way}");
        }
    }
}
