//! Destinations and elements of ProxyJump: nothing of them may be taken for an option by a program that is given them.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some((user, address, port)) = swarm_ssh::foreign::destination(text) {
        let fits = |word: &str| !word.is_empty() && !word.starts_with('-') && !word.contains(char::is_whitespace);
        assert!(fits(&address) && user.is_none_or(|u| fits(&u)) && port != Some(0));
    }
});
