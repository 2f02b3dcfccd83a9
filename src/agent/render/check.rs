//! What a group of files must pass before anybody sees it.
//!
//! 1. No file is empty.
//! 2. JSON and YAML parse.
//! 3. A file that begins with `-----BEGIN` is sound PEM; its certificates and unencrypted keys
//!    can be read.
//! 4. The first certificate of a file, and each further one that is not a CA's, is in its dates.
//!    Further CA certificates are not judged: bundles and cross-signed chains carry ended ones.
//! 5. A certificate whose issuer stands beside it, by name, was signed by it.
//! 6. A file with a key and certificates has them matching: the key and the first certificate.
//! 7. Where a key stands alone in a file, it must match a certificate that stands alone in a file
//!    of the same name but for the ending (`tls.key`, `tls.crt`); and if one of the group's keys
//!    matches no certificate while a server's or client's certificate matches no key, they were
//!    meant for each other and are not.
//!
//! Keys of kinds that the TLS library does not know (P-521, DSA) match anything.

use std::collections::BTreeMap;

use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer};
use x509_parser::prelude::{FromDer, X509Certificate, X509Error};
use x509_parser::x509::SubjectPublicKeyInfo;

use super::pem::{self, Block};
use super::{CheckFailure, RenderError};
use crate::agent::config::{Content, FileConfig, Format};
use crate::secret::{FilePath, SecretBytes};

/// Checks the files of one group together.
///
/// `now_unix`: seconds since 1970, for the dates of certificates.
///
/// # Errors
///
/// The first file, in the order of their paths, that may not be published, and why.
pub fn check_group(
    files: &BTreeMap<&FilePath, (&FileConfig, &SecretBytes)>,
    now_unix: i64,
) -> Result<(), RenderError> {
    let mut papers = Vec::new();
    for (&path, &(config, bytes)) in files {
        if bytes.is_empty() {
            return Err(RenderError::FileEmpty { file: path.clone() });
        }
        let fail = |failure| RenderError::Check { file: path.clone(), failure };
        parses(&config.content, bytes.expose()).map_err(fail)?;
        if pem::looks_like(bytes.expose()) {
            papers.push(Papers::read(path, bytes.expose(), now_unix).map_err(fail)?);
        }
    }
    belong_together(&papers)
}

fn parses(content: &Content, bytes: &[u8]) -> Result<(), CheckFailure> {
    match content {
        Content::Entries(Format::Json, _) | Content::Whole(Format::Json, _) => {
            let parsed: Result<serde::de::IgnoredAny, _> = serde_json::from_slice(bytes);
            parsed
                .map(drop)
                .map_err(|error| CheckFailure::Json { line: error.line(), column: error.column() })
        }
        Content::Entries(Format::Yaml, _) | Content::Whole(Format::Yaml, _) => {
            let text = std::str::from_utf8(bytes).map_err(|_| CheckFailure::Yaml { line: 1 })?;
            let broken = saphyr_parser::Parser::new_from_str(text).find_map(Result::err);
            broken.map_or(Ok(()), |error| Err(CheckFailure::Yaml { line: error.marker().line() }))
        }
        _ => Ok(()),
    }
}

/// The certificates and the key of one file.
struct Papers<'a> {
    path: &'a FilePath,
    has_key: bool,
    /// Public halves of the keys; `None` for a kind that is not known.
    keys: Vec<Option<Vec<u8>>>,
    certificates: Vec<Certificate>,
}

struct Certificate {
    public_key: Vec<u8>,
    is_ca: bool,
}

