//! age (<https://age-encryption.org/v1>): the key, opening and sealing.

use std::io::{Read, Write};
use std::path::Path;
use std::str::FromStr;

use age::armor::{ArmoredReader, ArmoredWriter, Format};
use age::secrecy::ExposeSecret;
use age::x25519::{Identity, Recipient};
use age::{DecryptError, Decryptor, Encryptor};
use zeroize::Zeroize;

use super::{Fault, MAX_FILE};
use crate::secret::SecretBytes;

/// The identities of a key file.
pub struct Key {
    identities: Vec<Identity>,
}

/// A new key: what belongs into the file, and the public recipient.
pub fn generate_key() -> (SecretBytes, String) {
    let identity = Identity::generate();
    let recipient = identity.to_public().to_string();
    let secret = identity.to_string();
    let text = format!("# public key: {recipient}\n{}\n", secret.expose_secret());
    (SecretBytes::from(text), recipient)
}

impl Key {
    /// Reads a key file: identities one a line, comments and empty lines between them.
    pub fn read(mut text: Vec<u8>, file: &Path) -> Result<Key, Fault> {
        let no_key = || Fault::NoKey { file: file.to_owned() };
        let lines = std::str::from_utf8(&text).map_err(|_| no_key())?.lines().map(str::trim);
        let keys = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let identities: Result<Vec<Identity>, _> = keys.map(Identity::from_str).collect();
        text.zeroize();
        let identities = identities.map_err(|_| no_key())?;
        if identities.is_empty() { Err(no_key()) } else { Ok(Key { identities }) }
    }

    /// Decrypts a file, armoured or binary.
    pub fn open(&self, sealed: &[u8]) -> Result<SecretBytes, Fault> {
        let decryptor = Decryptor::new(ArmoredReader::new(sealed)).map_err(|e| match e {
            // The header ended before it began.
            DecryptError::Io(_) => Fault::NotAge,
            e => fault(&e),
        })?;
        let identities = self.identities.iter().map(|identity| identity as &dyn age::Identity);
        let mut reader = decryptor.decrypt(identities).map_err(|e| fault(&e))?;
        // The text is shorter than what carries it, so this never grows and leaves no copies.
        let mut text = Vec::with_capacity(sealed.len());
        reader.by_ref().take(MAX_FILE as u64).read_to_end(&mut text).map_err(|_| Fault::Damaged)?;
        Ok(SecretBytes::from(text))
    }

    /// Encrypts `text` for this key and for further recipients, armoured.
    pub fn seal(&self, text: &SecretBytes, more: &[String]) -> Result<Vec<u8>, Fault> {
        let mut recipients: Vec<Recipient> =
            self.identities.iter().map(Identity::to_public).collect();
        for text in more {
            let recipient = Recipient::from_str(text)
                .map_err(|_| Fault::NotARecipient { text: text.clone() })?;
            if recipients.iter().all(|known| known.to_string() != *text) {
                recipients.push(recipient);
            }
        }
        let damaged = |_| Fault::Damaged;
        let recipients = recipients.iter().map(|recipient| recipient as &dyn age::Recipient);
        let encryptor = Encryptor::with_recipients(recipients).map_err(|_| Fault::Damaged)?;
        let mut sealed = Vec::with_capacity(2 * text.len() + 1024);
        let armor = ArmoredWriter::wrap_output(&mut sealed, Format::AsciiArmor).map_err(damaged)?;
        let mut writer = encryptor.wrap_output(armor).map_err(damaged)?;
        writer.write_all(text.expose()).map_err(damaged)?;
        writer.finish().and_then(ArmoredWriter::finish).map_err(damaged)?;
        Ok(sealed)
    }
}

fn fault(error: &DecryptError) -> Fault {
    match error {
        DecryptError::NoMatchingKeys => Fault::WrongKey,
        DecryptError::InvalidHeader | DecryptError::UnknownFormat => Fault::NotAge,
        _ => Fault::Damaged,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        let (text, _) = generate_key();
        Key::read(text.expose().to_vec(), Path::new("key.txt")).unwrap()
    }

    #[test]
    fn what_was_sealed_is_opened_by_every_recipient_and_nobody_else() {
        let (ours, theirs, stranger) = (key(), key(), key());
        let text = SecretBytes::from("db:\n  password: x\n".to_owned());
        let recipient = theirs.identities[0].to_public().to_string();
        let sealed = ours.seal(&text, &[recipient]).unwrap();
        assert!(sealed.starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----"));
        assert!(ours.open(&sealed).unwrap().ct_eq(&text));
        assert!(theirs.open(&sealed).unwrap().ct_eq(&text));
        assert!(matches!(stranger.open(&sealed), Err(Fault::WrongKey)));
        assert!(matches!(ours.open(b"hello"), Err(Fault::NotAge)));
        assert!(ours.open(&sealed[..sealed.len() / 2]).is_err());
    }

    #[test]
    fn a_key_file_without_a_key_is_none() {
        for text in ["", "# only a comment\n", "AGE-SECRET-KEY-1NOT", "\u{0}\u{1}"] {
            assert!(Key::read(text.into(), Path::new("key.txt")).is_err(), "{text:?}");
        }
        assert!(Key::read(vec![0xff], Path::new("key.txt")).is_err());
    }
}
