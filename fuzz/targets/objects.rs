//! An object of a swarm, kept as its text: a look at the text sees what a parsed one has.
#![no_main]

use swarm_core::engine::Object;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let Ok(object) = Object::read(text.as_ref()) else { return };
    assert!(!object.id().is_empty());
    let value = object.value();
    for pointer in ["/Spec/Name", "/Status/State", "/Spec/Labels/a", "/Slot"] {
        // Of a key that stands twice, a look finds the first and a parser keeps the last: engines write none twice.
        if pointer.split('/').skip(1).all(|key| text.matches(&format!("\"{key}\"")).count() < 2) {
            let seen = object.text(pointer).map(|t| t.into_owned());
            let parsed = value.pointer(pointer).and_then(|v| v.as_str()).map(str::to_owned);
            assert!(seen == parsed || text.contains('\\'), "{pointer}: {seen:?} {parsed:?}");
        }
    }
});
