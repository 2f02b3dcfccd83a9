//! Messages as bytes, for the way out of the process that parses. What comes in may have been
//! written by somebody who took that process over: every length is checked, every word is known.

use std::borrow::Cow;

use super::message::Message;
use crate::scan::finding::{Hit, Inside, Proof, RuleId, SkipReason, Trouble};
use crate::scan::image::index::Index;
use crate::scan::image::layer::Passage;
use crate::scan::image::outbox::{Counts, Event, Passed, Seen};
use crate::secret::SecretBytes;

/// What came in is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the process that parses says something that is no message")]
pub struct Garbled;

type Read<T> = Result<T, Garbled>;

/// Bytes to write to.
#[derive(Default)]
pub struct Out(pub Vec<u8>);

impl Out {
    /// A number.
    pub fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    /// Bytes with their length.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Out, T)) {
        self.0.push(value.is_some().into());
        if let Some(value) = value {
            write(self, value);
        }
    }

    fn list<T>(&mut self, items: &[T], write: impl Fn(&mut Out, &T)) {
        self.number(items.len() as u64);
        for item in items {
            write(self, item);
        }
    }

    fn inside(&mut self, inside: &[Inside]) {
        self.list(inside, |out, step| {
            out.bytes(step.via.word().as_bytes());
            out.option(step.name.as_deref(), Out::bytes);
            out.number(step.offset);
        });
    }

    fn text(&mut self, text: Option<&str>) {
        self.option(text.map(str::as_bytes), Out::bytes);
    }
}

/// Bytes to read from.
pub struct In<'a>(pub &'a [u8]);

impl<'a> In<'a> {
    /// A number.
    pub fn number(&mut self) -> Read<u64> {
        let (number, rest) = self.0.split_first_chunk().ok_or(Garbled)?;
        self.0 = rest;
        Ok(u64::from_le_bytes(*number))
    }

    /// Bytes with their length.
    pub fn bytes(&mut self) -> Read<&'a [u8]> {
        let count = usize::try_from(self.number()?).map_err(|_| Garbled)?;
        let (bytes, rest) = self.0.split_at_checked(count).ok_or(Garbled)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn byte(&mut self) -> Read<u8> {
        let (byte, rest) = self.0.split_first().ok_or(Garbled)?;
        self.0 = rest;
        Ok(*byte)
    }

    fn flag(&mut self) -> Read<bool> {
        Ok(self.byte()? != 0)
    }

    fn small<T: TryFrom<u64>>(&mut self) -> Read<T> {
        self.number()?.try_into().map_err(|_| Garbled)
    }

