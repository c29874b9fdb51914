//! Who a node is, from its own certificate: organisation = cluster, unit = role, common name = node
//! (swarmkit `ca/certificates.go`). A worker's engine tells its cluster nowhere else.

use crate::id::{ClusterId, NodeId};
use crate::spec::Role;
use der::asn1::{AnyRef, GeneralizedTime, ObjectIdentifier, UtcTime};
use der::{Decode, Document, Reader, SliceReader, Tag, Tagged};
use serde::{Deserialize, Serialize};

/// The attributes of a subject (RFC 4519).
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const ORGANISATION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.10");
const UNIT: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.11");

/// What a node certificate says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeIdentity {
    /// The swarm that issued it.
    pub cluster: ClusterId,
    /// The node it names.
    pub node: NodeId,
    /// The role it allows.
    pub role: Role,
}

/// Reads the first certificate of a PEM file.
///
/// # Errors
/// A text for people, if there is no certificate of a swarm node in it.
pub fn identity_from_pem(pem: &[u8]) -> Result<NodeIdentity, String> {
    let document = first_certificate(pem)?;
    identity(&Fields::of(document.as_bytes()).map_err(unreadable)?)
}

/// A node's certificate: who it is, who issued it, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Who the node is.
    pub identity: NodeIdentity,
    /// The common name of the authority that issued it.
    pub issuer: String,
    /// When it began to be valid, seconds since 1970.
    pub from: u64,
    /// When it is refused, seconds since 1970.
    pub until: u64,
}

/// Reads the first certificate of a PEM file, with its dates.
///
/// # Errors
/// A text for people, if there is no certificate of a swarm node in it.
pub fn certificate_from_pem(pem: &[u8]) -> Result<Certificate, String> {
    let document = first_certificate(pem)?;
    let fields = Fields::of(document.as_bytes()).map_err(unreadable)?;
    let issuer = names(fields.issuer).map_err(unreadable)?;
    let issuer = issuer.into_iter().find(|(oid, _)| *oid == COMMON_NAME).map(|(_, name)| name).unwrap_or_default();
    let (from, until) = validity(fields.validity).map_err(unreadable)?;
    Ok(Certificate { identity: identity(&fields)?, issuer, from, until })
}

/// When a root certificate ends, seconds since 1970.
///
/// # Errors
/// A text for people, if there is no certificate in it.
pub fn expiry_from_pem(pem: &[u8]) -> Result<u64, String> {
    let document = first_certificate(pem)?;
    let fields = Fields::of(document.as_bytes()).map_err(unreadable)?;
    Ok(validity(fields.validity).map_err(unreadable)?.1)
}

/// A point in time as `2026-11-26`, UTC.
pub fn date(seconds: u64) -> String {
    let date = der::DateTime::from_unix_duration(std::time::Duration::from_secs(seconds));
    date.map_or_else(|_| "after 9999".into(), |d| format!("{:04}-{:02}-{:02}", d.year(), d.month(), d.day()))
}

/// A point in time as `2026-11-26T10:00:00Z`.
pub fn time(seconds: u64) -> String {
    let date = der::DateTime::from_unix_duration(std::time::Duration::from_secs(seconds));
    date.map_or_else(
        |_| "after 9999".into(),
        |d| format!("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", d.year(), d.month(), d.day(), d.hour(), d.minutes(), d.seconds()),
    )
}

#[allow(clippy::needless_pass_by_value, reason = "map_err hands it over")]
fn unreadable(error: der::Error) -> String {
    format!("the certificate cannot be read: {error}")
}

fn first_certificate(pem: &[u8]) -> Result<Document, String> {
    let text = std::str::from_utf8(pem).map_err(|_| "the file is no text")?;
    let (begin, end) = ("-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----");
    let none = || "there is no certificate in the file".to_owned();
    let from = text.find(begin).ok_or_else(none)?;
    let rest = text.get(from..).ok_or_else(none)?;
    let block = rest.get(..rest.find(end).ok_or_else(none)? + end.len()).ok_or_else(none)?;
    Document::from_pem(block).map(|(_, document)| document).map_err(unreadable)
}

fn identity(fields: &Fields<'_>) -> Result<NodeIdentity, String> {
    let subject = names(fields.subject).map_err(unreadable)?;
    let first = |oid: ObjectIdentifier| subject.iter().find(|(o, _)| *o == oid).map(|(_, value)| value.clone());
    let role = match first(UNIT).as_deref() {
        Some("swarm-manager") => Role::Manager,
        Some("swarm-worker") => Role::Worker,
        _ => return Err("the certificate is not that of a swarm node".into()),
    };
    match (first(ORGANISATION), first(COMMON_NAME)) {
        (Some(cluster), Some(node)) => Ok(NodeIdentity { cluster: ClusterId::new(cluster), node: NodeId::new(node), role }),
        _ => Err("the certificate names no swarm or no node".into()),
    }
}

/// The parts of a certificate that are read (RFC 5280, section 4.1).
struct Fields<'a> {
    issuer: &'a [u8],
    validity: &'a [u8],
    subject: &'a [u8],
}

impl<'a> Fields<'a> {
    fn of(certificate: &'a [u8]) -> Result<Self, der::Error> {
        let whole = AnyRef::from_der(certificate)?;
        let signed = AnyRef::decode(&mut SliceReader::new(whole.value())?)?;
        let mut fields = SliceReader::new(signed.value())?;
        let first = AnyRef::decode(&mut fields)?;
        // Version is optional and tagged; serial number and signature are not.
        let passed = if first.tag().is_context_specific() { 2 } else { 1 };
        for _ in 0..passed {
            AnyRef::decode(&mut fields)?;
        }
        let issuer = AnyRef::decode(&mut fields)?.value();
        let validity = AnyRef::decode(&mut fields)?.value();
        Ok(Self { issuer, validity, subject: AnyRef::decode(&mut fields)?.value() })
    }
}

