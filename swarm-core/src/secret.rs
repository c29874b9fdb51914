//! Text that must never be shown: join tokens, unlock keys, passwords.

use hmac_sha256::Hash;
use secrecy::{ExposeSecret, SecretString};
use std::fmt;

/// A secret text. It has no `Display` and no `Serialize`, its `Debug` is redacted, and its memory is cleared on drop.
///
/// The only way to the text is [`Secret::expose`]; search for that word to see every place a secret is used.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Takes ownership of the text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(SecretString::from(text.into()))
    }

    /// What tells this secret from another: the beginning of its SHA-256. Only for secrets that no one could guess.
    pub fn fingerprint(&self) -> String {
        Hash::hash(self.expose().as_bytes()).iter().take(8).map(|b| format!("{b:02x}")).collect()
    }

    /// The text itself. Hand it to a request body or a file of mode 0600, to nothing else.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// What stands in the place of a secret in text that came from elsewhere.
const REDACTED: &str = "***";

/// Whether a character could set a cursor, hide, or turn text around. Line ends and tabs are such characters too.
pub fn moves_text(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{61c}')
}

/// Text of an engine, a server or a program, fit to be shown on one line: without secrets, without what [`moves_text`], and no longer than
/// so many characters.
pub fn clean(text: &str, most: usize) -> String {
    let text: String = redact(text).chars().map(|c| if moves_text(c) { ' ' } else { c }).take(most).collect();
    text.trim().to_owned()
}

/// Removes what looks like a swarm secret (`SWMTKN-…`, `SWMKEY-…`, PEM private keys) from text that an engine or a host wrote.
///
/// Secrets are kept out of messages by their type; this is the second net, for texts in which a remote side quotes its input.
pub fn redact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    loop {
        let found =
            ["SWMTKN-", "SWMKEY-", "-----BEGIN "].iter().filter_map(|mark| rest.find(mark).map(|at| (at, *mark))).min_by_key(|(at, _)| *at);
        let Some((at, mark)) = found else {
            out.push_str(rest);
            return out;
        };
        let (before, tail) = rest.split_at(at);
        out.push_str(before);
        let pem = mark.starts_with("-----");
        let end = if pem {
            // Only a private key goes as a whole; what is inside another block is looked through as any text.
            let private = tail.lines().next().is_some_and(|line| line.contains("PRIVATE"));
            if private { pem_end(tail) } else { mark.len() }
        } else {
            tail.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '/' | '='))).unwrap_or(tail.len())
        };
        if !(pem && end > mark.len()) {
            out.push_str(mark);
        }
        if end > mark.len() {
            out.push_str(REDACTED);
        }
        rest = tail.get(end..).unwrap_or_default();
    }
}

/// The length of the PEM block that `text` begins with; a block without an end reaches to the end of the text.
fn pem_end(text: &str) -> usize {
    let Some(end) = text.find("-----END ") else { return text.len() };
    let tail = text.get(end + 9..).unwrap_or_default();
    tail.find("-----").map_or(text.len(), |at| end + 9 + at + 5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_hides_the_text() {
        assert_eq!(format!("{:?}", Secret::new("SWMTKN-1-a-b")), "Secret(***)");
    }

    #[test]
    fn tokens_keys_and_private_keys_are_removed() {
        assert_eq!(redact("token SWMTKN-1-3pu6-abc, key SWMKEY-1-x/y."), "token SWMTKN-***, key SWMKEY-***.");
        assert_eq!(redact("a -----BEGIN EC PRIVATE KEY-----\nxx\n-----END EC PRIVATE KEY----- b"), "a *** b");
        assert_eq!(redact("-----BEGIN EC PRIVATE KEY-----\nxx"), "***");
    }

    #[test]
    fn other_text_stays() {
        let certificate = "-----BEGIN CERTIFICATE-----\nxx\n-----END CERTIFICATE-----";
        assert_eq!(redact(certificate), certificate);
        assert_eq!(redact("nothing here"), "nothing here");
        let clean = redact("SWMTKN-1-a SWMKEY-1-b -----BEGIN RSA PRIVATE KEY-----\nx");
        assert_eq!(redact(&clean), clean);
    }

    #[test]
    fn a_token_is_not_safe_inside_a_block() {
        assert_eq!(redact("-----BEGIN CERTIFICATE-----\nSWMTKN-1-x"), "-----BEGIN CERTIFICATE-----\nSWMTKN-***");
    }
}
