//! The cluster file: any bytes are a spec or a list of problems, each with its place inside the file.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    match swarm_file::parse_bytes(data, &|name| (name.len() % 2 == 0).then(|| "value".to_owned())) {
        Ok(read) => {
            // What was read can be written, and means the same.
            let text = serde_json::to_string(&read.spec).expect("a spec is JSON");
            assert!(text.contains(&serde_json::to_string(read.spec.name()).expect("a name is JSON")));
            assert!(read.spec.managers().count() > 0, "a cluster without a manager");
        }
        Err(problems) => {
            assert!(!problems.0.is_empty());
            let text = String::from_utf8_lossy(data);
            let shown = swarm_file::render(&problems.0, "file", Some(&text));
            assert!(!shown.is_empty());
        }
    }
});
