//! Who a node is, from its own certificate: organisation = cluster, unit = role, common name = node
//! (swarmkit `ca/certificates.go`). A worker's engine tells its cluster nowhere else.

use crate::id::{ClusterId, NodeId};
use crate::spec::Role;
use x509_parser::pem::Pem;
use x509_parser::prelude::X509Name;

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
    let block = Pem::iter_from_buffer(pem)
        .filter_map(Result::ok)
        .find(|block| block.label == "CERTIFICATE")
        .ok_or("there is no certificate in the file")?;
    let certificate = block.parse_x509().map_err(|e| format!("the certificate cannot be read: {e}"))?;
    let subject = certificate.subject();
    let first = |mut values: Vec<String>| if values.is_empty() { None } else { Some(values.swap_remove(0)) };
    let cluster = first(texts(subject, Field::Organization));
    let unit = first(texts(subject, Field::Unit));
    let node = first(texts(subject, Field::CommonName));
    let role = match unit.as_deref() {
        Some("swarm-manager") => Role::Manager,
        Some("swarm-worker") => Role::Worker,
        _ => return Err("the certificate is not that of a swarm node".into()),
    };
    match (cluster, node) {
        (Some(cluster), Some(node)) => Ok(NodeIdentity { cluster: ClusterId::new(cluster), node: NodeId::new(node), role }),
        _ => Err("the certificate names no swarm or no node".into()),
    }
}

enum Field {
    Organization,
    Unit,
    CommonName,
}

fn texts(name: &X509Name<'_>, field: Field) -> Vec<String> {
    let attributes: Vec<_> = match field {
        Field::Organization => name.iter_organization().collect(),
        Field::Unit => name.iter_organizational_unit().collect(),
        Field::CommonName => name.iter_common_name().collect(),
    };
    attributes.iter().filter_map(|a| a.as_str().ok()).map(str::to_owned).collect()
}
