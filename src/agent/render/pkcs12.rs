//! PKCS#12 (RFC 7292): a private key and its certificates in one encrypted file, for Java and for
//! whatever else reads `.p12`.
//!
//! Encrypted as current OpenSSL and Java do: PBES2 with PBKDF2-HMAC-SHA-256 and AES-256-CBC
//! (RFC 8018), and an HMAC-SHA-256 over it. By hand, because libraries draw random salts, and a file
//! that differs at each rendering would be a rotation at each restart. Here salts are an HMAC under
//! the private key of what they are for: unknown to anybody who does not have the key, and the same
//! for the same content.

use std::num::NonZeroU32;

use aes::Aes256;
use cbc::cipher::{BlockEncryptMut, KeyIvInit, block_padding::Pkcs7};
use ring::{digest, hmac, pbkdf2};
use zeroize::Zeroizing;

use super::der::{self, Der};
use super::pem::{self, Block};
use super::{CheckFailure, FormatFailure, RenderError};
use crate::agent::config::{FieldRef, Format};
use crate::secret::{FilePath, SecretBytes};

/// Rounds of the key derivations, as Java's `keytool` has them.
const ROUNDS: u32 = 10_000;

const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];
const ENCRYPTED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x06];
const SHROUDED_KEY_BAG: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x0a, 0x01, 0x02];
const CERT_BAG: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x0a, 0x01, 0x03];
const X509_CERTIFICATE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x16, 0x01];
const FRIENDLY_NAME: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x14];
const LOCAL_KEY_ID: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x15];
const PBES2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0d];
const PBKDF2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0c];
const HMAC_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x09];
const AES256_CBC: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2a];
const SHA256: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];

/// The name that keys and certificates have inside, and that Java calls an alias.
const ALIAS: &str = "1";

/// Why there is no PKCS#12 file.
#[derive(Debug)]
pub(super) enum Unfit {
    /// The PEM itself.
    Pem(CheckFailure),
    /// What is or is not in it.
    Format(FormatFailure),
}

impl Unfit {
    /// The error about a file, whose password is that field.
    pub(super) fn of(self, file: &FilePath, password: &FieldRef) -> RenderError {
        match self {
            Unfit::Pem(failure) => RenderError::Check { file: file.clone(), failure },
            Unfit::Format(why) => RenderError::Refused {
                file: file.clone(),
                format: Format::Pkcs12,
                key: format!("{}{}", password.secret, password.field),
                why,
            },
        }
    }
}

/// Puts the key and the certificates of a PEM text into one encrypted file. The certificate of the
/// key comes first, as the checks of PEM files have it.
pub(super) fn write(pem: &SecretBytes, password: &SecretBytes) -> Result<SecretBytes, Unfit> {
    let password = std::str::from_utf8(password.expose())
        .map_err(|_| Unfit::Format(FormatFailure::PasswordNotText))?;
    let blocks = pem::blocks(pem.expose()).map_err(Unfit::Pem)?;
    let key = private_key(&blocks)?;
    let certificates: Vec<&SecretBytes> = blocks
        .iter()
        .filter(|block| block.label == "CERTIFICATE")
        .filter_map(|block| block.der.as_ref())
        .collect();
    let Some(leaf) = certificates.first() else {
        return Err(Unfit::Format(FormatFailure::NoCertificate));
    };
    let key_id = digest::digest(&digest::SHA256, leaf.expose());
    let locker = Locker { password, secret: hmac::Key::new(hmac::HMAC_SHA256, &key) };
    Ok(SecretBytes::from(locker.file(&key, &certificates, key_id.as_ref())))
}

/// The one private key, as PKCS#8.
fn private_key(blocks: &[Block<'_>]) -> Result<Zeroizing<Vec<u8>>, Unfit> {
    let mut keys = blocks.iter().filter(|block| block.label.ends_with("PRIVATE KEY"));
    let key = keys.next().ok_or(Unfit::Format(FormatFailure::NoKey))?;
    if keys.next().is_some() {
        return Err(Unfit::Format(FormatFailure::SeveralKeys));
    }
    let unreadable = || Unfit::Pem(CheckFailure::Key { line: key.line });
    let der = key.der.as_ref().ok_or_else(unreadable)?.expose();
    let pkcs8 = match key.label {
        "PRIVATE KEY" => Some(der.to_vec()),
        "RSA PRIVATE KEY" => Some(der::pkcs8_of_rsa(der)),
        "EC PRIVATE KEY" => der::pkcs8_of_ec(der),
        _ => None,
    };
    pkcs8.map(Zeroizing::new).ok_or_else(unreadable)
}

/// Encrypts under a password, with salts of its own.
struct Locker<'a> {
    password: &'a str,
    /// What salts are made with.
    secret: hmac::Key,
}

