//! Files that may be published, and files that may not.

use std::collections::BTreeMap;

use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, KeyPair, date_time_ymd};

use super::*;
use crate::agent::reason::Reason;
use crate::agent::render::PemFault;
use crate::agent::render::testing::{file, part, parts};

/// 2026-01-01, in the middle of the certificates below.
const NOW: i64 = 1_767_225_600;
const DAY: i64 = 86_400;

struct Pair {
    certificate: String,
    key: String,
}

fn issue(is_ca: bool, algorithm: &'static rcgen::SignatureAlgorithm) -> Pair {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let mut params = CertificateParams::new(vec!["orders.svc".to_owned()]).unwrap();
    params.not_before = date_time_ymd(2025, 12, 1);
    params.not_after = date_time_ymd(2026, 2, 1);
    if is_ca {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    let certificate: Certificate = params.self_signed(&key).unwrap();
    Pair { certificate: certificate.pem(), key: key.serialize_pem() }
}

fn leaf() -> Pair {
    issue(false, &rcgen::PKCS_ECDSA_P256_SHA256)
}

fn ca() -> Pair {
    issue(true, &rcgen::PKCS_ECDSA_P384_SHA384)
}

fn check_at(now: i64, files: &[(&str, &str)]) -> Result<(), RenderError> {
    let config = file(parts(&["db"]));
    let files: Vec<_> = files
        .iter()
        .map(|(path, text)| (FilePath::parse(path).unwrap(), SecretBytes::copy_of(text.as_bytes())))
        .collect();
    let files: BTreeMap<_, _> =
        files.iter().map(|(path, bytes)| (path, (&config, bytes))).collect();
    check_group(&files, now)
}

fn check(files: &[(&str, &str)]) -> Result<(), RenderError> {
    check_at(NOW, files)
}

fn failure(result: Result<(), RenderError>) -> (String, CheckFailure) {
    match result {
        Err(RenderError::Check { file, failure }) => (file.to_string(), failure),
        other => panic!("{other:?}"),
    }
}

fn mismatch(result: Result<(), RenderError>) -> (String, String) {
    match failure(result) {
        (file, CheckFailure::Mismatch { certificate }) => (file, certificate.to_string()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_empty_file_may_not_be_published() {
    let error = check(&[("a", "x"), ("b", "")]).unwrap_err();
    assert_eq!(error, RenderError::FileEmpty { file: FilePath::parse("b").unwrap() });
    assert_eq!(error.reason(), Reason::SecretEmpty);
}

#[test]
fn documents_must_parse() {
    let check = |format, text: &str| {
        let config = file(Content::Whole(format, part("db")));
        let (path, bytes) = (FilePath::parse("f").unwrap(), SecretBytes::copy_of(text.as_bytes()));
        check_group(&BTreeMap::from([(&path, (&config, &bytes))]), NOW)
    };
    assert!(check(Format::Json, "{\"a\": [1]}").is_ok());
    assert!(check(Format::Yaml, "a: [1]\n").is_ok());
    let broken = failure(check(Format::Json, "{\n\"a\": oops}")).1;
    assert_eq!(broken, CheckFailure::Json { line: 2, column: 6 });
    let broken = failure(check(Format::Yaml, "a: b\nc: [1\n")).1;
    assert!(matches!(broken, CheckFailure::Yaml { .. }));
}

#[test]
fn certificates_are_in_their_dates() {
    let Pair { certificate, .. } = leaf();
    assert_eq!(check(&[("tls.crt", &certificate)]), Ok(()));
    let (begin, end) = (NOW - 31 * DAY, NOW + 31 * DAY);
    assert_eq!(
        failure(check_at(end + 5 * DAY, &[("tls.crt", &certificate)])).1,
        CheckFailure::Expired { line: 1, ago: 5 * DAY }
    );
    assert_eq!(
        failure(check_at(begin - 60, &[("tls.crt", &certificate)])).1,
        CheckFailure::NotYetValid { line: 1, ahead: 60 }
    );
    assert_eq!(check_at(begin, &[("tls.crt", &certificate)]), Ok(()));
    assert_eq!(check_at(end, &[("tls.crt", &certificate)]), Ok(()));
}

#[test]
fn an_ended_ca_further_down_a_bundle_holds_up_nothing() {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.not_after = date_time_ymd(2020, 1, 1);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let old = params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
    let now = leaf().certificate;
    assert_eq!(check(&[("chain.pem", &format!("{now}{old}"))]), Ok(()));
    let line = 1 + old.lines().count();
    assert!(matches!(failure(check(&[("ca.pem", &old)])).1, CheckFailure::Expired { line: 1, .. }));
    params = CertificateParams::new(vec![]).unwrap();
    params.not_after = date_time_ymd(2020, 1, 1);
    let ended_leaf = params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
    assert!(matches!(
        failure(check(&[("two.pem", &format!("{}{ended_leaf}", ca().certificate))])).1,
        CheckFailure::Expired { line: at, .. } if at >= line - 2
    ));
}

#[test]
fn a_key_and_its_certificate_belong_together() {
    for algorithm in
        [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519]
    {
        let (mine, other) = (issue(false, algorithm), issue(false, algorithm));
        let both = format!("{}{}", mine.key, mine.certificate);
        let crossed = format!("{}{}", other.key, mine.certificate);
        assert_eq!(check(&[("tls.pem", &both)]), Ok(()));
        assert_eq!(mismatch(check(&[("tls.pem", &crossed)])), ("tls.pem".into(), "tls.pem".into()));
        assert_eq!(check(&[("tls.crt", &mine.certificate), ("tls.key", &mine.key)]), Ok(()));
        assert_eq!(
            mismatch(check(&[("a.crt", &mine.certificate), ("b.key", &other.key)])),
            ("b.key".into(), "a.crt".into())
        );
    }
}

#[test]
fn an_rsa_key_in_either_dress_is_matched() {
    // The bodies of PEM blocks as OpenSSL makes them; the dates begin in November 2026.
    let now = 1_800_000_000;
    let armour =
        |label: &str, body: &str| format!("-----BEGIN {label}-----\n{body}-----END {label}-----\n");
    let certificate = armour("CERTIFICATE", include_str!("rsa.certificate.b64"));
    let stranger = CertificateParams::new(vec![]).unwrap();
    let stranger = stranger.self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
    for key in [
        armour("PRIVATE KEY", include_str!("rsa.pkcs8.b64")),
        armour("RSA PRIVATE KEY", include_str!("rsa.pkcs1.b64")),
    ] {
        assert_eq!(check_at(now, &[("tls.crt", &certificate), ("tls.key", &key)]), Ok(()));
        mismatch(check_at(now, &[("tls.crt", &stranger), ("tls.key", &key)]));
    }
}

#[test]
fn a_ca_of_one_s_own_name_is_matched_by_the_name_of_the_file() {
    let (mine, other) = (ca(), ca());
    assert_eq!(check(&[("c/ca.pem", &mine.certificate), ("c/sign.key", &other.key)]), Ok(()));
    assert_eq!(
        mismatch(check(&[("c/tls.crt", &mine.certificate), ("c/tls.key", &other.key)])),
        ("c/tls.key".into(), "c/tls.crt".into())
    );
    assert_eq!(check(&[("a/tls.crt", &mine.certificate), ("b/tls.key", &other.key)]), Ok(()));
}

#[test]
fn keys_and_certificates_with_nothing_to_do_with_each_other_may_share_a_group() {
    let (tls, signing, peer) = (leaf(), leaf(), leaf());
    let mut files = vec![
        ("tls.crt", tls.certificate.as_str()),
        ("tls.key", &tls.key),
        ("signing.pem", &signing.key),
    ];
    assert_eq!(check(&files), Ok(()), "a key that signs tokens");
    files[2] = ("peer.pem", &peer.certificate);
    assert_eq!(check(&files), Ok(()), "the certificate of somebody else");
}

#[test]
fn broken_pem_is_found_with_its_line() {
    let Pair { certificate, key } = leaf();
    let pem = |line, fault| CheckFailure::Pem { line, fault };
    let cut = &certificate[..certificate.len() / 2];
    assert_eq!(failure(check(&[("f", cut)])).1, pem(1, PemFault::NoEnd));
    let merged = certificate.replace('\n', " ");
    assert_eq!(failure(check(&[("f", &merged)])).1, pem(1, PemFault::NoEnd));
    let escaped = certificate.replace('\n', "\\n");
    assert_eq!(failure(check(&[("f", &escaped)])).1, pem(1, PemFault::NoEnd));
    let swapped = certificate.replace("END CERTIFICATE", "END PRIVATE KEY");
    assert_eq!(failure(check(&[("f", &swapped)])).1, pem(1, PemFault::NoEnd));
    let (first, rest) = certificate.split_once('\n').unwrap();
    let odd = format!("{first}\n*{rest}");
    assert_eq!(failure(check(&[("f", &odd)])).1, pem(2, PemFault::NotBase64));
    let hollow = "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n";
    assert_eq!(failure(check(&[("f", hollow)])).1, pem(1, PemFault::Empty));
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert_eq!(failure(check(&[("f", garbage)])).1, CheckFailure::Certificate { line: 1 });
    let garbage =
        format!("{certificate}-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----");
    let line = 1 + certificate.lines().count();
    assert_eq!(failure(check(&[("f", &garbage)])).1, CheckFailure::Key { line });
    let dos = format!("\n{key}{certificate}").replace('\n', "\r\n");
    assert_eq!(check(&[("f", &dos)]), Ok(()));
}

#[test]
fn kinds_of_pem_that_are_not_understood_pass() {
    let pgp = "-----BEGIN PGP MESSAGE-----\nVersion: 1\n\nhQ==\n=abcd\n-----END PGP MESSAGE-----\n";
    let ssh = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n";
    let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    let text = "a note about -----BEGIN CERTIFICATE-----";
    let certificate = leaf().certificate;
    for other in [pgp, ssh, old, text] {
        assert_eq!(check(&[("a", other), ("tls.crt", &certificate)]), Ok(()), "{other}");
    }
}

#[test]
fn a_certificate_beside_a_ca_of_its_issuers_name_that_did_not_sign_it_is_refused() {
    let ca = || {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "the ca");
        let key = KeyPair::generate().unwrap();
        (params.self_signed(&key).unwrap().pem(), rcgen::Issuer::new(params, key))
    };
    let ((old, _), (new, issuer)) = (ca(), ca());
    let mut params = CertificateParams::new(vec!["orders.svc".to_owned()]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, "orders");
    let key = KeyPair::generate().unwrap();
    let leaf = params.signed_by(&key, &issuer).unwrap().pem();
    assert_eq!(check(&[("a.pem", &format!("{leaf}{new}"))]), Ok(()));
    assert_eq!(check(&[("a.pem", &format!("{leaf}{old}{new}"))]), Ok(()), "both names fit");
    let (_, failure) = failure(check(&[("a.pem", &format!("{leaf}{old}"))]));
    assert_eq!(failure, CheckFailure::NotSigned { line: 1 });
}
