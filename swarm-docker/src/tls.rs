//! TCP with mutual TLS. Only the given CA is trusted: the machine's own roots have no say in who a cluster host is.

use crate::reached::NotReached;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::fmt;
use std::sync::Arc;
use swarm_core::addr::HostAddress;
use swarm_core::host::BoxStream;
use swarm_core::observe::{ReachError, ReachErrorKind};
use swarm_core::spec::TlsFiles;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// A TCP port and how to prove who is on both ends of it.
pub(crate) struct TlsTarget {
    address: HostAddress,
    port: u16,
    connector: TlsConnector,
}

impl fmt::Display for TlsTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tcp://{}:{}", self.address, self.port)
    }
}

impl TlsTarget {
    /// Reads the files.
    pub(crate) fn new(address: HostAddress, port: u16, files: &TlsFiles) -> Result<Self, ReachError> {
        let wrong = |what: String| ReachError { kind: ReachErrorKind::Unreachable, message: what };
        let read = |path: &std::path::Path| CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let mut roots = rustls::RootCertStore::empty();
        let authorities = read(&files.ca).map_err(|e| wrong(format!("{}: {e}", files.ca.display())))?;
        for authority in authorities {
            roots.add(authority).map_err(|e| wrong(format!("{}: {e}", files.ca.display())))?;
        }
        let chain = read(&files.cert).map_err(|e| wrong(format!("{}: {e}", files.cert.display())))?;
        let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|e| wrong(format!("{}: {e}", files.key.display())))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| wrong(e.to_string()))?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .map_err(|e| wrong(format!("{} and {} do not fit: {e}", files.cert.display(), files.key.display())))?;
        Ok(Self { address, port, connector: TlsConnector::from(Arc::new(config)) })
    }

    pub(crate) async fn dial(&self) -> Result<BoxStream, NotReached> {
        let failed = |what: String| NotReached(ReachError { kind: ReachErrorKind::Unreachable, message: format!("{self}: {what}") });
        let name = self.address.to_string();
        let tcp = TcpStream::connect((name.as_str(), self.port)).await.map_err(|e| failed(e.to_string()))?;
        let _ = tcp.set_nodelay(true);
        let server = ServerName::try_from(name).map_err(|e| failed(e.to_string()))?;
        let stream = self.connector.connect(server, tcp).await.map_err(|e| failed(e.to_string()))?;
        Ok(Box::new(stream))
    }
}
