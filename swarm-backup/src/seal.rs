//! Backups for the eyes of some alone: encrypted as the program `age` does it, to X25519 recipients.

use age::x25519::Recipient;
use std::io::{Read as _, Write as _};
use std::str::FromStr as _;

/// How an encrypted file begins (age-encryption.org/v1).
const BEGINS: &[u8] = b"age-encryption.org/";

/// Whether a file is encrypted.
pub fn is_sealed(file: &[u8]) -> bool {
    file.starts_with(BEGINS)
}

/// Checks recipients (`age1…`) before anything is stopped for them.
///
/// # Errors
/// One of them is no recipient.
pub fn recipients(names: &[String]) -> Result<Vec<Recipient>, String> {
    names.iter().map(|name| Recipient::from_str(name).map_err(|e| format!("`{name}` is no age recipient (age1…): {e}"))).collect()
}

/// Encrypts a file: each of the recipients can read it, and no one else.
///
/// # Errors
/// There is no recipient, or it could not be encrypted.
pub fn seal(file: &[u8], recipients: &[Recipient]) -> Result<Vec<u8>, String> {
    let failed = |e: &dyn std::fmt::Display| format!("it could not be encrypted: {e}");
    let encryptor = age::Encryptor::with_recipients(recipients.iter().map(|r| r as &dyn age::Recipient)).map_err(|e| failed(&e))?;
    let mut sealed = Vec::with_capacity(file.len() + 1024);
    let mut writer = encryptor.wrap_output(&mut sealed).map_err(|e| failed(&e))?;
    writer.write_all(file).map_err(|e| failed(&e))?;
    writer.finish().map_err(|e| failed(&e))?;
    Ok(sealed)
}

/// Decrypts a file with the identities of an age key file (`AGE-SECRET-KEY-1…` on lines of their own).
///
/// # Errors
/// There is no identity in the file, or none of them opens it, or it is damaged. What is in the key file is not quoted.
pub fn unseal(file: &[u8], key_file: &[u8]) -> Result<Vec<u8>, String> {
    let identities = age::IdentityFile::from_buffer(key_file).map_err(|_| "that is no age key file".to_owned())?;
    let identities = identities.into_identities().map_err(|_| "the age key file cannot be used".to_owned())?;
    let failed = |e: &dyn std::fmt::Display| format!("it could not be decrypted: {e}");
    let decryptor = age::Decryptor::new(file).map_err(|e| failed(&e))?;
    let mut reader = decryptor.decrypt(identities.iter().map(|i| i.as_ref() as &dyn age::Identity)).map_err(|e| failed(&e))?;
    let mut open = Vec::new();
    reader.read_to_end(&mut open).map_err(|e| failed(&e))?;
    Ok(open)
}

#[cfg(test)]
mod tests {
    use super::*;
    use age::secrecy::ExposeSecret as _;

    #[test]
    fn only_a_recipient_reads_it() {
        let (mine, other) = (age::x25519::Identity::generate(), age::x25519::Identity::generate());
        let to = recipients(&[mine.to_public().to_string()]).unwrap();
        let sealed = seal(b"the state", &to).unwrap();
        assert!(is_sealed(&sealed) && !is_sealed(b"the state") && !sealed.windows(9).any(|w| w == b"the state"));
        let key = |identity: &age::x25519::Identity| format!("# a comment\n{}\n", identity.to_string().expose_secret());
        assert_eq!(unseal(&sealed, key(&mine).as_bytes()).unwrap(), b"the state");
        assert!(unseal(&sealed, key(&other).as_bytes()).unwrap_err().contains("could not be decrypted"));
        let mut damaged = sealed.clone();
        *damaged.last_mut().unwrap() ^= 1;
        assert!(unseal(&damaged, key(&mine).as_bytes()).is_err());
        assert!(unseal(&sealed, b"no key").is_err());
        assert!(recipients(&["age1nothing".into()]).unwrap_err().contains("`age1nothing` is no age recipient"));
        assert!(seal(b"the state", &[]).is_err());
    }
}
