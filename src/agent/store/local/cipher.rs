//! age around a local store: keys, recipients, opening and sealing.

use std::io::{Read, Write};
use std::str::FromStr;

use age::armor::{ArmoredReader, ArmoredWriter, Format};
use age::secrecy::ExposeSecret;
use age::x25519::{Identity, Recipient};
use age::{DecryptError, Decryptor, Encryptor};
use zeroize::Zeroizing;

use super::error::LocalFault;
use crate::secret::SecretBytes;

/// What every age file begins with: <https://age-encryption.org/v1>.
const MAGIC: [u8; 22] = *b"age-encryption.org/v1\n";

/// And what its armor begins with.
const ARMOR: &[u8] = b"-----BEGIN AGE ENCRYPTED FILE-----";

/// The X25519 identities of a key file.
pub struct Key(Vec<Identity>);

impl Key {
    /// Reads a key file: one `AGE-SECRET-KEY-1…` a line, comments and empty lines between them.
    pub fn parse(bytes: &[u8]) -> Result<Key, LocalFault> {
        let mut identities = Vec::new();
        for (i, line) in bytes.split(|&b| b == b'\n').map(<[u8]>::trim_ascii).enumerate() {
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let identity = std::str::from_utf8(line).ok().and_then(|l| Identity::from_str(l).ok());
            identities.push(identity.ok_or(LocalFault::KeyLine { line: i + 1 })?);
        }
        if identities.is_empty() { Err(LocalFault::KeyEmpty) } else { Ok(Key(identities)) }
    }

    /// Makes a new key: the text of its file, and its public half.
    pub fn generate() -> (SecretBytes, String) {
        let identity = Identity::generate();
        let public = identity.to_public().to_string();
        let secret = identity.to_string();
        let text = Zeroizing::new(format!("# public key: {public}\n{}\n", secret.expose_secret()));
        (SecretBytes::copy_of(text.as_bytes()), public)
    }

    /// The public halves, for whom a store of this key is sealed.
    pub fn recipients(&self) -> Vec<String> {
        self.0.iter().map(|identity| identity.to_public().to_string()).collect()
    }

    /// Decrypts a store, armored or binary.
    pub fn open(&self, sealed: &[u8]) -> Result<SecretBytes, LocalFault> {
        if sealed.trim_ascii().is_empty() {
            return Err(LocalFault::FileEmpty);
        }
        recognize(sealed)?;
        let decryptor =
            Decryptor::new_buffered(ArmoredReader::new(sealed)).map_err(|e| fault(&e))?;
        if decryptor.is_scrypt() {
            return Err(LocalFault::Passphrase);
        }
        let identities = self.0.iter().map(|identity| identity as &dyn age::Identity);
        let mut reader = decryptor.decrypt(identities).map_err(|e| fault(&e))?;
        // The plaintext is shorter than what it was sealed into.
        let mut plain = Zeroizing::new(Vec::with_capacity(sealed.len()));
        reader.read_to_end(&mut plain).map_err(|_| LocalFault::Damaged)?;
        Ok(SecretBytes::copy_of(&plain))
    }
}

fn fault(error: &DecryptError) -> LocalFault {
    match error {
        DecryptError::NoMatchingKeys => LocalFault::KeyMismatch,
        DecryptError::ExcessiveWork { .. } => LocalFault::Passphrase,
        _ => LocalFault::Damaged,
    }
}

/// Tells a file that age made, whole or not, from one that it did not make.
fn recognize(sealed: &[u8]) -> Result<(), LocalFault> {
    if sealed.starts_with(&MAGIC) {
        return Ok(());
    }
    let mut header = [0; MAGIC.len()];
    if ArmoredReader::new(sealed).read_exact(&mut header).is_ok() && header == MAGIC {
        return Ok(());
    }
    let armored = sealed.trim_ascii_start().starts_with(ARMOR);
    let cut_in_first_line = [ARMOR, &MAGIC].iter().any(|begin| begin.starts_with(sealed));
    Err(if armored || cut_in_first_line { LocalFault::Damaged } else { LocalFault::NotAge })
}

/// How many X25519 recipients can open a file.
pub fn count_recipients(sealed: &[u8]) -> usize {
    let mut bytes = Vec::new();
    // What can be read of a broken file counts; opening it says what is wrong.
    let _ = ArmoredReader::new(sealed).read_to_end(&mut bytes);
    let lines = bytes.split(|&b| b == b'\n').take_while(|line| !line.starts_with(b"---"));
    lines.filter(|line| line.starts_with(b"-> X25519 ")).count()
}

/// Encrypts a store for `recipients` (`age1…`), armored.
pub fn seal(plain: &SecretBytes, recipients: &[String]) -> Result<Vec<u8>, LocalFault> {
    let parse = |(i, text): (usize, &String)| {
        Recipient::from_str(text).map_err(|_| LocalFault::Recipient { number: i + 1 })
    };
    let recipients: Vec<_> = recipients.iter().enumerate().map(parse).collect::<Result<_, _>>()?;
    let recipients = recipients.iter().map(|recipient| recipient as &dyn age::Recipient);
    let encryptor =
        Encryptor::with_recipients(recipients).map_err(|_| LocalFault::Recipient { number: 1 })?;
    let write = || -> std::io::Result<Vec<u8>> {
        let armor = ArmoredWriter::wrap_output(Vec::new(), Format::AsciiArmor)?;
        let mut writer = encryptor.wrap_output(armor)?;
        writer.write_all(plain.expose())?;
        writer.finish()?.finish()
    };
    // A vector takes everything.
    write().map_err(|_| LocalFault::Damaged)
}

#[cfg(test)]
mod tests;