impl<'a> Papers<'a> {
    fn read(path: &'a FilePath, bytes: &[u8], now: i64) -> Result<Papers<'a>, CheckFailure> {
        let mut papers = Papers { path, has_key: false, keys: vec![], certificates: vec![] };
        let blocks = pem::blocks(bytes)?;
        signed(&blocks)?;
        for block in blocks {
            papers.has_key |= block.label.ends_with("PRIVATE KEY");
            match (block.label, &block.der) {
                (_, None) => {}
                ("CERTIFICATE", Some(der)) => {
                    let first = papers.certificates.is_empty();
                    papers.certificates.push(certificate(&block, der, first, now)?);
                }
                (_, Some(der)) => papers.keys.push(public_half(&block, der)?),
            }
        }
        Ok(papers)
    }

    /// The certificate that a key would belong to.
    fn leaf(&self) -> Option<&Certificate> {
        self.certificates.first()
    }

    fn stem(&self) -> &str {
        let path = self.path.as_str();
        let name_at = path.rfind('/').map_or(0, |slash| slash + 1);
        path[name_at..].rfind('.').map_or(path, |dot| &path[..name_at + dot])
    }

    /// Whether one of our keys is, or could be, that of `certificate`.
    fn opens(&self, certificate: &Certificate) -> bool {
        self.keys.iter().any(|key| key.as_ref().is_none_or(|key| *key == certificate.public_key))
    }
}

fn certificate(
    block: &Block<'_>,
    der: &SecretBytes,
    first: bool,
    now: i64,
) -> Result<Certificate, CheckFailure> {
    let line = block.line;
    let (rest, certificate) =
        X509Certificate::from_der(der.expose()).map_err(|_| CheckFailure::Certificate { line })?;
    if !rest.is_empty() {
        return Err(CheckFailure::Certificate { line });
    }
    let is_ca = certificate.is_ca();
    if first || !is_ca {
        let (begin, end) = (
            certificate.validity().not_before.timestamp(),
            certificate.validity().not_after.timestamp(),
        );
        if now > end {
            return Err(CheckFailure::Expired { line, ago: now - end });
        }
        if now < begin {
            return Err(CheckFailure::NotYetValid { line, ahead: begin - now });
        }
    }
    let public_key = certificate.public_key().subject_public_key.data.to_vec();
    Ok(Certificate { public_key, is_ca })
}

/// Whether the certificates of a file fit each other: after a change of a CA that keeps its name, an
/// old chain beside a new certificate would be refused by everybody who verifies it.
fn signed(blocks: &[Block<'_>]) -> Result<(), CheckFailure> {
    let parsed: Vec<(usize, X509Certificate<'_>)> = blocks
        .iter()
        .filter(|block| block.label == "CERTIFICATE")
        .filter_map(|block| {
            let (_, certificate) = X509Certificate::from_der(block.der.as_ref()?.expose()).ok()?;
            Some((block.line, certificate))
        })
        .collect();
    let issued = |certificate: &X509Certificate<'_>| {
        !certificate.is_ca() && certificate.issuer().as_raw() != certificate.subject().as_raw()
    };
    for (line, certificate) in parsed.iter().filter(|(_, certificate)| issued(certificate)) {
        let mut issuers = parsed
            .iter()
            .filter(|(_, ca)| ca.is_ca() && ca.subject().as_raw() == certificate.issuer().as_raw())
            .peekable();
        let named = issuers.peek().is_some();
        let signs = |(_, ca): &(usize, X509Certificate<'_>)| {
            // An algorithm that the library does not know says nothing against it.
            !matches!(
                certificate.verify_signature(Some(ca.public_key())),
                Err(X509Error::SignatureVerificationError)
            )
        };
        if named && !issuers.any(signs) {
            return Err(CheckFailure::NotSigned { line: *line });
        }
    }
    Ok(())
}

/// The public half of a private key; `None` for a kind that the TLS library does not know.
fn public_half(block: &Block<'_>, der: &SecretBytes) -> Result<Option<Vec<u8>>, CheckFailure> {
    let bytes = der.expose();
    if !is_one_sequence(bytes) {
        return Err(CheckFailure::Key { line: block.line });
    }
    let key = match block.label {
        "RSA PRIVATE KEY" => PrivateKeyDer::Pkcs1(PrivatePkcs1KeyDer::from(bytes)),
        "EC PRIVATE KEY" => PrivateKeyDer::Sec1(PrivateSec1KeyDer::from(bytes)),
        _ => PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(bytes)),
    };
    let Some(public) = any_supported_type(&key)
        .ok()
        .and_then(|key| key.public_key().map(|spki| spki.as_ref().to_vec()))
    else {
        return Ok(None);
    };
    let spki = SubjectPublicKeyInfo::from_der(&public);
    Ok(spki.ok().map(|(_, spki)| spki.subject_public_key.data.to_vec()))
}

/// Whether the bytes are one DER SEQUENCE and nothing else: what every private key is.
fn is_one_sequence(der: &[u8]) -> bool {
    let (length, header) = match *der {
        [0x30, short @ ..=0x7f, ..] => (usize::from(short), 2),
        [0x30, 0x81, a, ..] => (usize::from(a), 3),
        [0x30, 0x82, a, b, ..] => (usize::from(u16::from_be_bytes([a, b])), 4),
        _ => return false,
    };
    der.len() == header + length
}

fn belong_together(papers: &[Papers<'_>]) -> Result<(), RenderError> {
    let mismatch = |key: &Papers<'_>, certificate: &Papers<'_>| RenderError::Check {
        file: key.path.clone(),
        failure: super::CheckFailure::Mismatch { certificate: certificate.path.clone() },
    };
    for both in papers.iter().filter(|file| !file.keys.is_empty()) {
        if both.leaf().is_some_and(|leaf| !both.opens(leaf)) {
            return Err(mismatch(both, both));
        }
    }
    let keys = || papers.iter().filter(|f| f.certificates.is_empty() && !f.keys.is_empty());
    let certificates = || papers.iter().filter(|f| !f.has_key).filter_map(|f| Some((f, f.leaf()?)));
    for key in keys() {
        let mut twins = certificates().filter(|(file, _)| file.stem() == key.stem());
        if let Some((file, _)) = twins.find(|(_, leaf)| !key.opens(leaf)) {
            return Err(mismatch(key, file));
        }
    }
    let lonely_key = keys().find(|key| !certificates().any(|(_, leaf)| key.opens(leaf)));
    let lonely_certificate =
        certificates().find(|(_, leaf)| !leaf.is_ca && !papers.iter().any(|file| file.opens(leaf)));
    match (lonely_key, lonely_certificate) {
        (Some(key), Some((certificate, _))) => Err(mismatch(key, certificate)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
