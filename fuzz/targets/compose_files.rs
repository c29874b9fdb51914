//! Compose files: one, and one over another.
#![no_main]

use swarm_compose::{Context, Source, read, read_own};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let (first, second) = text.split_once("\n---\n").unwrap_or((&text, ""));
    let source = |name: &str, text: &str| Source { name: name.into(), text: text.into() };
    let variable = |name: &str| name.starts_with(|c: char| c.is_ascii_uppercase()).then(|| name.to_lowercase());
    let file = |_: &std::path::Path| Ok(b"A=1\nB\n".to_vec());
    let command = |_: &[String]| Err("none".to_owned());
    let context = Context { variable: &variable, file: &file, command: &command, folder: "/app".into() };
    let mut sources = vec![source("a.yml", first)];
    if !second.is_empty() {
        sources.push(source("b.yml", second));
    }
    match read("app", &sources, &context) {
        Ok(read) => {
            for service in &read.stack.services {
                assert!(!service.image().is_empty(), "a service without an image");
                let none = std::collections::BTreeMap::new();
                assert!(swarm_workload::differences(service.spec.clone(), service.spec.clone(), &none).is_empty(), "it differs from itself");
            }
        }
        Err(problems) => assert!(!problems.0.is_empty(), "refused without a reason"),
    }
    let _ = read_own("app", &source("swarm.yaml", first), &context);
});