    fn option<T>(&mut self, read: impl FnOnce(&mut In<'a>) -> Read<T>) -> Read<Option<T>> {
        if self.flag()? { read(self).map(Some) } else { Ok(None) }
    }

    fn list<T>(&mut self, read: impl Fn(&mut In<'a>) -> Read<T>) -> Read<Vec<T>> {
        let count: usize = self.small()?;
        let mut items = Vec::with_capacity(count.min(self.0.len() / 8));
        for _ in 0..count {
            items.push(read(self)?);
        }
        Ok(items)
    }

    /// Text.
    pub fn text(&mut self) -> Read<String> {
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| Garbled)
    }

    fn word<T: std::str::FromStr>(&mut self) -> Read<T> {
        std::str::from_utf8(self.bytes()?).ok().and_then(|word| word.parse().ok()).ok_or(Garbled)
    }

    fn owned(&mut self) -> Read<Vec<u8>> {
        self.bytes().map(<[u8]>::to_vec)
    }

    fn inside(&mut self) -> Read<Vec<Inside>> {
        self.list(|input| {
            let via = input.word()?;
            let name = input.option(In::owned)?;
            Ok(Inside { via, name, offset: input.number()? })
        })
    }
}

/// A message as bytes.
pub fn encode(message: &Message) -> Vec<u8> {
    let mut out = Out::default();
    match message {
        Message::Begin { key } => {
            out.0.push(0);
            out.bytes(key.as_bytes());
        }
        Message::Event { key, event: Event::Seen(seen) } => {
            out.0.push(1);
            out.bytes(key.as_bytes());
            write_seen(&mut out, seen);
        }
        Message::Event { key, event: Event::Passed(passed) } => {
            out.0.push(2);
            out.bytes(key.as_bytes());
            out.bytes(passed.reason.word().as_bytes());
            out.option(passed.path.as_deref(), Out::bytes);
            out.inside(&passed.inside);
            out.text(passed.detail.as_deref());
        }
        Message::End { key, passage } => {
            out.0.push(3);
            out.bytes(key.as_bytes());
            write_passage(&mut out, passage);
        }
        Message::Image { source, planned } => {
            out.0.push(4);
            out.number(*source as u64);
            out.bytes(&serde_json::to_vec(planned).unwrap_or_default());
        }
        Message::Failed { source, trouble } => {
            out.0.push(5);
            out.number(*source as u64);
            for text in [&trouble.what, &trouble.why, &trouble.hint] {
                out.bytes(text.as_bytes());
            }
        }
        Message::Progress(count) => {
            out.0.push(6);
            out.number(*count);
        }
        Message::Lacking(lacking) => {
            out.0.push(7);
            out.list(lacking, |out, text| out.bytes(text.as_bytes()));
        }
        Message::Done => out.0.push(8),
        Message::Over { source } => {
            out.0.push(9);
            out.number(*source as u64);
        }
    }
    out.0
}

/// Bytes as a message.
pub fn decode(bytes: &[u8]) -> Read<Message> {
    let mut input = In(bytes);
    let message = match input.byte()? {
        0 => Message::Begin { key: input.text()? },
        1 => Message::Event { key: input.text()?, event: Event::Seen(read_seen(&mut input)?) },
        2 => Message::Event {
            key: input.text()?,
            event: Event::Passed(Passed {
                reason: input.word()?,
                path: input.option(In::owned)?,
                inside: input.inside()?,
                detail: input.option(In::text)?,
            }),
        },
        3 => Message::End { key: input.text()?, passage: Box::new(read_passage(&mut input)?) },
        4 => Message::Image {
            source: input.small()?,
            planned: serde_json::from_slice(input.bytes()?).map_err(|_| Garbled)?,
        },
        5 => Message::Failed {
            source: input.small()?,
            trouble: Trouble { what: input.text()?, why: input.text()?, hint: input.text()? },
        },
        6 => Message::Progress(input.number()?),
        7 => Message::Lacking(input.list(In::text)?),
        8 => Message::Done,
        9 => Message::Over { source: input.small()? },
        _ => return Err(Garbled),
    };
    if input.0.is_empty() { Ok(message) } else { Err(Garbled) }
}

fn write_seen(out: &mut Out, seen: &Seen) {
    out.bytes(seen.kind.word().as_bytes());
    out.option(seen.path.as_deref(), Out::bytes);
    out.number(seen.ordinal.into());
    out.inside(&seen.inside);
    out.text(seen.instruction.as_deref());
    let hit = &seen.hit;
    out.number(hit.rule.0.into());
    out.number(hit.offset);
    out.number(hit.length);
    out.option(hit.line, Out::number);
    out.option(hit.column, Out::number);
    out.inside(&hit.inside);
    out.bytes(hit.secret.expose());
    out.bytes(hit.confidence.word().as_bytes());
    out.bytes(hit.severity.word().as_bytes());
    out.list(&hit.proof, |out, proof| out.bytes(proof_text(proof).as_bytes()));
    out.0.push(hit.weak.into());
    out.text(hit.key_name.as_deref());
    out.0.push(hit.allowed_inline.into());
}

fn read_seen(input: &mut In<'_>) -> Read<Seen> {
    Ok(Seen {
        kind: input.word()?,
        path: input.option(In::owned)?,
        ordinal: input.small()?,
        inside: input.inside()?,
        instruction: input.option(In::text)?,
        hit: Hit {
            rule: RuleId(input.small()?),
            offset: input.number()?,
            length: input.number()?,
            line: input.option(In::number)?,
            column: input.option(In::number)?,
            inside: input.inside()?,
            secret: SecretBytes::copy_of(input.bytes()?),
            confidence: input.word()?,
            severity: input.word()?,
            proof: input.list(read_proof)?,
            weak: input.flag()?,
            key_name: input.option(In::text)?,
            allowed_inline: input.flag()?,
        },
    })
}

fn proof_text(proof: &Proof) -> Cow<'_, str> {
    match proof {
        Proof::PublicKey(fingerprint) => format!("public_key {fingerprint}").into(),
        Proof::Checksum => "checksum".into(),
        Proof::Structure => "structure".into(),
        Proof::KeyParses => "key_parses".into(),
        Proof::Paired => "paired".into(),
        Proof::Encrypted => "encrypted".into(),
        Proof::Expired => "expired".into(),
        Proof::Other(word) => (*word).into(),
    }
}

fn read_proof(input: &mut In<'_>) -> Read<Proof> {
    let text = input.text()?;
    Ok(match text.as_str() {
        "checksum" => Proof::Checksum,
        "structure" => Proof::Structure,
        "key_parses" => Proof::KeyParses,
        "paired" => Proof::Paired,
        "encrypted" => Proof::Encrypted,
        "expired" => Proof::Expired,
        other => match other.strip_prefix("public_key ") {
            Some(fingerprint) => Proof::PublicKey(fingerprint.to_owned()),
            None => Proof::Other("other"),
        },
    })
}

