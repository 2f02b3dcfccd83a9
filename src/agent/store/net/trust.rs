//! The client that carries requests, and whom it trusts.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::dns::Resolver;
use crate::sandbox::door::Door;

/// Bytes of one PEM file. The bundle of all public CAs has about 220 KiB.
const MAX_PEM: usize = 1024 * 1024;

/// Why nobody can be trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrustFault {
    /// The file of certificates can't be read.
    File {
        /// The file.
        file: PathBuf,
        /// What the system said.
        kind: std::io::ErrorKind,
    },
    /// The file holds no certificates.
    Pem {
        /// The file.
        file: PathBuf,
    },
    /// The platform has no roots.
    NoRoots,
    /// TLS can't be set up.
    Tls,
}

/// Trusts what stands in `ca`, or else the platform's roots.
pub fn trust(ca: Option<&Door>) -> Result<ClientConfig, TrustFault> {
    let mut roots = RootCertStore::empty();
    let certificates = match ca {
        None => rustls_native_certs::load_native_certs().certs,
        Some(door) => {
            let file = || door.path().to_owned();
            let pem = door
                .read(MAX_PEM)
                .map_err(|e| TrustFault::File { file: file(), kind: e.kind() })?;
            CertificateDer::pem_slice_iter(&pem)
                .collect::<Result<_, _>>()
                .map_err(|_| TrustFault::Pem { file: file() })?
        }
    };
    match (roots.add_parsable_certificates(certificates).0, ca) {
        (0, Some(door)) => return Err(TrustFault::Pem { file: door.path().to_owned() }),
        (0, None) => return Err(TrustFault::NoRoots),
        _ => {}
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| TrustFault::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// A client that follows no redirect, uses no proxy and keeps `idle` connections.
pub fn client(tls: ClientConfig, connect: Duration, idle: usize) -> Option<reqwest::Client> {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .referer(false)
        .http1_only()
        .connect_timeout(connect)
        // A peer that is gone without a word is found out, and the connection is not used again.
        .tcp_keepalive(Duration::from_secs(10))
        .tcp_user_timeout(Duration::from_secs(10))
        .pool_max_idle_per_host(idle)
        .dns_resolver(Resolver::default())
        .build()
        .ok()
}
