//! Who the platform says we are: reads the proof of it each time it is needed, through doors that
//! were opened at the start, and never keeps it.

mod claims;
mod error;

use std::path::Path;

pub use claims::Claims;
pub use error::{IdentityError, Place};

use crate::agent::config::{Login, TokenSource};
use crate::sandbox::door::Door;
use crate::secret::SecretBytes;

/// Bytes that one proof may have. Service account tokens have about 1 KiB; HTTP servers refuse
/// header lines over 8 KiB or so, and request bodies of a login over 32 MiB.
const MAX_PROOF: usize = 64 * 1024;

/// What proves who we are, as it was when it was read.
#[derive(Debug)]
pub enum Proof {
    /// A signed token, for the methods `kubernetes` and `jwt`.
    Jwt {
        /// `kubernetes` or `jwt`.
        method: &'static str,
        /// Where the method is mounted.
        mount: String,
        /// The role in the store.
        role: String,
        /// The token.
        jwt: SecretBytes,
    },
    /// A role id and a secret id.
    AppRole {
        /// Where the method is mounted.
        mount: String,
        /// The role id.
        role_id: SecretBytes,
        /// The secret id, or a wrapping token that holds it.
        secret_id: SecretBytes,
    },
    /// What the TLS handshake shows.
    Certificate {
        /// Where the method is mounted.
        mount: String,
        /// The role in the store, if the config names one.
        role: Option<String>,
    },
    /// A signed request to AWS, which the store makes itself.
    Aws {
        /// Where the method is mounted.
        mount: String,
        /// The role in the store, if the config names one.
        role: Option<String>,
    },
    /// A token of the store, which somebody else logged in for.
    Token(SecretBytes),
}

/// Reads proofs.
pub struct Identity(Kind);

enum Kind {
    Jwt { method: &'static str, mount: String, role: String, token: Door },
    AppRole { mount: String, role_id: Door, secret_id: Door },
    Certificate { mount: String, role: Option<String> },
    Aws { mount: String, role: Option<String> },
    TokenFile(Door),
    TokenEnv(String),
}

impl Identity {
    /// Opens the directories that the login's files are in. The files need not be there yet.
    pub fn open(login: &Login) -> Result<Identity, IdentityError> {
        let jwt = |method, role: &str, mount: &str, file| {
            Ok(Kind::Jwt { method, mount: mount.into(), role: role.into(), token: door(file)? })
        };
        Ok(Identity(match login {
            Login::Kubernetes { role, mount, token_file } => {
                jwt("kubernetes", role, mount, token_file)?
            }
            Login::Jwt { role, mount, token_file } => jwt("jwt", role, mount, token_file)?,
            Login::AppRole { mount, role_id_file, secret_id_file } => Kind::AppRole {
                mount: mount.clone(),
                role_id: door(role_id_file)?,
                secret_id: door(secret_id_file)?,
            },
            Login::Cert { role, mount } => {
                Kind::Certificate { mount: mount.clone(), role: role.clone() }
            }
            Login::Aws { role, mount, .. } => {
                Kind::Aws { mount: mount.clone(), role: role.clone() }
            }
            Login::Token(TokenSource::File(file)) => Kind::TokenFile(door(file)?),
            Login::Token(TokenSource::Env(variable)) => Kind::TokenEnv(variable.clone()),
        }))
    }

    /// The proof as it is now.
    pub fn proof(&self) -> Result<Proof, IdentityError> {
        Ok(match &self.0 {
            Kind::Jwt { method, mount, role, token } => Proof::Jwt {
                method,
                mount: mount.clone(),
                role: role.clone(),
                jwt: from_file(token)?,
            },
            Kind::AppRole { mount, role_id, secret_id } => Proof::AppRole {
                mount: mount.clone(),
                role_id: from_file(role_id)?,
                secret_id: from_file(secret_id)?,
            },
            Kind::Certificate { mount, role } => {
                Proof::Certificate { mount: mount.clone(), role: role.clone() }
            }
            Kind::Aws { mount, role } => Proof::Aws { mount: mount.clone(), role: role.clone() },
            Kind::TokenFile(file) => Proof::Token(from_file(file)?),
            Kind::TokenEnv(variable) => Proof::Token(from_env(variable)?),
        })
    }

    /// The file of a token that somebody else logs in for.
    pub fn given_file(&self) -> Option<&Path> {
        match &self.0 {
            Kind::TokenFile(door) => Some(door.path()),
            _ => None,
        }
    }

