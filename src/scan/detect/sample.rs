//! Keys and tokens for examples: of the right form, made of chance, good for nothing.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::proof::der::{BITS, INTEGER, OCTETS, OID, SEQUENCE, wrap};

/// Bytes by chance.
pub(super) type Chance<'a> = &'a mut dyn FnMut() -> u8;

/// The sample of that name.
pub(super) fn sample(name: &str, chance: Chance<'_>) -> Option<Vec<u8>> {
    let text = match name {
        "der-rsa" => return Some(rsa(chance)),
        "der-ec" => return Some(ec(chance)),
        "der-ed25519" => return Some(ed25519(chance)),
        "pkcs12" => return Some(pkcs12(chance)),
        "jks" => return Some(java(chance)),
        "tor" => {
            return Some(
                [&b"== ed25519v1-secret: type0 ==\0\0\0"[..], &bytes(64, chance)].concat(),
            );
        }
        "pem-rsa" => pem("RSA PRIVATE KEY", &rsa(chance), "\n"),
        "pem-rsa-json" => {
            format!("{{\"key\": \"{}\"}}", pem("RSA PRIVATE KEY", &rsa(chance), "\\n"))
        }
        "pem-one-line" => pem("RSA PRIVATE KEY", &rsa(chance), " "),
        "pem-ec" => pem("EC PRIVATE KEY", &ec(chance), "\n"),
        "pem-ed25519" => pem("PRIVATE KEY", &ed25519(chance), "\n    "),
        "pem-openssh" => pem("OPENSSH PRIVATE KEY", &openssh(chance), "\n"),
        "pkcs8-escaped" => pem("PRIVATE KEY", &ed25519(chance), "\\n"),
        "base64-pem" => STANDARD.encode(pem("EC PRIVATE KEY", &ec(chance), "\n")),
        "basic" => STANDARD.encode(format!("deploy:{}", hex(12, chance))),
        "dockercfg" => STANDARD.encode(format!(
            "{{\"auths\":{{\"registry.acme.dev\":{{\"auth\":\"{}\"}}}}}}",
            STANDARD.encode(format!("deploy:{}", hex(12, chance)))
        )),
        "pypi" => pypi(chance),
        "jwt" => jwt(&format!("{{\"sub\":\"{}\",\"exp\":4102444800}}", hex(8, chance)), chance),
        "jwt-kubernetes" => {
            let account = hex(4, chance);
            jwt(&format!("{{\"iss\":\"kubernetes/serviceaccount\",\"sub\":\"{account}\"}}"), chance)
        }
        "jwt-io" => {
            let claims = "{\"sub\":\"1234567890\",\"name\":\"John Doe\",\"iat\":1516239022}";
            jwt(claims, chance)
        }
        _ => return None,
    };
    Some(text.into_bytes())
}

fn bytes(count: usize, chance: Chance<'_>) -> Vec<u8> {
    (0..count).map(|_| chance()).collect()
}

fn hex(count: usize, chance: Chance<'_>) -> String {
    let nibbles = bytes(count, chance).into_iter().flat_map(|byte| [byte >> 4, byte & 15]);
    nibbles.filter_map(|nibble| char::from_digit(u32::from(nibble), 16)).collect()
}

fn pem(label: &str, der: &[u8], line: &str) -> String {
    let base64 = STANDARD.encode(der);
    let lines: Vec<&str> =
        (0..base64.len()).step_by(64).map(|at| &base64[at..base64.len().min(at + 64)]).collect();
    format!("-----BEGIN {label}-----{line}{}{line}-----END {label}-----{line}", lines.join(line))
}

/// An odd number with the highest bit set, as DER has it.
fn number(count: usize, chance: Chance<'_>) -> Vec<u8> {
    let mut number = bytes(count, chance);
    number[0] |= 0x80;
    number[count - 1] |= 1;
    [&[0], &number[..]].concat()
}

