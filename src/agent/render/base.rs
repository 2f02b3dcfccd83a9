//! What a file is made of, before any format: the values it names, found, decoded and joined.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::buffer::Buffer;
use super::{FormatFailure, RenderError, Secrets};
use crate::agent::config::{FieldRef, Format};
use crate::secret::{FilePath, SecretBytes, SecretValue};

/// RFC 4648 section 4, with or without the padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Decodes base64 in lines or in one piece. `None`: it is none.
pub(super) fn decode_base64(text: &[u8]) -> Option<SecretBytes> {
    let mut packed = Buffer::with_room(text.len());
    text.split(u8::is_ascii_whitespace).for_each(|piece| packed.extend(piece));
    BASE64.decode(packed.finish().expose()).ok().map(SecretBytes::from)
}

/// A value on its way into a file: as the secret holds it, or decoded from that.
pub(super) enum Held<'a> {
    Stored(&'a SecretValue),
    Decoded(SecretValue),
}

impl Held<'_> {
    pub(super) fn value(&self) -> &SecretValue {
        match self {
            Held::Stored(value) => value,
            Held::Decoded(value) => value,
        }
    }
}

/// What a format writes: fields by name, or one value without a name.
pub(super) enum Document<'a> {
    Fields(Vec<(&'a str, Held<'a>)>),
    One(Held<'a>),
}

/// The bytes that a value is delivered as, in the pieces that a newline joins.
enum Piece<'a> {
    Stored(&'a [u8]),
    Made(SecretBytes),
}

impl Piece<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Piece::Stored(bytes) => bytes,
            Piece::Made(bytes) => bytes.expose(),
        }
    }
}

/// A value as bytes: text and numbers as they are, arrays of text as lines, anything else as
/// compact JSON.
pub(super) fn deliver(value: &SecretValue) -> Result<SecretBytes, FormatFailure> {
    Ok(join(pieces(value)?))
}

fn pieces(value: &SecretValue) -> Result<Vec<Piece<'_>>, FormatFailure> {
    fn text(value: &SecretValue) -> Option<Piece<'_>> {
        match value {
            SecretValue::Text(bytes) => Some(Piece::Stored(bytes.expose())),
            _ => None,
        }
    }
    Ok(match value {
        SecretValue::Text(bytes) | SecretValue::Number(bytes) => {
            vec![Piece::Stored(bytes.expose())]
        }
        SecretValue::List(items) => match items.iter().map(text).collect() {
            Some(lines) => lines,
            None => vec![Piece::Made(json(value)?)],
        },
        _ => vec![Piece::Made(json(value)?)],
    })
}

/// The only way for JSON to fail here is a value that is not UTF-8.
pub(super) fn json(value: &SecretValue) -> Result<SecretBytes, FormatFailure> {
    value.to_json().map_err(|_| FormatFailure::NotText)
}

/// Joins with exactly one newline between two pieces; the last keeps its own. Empty pieces are
/// left out, so that they add no line.
fn join(pieces: Vec<Piece<'_>>) -> SecretBytes {
    let mut pieces: Vec<_> = pieces.into_iter().filter(|p| !p.bytes().is_empty()).collect();
    if pieces.len() <= 1 {
        return match pieces.pop() {
            Some(Piece::Made(bytes)) => bytes,
            Some(Piece::Stored(bytes)) => SecretBytes::copy_of(bytes),
            None => SecretBytes::copy_of(b""),
        };
    }
    let mut joined = Buffer::with_room(pieces.iter().map(|piece| piece.bytes().len() + 1).sum());
    for (i, piece) in pieces.iter().enumerate() {
        if i > 0 {
            joined.trim_newlines();
            joined.push(b'\n');
        }
        joined.extend(piece.bytes());
    }
    joined.finish()
}

/// Finds and prepares the values of one file.
pub(super) struct Base<'a> {
    pub(super) file: &'a FilePath,
    pub(super) secrets: &'a Secrets<'a>,
    pub(super) decode: bool,
}

