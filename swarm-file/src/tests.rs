//! What the reader makes of many small files, written down in `tests/data/files.txt`: a change of any message, default or check shows there, and in
//! review. `BLESS=1 cargo test -p swarm-file` writes the file again.
#![allow(clippy::disallowed_methods, reason = "a test that keeps a file")]

use crate::parse;
use std::fmt::Write as _;

#[test]
fn what_is_read_of_many_files_is_as_written_down() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let files = std::fs::read_to_string(folder.join("files.yaml")).unwrap();
    let mut now = String::new();
    for file in files.split("---\n") {
        let _ = write!(now, "{file}");
        match parse(file, &|_| None) {
            Ok(read) => {
                let _ = writeln!(now, "  {}", serde_json::to_string(&read.spec).unwrap());
                let hosts = read.spec.machines().map(|machines| match machines {
                    swarm_core::spec::Machines::Aws(aws) => format!("{:?} {aws:?}", aws.hosts()),
                    other => format!("{other:?}"),
                });
                let _ = writeln!(now, "  beyond {:?}; machines {hosts:?}; stacks {:?}", read.spec.beyond_membership(), read.spec.stacks());
                let _ = writeln!(
                    now,
                    "  own objects {}; prepare {:?}",
                    read.spec.has_own_objects(),
                    read.spec.hosts().map(|h| &h.prepare).collect::<Vec<_>>()
                );
                for warning in &read.warnings {
                    let _ = writeln!(now, "  warning: {warning}");
                }
            }
            Err(problems) => problems.to_string().lines().for_each(|line| now.push_str(&format!("  {line}\n"))),
        }
    }
    let path = folder.join("files.txt");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &now).unwrap();
    }
    let then = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = then.lines().zip(now.lines()).position(|(a, b)| a != b);
    let at = differs.unwrap_or_else(|| then.lines().count().min(now.lines().count()));
    let line = |text: &str| text.lines().nth(at).unwrap_or("nothing").to_owned();
    assert!(then == now, "line {}: now\n{}\nwritten down is\n{}\nBLESS=1 writes the file again", at + 1, line(&now), line(&then));
}
