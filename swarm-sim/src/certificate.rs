//! Node certificates as a simulated engine keeps them: organisation = cluster, unit = role, common name = node.

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use std::sync::OnceLock;
use swarm_core::spec::Role;

/// One key signs them all: no one checks the signature, only the subject is read.
fn key() -> Option<&'static KeyPair> {
    static KEY: OnceLock<Option<KeyPair>> = OnceLock::new();
    KEY.get_or_init(|| KeyPair::generate().ok()).as_ref()
}

pub(crate) fn pem(cluster: &str, role: Role, node: &str) -> Option<String> {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, cluster);
    name.push(DnType::OrganizationalUnitName, format!("swarm-{role}"));
    name.push(DnType::CommonName, node);
    let mut params = CertificateParams::default();
    params.distinguished_name = name;
    Some(params.self_signed(key()?).ok()?.pem())
}
