//! Flags of services: `name=value`, one a line, for a new service and for one that is there.
#![no_main]

use swarm_workload::{FLAGS, Given, apply_flags, new_service};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let (mut first, mut later): (Vec<Given>, Vec<Given>) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let Some((name, value)) = line.split_once('=') else { continue };
        let name = name.to_owned();
        if FLAGS.iter().any(|flag| flag.name == name) {
            let to = if name.ends_with("-add") || name.ends_with("-rm") { &mut later } else { &mut first };
            to.push((name, value.to_owned()));
        }
    }
    let Ok(mut service) = new_service("web", "busybox", &[], &first) else { return };
    let _ = apply_flags(&mut service, &later);
    let none = std::collections::BTreeMap::new();
    assert!(swarm_workload::differences(service.clone(), service.clone(), &none).is_empty(), "it differs from itself");
});