    /// Whether the proof is a token that somebody else logged in for.
    pub fn is_given(&self) -> bool {
        matches!(self.0, Kind::TokenFile(_) | Kind::TokenEnv(_))
    }
}

fn door(file: &Path) -> Result<Door, IdentityError> {
    Door::open(file).map_err(|e| IdentityError::Directory { file: file.to_owned(), kind: e.kind() })
}

fn from_file(door: &Door) -> Result<SecretBytes, IdentityError> {
    let file = || door.path().to_owned();
    let bytes =
        door.read(MAX_PROOF).map_err(|e| IdentityError::Read { file: file(), kind: e.kind() })?;
    clean(bytes, &|| Place::File(file()))
}

fn from_env(variable: &str) -> Result<SecretBytes, IdentityError> {
    use std::os::unix::ffi::OsStringExt;
    let value = std::env::var_os(variable)
        .ok_or_else(|| IdentityError::NoVariable { variable: variable.to_owned() })?;
    clean(value.into_vec(), &|| Place::Variable(variable.to_owned()))
}

/// Drops the newlines that editors leave at the end, and refuses what could not be one header or
/// one JSON string on the wire.
fn clean(mut bytes: Vec<u8>, place: &dyn Fn() -> Place) -> Result<SecretBytes, IdentityError> {
    let end = bytes.iter().rposition(|b| !matches!(b, b'\n' | b'\r')).map_or(0, |last| last + 1);
    bytes.truncate(end);
    let bytes = SecretBytes::from(bytes);
    if bytes.is_empty() {
        return Err(IdentityError::Empty { place: place() });
    }
    match bytes.expose().iter().position(|b| !b.is_ascii_graphic()) {
        Some(index) => Err(IdentityError::Character { place: place(), position: index + 1 }),
        None => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token_file(content: &[u8]) -> (tempfile::TempDir, Identity) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, content).unwrap();
        (dir, Identity::open(&Login::Token(TokenSource::File(file))).unwrap())
    }

    fn text(proof: &Proof) -> &[u8] {
        match proof {
            Proof::Jwt { jwt: secret, .. }
            | Proof::AppRole { secret_id: secret, .. }
            | Proof::Token(secret) => secret.expose(),
            Proof::Certificate { .. } | Proof::Aws { .. } => b"",
        }
    }

    #[test]
    fn a_newline_at_the_end_is_not_part_of_a_token() {
        for content in ["s.token", "s.token\n", "s.token\r\n", "s.token\n\n"] {
            let (_dir, identity) = token_file(content.as_bytes());
            assert_eq!(text(&identity.proof().unwrap()), b"s.token");
        }
    }

    #[test]
    fn what_could_not_be_one_header_line_is_refused_with_its_position() {
        for (content, position) in [(&b"s.\ntoken"[..], 3), (b"s token", 2), (b"\xfftoken", 1)] {
            let (_dir, identity) = token_file(content);
            let Err(IdentityError::Character { position: found, .. }) = identity.proof() else {
                panic!("{content:?} was taken");
            };
            assert_eq!(found, position);
        }
    }

    // Catalogue 39.
    #[test]
    fn an_empty_or_missing_or_huge_file_says_so() {
        let (_dir, identity) = token_file(b"\n");
        assert!(matches!(identity.proof(), Err(IdentityError::Empty { .. })));
        let (dir, identity) = token_file(b"t");
        std::fs::remove_file(dir.path().join("token")).unwrap();
        assert!(matches!(identity.proof(), Err(IdentityError::Read { .. })));
        let (_dir, identity) = token_file(&vec![b'a'; MAX_PROOF + 1]);
        assert!(matches!(identity.proof(), Err(IdentityError::Read { .. })));
    }

    // Catalogue 38.
    #[test]
    fn the_file_is_read_anew_for_every_proof() {
        let (dir, identity) = token_file(b"old");
        assert_eq!(text(&identity.proof().unwrap()), b"old");
        std::fs::write(dir.path().join("token"), "new").unwrap();
        assert_eq!(text(&identity.proof().unwrap()), b"new");
    }

    #[test]
    fn a_variable_holds_a_token_as_well_as_a_file() {
        let of = |name: &str| {
            Identity::open(&Login::Token(TokenSource::Env(name.into()))).unwrap().proof()
        };
        assert_eq!(text(&of("CARGO_PKG_NAME").unwrap()), b"sidekey");
        assert!(matches!(of("SIDEKEY_NOT_SET"), Err(IdentityError::NoVariable { .. })));
    }

    #[test]
    fn debug_shows_no_proof() {
        let (_dir, identity) = token_file(b"s.canary");
        assert_eq!(format!("{:?}", identity.proof().unwrap()), "Token(SecretBytes)");
    }
}
