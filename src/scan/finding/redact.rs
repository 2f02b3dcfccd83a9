//! Takes secrets out of the text around them: an instruction `ENV TOKEN=…` names what brought the
//! secret in, and would print it.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use crate::secret::SecretBytes;

/// What stands where a secret stood.
pub const REDACTED: &str = "[secret]";

/// Secrets are looked for by as many bytes of their beginning. A shorter secret would take ordinary
/// words apart.
const BEGINNING: usize = 3;

/// A line of a longer secret that is long enough to be looked for on its own.
const LINE_AT_LEAST: usize = 16;

/// Encoded forms shorter than this could be anything.
const ENCODED_AT_LEAST: usize = 12;

/// The secrets of an image, in the forms they may be written in, by their beginning: an image may
/// have ten thousand secrets and as many places with an instruction each.
#[derive(Default)]
pub struct Redactor {
    needles: HashMap<[u8; BEGINNING], Vec<Zeroizing<Vec<u8>>>>,
}

impl Redactor {
    /// Looks for `secret` from now on.
    pub fn add(&mut self, secret: &SecretBytes) {
        let bytes = secret.expose();
        self.need(bytes, BEGINNING);
        if bytes.contains(&b'\n') {
            for line in bytes.split(|&byte| byte == b'\n') {
                self.need(line.trim_ascii(), LINE_AT_LEAST);
            }
        }
        for encoded in encodings(bytes) {
            self.need(encoded.as_bytes(), ENCODED_AT_LEAST);
        }
    }

    /// `text` without the secrets.
    pub fn text(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.bytes(text.as_bytes())).into_owned()
    }

    /// `bytes` without the secrets. Secrets that overlap go together.
    pub fn bytes(&self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        let (mut at, mut until) = (0, 0);
        while at < bytes.len() {
            if let Some(length) = self.longest(&bytes[at..]) {
                if at >= until {
                    out.extend_from_slice(REDACTED.as_bytes());
                }
                until = until.max(at + length);
            }
            if at >= until {
                out.push(bytes[at]);
            }
            at += 1;
        }
        out
    }

    /// How long the longest secret is that `bytes` begin with.
    fn longest(&self, bytes: &[u8]) -> Option<usize> {
        let beginning = bytes.first_chunk()?;
        let needles = self.needles.get(beginning)?;
        needles.iter().filter(|needle| bytes.starts_with(needle)).map(|needle| needle.len()).max()
    }

    fn need(&mut self, needle: &[u8], at_least: usize) {
        let Some(beginning) = needle.first_chunk().filter(|_| needle.len() >= at_least) else {
            return;
        };
        let needles = self.needles.entry(*beginning).or_default();
        needles.push(Zeroizing::new(needle.to_vec()));
    }
}

/// Base64 at each of the three alignments (without the characters that depend on the neighbours),
/// hexadecimal, and JSON's escapes.
fn encodings(bytes: &[u8]) -> Vec<String> {
    let mut all = Vec::new();
    for shift in 0..3 {
        let mut padded = Zeroizing::new(vec![0; shift]);
        padded.extend_from_slice(bytes);
        let whole = padded.len() / 3 * 4;
        let from = [0, 2, 3][shift];
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            let text = engine.encode(&padded[..]);
            all.push(text.get(from..whole).unwrap_or_default().to_owned());
        }
    }
    let hex = super::fingerprint::hex(bytes);
    all.push(hex.to_uppercase());
    all.push(hex);
    let text = String::from_utf8_lossy(bytes);
    let json = serde_json::to_string(&text).unwrap_or_default();
    all.push(json.trim_matches('"').to_owned());
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redactor(secrets: &[&str]) -> Redactor {
        let mut redactor = Redactor::default();
        for secret in secrets {
            redactor.add(&SecretBytes::copy_of(secret.as_bytes()));
        }
        redactor
    }

    #[test]
    fn every_occurrence_goes() {
        let text = redactor(&["hunter2"]).text("ENV A=hunter2 B=xhunter2x");
        assert_eq!(text, "ENV A=[secret] B=x[secret]x");
    }

    #[test]
    fn a_secret_within_a_secret_leaves_nothing_behind() {
        let text =
            redactor(&["pass", "postgres://u:pass@h/db"]).text("ENV U=postgres://u:pass@h/db");
        assert_eq!(text, "ENV U=[secret]");
    }

    #[test]
    fn secrets_that_overlap_go_together() {
        assert_eq!(
            redactor(&["abcdef", "defghi"]).text("x abcdefghi y abc def"),
            "x [secret] y abc def"
        );
        assert_eq!(redactor(&["abcd"]).text("abcdabcd"), "[secret][secret]");
    }

    #[test]
    fn encoded_forms_go_too_at_every_alignment() {
        let secret = "s3cret-value-0123456789";
        for before in ["", "a", "ab", "abc"] {
            let encoded = STANDARD_NO_PAD.encode(format!("{before}{secret}tail"));
            let text = redactor(&[secret]).text(&format!("RUN echo {encoded}"));
            assert!(text.contains(REDACTED), "{before:?}: {text}");
        }
        let hex = super::super::fingerprint::hex(secret.as_bytes());
        assert_eq!(redactor(&[secret]).text(&hex), REDACTED);
        assert_eq!(redactor(&[secret]).text(&hex.to_uppercase()), REDACTED);
    }

    #[test]
    fn a_key_on_one_line_is_found_by_its_lines() {
        let key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n-----END PRIVATE KEY-----";
        let text = redactor(&[key]).text(&format!("ENV KEY={}", key.replace('\n', "\\n")));
        assert!(!text.contains("MIIEvQ"), "{text}");
    }

    #[test]
    fn a_redaction_is_not_redacted_again() {
        assert_eq!(redactor(&["hunter2", "secret"]).text("A=hunter2"), "A=[secret]");
    }
}
