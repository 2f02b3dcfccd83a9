use std::process::Command;

use super::*;

const PASSWORD: &str = "päss word";

/// A CA's certificate, and a key and a certificate that it signed, in PEM.
fn issued(key: &rcgen::KeyPair) -> (String, String) {
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut ca = rcgen::CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    ca.distinguished_name.push(rcgen::DnType::CommonName, "ca");
    let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let leaf = rcgen::CertificateParams::new(vec!["orders.svc".to_owned()]).unwrap();
    (leaf.signed_by(key, &issuer).unwrap().pem(), ca_pem)
}

fn bytes(text: &str) -> SecretBytes {
    SecretBytes::from(text.to_owned())
}

/// What `openssl pkcs12` gives for a file: everything that is in it, unencrypted.
fn opened(file: &SecretBytes, password: &str) -> Result<String, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.p12");
    std::fs::write(&path, file.expose()).unwrap();
    #[expect(clippy::disallowed_methods, reason = "a reader that is not ours")]
    let output = Command::new("openssl")
        .args(["pkcs12", "-nodes", "-in"])
        .arg(&path)
        .args(["-passin", &format!("pass:{password}")])
        .output()
        .expect("apt-get install openssl");
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap())
    } else {
        Err(String::from_utf8(output.stderr).unwrap())
    }
}

#[test]
fn openssl_finds_the_key_and_the_whole_chain_and_only_with_the_password() {
    let key = rcgen::KeyPair::generate().unwrap();
    let (leaf, ca) = issued(&key);
    let pem = bytes(&format!("{}{leaf}{ca}", key.serialize_pem()));
    let file = write(&pem, &bytes(PASSWORD)).unwrap();
    let text = opened(&file, PASSWORD).unwrap();
    let squeezed = |text: &str| text.replace(['\n', '\r'], "");
    for part in [&key.serialize_pem(), &leaf, &ca] {
        assert!(squeezed(&text).contains(&squeezed(part)), "{text}");
    }
    assert!(text.contains("friendlyName: 1") && text.contains("localKeyID"), "{text}");
    assert!(opened(&file, "wrong").unwrap_err().contains("invalid password"));
}

#[test]
fn traditional_keys_are_put_into_pkcs8() {
    #[expect(clippy::disallowed_methods, reason = "a writer that is not ours")]
    let openssl = |args: &[&str]| {
        let output = Command::new("openssl").args(args).output().expect("apt-get install openssl");
        String::from_utf8(output.stdout).unwrap()
    };
    for (traditional, label) in [
        (openssl(&["ecparam", "-genkey", "-name", "prime256v1", "-noout"]), "EC PRIVATE KEY"),
        (openssl(&["genrsa", "-traditional", "2048"]), "RSA PRIVATE KEY"),
    ] {
        assert!(traditional.contains(label), "{traditional}");
        let (leaf, _) = issued(&rcgen::KeyPair::generate().unwrap());
        let file = write(&bytes(&format!("{traditional}{leaf}")), &bytes("x")).unwrap();
        assert!(opened(&file, "x").unwrap().contains("BEGIN PRIVATE KEY"), "{label}");
    }
}

#[test]
fn the_same_content_is_the_same_file_and_another_password_another() {
    let key = rcgen::KeyPair::generate().unwrap();
    let (leaf, _) = issued(&key);
    let pem = bytes(&format!("{}{leaf}", key.serialize_pem()));
    let file = |password| write(&pem, &bytes(password)).unwrap();
    assert!(file("a").ct_eq(&file("a")));
    assert!(!file("a").ct_eq(&file("b")));
}

#[test]
fn what_is_missing_is_named() {
    let key = rcgen::KeyPair::generate().unwrap();
    let (leaf, _) = issued(&key);
    let key = key.serialize_pem();
    let refused = |pem: String, password: &[u8]| match write(
        &bytes(&pem),
        &SecretBytes::from(password.to_vec()),
    ) {
        Err(Unfit::Format(why)) => Some(why),
        _ => None,
    };
    assert_eq!(refused(leaf.clone(), b"x"), Some(FormatFailure::NoKey));
    assert_eq!(refused(key.clone(), b"x"), Some(FormatFailure::NoCertificate));
    assert_eq!(refused(format!("{key}{key}{leaf}"), b"x"), Some(FormatFailure::SeveralKeys));
    assert_eq!(refused(format!("{key}{leaf}"), b"\xff"), Some(FormatFailure::PasswordNotText));
    let cut = key.replace("-----END PRIVATE KEY-----", "");
    assert!(matches!(write(&bytes(&(cut + &leaf)), &bytes("x")), Err(Unfit::Pem(_))));
}
