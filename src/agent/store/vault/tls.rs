//! Whom we trust and what we show in the TLS handshake, read again when the files change.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use zeroize::Zeroizing;

use super::error::{Fault, TlsFault};
use crate::agent::config::VaultConfig;
use crate::sandbox::door::{Door, Stamp};

/// Bytes of one PEM file. The bundle of all public CAs has about 220 KiB.
const MAX_PEM: usize = 1024 * 1024;

/// How long the CAs of the file before stay trusted after a change, so that the file and the
/// server's certificate need not be replaced in the same moment (catalogue row 29).
const OVERLAP: Duration = Duration::from_mins(5);

/// The files behind a store's TLS.
pub(super) struct Tls {
    ca: Option<Door>,
    client: Option<(Door, Door)>,
    platform: bool,
    seen: Vec<Option<Stamp>>,
    roots: Vec<CertificateDer<'static>>,
    /// What was trusted before, and until when.
    outgoing: Option<(Duration, Vec<CertificateDer<'static>>)>,
}

impl Tls {
    /// Opens the directories of the files and reads them. `encrypted`: whether any address is
    /// reached through TLS, so that the platform's roots are needed.
    pub(super) fn open(config: &VaultConfig, encrypted: bool) -> Result<Tls, Fault> {
        let door = |path: &std::path::PathBuf| {
            Door::open(path).map_err(|e| Fault::File { file: path.clone(), kind: e.kind() })
        };
        let ca = config.ca_file.as_ref().map(door).transpose()?;
        let client = match &config.client_cert {
            Some(cert) => Some((door(&cert.cert_file)?, door(&cert.key_file)?)),
            None => None,
        };
        let platform = encrypted && ca.is_none();
        let mut tls = Tls { ca, client, platform, seen: vec![], roots: vec![], outgoing: None };
        tls.seen = tls.stamps();
        tls.roots = tls.read_roots()?;
        Ok(tls)
    }

    /// What rustls needs to know.
    pub(super) fn config(&self) -> Result<ClientConfig, Fault> {
        let mut roots = RootCertStore::empty();
        let outgoing = self.outgoing.iter().flat_map(|(_, outgoing)| outgoing);
        let (added, _) =
            roots.add_parsable_certificates(self.roots.iter().chain(outgoing).cloned());
        if added == 0 && (self.platform || self.ca.is_some()) {
            return Err(match &self.ca {
                Some(ca) => not_pem(ca, "certificate"),
                None => Fault::NoRoots,
            });
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|_| Fault::Tls(TlsFault::Other))?
            .with_root_certificates(roots);
        let mut config = match &self.client {
            None => builder.with_no_client_auth(),
            Some((cert, key)) => builder
                .with_client_auth_cert(certificates(cert)?, private_key(key)?)
                .map_err(|_| not_pem(key, "key that belongs to the certificate"))?,
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }

    /// A new configuration, if a file changed or an overlap is over. Files that can't be used
    /// change nothing: what was good stays, and they are looked at again next time.
    pub(super) fn renewed(&mut self, now: Duration) -> Option<ClientConfig> {
        let over = self.outgoing.as_ref().is_some_and(|(until, _)| now >= *until);
        let stamps = self.stamps();
        if stamps == self.seen && !over {
            return None;
        }
        let roots = if self.ca.is_some() { self.read_roots().ok()? } else { self.roots.clone() };
        if roots != self.roots {
            let before = std::mem::replace(&mut self.roots, roots);
            self.outgoing = Some((now + OVERLAP, before));
        } else if over {
            self.outgoing = None;
        }
        let config = self.config().ok()?;
        self.seen = stamps;
        Some(config)
    }

    fn read_roots(&self) -> Result<Vec<CertificateDer<'static>>, Fault> {
        match &self.ca {
            Some(ca) => certificates(ca),
            None if self.platform => Ok(rustls_native_certs::load_native_certs().certs),
            None => Ok(Vec::new()),
        }
    }

    fn stamps(&self) -> Vec<Option<Stamp>> {
        let client = self.client.iter().flat_map(|(cert, key)| [cert, key]);
        self.ca.iter().chain(client).map(|door| door.stamp().ok()).collect()
    }
}

fn certificates(door: &Door) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let pem = read(door)?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|_| not_pem(door, "certificate"))?;
    if certificates.is_empty() { Err(not_pem(door, "certificate")) } else { Ok(certificates) }
}

fn private_key(door: &Door) -> Result<PrivateKeyDer<'static>, Fault> {
    PrivateKeyDer::from_pem_slice(&read(door)?).map_err(|_| not_pem(door, "private key"))
}

fn read(door: &Door) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let bytes = door.read(MAX_PEM);
    bytes
        .map(Zeroizing::new)
        .map_err(|e| Fault::File { file: door.path().to_owned(), kind: e.kind() })
}

fn not_pem(door: &Door, wanted: &'static str) -> Fault {
    Fault::Pem { file: door.path().to_owned(), wanted }
}
