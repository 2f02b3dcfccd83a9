//! What makes a secret change, read from its own fields: the rotation of a static role, the dates of
//! a certificate.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use x509_parser::pem::parse_x509_pem;

use crate::agent::store::Rhythm;
use crate::secret::{SecretBytes, SecretValue};

/// What the fields of an answer say.
///
/// - A static role of a database, LDAP or the like: `ttl` beside `last_vault_rotation`. The `ttl` is
///   taken out, because it differs in each answer and is no part of the secret.
/// - A certificate that was just made (PKI): `certificate` beside `serial_number`.
/// - An SSH certificate that was just made: `signed_key` beside `serial_number`.
pub(super) fn of(value: &mut SecretValue) -> Rhythm {
    let SecretValue::Map(fields) = value else { return Rhythm::Unknown };
    if fields.contains_key("last_vault_rotation")
        && let Some(ttl) = fields.remove("ttl")
    {
        return turns(&ttl);
    }
    let text = |name: &str| match fields.get(name) {
        Some(SecretValue::Text(text)) => Some(text),
        _ => None,
    };
    let dates = match (text("certificate"), text("signed_key")) {
        _ if text("serial_number").is_none() => None,
        (Some(certificate), _) => x509_dates(certificate),
        (None, Some(signed_key)) => ssh_dates(signed_key),
        (None, None) => None,
    };
    dates.map_or(Rhythm::Unknown, |(from, until)| Rhythm::Dated { from, until })
}

/// A `ttl` of 0, or of nothing that makes sense, is asked for again soon.
fn turns(ttl: &SecretValue) -> Rhythm {
    let SecretValue::Number(number) = ttl else { return Rhythm::Unknown };
    let text = std::str::from_utf8(number.expose()).unwrap_or_default();
    Rhythm::Turns(Duration::from_secs(text.parse().unwrap_or_default()))
}

fn x509_dates(pem: &SecretBytes) -> Option<(i64, i64)> {
    let (_, pem) = parse_x509_pem(pem.expose()).ok()?;
    let certificate = pem.parse_x509().ok()?;
    let validity = certificate.validity();
    Some((validity.not_before.timestamp(), validity.not_after.timestamp()))
}

/// The dates of an OpenSSH certificate, whose layout is PROTOCOL.certkeys of OpenSSH: type, nonce,
/// the key's own fields, serial, kind, id, principals, and then the two dates. By hand, because a
/// library for it would be a hundred times this and the rest of the certificate is not our business.
fn ssh_dates(line: &SecretBytes) -> Option<(i64, i64)> {
    let text = std::str::from_utf8(line.expose()).ok()?;
    let blob = BASE64_STANDARD.decode(text.split_whitespace().nth(1)?).ok()?;
    let mut rest = blob.as_slice();
    let kind = string(&mut rest)?;
    let fields_of_key = match kind {
        b"ssh-ed25519-cert-v01@openssh.com" => 1,
        b"ssh-rsa-cert-v01@openssh.com" | b"sk-ssh-ed25519-cert-v01@openssh.com" => 2,
        b"sk-ecdsa-sha2-nistp256-cert-v01@openssh.com" => 3,
        kind if kind.starts_with(b"ecdsa-sha2-") => 2,
        _ => return None,
    };
    for _ in 0..=fields_of_key {
        string(&mut rest)?; // the nonce, then the key
    }
    take(&mut rest, 8 + 4)?; // serial, user or host
    string(&mut rest)?; // id
    string(&mut rest)?; // principals
    let mut date = || Some(u64::from_be_bytes(take(&mut rest, 8)?.try_into().ok()?));
    let (from, until) = (date()?, date()?);
    // "for ever" is the largest number, and has no date.
    Some((i64::try_from(from).ok()?, i64::try_from(until).ok()?))
}

fn string<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = u32::from_be_bytes(take(rest, 4)?.try_into().ok()?);
    take(rest, usize::try_from(length).ok()?)
}

fn take<'a>(rest: &mut &'a [u8], bytes: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(bytes)?;
    *rest = left;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(json: &str) -> SecretValue {
        SecretValue::from_json(json.as_bytes()).unwrap()
    }

    #[test]
    fn a_static_role_says_when_it_turns_and_its_ttl_is_no_part_of_the_secret() {
        let json = r#"{"ttl":17,"last_vault_rotation":"2026-01-01T00:00:00Z","password":"x","username":"u"}"#;
        let mut role = value(json);
        assert_eq!(of(&mut role), Rhythm::Turns(Duration::from_secs(17)));
        assert!(!role.field_names().contains(&"ttl"));
        for (ttl, seconds) in [("0", 0), ("-1", 0), ("1.5", 0), ("18446744073709551615", u64::MAX)]
        {
            let mut role = value(&json.replace("17", ttl));
            assert_eq!(of(&mut role), Rhythm::Turns(Duration::from_secs(seconds)), "{ttl}");
        }
    }

    #[test]
    fn what_only_looks_alike_is_polled() {
        for json in [
            r#"{"ttl":17,"password":"x"}"#,
            r#"{"certificate":"x"}"#,
            r#"{"certificate":"x","serial_number":"1"}"#,
            "[1]",
        ] {
            let mut plain = value(json);
            let names = plain.field_names().len();
            assert_eq!(of(&mut plain), Rhythm::Unknown, "{json}");
            assert_eq!(plain.field_names().len(), names, "{json}");
        }
    }

    #[test]
    fn a_certificate_says_from_when_until_when() {
        let mut params = rcgen::CertificateParams::new(vec!["orders.svc".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2026, 1, 2);
        let key = rcgen::KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem().replace('\n', "\\n");
        let mut issued = value(&format!(r#"{{"certificate":"{pem}","serial_number":"1:2"}}"#));
        assert_eq!(of(&mut issued), Rhythm::Dated { from: 1_767_225_600, until: 1_767_312_000 });
    }

    #[test]
    fn an_ssh_certificate_says_from_when_until_when_and_a_cut_one_says_nothing() {
        let mut blob = Vec::new();
        let string = |blob: &mut Vec<u8>, bytes: &[u8]| {
            blob.extend(u32::try_from(bytes.len()).unwrap().to_be_bytes());
            blob.extend(bytes);
        };
        for part in [&b"ssh-ed25519-cert-v01@openssh.com"[..], &[7; 32], &[9; 32]] {
            string(&mut blob, part);
        }
        blob.extend([0; 12]);
        string(&mut blob, b"id");
        string(&mut blob, b"");
        blob.extend(1_000_u64.to_be_bytes());
        let whole = [&blob[..], &2_000_u64.to_be_bytes()].concat();
        let line = |blob: &[u8]| {
            let line =
                format!("ssh-ed25519-cert-v01@openssh.com {} x", BASE64_STANDARD.encode(blob));
            ssh_dates(&SecretBytes::from(line))
        };
        assert_eq!(line(&whole), Some((1_000, 2_000)));
        for cut in 0..whole.len() {
            assert_eq!(line(&whole[..cut]), None, "{cut}");
        }
    }
}