fn write_passage(out: &mut Out, passage: &Passage) {
    out.bytes(passage.digest.as_bytes());
    out.number(passage.size);
    out.number(passage.unpacked);
    out.0.push(passage.tar.into());
    let counts = passage.counts;
    for count in [
        counts.bytes_seen,
        counts.files_seen,
        counts.files_skipped,
        counts.skips,
        counts.hits_dropped,
    ] {
        out.number(count);
    }
    out.list(&passage.faults, |out, (reason, detail)| {
        out.bytes(reason.word().as_bytes());
        out.text(detail.as_deref());
    });
    let index = &passage.index;
    let (entries, last) = index.parts();
    out.list(entries, |out, entry| out.number(*entry));
    out.list(last, |out, (key, ordinal)| {
        out.number(*key);
        out.number((*ordinal).into());
    });
    for names in [&index.links, &index.hard] {
        out.list(names, |out, (from, to)| {
            out.bytes(from);
            out.bytes(to);
        });
    }
}

fn read_passage(input: &mut In<'_>) -> Read<Passage> {
    let digest = input.text()?;
    let (size, unpacked, tar) = (input.number()?, input.number()?, input.flag()?);
    let counts = Counts {
        bytes_seen: input.number()?,
        files_seen: input.number()?,
        files_skipped: input.number()?,
        skips: input.number()?,
        hits_dropped: input.number()?,
    };
    let faults = input.list(|input| {
        let reason: SkipReason = input.word()?;
        Ok((reason, input.option(In::text)?))
    })?;
    let entries = input.list(In::number)?;
    let last = input.list(|input| Ok((input.number()?, input.small()?)))?;
    let pairs = |input: &mut In<'_>| input.list(|input| Ok((input.owned()?, input.owned()?)));
    let mut index = Index::from_parts(entries, last);
    index.links = pairs(input)?;
    index.hard = pairs(input)?;
    Ok(Passage { digest, size, unpacked, tar, counts, faults, index })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::finding::{Confidence, PlaceKind, Severity, Via};

    fn seen() -> Seen {
        let inside = vec![Inside { via: Via::Gzip, name: None, offset: 7 }];
        Seen {
            kind: PlaceKind::Env,
            path: Some(b"A\xff".to_vec()),
            ordinal: 3,
            inside: inside.clone(),
            instruction: Some("ENV A=b".to_owned()),
            hit: Hit {
                rule: RuleId(9),
                offset: 1,
                length: 2,
                line: Some(3),
                column: None,
                inside,
                secret: SecretBytes::from(b"value".to_vec()),
                confidence: Confidence::Proved,
                severity: Severity::High,
                proof: vec![Proof::Checksum, Proof::PublicKey("SHA256:x".to_owned())],
                weak: true,
                key_name: Some("A".to_owned()),
                allowed_inline: true,
            },
        }
    }

    fn messages() -> Vec<Message> {
        let key = || "sha256:0".to_owned();
        let mut index = Index::from_parts(vec![16], vec![(16, 2)]);
        index.links.push((b"a".to_vec(), b"b".to_vec()));
        let passage = Passage {
            digest: key(),
            faults: vec![(SkipReason::Io, Some("x".to_owned()))],
            index,
            ..Passage::default()
        };
        let passed = Passed {
            reason: SkipReason::Partly,
            path: None,
            inside: Vec::new(),
            detail: Some("d".to_owned()),
        };
        let trouble = Trouble { what: "a".into(), why: "b".into(), hint: "c".into() };
        vec![
            Message::Begin { key: key() },
            Message::Event { key: key(), event: Event::Seen(seen()) },
            Message::Event { key: key(), event: Event::Passed(passed) },
            Message::End { key: key(), passage: Box::new(passage) },
            Message::Image { source: 1, planned: Box::default() },
            Message::Failed { source: 2, trouble },
            Message::Over { source: 3 },
            Message::Progress(5),
            Message::Lacking(vec!["landlock".to_owned()]),
            Message::Done,
        ]
    }

    #[test]
    fn every_message_comes_back_as_it_was() {
        for message in messages() {
            let bytes = encode(&message);
            let back = decode(&bytes).unwrap();
            assert_eq!(format!("{back:?}"), format!("{message:?}"));
            assert_eq!(encode(&back), bytes);
        }
    }

    #[test]
    fn a_message_that_is_cut_or_too_long_is_refused() {
        for message in messages() {
            let mut bytes = encode(&message);
            for end in 0..bytes.len() {
                assert_eq!(decode(&bytes[..end]).err(), Some(Garbled), "{message:?} cut at {end}");
            }
            bytes.push(0);
            assert!(decode(&bytes).is_err());
        }
    }
}