impl Locker<'_> {
    /// The whole file: both bags, and the MAC over them.
    fn file(&self, key: &[u8], certificates: &[&SecretBytes], key_id: &[u8]) -> Vec<u8> {
        let authenticated = self.bags(key, certificates, key_id);
        let salt = self.salt("mac", &authenticated);
        let mac_key = password_key(self.password, &salt);
        let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &*mac_key), &authenticated);
        let mut out = Der::default();
        out.sequence(|pfx| {
            pfx.integer(3);
            pfx.sequence(|info| {
                info.oid(DATA);
                info.explicit(0, |content| content.octets(&authenticated));
            });
            pfx.sequence(|mac_data| {
                mac_data.sequence(|info| {
                    info.sequence(|algorithm| {
                        algorithm.oid(SHA256);
                        algorithm.null();
                    });
                    info.octets(mac.as_ref());
                });
                mac_data.octets(&salt);
                mac_data.integer(ROUNDS);
            });
        });
        out.finish()
    }

    /// The certificates, encrypted as a whole, and the key, which is encrypted by itself.
    fn bags(&self, key: &[u8], certificates: &[&SecretBytes], key_id: &[u8]) -> Vec<u8> {
        let mut certs = Der::default();
        certs.sequence(|bags| {
            for (place, certificate) in certificates.iter().enumerate() {
                bags.sequence(|bag| {
                    bag.oid(CERT_BAG);
                    bag.explicit(0, |value| {
                        value.sequence(|cert| {
                            cert.oid(X509_CERTIFICATE);
                            cert.explicit(0, |content| content.octets(certificate.expose()));
                        });
                    });
                    if place == 0 {
                        attributes(bag, key_id);
                    }
                });
            }
        });
        let mut keys = Der::default();
        keys.sequence(|bags| {
            bags.sequence(|bag| {
                bag.oid(SHROUDED_KEY_BAG);
                bag.explicit(0, |value| {
                    value.sequence(|info| {
                        let locked = self.lock("key", key, info);
                        info.octets(&locked);
                    });
                });
                attributes(bag, key_id);
            });
        });
        let mut safe = Der::default();
        safe.sequence(|contents| {
            contents.sequence(|info| {
                info.oid(ENCRYPTED_DATA);
                info.explicit(0, |content| {
                    content.sequence(|encrypted| {
                        encrypted.integer(0);
                        encrypted.sequence(|inner| {
                            inner.oid(DATA);
                            let locked = self.lock("certificates", &certs.bytes, inner);
                            inner.implicit_octets(0, &locked);
                        });
                    });
                });
            });
            contents.sequence(|info| {
                info.oid(DATA);
                info.explicit(0, |content| content.octets(&keys.bytes));
            });
        });
        safe.finish()
    }

    /// Encrypts, and writes into `der` how.
    fn lock(&self, what: &str, plain: &[u8], der: &mut Der) -> Vec<u8> {
        let salt = self.salt(what, plain);
        let iv = self.salt(&format!("{what} iv"), plain);
        let rounds = NonZeroU32::new(ROUNDS).unwrap_or(NonZeroU32::MIN);
        let mut key = Zeroizing::new([0; 32]);
        let password = self.password.as_bytes();
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &salt, password, &mut *key);
        der.sequence(|algorithm| {
            algorithm.oid(PBES2);
            algorithm.sequence(|parameters| {
                parameters.sequence(|derivation| {
                    derivation.oid(PBKDF2);
                    derivation.sequence(|of| {
                        of.octets(&salt);
                        of.integer(ROUNDS);
                        of.sequence(|prf| {
                            prf.oid(HMAC_SHA256);
                            prf.null();
                        });
                    });
                });
                parameters.sequence(|cipher| {
                    cipher.oid(AES256_CBC);
                    cipher.octets(&iv);
                });
            });
        });
        let cipher = cbc::Encryptor::<Aes256>::new((&*key).into(), (&iv).into());
        cipher.encrypt_padded_vec_mut::<Pkcs7>(plain)
    }

    fn salt(&self, what: &str, of: &[u8]) -> [u8; 16] {
        let mut context = hmac::Context::with_key(&self.secret);
        context.update(what.as_bytes());
        context.update(&[0]);
        context.update(self.password.as_bytes());
        context.update(&[0]);
        context.update(of);
        let tag = context.sign();
        let mut salt = [0; 16];
        salt.copy_from_slice(&tag.as_ref()[..16]);
        salt
    }
}

/// What ties a key to its certificate, and what people see.
fn attributes(bag: &mut Der, key_id: &[u8]) {
    bag.set(|attributes| {
        attributes.sequence(|name| {
            name.oid(FRIENDLY_NAME);
            name.set(|value| value.bmp_string(ALIAS));
        });
        attributes.sequence(|id| {
            id.oid(LOCAL_KEY_ID);
            id.set(|value| value.octets(key_id));
        });
    });
}

/// The key of the MAC: RFC 7292, appendix B.2, with SHA-256 and the purpose 3. One block of output
/// is what is needed, so its step 6.C, which mixes the next one, is not here.
fn password_key(password: &str, salt: &[u8]) -> Zeroizing<[u8; 32]> {
    const BLOCK: usize = 64;
    let fill = |bytes: &[u8]| -> Zeroizing<Vec<u8>> {
        let length = bytes.len().div_ceil(BLOCK) * BLOCK;
        Zeroizing::new(bytes.iter().copied().cycle().take(length).collect())
    };
    let text: Zeroizing<Vec<u8>> =
        Zeroizing::new(password.encode_utf16().chain([0]).flat_map(u16::to_be_bytes).collect());
    let mut context = digest::Context::new(&digest::SHA256);
    for part in [&[3; BLOCK][..], &fill(salt), &fill(&text)] {
        context.update(part);
    }
    let mut key = Zeroizing::new([0; 32]);
    key.copy_from_slice(context.finish().as_ref());
    for _ in 1..ROUNDS {
        let next = digest::digest(&digest::SHA256, &*key);
        key.copy_from_slice(next.as_ref());
    }
    key
}

#[cfg(test)]
mod tests;