/// The product of two numbers of equal length.
fn product(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut out = vec![0_u8; a.len() + b.len()];
    for (i, &x) in a.iter().rev().enumerate() {
        let mut carry = 0_u32;
        for (j, &y) in b.iter().rev().chain(std::iter::repeat(&0)).take(b.len() + 1).enumerate() {
            let Some(place) = out.len().checked_sub(1 + i + j) else { break };
            let sum = u32::from(out[place]) + u32::from(x) * u32::from(y) + carry;
            out[place] = sum.to_le_bytes()[0];
            carry = sum >> 8;
        }
    }
    let zeros = out.iter().take_while(|&&byte| byte == 0).count().saturating_sub(1);
    out.split_off(zeros)
}

fn rsa(chance: Chance<'_>) -> Vec<u8> {
    let (p, q) = (number(128, chance), number(128, chance));
    let n = product(&p, &q);
    let n = if n[0] >= 0x80 { [&[0], &n[..]].concat() } else { n };
    let rest: Vec<Vec<u8>> =
        [255, 127, 127, 127].iter().map(|&count| number(count, chance)).collect();
    let parts: [&[u8]; 9] = [&[0], &n, &[1, 0, 1], &rest[0], &p, &q, &rest[1], &rest[2], &rest[3]];
    let parts: Vec<Vec<u8>> = parts.iter().map(|part| wrap(INTEGER, &[part])).collect();
    wrap(SEQUENCE, &parts.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

fn ec(chance: Chance<'_>) -> Vec<u8> {
    let curve = wrap(OID, &[&[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]]);
    let point = wrap(BITS, &[&[0, 4][..], &bytes(64, chance)]);
    let scalar = wrap(OCTETS, &[&bytes(32, chance)]);
    wrap(SEQUENCE, &[&[2, 1, 1], &scalar, &wrap(0xa0, &[&curve]), &wrap(0xa1, &[&point])])
}

fn ed25519(chance: Chance<'_>) -> Vec<u8> {
    let seed = wrap(OCTETS, &[&wrap(OCTETS, &[&bytes(32, chance)])]);
    wrap(SEQUENCE, &[&[2, 1, 0], &wrap(SEQUENCE, &[&wrap(OID, &[&[0x2b, 0x65, 0x70]])]), &seed])
}

fn openssh(chance: Chance<'_>) -> Vec<u8> {
    let string = |part: &[u8]| {
        let length = u32::try_from(part.len()).unwrap_or(0).to_be_bytes();
        [&length[..], part].concat()
    };
    let public = [string(b"ssh-ed25519"), string(&bytes(32, chance))].concat();
    [
        b"openssh-key-v1\0".to_vec(),
        string(b"none"),
        string(b"none"),
        string(b""),
        vec![0, 0, 0, 1],
        string(&public),
        string(&bytes(136, chance)),
    ]
    .concat()
}

fn pkcs12(chance: Chance<'_>) -> Vec<u8> {
    let data = wrap(OID, &[&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1]]);
    let content = wrap(0xa0, &[&wrap(OCTETS, &[&bytes(900, chance)])]);
    wrap(SEQUENCE, &[&[2, 1, 3], &wrap(SEQUENCE, &[&data, &content])])
}

fn java(chance: Chance<'_>) -> Vec<u8> {
    let head = [0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1, 0, 3];
    [&head[..], b"key", &bytes(800, chance)].concat()
}

fn pypi(chance: Chance<'_>) -> String {
    let body = [
        &[2, 1, 8][..],
        b"pypi.org",
        &[2, 36],
        &hex(18, chance).into_bytes(),
        &[0, 2, 44],
        &bytes(44, chance),
        &[0, 0, 6, 32],
        &bytes(32, chance),
    ];
    format!("pypi-{}", URL_SAFE_NO_PAD.encode(body.concat()))
}

fn jwt(claims: &str, chance: Chance<'_>) -> String {
    let head = URL_SAFE_NO_PAD.encode("{\"alg\":\"RS256\",\"typ\":\"JWT\"}");
    format!(
        "{head}.{}.{}",
        URL_SAFE_NO_PAD.encode(claims),
        URL_SAFE_NO_PAD.encode(bytes(128, chance))
    )
}
