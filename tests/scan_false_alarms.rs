//! The named classes of what looks like a secret and is none: not one is reported.
#![cfg(feature = "scan")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod images;

use images::{Tar, gzip, scan_layer};
use sidekey::scan::detect::expand;

/// Class, path and content. `{…}` is filled by chance.
const NONE: &[(&str, &str, &str)] = &[
    (
        "armour in a program",
        "usr/bin/ssh",
        "\x7fELF\0\0-----BEGIN OPENSSH PRIVATE KEY-----\n\0-----END OPENSSH PRIVATE KEY-----\n\0",
    ),
    (
        "armour in a library",
        "usr/lib/libgnutls.so.30",
        "\x7fELF\0-----BEGIN \0 RSA PRIVATE KEY-----\0-----BEGIN RSA PRIVATE KEY-----\0ENCRYPTED\0-----END ",
    ),
    (
        "armour in a table of formats",
        "usr/share/misc/magic.mgc",
        "\x1c\x04\x1e\0\0\0-----BEGIN RSA PRIVATE KEY-----\0\0PEM RSA private key\0\0",
    ),
    (
        "armour in compiled Python",
        "usr/lib/python3/pem.pyc",
        "\0\0\0\0z\x1f-----BEGIN RSA PRIVATE KEY-----)\x01z\x1d-----END RSA PRIVATE KEY-----",
    ),
    (
        "documentation URL",
        "srv/app/settings.ini",
        "a = https://user:pass@example.com/\nb = postgres://app:{A14}@db.example.org/x\nc = amqp://app:{A14}@mq.test/\nd = redis://app:{A14}@cache.invalid/\n",
    ),
    ("documentation URL", "srv/app/README.md", "Use `mysql://user:password@localhost/db`.\n"),
    (
        "example of AWS",
        "srv/app/.env",
        "AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE\nAWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\n",
    ),
    ("token of jwt.io", "srv/app/x.yaml", "token: {@jwt-io}\n"),
    (
        "lock file",
        "srv/app/package-lock.json",
        "\"token\": {\"version\": \"1.0.0\", \"integrity\": \"sha512-{b86}==\"}\n",
    ),
    ("lock file", "srv/app/Cargo.lock", "name = \"secret\"\nchecksum = \"{h64}\"\n"),
    ("go.sum", "srv/app/go.sum", "github.com/acme/token v1.0.0 h1:{b43}=\n"),
    ("RECORD", "usr/lib/python3/x.dist-info/RECORD", "x/password.py,sha256={w43},120\n"),
    (
        "SRI",
        "srv/www/index.html",
        "<script src=\"token.js\" integrity=\"sha384-{b64}\"></script>\n",
    ),
    (
        "SBOM",
        "srv/sbom.json",
        "{\"name\": \"secret\", \"hashes\": [{\"alg\": \"SHA-256\", \"content\": \"{h64}\"}]}\n",
    ),
    (
        "source map",
        "srv/www/app.js.map",
        "{\"version\":3,\"names\":[\"password\",\"token\"],\"mappings\":\"AAAA,SAAS,{L400}\"}\n",
    ),
    (
        "minified",
        "srv/www/app.min.js",
        "!function(e){var t=e.password||e.token;e.apiKey=t,e.secret=\"x\"}(window);\n",
    ),
    ("data URI", "srv/www/app.css", ".token{background:url(data:image/png;base64,{b400})}\n"),
    (
        "manual",
        "usr/share/man/man1/curl.1",
        ".B curl -u user:secret https://example.com\n.I password=secret123\n",
    ),
    ("info", "usr/share/info/x.info", "Set `password = Tr0ub4dor.x3' in the file.\n"),
    (
        "translation",
        "usr/share/locale/de/x.po",
        "msgid \"Password: %s\"\nmsgstr \"Passwort: %s\"\n",
    ),
    (
        "where a password would be",
        "var/lib/dpkg/info/x.postrm",
        "#!/bin/sh\nsed -i -e '/^passwd:\\s.*#/ s/x/y/' /etc/nsswitch.conf\n",
    ),
    (
        "password from standard input",
        "srv/login.sh",
        "cat /run/secrets/x | docker login -u ci --password-stdin registry.acme.dev\n",
    ),
];

#[test]
fn no_named_class_of_false_alarm_is_reported_plain_or_compressed() {
    let mut tar = Tar::new();
    for (class, path, text) in NONE {
        let text = expand(text, 9);
        let name = format!("{}/{path}", class.replace(' ', "-"));
        tar = tar.file(&name, &text).file(&format!("{name}.gz"), gzip(&text));
    }
    let said = scan_layer(tar.end());
    assert_eq!(said.findings(), Vec::<serde_json::Value>::new());
    assert_eq!(said.code, 0, "{:?}", said.reasons());
}

/// Programs made with ring hold what it puts around the keys that it makes.
#[test]
fn what_belongs_around_a_key_is_none() {
    let p256 = "308187020100301306072a8648ce3d020106082a8648ce3d030107046d306b0201010420a144034200";
    let p384 = "3081b6020100301006072a8648ce3d020106052b8104002204819e30819b0201010430a164036200";
    let bytes = |hex: &str| -> Vec<u8> {
        let pairs = (0..hex.len()).step_by(2);
        pairs.map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    };
    let around = [
        b"\x7fELF\0\0".to_vec(),
        bytes(p256),
        bytes(p384),
        b"assertion failed: padding".repeat(20),
    ];
    let said = scan_layer(Tar::new().file("usr/bin/app", around.concat()).end());
    assert_eq!((said.code, said.findings()), (0, Vec::new()));
}