/// Both ends of a validity, seconds since 1970.
fn validity(bytes: &[u8]) -> Result<(u64, u64), der::Error> {
    let mut fields = SliceReader::new(bytes)?;
    let mut next = || -> Result<u64, der::Error> {
        let value = AnyRef::decode(&mut fields)?;
        Ok(match value.tag() {
            Tag::UtcTime => value.decode_as::<UtcTime>()?.to_unix_duration().as_secs(),
            _ => value.decode_as::<GeneralizedTime>()?.to_unix_duration().as_secs(),
        })
    };
    Ok((next()?, next()?))
}

/// The attributes of a name.
fn names(bytes: &[u8]) -> Result<Vec<(ObjectIdentifier, String)>, der::Error> {
    let mut names = SliceReader::new(bytes)?;
    let mut found = Vec::new();
    while !names.is_finished() {
        let mut set = SliceReader::new(AnyRef::decode(&mut names)?.value())?;
        while !set.is_finished() {
            let mut pair = SliceReader::new(AnyRef::decode(&mut set)?.value())?;
            let oid = ObjectIdentifier::decode(&mut pair)?;
            let value = AnyRef::decode(&mut pair)?;
            if matches!(value.tag(), Tag::PrintableString | Tag::Utf8String | Tag::Ia5String) {
                found.extend(std::str::from_utf8(value.value()).ok().map(|text| (oid, text.to_owned())));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a node `n1node` of a swarm `c1cluster`, for 90 days, as an engine's file has it; and for as long that its end is written in the other way.
    const USUAL: &str = "-----BEGIN CERTIFICATE-----
MIIBSzCB8QIULEbtxcVdEse/aTB6N/R//adWWa4wCgYIKoZIzj0EAwIwEzERMA8G
A1UEAwwIc3dhcm0tY2EwHhcNMjYxMTI4MTQxMDE5WhcNMjcwMjI2MTQxMDE5WjA9
MRIwEAYDVQQKDAljMWNsdXN0ZXIxFjAUBgNVBAsMDXN3YXJtLW1hbmFnZXIxDzAN
BgNVBAMMBm4xbm9kZTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABLtXFWelbo4A
JY5DSJBbzY8RvMx1nin2dSCAbiF6IAMmQQN8VzuanwB+plSeycstGyhIRpao/gbK
iQFoJnxclmEwCgYIKoZIzj0EAwIDSQAwRgIhANF5jwkwMItYSxj9kfkHAuTp4K6V
EE6VAxsUOU9GnNFrAiEA0lXM41d+z/ckMXdVIPGboUdacLrC3r+AQDyy635wChE=
-----END CERTIFICATE-----\n";
    const LONG: &str = "-----BEGIN CERTIFICATE-----
MIIBTDCB8wIULEbtxcVdEse/aTB6N/R//adWWa8wCgYIKoZIzj0EAwIwEzERMA8G
A1UEAwwIc3dhcm0tY2EwIBcNMjYxMTI4MTQxMDE5WhgPMjA4MTA4MzExNDEwMTla
MD0xEjAQBgNVBAoMCWMxY2x1c3RlcjEWMBQGA1UECwwNc3dhcm0tbWFuYWdlcjEP
MA0GA1UEAwwGbjFub2RlMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEu1cVZ6Vu
jgAljkNIkFvNjxG8zHWeKfZ1IIBuIXogAyZBA3xXO5qfAH6mVJ7Jyy0bKEhGlqj+
BsqJAWgmfFyWYTAKBggqhkjOPQQDAgNIADBFAiBhto/TkjRzuUfwVWZ5rlg7z8ZL
9qa6n5favQ2MIzfiGAIhAO9WD5W+vC61kbl2Yc0+Dc4cKzTQ5Uh0ZALfPwamk8vm
-----END CERTIFICATE-----\n";

    #[test]
    fn a_certificate_is_read_in_full() {
        let read = certificate_from_pem(format!("a key stands before it\n{USUAL}{LONG}").as_bytes()).unwrap();
        assert_eq!((read.identity.cluster.as_str(), read.identity.node.as_str()), ("c1cluster", "n1node"));
        assert_eq!((read.identity.role, read.issuer.as_str()), (Role::Manager, "swarm-ca"));
        assert_eq!((time(read.from), date(read.until)), ("2026-11-28T14:10:19Z".into(), "2027-02-26".into()));
        assert_eq!(read.until - read.from, 90 * 24 * 3600);
        assert_eq!(identity_from_pem(USUAL.as_bytes()).unwrap(), read.identity);
        assert_eq!(expiry_from_pem(USUAL.as_bytes()), Ok(1_803_651_019));
        assert_eq!(expiry_from_pem(LONG.as_bytes()).map(time).as_deref(), Ok("2081-08-31T14:10:19Z"));
        assert_eq!((date(u64::MAX), time(u64::MAX)), ("after 9999".into(), "after 9999".into()));
    }

    #[test]
    fn what_is_no_certificate_is_said() {
        let cut: String = USUAL.lines().enumerate().filter(|(i, _)| *i != 2).map(|(_, line)| format!("{line}\n")).collect();
        for (text, says) in [("", "no certificate"), (cut.as_str(), "cannot be read"), ("-----BEGIN CERTIFICATE-----\n", "no certificate")]
        {
            let (one, other) = (identity_from_pem(text.as_bytes()).unwrap_err(), expiry_from_pem(text.as_bytes()).unwrap_err());
            assert!(one.contains(says) && other.contains(says), "{one} | {other}");
        }
        assert!(identity_from_pem(&[0xff, 0xfe]).unwrap_err().contains("no text"));
    }
}
