//! Who a node is, from its own certificate: organisation = cluster, unit = role, common name = node
//! (swarmkit `ca/certificates.go`). A worker's engine tells its cluster nowhere else.

use crate::id::{ClusterId, NodeId};
use crate::spec::Role;
use der::asn1::{AnyRef, ObjectIdentifier};
use der::{Decode, Document, Reader, SliceReader, Tag, Tagged};

/// The attributes of a subject (RFC 4519).
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const ORGANISATION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.10");
const UNIT: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.11");

/// What a node certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    let text = std::str::from_utf8(pem).map_err(|_| "the file is no text")?;
    let (begin, end) = ("-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----");
    let none = || "there is no certificate in the file".to_owned();
    let from = text.find(begin).ok_or_else(none)?;
    let rest = text.get(from..).ok_or_else(none)?;
    let block = rest.get(..rest.find(end).ok_or_else(none)? + end.len()).ok_or_else(none)?;
    let (_, document) = Document::from_pem(block).map_err(|e| format!("the certificate cannot be read: {e}"))?;
    let subject = subject(document.as_bytes()).map_err(|e| format!("the certificate cannot be read: {e}"))?;
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

/// The attributes of a certificate's subject (RFC 5280, section 4.1): what stands before it is passed over.
fn subject(certificate: &[u8]) -> Result<Vec<(ObjectIdentifier, String)>, der::Error> {
    let whole = AnyRef::from_der(certificate)?;
    let signed = AnyRef::decode(&mut SliceReader::new(whole.value())?)?;
    let mut fields = SliceReader::new(signed.value())?;
    let first = AnyRef::decode(&mut fields)?;
    // Version is optional and tagged; serial number, signature, issuer and validity are not.
    let passed = if first.tag().is_context_specific() { 4 } else { 3 };
    for _ in 0..passed {
        AnyRef::decode(&mut fields)?;
    }
    let mut names = SliceReader::new(AnyRef::decode(&mut fields)?.value())?;
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
