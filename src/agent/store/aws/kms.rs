//! KMS: a ciphertext from Git or the image, bare or in an envelope, decrypted once and again only
//! when it changes.

use std::collections::HashMap;

use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::DataKeySpec;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom as _, SystemRandom};

use super::answer::refused;
use super::envelope::{self, Envelope};
use super::error::{Action, AwsError, CiphertextFault, Fault};
use super::value::{digest, part};
use super::{AwsStore, Clients, Failed};
use crate::agent::store::{Answer, Wanted};
use crate::secret::{SecretBytes, Version};

/// Bytes of the longest ciphertext that KMS takes.
const MAX_BARE: usize = 6144;

/// Bytes of the shortest that it makes: the shortest has a key's name, a nonce and a tag.
const MIN_BARE: usize = 64;

/// What is to be decrypted, and with what.
pub(super) struct Sealed {
    ciphertext: Vec<u8>,
    context: Context,
    key: Option<String>,
}

/// An encryption context, in one order.
type Context = std::collections::BTreeMap<String, String>;

impl Sealed {
    /// Reads the parameters of a request.
    fn of(wanted: &Wanted<'_>) -> Result<Sealed, CiphertextFault> {
        let values = &wanted.with.values;
        let ciphertext = match (wanted.files.get("ciphertext"), values.get("ciphertext")) {
            (Some(file), _) => of_file(file.expose())?,
            (None, Some(text)) => {
                let text = text.as_str().ok_or(CiphertextFault::NotBase64)?;
                base64_of(text.as_bytes()).ok_or(CiphertextFault::NotBase64)?
            }
            (None, None) => return Err(CiphertextFault::Missing),
        };
        if ciphertext.is_empty() {
            return Err(CiphertextFault::Missing);
        }
        let context = match values.get("context") {
            None => Context::new(),
            Some(given) => {
                serde_json::from_value(given.clone()).map_err(|_| CiphertextFault::Context)?
            }
        };
        let key = values.get("key_id").and_then(|key| key.as_str()).map(str::to_owned);
        Ok(Sealed { ciphertext, context, key })
    }
}

/// A file holds base64, perhaps in lines, or the ciphertext as it is.
fn of_file(bytes: &[u8]) -> Result<Vec<u8>, CiphertextFault> {
    let letter =
        |b: &u8| b.is_ascii_alphanumeric() || b"+/=".contains(b) || b.is_ascii_whitespace();
    match base64_of(bytes) {
        Some(decoded) => Ok(decoded),
        None if bytes.iter().all(letter) => Err(CiphertextFault::CutShort),
        None => Ok(bytes.to_vec()),
    }
}

fn base64_of(text: &[u8]) -> Option<Vec<u8>> {
    let text: Vec<u8> = text.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
    STANDARD.decode(text).ok()
}

impl AwsStore {
    /// What is to be decrypted and its version; nothing if that one is here already.
    pub(super) fn sealed(&self, wanted: &Wanted<'_>) -> Result<Option<(Sealed, Version)>, Failed> {
        let fail = |fault| Failed(Action::Decrypt, Fault::Ciphertext(fault));
        let sealed = Sealed::of(wanted).map_err(fail)?;
        let context = sealed.context.iter().flat_map(|(name, value)| [name, value]);
        let texts = context.chain(&sealed.key).map(|text| text.as_bytes());
        let digest =
            digest(&self.digest_key, [sealed.ciphertext.as_slice()].into_iter().chain(texts));
        let version = Version::Digest(digest);
        Ok((wanted.have != Some(&version)).then_some((sealed, version)))
    }

    pub(super) async fn decrypt(
        &self,
        clients: &Clients,
        (sealed, version): (Sealed, Version),
        wanted: &Wanted<'_>,
    ) -> Result<Answer, Failed> {
        let fail = |fault| Failed(Action::Decrypt, Fault::Ciphertext(fault));
        let plain = match Envelope::parse(&sealed.ciphertext).map_err(fail)? {
            Some(envelope) => {
                let key = ask(clients, envelope.wrapped, &sealed).await?;
                envelope.open(&key).map_err(fail)?
            }
            None if is_cut(&sealed.ciphertext) => return Err(fail(CiphertextFault::CutShort)),
            None if sealed.ciphertext.len() > MAX_BARE => {
                return Err(fail(CiphertextFault::TooLong));
            }
            None => ask(clients, &sealed.ciphertext, &sealed).await?,
        };
        let value = part(plain, &wanted.from.field);
        let value = value.map_err(|fault| Failed(Action::Decrypt, fault))?;
        Ok(Self::moved(value, version, wanted))
    }

