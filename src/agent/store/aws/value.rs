//! From what AWS hands out to a secret: text, an object's fields, or bytes.

use zeroize::Zeroizing;

use super::error::{Fault, NoFields};
use crate::secret::{DIGEST_LEN, DigestKey, FieldPath, SecretBytes, SecretValue};

/// The part of `bytes` that `field` names. A JSON object has fields; anything else is one value.
pub(super) fn part(bytes: SecretBytes, field: &FieldPath) -> Result<SecretValue, Fault> {
    match fields(&bytes) {
        Ok(value) => part_of(value, field),
        Err(_) if *field == FieldPath::Whole => Ok(SecretValue::Text(bytes)),
        Err(why) => Err(Fault::NoFields { field: field.clone(), why }),
    }
}

/// The part of a value with fields.
pub(super) fn part_of(value: SecretValue, field: &FieldPath) -> Result<SecretValue, Fault> {
    let there = value.field_names().into_iter().map(str::to_owned).collect();
    value.into_part(field).ok_or_else(|| Fault::FieldMissing { field: field.clone(), there })
}

fn fields(bytes: &SecretBytes) -> Result<SecretValue, NoFields> {
    if std::str::from_utf8(bytes.expose()).is_err() {
        return Err(NoFields::Binary);
    }
    match SecretValue::from_json(bytes.expose()) {
        Ok(value @ SecretValue::Map(_)) => Ok(value),
        Ok(_) => Err(NoFields::NotObject),
        Err(error) => Err(NoFields::NotJson(error)),
    }
}

/// A digest of several texts, each with its length in front.
pub(super) fn digest<'a>(
    key: &DigestKey,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> [u8; DIGEST_LEN] {
    let mut canonical = Zeroizing::new(Vec::with_capacity(8192));
    for piece in pieces {
        canonical.extend((piece.len() as u64).to_le_bytes());
        canonical.extend(piece);
    }
    key.digest(&canonical)
}