impl<'a> Base<'a> {
    /// The parts, joined.
    pub(super) fn joined(&self, parts: &[FieldRef]) -> Result<SecretBytes, RenderError> {
        let mut held = Vec::with_capacity(parts.len());
        for part in parts {
            if let Some(value) = self.find(part)? {
                held.push((part, value));
            }
        }
        let mut all = Vec::new();
        for (part, value) in &held {
            let found = pieces(value.value()).map_err(|why| self.refused(part, why))?;
            if !part.optional && found.iter().all(|piece| piece.bytes().is_empty()) {
                return Err(self.empty(part));
            }
            all.extend(found);
        }
        Ok(join(all))
    }

    /// All fields of what `part` names. A field that is null is missing, so it is left out.
    pub(super) fn whole(&self, part: &FieldRef) -> Result<Document<'a>, RenderError> {
        let Some(value) = self.look_up(part)? else { return Ok(Document::Fields(Vec::new())) };
        let SecretValue::Map(fields) = value else {
            return Ok(Document::One(self.decoded(part, value)?));
        };
        let present = fields.iter().filter(|(_, value)| !matches!(value, SecretValue::Null));
        let fields = present.map(|(name, value)| Ok((name.as_str(), self.decoded(part, value)?)));
        let fields: Vec<_> = fields.collect::<Result<_, RenderError>>()?;
        if fields.is_empty() { Err(self.empty(part)) } else { Ok(Document::Fields(fields)) }
    }

    /// The named values.
    pub(super) fn entries(
        &self,
        entries: &'a BTreeMap<String, FieldRef>,
    ) -> Result<Document<'a>, RenderError> {
        let mut fields = Vec::with_capacity(entries.len());
        for (name, part) in entries {
            if let Some(value) = self.find(part)? {
                fields.push((name.as_str(), value));
            }
        }
        if fields.is_empty() {
            return Err(RenderError::FileEmpty { file: self.file.clone() });
        }
        Ok(Document::Fields(fields))
    }

    fn find(&self, part: &FieldRef) -> Result<Option<Held<'a>>, RenderError> {
        self.look_up(part)?.map(|value| self.decoded(part, value)).transpose()
    }

    fn look_up(&self, part: &FieldRef) -> Result<Option<&'a SecretValue>, RenderError> {
        let secret = self.secrets.get(&part.secret);
        let value = secret.and_then(|secret| secret.value.at(&part.field));
        if value.is_some() || part.optional {
            return Ok(value);
        }
        let (file, name) = (self.file.clone(), part.secret.clone());
        Err(match secret {
            None => RenderError::SecretMissing { file, secret: name },
            Some(secret) => RenderError::FieldMissing {
                file,
                line: None,
                secret: name,
                field: part.field.clone(),
                have: secret.value.field_names().into_iter().map(str::to_owned).collect(),
            },
        })
    }

    /// Takes the base64 off, where that is asked for: of text, and of each text in an array.
    fn decoded(&self, part: &FieldRef, value: &'a SecretValue) -> Result<Held<'a>, RenderError> {
        if !self.decode {
            return Ok(Held::Stored(value));
        }
        let decode = |bytes: &SecretBytes| {
            decode_base64(bytes.expose()).map(SecretValue::Text).ok_or_else(|| {
                RenderError::NotBase64 {
                    file: self.file.clone(),
                    secret: part.secret.clone(),
                    field: part.field.clone(),
                }
            })
        };
        Ok(match value {
            SecretValue::Text(bytes) => Held::Decoded(decode(bytes)?),
            SecretValue::List(items)
                if items.iter().all(|item| matches!(item, SecretValue::Text(_))) =>
            {
                let texts = items.iter().filter_map(|item| match item {
                    SecretValue::Text(bytes) => Some(decode(bytes)),
                    _ => None,
                });
                Held::Decoded(SecretValue::List(texts.collect::<Result<_, _>>()?))
            }
            _ => Held::Stored(value),
        })
    }

    fn empty(&self, part: &FieldRef) -> RenderError {
        RenderError::ValueEmpty {
            file: self.file.clone(),
            secret: part.secret.clone(),
            field: part.field.clone(),
        }
    }

    fn refused(&self, part: &FieldRef, why: FormatFailure) -> RenderError {
        RenderError::Refused {
            file: self.file.clone(),
            format: Format::Raw,
            key: format!("{}{}", part.secret, part.field),
            why,
        }
    }
}