    /// Seals bytes with a new data key of a key of KMS.
    pub async fn seal(
        &self,
        key: &str,
        context: std::collections::BTreeMap<String, String>,
        plain: &SecretBytes,
        now: std::time::Duration,
    ) -> Result<Vec<u8>, AwsError> {
        let outcome = self.seal_with(key, context, plain, now).await;
        outcome.map_err(|Failed(action, fault)| self.error(action, key, fault))
    }

    async fn seal_with(
        &self,
        key: &str,
        context: Context,
        plain: &SecretBytes,
        now: std::time::Duration,
    ) -> Result<Vec<u8>, Failed> {
        let action = Action::GenerateDataKey;
        let fail = |fault| Failed(action, fault);
        if plain.len() > envelope::MAX_PLAIN {
            return Err(fail(Fault::TooLarge { limit: envelope::MAX_PLAIN }));
        }
        let clients = self.ready(now).await?;
        let request = clients.kms.generate_data_key().key_id(key).key_spec(DataKeySpec::Aes256);
        let request = request.set_encryption_context(as_sent(&context));
        let made = request.send().await.map_err(|error| fail(refused(&error).fault()))?;
        let (Some(data_key), Some(wrapped)) = (made.plaintext, made.ciphertext_blob) else {
            return Err(fail(Fault::Malformed));
        };
        let mut nonce = [0; 12];
        SystemRandom::new().fill(&mut nonce).map_err(|_| fail(Fault::Malformed))?;
        let data_key = SecretBytes::from(data_key.into_inner());
        envelope::seal(&data_key, wrapped.as_ref(), nonce, plain)
            .map_err(|fault| fail(Fault::Ciphertext(fault)))
    }
}

fn as_sent(context: &Context) -> Option<HashMap<String, String>> {
    (!context.is_empty()).then(|| context.clone().into_iter().collect())
}

async fn ask(clients: &Clients, blob: &[u8], sealed: &Sealed) -> Result<SecretBytes, Failed> {
    let fail = |fault| Failed(Action::Decrypt, fault);
    let request = clients.kms.decrypt().ciphertext_blob(Blob::new(blob));
    let request =
        request.set_encryption_context(as_sent(&sealed.context)).set_key_id(sealed.key.clone());
    let answer = request.send().await.map_err(|error| {
        fail(match refused(&error).fault() {
            Fault::CiphertextRefused { .. } => {
                Fault::CiphertextRefused { context: !sealed.context.is_empty() }
            }
            fault => fault,
        })
    })?;
    let plain = answer.plaintext.ok_or_else(|| fail(Fault::Malformed))?;
    Ok(SecretBytes::from(plain.into_inner()))
}

/// Whether the end of a bare ciphertext is missing, as far as can be seen from here: it is shorter
/// than any, or it holds a DER structure (PKCS #7 encrypted data) that says how long it is.
fn is_cut(ciphertext: &[u8]) -> bool {
    const DATA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x06];
    if ciphertext.len() < MIN_BARE {
        return true;
    }
    let Some(at) = ciphertext.windows(DATA.len()).position(|window| window == DATA) else {
        return false;
    };
    let (before, rest) = ciphertext.split_at(at);
    let declared = match before {
        [.., 0x30, 0x82, high, low] => usize::from(*high) << 8 | usize::from(*low),
        [.., 0x30, 0x81, length] => usize::from(*length),
        [.., 0x30, length] if *length < 0x80 => usize::from(*length),
        _ => return false,
    };
    rest.len() < declared
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_holds_base64_in_lines_or_the_bytes_themselves() {
        assert_eq!(of_file(b"c2VhbGVk\n").unwrap(), b"sealed");
        assert_eq!(of_file(b"c2Vh\nbGVk\n").unwrap(), b"sealed");
        assert_eq!(of_file(b"\x01\x02\x02\x00x").unwrap(), b"\x01\x02\x02\x00x");
        assert_eq!(of_file(b"c2VhbGV\n"), Err(CiphertextFault::CutShort));
    }

    #[test]
    fn a_ciphertext_that_says_how_long_it_is_is_seen_to_be_cut() {
        let der = [0x30, 0x7e, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x06];
        let mut whole = vec![1; 70];
        whole.extend(der);
        whole.resize(70 + 2 + 0x7e, 5);
        assert!(!is_cut(&whole));
        assert!(is_cut(&whole[..whole.len() - 1]));
        assert!(is_cut(&[1; 40]));
        assert!(!is_cut(&[1; 200]));
    }
}
