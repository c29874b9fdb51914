//! What a user reads is kept in one document, and in plain words.

use swarm_tests::messages::{banned, document, holds, place, violations};

#[test]
fn every_message_is_in_the_document() {
    let (is, kept) = (document(), std::fs::read_to_string(place()).unwrap());
    let missing: Vec<&str> = is.lines().filter(|l| !kept.lines().any(|k| k == *l)).collect();
    let old: Vec<&str> = kept.lines().filter(|l| !is.lines().any(|k| k == *l)).collect();
    assert!(is == kept, "docs/messages.md differs; `make messages` writes it. New: {missing:#?}, gone: {old:#?}");
    assert!(is.matches("\n- ").count() > 300);
}

#[test]
fn messages_and_documentation_are_in_plain_words() {
    assert!(banned().len() >= 40, "{:?}", banned());
    assert!(holds("It was Told so", "told") && !holds("it is untold", "told") && !holds("toldest", "told"));
    let found = violations();
    assert!(found.is_empty(), "{}", found.join("\n"));
}
