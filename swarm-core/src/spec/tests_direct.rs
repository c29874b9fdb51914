//! What is read of single keys, each held against what it is to say.

use super::fields::distance;
use super::{Firewall, Node, ReadSpec, Value, read};
use crate::testkit::{map, text};

fn plain(value: Value) -> Node {
    Node { value, at: None }
}

/// The problems of a file with one manager, to which these keys are added; the file where there is none.
fn problems(host: Vec<(&str, Node)>, file: Vec<(&str, Node)>) -> Result<ReadSpec, Vec<String>> {
    let host: Vec<(&str, Node)> = [("role", text("manager"))].into_iter().chain(host).collect();
    let all = [("name", text("c")), ("hosts", map(vec![("m1", map(host))]))];
    read(&map(all.into_iter().chain(file).collect())).map_err(|found| found.0.iter().map(|p| p.path.clone()).collect())
}

#[test]
fn words_are_as_far_apart_as_the_edits_between_them() {
    for (a, b, edits) in
        [("", "", 0), ("", "abc", 3), ("abc", "", 3), ("a", "abc", 2), ("abc", "a", 2), ("kitten", "sitting", 3), ("ab", "ba", 2)]
    {
        assert_eq!(distance(a, b), edits, "{a} {b}");
    }
}

#[test]
fn each_word_for_the_firewall_is_read() {
    for (word, firewall) in
        [(Some("open"), Firewall::Open), (Some("none"), Firewall::None), (Some("check"), Firewall::Check), (None, Firewall::Check)]
    {
        let prepare = map(word.map(|word| ("firewall", text(word))).into_iter().collect());
        let read = problems(vec![("address", text("10.0.0.1"))], vec![("prepare", prepare)]).unwrap();
        assert_eq!(read.spec.hosts().next().unwrap().prepare.firewall, firewall);
    }
}

/// What is wrong with an address that is to be advertised is said once.
#[test]
fn a_wrong_address_is_one_problem() {
    let named = || ("address", text("m1.example.org"));
    assert_eq!(problems(vec![named()], vec![]).unwrap_err(), ["hosts.m1.advertise"]);
    assert_eq!(problems(vec![named(), ("advertise", plain(Value::Int(5)))], vec![]).unwrap_err(), ["hosts.m1.advertise"]);
    assert!(problems(vec![named(), ("advertise", text("eth0"))], vec![]).is_ok());
}

#[test]
fn a_label_key_has_an_end() {
    let of = |key: &str| problems(vec![("address", text("10.0.0.1")), ("labels", map(vec![(key, text("x"))]))], vec![]).map(|_| ());
    assert_eq!(of(&"a".repeat(253)), Ok(()));
    for key in ["a".repeat(254), String::new(), "-a".into(), "a-".into(), "a b".into()] {
        assert_eq!(of(&key), Err(vec![format!("hosts.m1.labels.{key}")]), "{key}");
    }
}

/// Managers that a program makes are not counted here.
#[test]
fn a_file_needs_a_manager_unless_machines_are_made() {
    let exec = || ("machines", map(vec![("exec", map(vec![("command", text("./machines"))]))]));
    let only = |hosts: Vec<(&str, Node)>, more: Vec<(&'static str, Node)>| {
        let all: Vec<(&str, Node)> = [("name", text("c")), ("hosts", map(hosts))].into_iter().chain(more).collect();
        read(&map(all)).map(|read| read.warnings.len()).map_err(|found| found.0.iter().map(|p| p.message.clone()).collect::<Vec<_>>())
    };
    let worker = || vec![("w1", map(vec![("address", text("10.0.0.1")), ("role", text("worker"))]))];
    assert_eq!(only(Vec::new(), Vec::new()), Err(vec!["there is no host".to_owned()]));
    assert_eq!(only(worker(), Vec::new()), Err(vec!["no host is a manager".to_owned()]));
    assert_eq!(only(worker(), vec![exec()]), Ok(0));
}

/// Only what the file names is held against what a swarm was made with.
#[test]
fn settings_of_init_differ_where_the_file_names_them() {
    use super::InitSettings;
    let pool = || vec!["10.9.0.0/16".parse().unwrap()];
    let have = InitSettings { default_addr_pool: pool(), default_addr_pool_mask_length: Some(24), data_path_port: Some(4789) };
    let other = InitSettings {
        default_addr_pool: vec!["10.8.0.0/16".parse().unwrap()],
        default_addr_pool_mask_length: Some(25),
        data_path_port: Some(4790),
    };
    assert_eq!(InitSettings::default().differing_from(&have), [""; 0]);
    assert_eq!(have.differing_from(&have), [""; 0]);
    assert_eq!(other.differing_from(&have), ["default_addr_pool", "default_addr_pool_mask_length", "data_path_port"]);
    for (key, one) in [
        ("default_addr_pool", InitSettings { default_addr_pool: pool(), ..InitSettings::default() }),
        ("default_addr_pool_mask_length", InitSettings { default_addr_pool_mask_length: Some(24), ..InitSettings::default() }),
        ("data_path_port", InitSettings { data_path_port: Some(4789), ..InitSettings::default() }),
    ] {
        assert_eq!(one.differing_from(&have), [""; 0]);
        assert_eq!(one.differing_from(&other), [key]);
    }
}

/// Of a lab only numbers are named; one maker of machines counts.
#[test]
fn hosts_of_a_lab_are_numbered() {
    use super::{LabHosts, Machines};
    let file = |makers: Vec<(&str, Node)>| {
        let all = vec![("name", text("c")), ("hosts", map(vec![])), ("machines", map(makers))];
        read(&map(all))
            .map(|read| read.spec.machines().cloned())
            .map_err(|found| found.0.iter().map(|p| p.path.clone()).collect::<Vec<_>>())
    };
    let lab = |keys: Vec<(&str, Node)>| ("lab", map(keys));
    let images = Node { value: Value::List(vec![text("bookworm"), text("trixie")]), at: None };
    let of = |managers, workers, images: &[&str]| {
        Ok(Some(Machines::Lab(LabHosts { managers, workers, images: images.iter().map(|i| (*i).to_owned()).collect() })))
    };
    assert_eq!(file(vec![lab(vec![])]), of(1, 0, &[]));
    let keys = vec![("managers", plain(Value::Int(2))), ("workers", plain(Value::Int(1))), ("images", images)];
    assert_eq!(file(vec![lab(keys)]), of(2, 1, &["bookworm", "trixie"]));
    let hosts = LabHosts { managers: 2, workers: 1, images: Vec::new() }.hosts();
    assert_eq!(hosts, [("m1".to_owned(), true), ("m2".to_owned(), true), ("w1".to_owned(), false)]);
    let exec = || ("exec", map(vec![("command", text("./machines"))]));
    assert_eq!(file(vec![exec(), lab(vec![])]).unwrap_err(), ["machines.lab"]);
    assert_eq!(file(vec![]).unwrap_err(), ["machines"]);
}
