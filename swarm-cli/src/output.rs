//! The one place that writes to the terminal. Whatever came from a host is cleaned here, on its way out.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this module is the output")]

use serde::Serialize;
use serde_json::{Value, json};
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

/// The version of every JSON document this writes.
const JSON_VERSION: u32 = 1;

/// Whether what is written is about a simulated world.
static SIMULATED: AtomicBool = AtomicBool::new(false);
/// Whether standard output has said so.
static SAID: AtomicBool = AtomicBool::new(false);

/// From now on every screen and every document says that nothing of it is real.
pub(crate) fn simulated() {
    SIMULATED.store(true, Ordering::SeqCst);
}

/// Whether it is.
pub(crate) fn is_simulated() -> bool {
    SIMULATED.load(Ordering::SeqCst)
}

/// What may not reach a terminal as it is. Our own texts have lines and tabs.
fn is_odd(c: char) -> bool {
    swarm_core::secret::moves_text(c) && c != '\n' && c != '\t'
}

/// Text without control sequences, and without what looks like a secret.
pub(crate) fn clean(text: &str) -> String {
    cleaned(text, |c, out| out.extend(c.escape_unicode()))
}

/// The same for a JSON document, which stays one: odd characters are written as JSON writes them.
fn clean_json(text: &str) -> String {
    cleaned(text, |c, out| {
        let mut units = [0u16; 2];
        for unit in c.encode_utf16(&mut units) {
            out.push_str(&format!("\\u{unit:04x}"));
        }
    })
}

fn cleaned(text: &str, escape: impl Fn(char, &mut String)) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_odd(c) { escape(c, &mut out) } else { out.push(c) }
    }
    swarm_core::secret::redact(&out)
}

/// Data, to standard output. A reader that went away is no error.
pub(crate) fn data(text: &str) {
    if is_simulated() && !SAID.swap(true, Ordering::SeqCst) {
        write_out("SIMULATED: nothing of this is real, and nothing of it stays");
    }
    write_out(&clean(text));
}

/// Makes room on the terminal: what comes next stands at its top.
pub(crate) fn clear_screen() {
    write_out("\x1b[H\x1b[2J");
}

fn write_out(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes());
    if !text.ends_with('\n') {
        let _ = out.write_all(b"\n");
    }
    let _ = out.flush();
}

/// A secret that was asked for by name: the one text that is not cleaned of secrets.
pub(crate) fn secret(secret: &swarm_core::secret::Secret) {
    write_out(secret.expose());
}

/// One JSON document, to standard output.
pub(crate) fn json<T: Serialize>(command: &str, content: &T) {
    let mut document = json!({ "version": JSON_VERSION, "command": command });
    if let (true, Some(document)) = (is_simulated(), document.as_object_mut()) {
        document.insert("simulated".into(), Value::Bool(true));
    }
    let content = serde_json::to_value(content).unwrap_or(Value::Null);
    if let (Some(document), Value::Object(content)) = (document.as_object_mut(), content) {
        document.extend(content);
    }
    write_out(&clean_json(&serde_json::to_string_pretty(&document).unwrap_or_default()));
}

/// One line of JSON, to standard output.
pub(crate) fn json_line<T: Serialize>(content: &T) {
    let mut line = serde_json::to_value(content).unwrap_or(Value::Null);
    if let (true, Some(line)) = (is_simulated(), line.as_object_mut()) {
        line.insert("simulated".into(), Value::Bool(true));
    }
    write_out(&clean_json(&serde_json::to_string(&line).unwrap_or_default()));
}

/// A word to the person, to standard error.
pub(crate) fn note(text: &str) {
    let mark = if is_simulated() { "simulated: " } else { "" };
    let _ = writeln!(std::io::stderr().lock(), "{mark}{}", clean(text).trim_end());
}

/// A finding as a line.
pub(crate) fn finding(finding: &swarm_core::verify::Finding) -> String {
    let who = finding.host.as_ref().map_or("swarm", |h| h.as_str());
    format!("{who}: {}", finding.message)
}

/// What went wrong, to standard error.
pub(crate) fn error(text: &str) {
    note(&format!("error: {text}"));
}

/// Asks for a yes on the terminal; `None` where there is no one to ask.
pub(crate) fn confirm(question: &str) -> Option<bool> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return None;
    }
    let mut err = std::io::stderr().lock();
    let mark = if is_simulated() { "simulated: " } else { "" };
    let _ = write!(err, "{mark}{} [y/N] ", clean(question));
    let _ = err.flush();
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).ok()?;
    Some(matches!(answer.trim(), "y" | "Y" | "yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_host_says_cannot_move_the_cursor() {
        let cleaned = clean("m1\x1b[2J\u{202e}evil\u{9b}31m\r\nSWMTKN-1-abc");
        assert!(cleaned.chars().all(|c| !c.is_control() || c == '\n'), "{cleaned:?}");
        assert!(!cleaned.contains('\u{202e}') && !cleaned.contains("abc"), "{cleaned:?}");
    }
}
