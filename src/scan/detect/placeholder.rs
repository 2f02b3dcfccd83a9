//! Values that stand in place of a secret: placeholders, references, program text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::text;

/// Nobody's secret: repeated, counted up, or saying so.
pub(super) fn is_made_up(value: &[u8]) -> bool {
    is_monotone(value) || is_periodic(value) || says_so(value)
}

/// More than half of its steps repeat the byte or count one up or down, or as hexadecimal bytes do.
fn is_monotone(value: &[u8]) -> bool {
    let near = |pair: &&[u8]| (i16::from(pair[0]) - i16::from(pair[1])).abs() <= 1;
    let steps = value.windows(2).filter(near).count();
    let strides = value.windows(3).skip(1).step_by(2).filter(|w| near(&&[w[0], w[2]][..])).count();
    let pairs = value.len() / 2;
    let hex = value.len() >= 16 && value.iter().all(u8::is_ascii_hexdigit);
    value.len() >= 6
        && (steps * 5 > value.len() * 3 || hex && pairs > 4 && strides * 10 > pairs * 8)
}

/// A short piece over and over, or hardly any different bytes.
fn is_periodic(value: &[u8]) -> bool {
    let n = value.len();
    let repeats = |period: usize| value[period..].iter().zip(value).all(|(a, b)| a == b);
    let mut kinds = [false; 256];
    for &byte in value {
        kinds[usize::from(byte)] = true;
    }
    let kinds = kinds.iter().filter(|&&seen| seen).count();
    n >= 8 && ((1..=n / 3).any(repeats) || n >= 16 && kinds <= 4 || n >= 30 && kinds <= 7)
        || n >= 16 && n.is_multiple_of(2) && repeats(n / 2)
}

/// Pieces that no random value has by chance, and no real one on purpose.
const SAYING: &str = "\
    exampl secrettoken eyjzdwiioiixmjm0nty3odkw placeholder changeme change_me change-me changeit change_this change-this replace \
    redacted your_ your- yourtoken yourkey yourapi yourpass yoursecret youraccess xxxx **** .... \
    dummy insert notreal sample goes_here goes-here goeshere _here -here enter_ enter- put_ put- \
    todo fixme not-a- not_a_ notasecret fake mock foobar my-secret my_secret mysecret my-token \
    my_token mytoken my-api my_api some- some_ secret-key secret_key secret-token api-key \
    api_key apikey access-key deadbeef <your abcdefgh 12345678 qwertyui lorem masked hidden \
    unused invalid bogus ___ cafebabe obfuscated sanitized removed deleted ----- 000000 11111 \
    aaaaaa ffffff testtest acbd18db eby8vdm02xno";

fn says_so(value: &[u8]) -> bool {
    let lower = value.to_ascii_lowercase();
    let by_chance = |word: &[u8]| word.len() <= 4 && value.len() > 24;
    text::words(SAYING).any(|word| !by_chance(word) && text::contains(&lower, word))
}

/// Whole values that are a word for "nothing here".
const NOTHING: &str = "\
    password passwd pass pwd secret secrets token key string str none null nil undefined true \
    false yes no on off empty default required optional tbd test foo bar baz value user username \
    enabled disabled auto prompt ask unset unknown n/a na int integer boolean bool text bytes \
    object array number any type hash credential credentials auth bearer basic literal input \
    hidden generated random mypassword apikey api_key accesstoken access_token plain plaintext \
    ignore ignored varchar char mypass mypwd passphrase passwort todo self this secretkey \
    secret_key privatekey md5 sha256 sha512 sha1 bcrypt scram-sha-256 keyring env file vault x \
    xxx yyy zzz changeit anonymous nopass nopassword nosecret fixme --- same see inherit manual \
    1 0 abc abc123 blank (none) (unset) session jwt cookie oauth oauth2 ldap files compat systemd winbind sss nis 12345 1234 0000 12345678 123456789 1234567890 insta proxypass repopwd";

/// A word that stands for no value at all.
pub(super) fn is_nothing(value: &[u8]) -> bool {
    let lower = value.to_ascii_lowercase();
    let core = lower.trim_ascii();
    let dangling = matches!(core, [.., b'=' | b':']) && text::strangeness(core) < 0.35;
    if core.is_empty() || is_version(core) || dangling {
        return true;
    }
    text::listed(NOTHING, core)
}

/// `1.2.3-rc.1`, `4!10.0.post2`: digits and dots with a word or two.
fn is_version(value: &[u8]) -> bool {
    let dots = memchr::memchr_iter(b'.', value).count();
    let letters = value.iter().filter(|b| b.is_ascii_alphabetic()).count();
    let plain = value.iter().all(|&b| b.is_ascii_alphanumeric() || b".-+!_".contains(&b));
    value[0].is_ascii_digit() && plain && dots >= 2 && letters <= 6 && value.len() < 24
}

/// How references begin.
const BEGINNINGS: &str = "\
    ${ $( < {{ {% %{ %( @{ [ { ! vault: vault| op:// ssm: arn:aws projects/ gsm: ENC[ ENC( \
    {cipher} secret: secret:// env: file: AQICAH ref+ /run/ /etc/ /var/ /tmp/ /usr/ /opt/ \
    /root/ /home/ ./ ../ ~/ http:// https:// os. process. System. System:: @@ __ & * doppler: \
    kms: azurekeyvault awssm keepass lookup( $ANSIBLE_VAULT $__ @Microsoft.KeyVault resolve: \
    data: ssh-rsa ssh-ed25519";
/// What only references and program text have inside.
const INSIDE: &str = "\
    ${ {{ <% #{ $( %( getenv process.env os.environ env( ENV[ secretsmanager secretKeyRef \
    secrets. vars. var. config. settings. params. self. this. args. data. local. \
    random_password Env. options. props. request. req. (); :: -> => ${{ </ /> \\( {0} %s %v %d \\x [A-Z [a-z [0-9 \\w \\d \\s .* (? ].";

/// Refers to a value that is somewhere else: variables, templates, stores, files, calls.
pub(super) fn is_reference(value: &[u8], quoted: bool) -> bool {
    is_variable(value)
        || text::words(BEGINNINGS).any(|start| value.starts_with(start))
        || text::words(INSIDE).any(|part| text::contains(value, part))
        || is_path(value)
        || is_constant(value)
        || is_sealed(value)
        || !quoted && is_program(value)
}

/// `NAME_OF_A_CONSTANT`, `com.acme.Name`: words that name something else.
fn is_constant(value: &[u8]) -> bool {
    let calm = text::strangeness(value) < 0.35;
    let count = |sign: u8| memchr::memchr_iter(sign, value).count();
    let only = |is: fn(&u8) -> bool| value.iter().all(is);
    let screams = count(b'_') >= 2
        && only(|&b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
        && value.iter().filter(|b| b.is_ascii_digit()).count() * 4 < value.len();
    let dotted = count(b'.') >= 2
        && only(|&b| b.is_ascii_alphabetic() || b"._@".contains(&b))
        && value.split(|&b| b == b'.').all(|part| part.len() > 1);
    screams || dotted && calm
}

/// What `kubeseal` makes: an RSA-wrapped key of a known length comes first.
fn is_sealed(value: &[u8]) -> bool {
    let base64 = |b: &u8| b.is_ascii_alphanumeric() || b"+/=".contains(b);
    value.len() > 150 && value.starts_with(b"Ag") && value.iter().all(base64)
}

/// base64 of something that is no secret either.
pub(super) fn hides_nothing(value: &[u8]) -> bool {
    let digits = value.iter().rposition(|&b| b != b'=').map_or(0, |last| last + 1);
    if digits < 7 || value.len() > 200 {
        return false;
    }
    let Ok(inner) = STANDARD_NO_PAD.decode(&value[..digits]) else { return false };
    inner.iter().all(|b| (b' '..=b'~').contains(b))
        && (is_nothing(&inner) || is_made_up(&inner) || is_reference(&inner, true))
}

/// `$NAME`, `%NAME%`, `:name`, `{name}`, `@NAME@`.
fn is_variable(value: &[u8]) -> bool {
    let word = |bytes: &[u8]| {
        !bytes.is_empty()
            && bytes.iter().all(|&b| b.is_ascii_alphanumeric() || b == b'_')
            && !bytes[0].is_ascii_digit()
    };
    match value {
        [b'$', rest @ ..] => {
            word(rest)
                && (rest.iter().all(|b| !b.is_ascii_lowercase())
                    || rest.contains(&b'_')
                    || rest.iter().all(|b| b.is_ascii_lowercase()))
        }
        [b'%', rest @ .., b'%'] | [b'{', rest @ .., b'}'] | [b'@', rest @ .., b'@'] => word(rest),
        [b':', rest @ ..] => word(rest),
        _ => false,
    }
}

/// Several pieces between slashes, each a plain name; or the name of a file.
fn is_path(value: &[u8]) -> bool {
    const ENDS: &str = "\
        .pem .key .txt .json .yaml .yml .xml .crt .p12 .jks .pub .conf .env .html .php .py .js \
        .ts .go .com .org .net .io .pfx .keystore .secret .file .svg .png";
    let slashes = memchr::memchr_iter(b'/', value).count();
    let rooted = value.first() == Some(&b'/') || value.get(1..3) == Some(b":\\");
    let calm = text::strangeness(value) < 0.35;
    rooted && calm && value.len() > 1
        || slashes >= 2 && calm && !value.contains(&b'+') && !value.contains(&b'=')
        || text::words(ENDS).any(|end| value.ends_with(end))
}

/// What a program would say in this place: a call, a member, an operator.
fn is_program(value: &[u8]) -> bool {
    let name = |bytes: &[u8]| bytes.iter().all(|&b| b.is_ascii_alphabetic() || b == b'_');
    let dotted = value.contains(&b'.')
        && value.split(|&b| b == b'.').all(|part| !part.is_empty() && name(part));
    let called = value.iter().position(|&b| b == b'(').is_some_and(|open| {
        let callee = &value[..open];
        !callee.is_empty()
            && callee.iter().all(|&b| b.is_ascii_alphanumeric() || b"_.:$".contains(&b))
    });
    dotted || called || value.starts_with(b"new ") || value.starts_with(b"function")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_made_up() {
        let made_up = [
            "AKIAIOSFODNN7EXAMPLE",
            "your-api-key",
            "xxxxxxxxxxxx",
            "0123456789abcdef",
            "aaaaaaaa",
            "abcabcabcabc",
            "000102030405060708090a0b0c0d0e0f",
            "changeme",
            "********",
        ];
        for value in made_up {
            assert!(is_made_up(value.as_bytes()), "{value}");
        }
        for value in ["Tr0ub4dor&3", "f3a91bc07d5e2846", "hunter2"] {
            assert!(!is_made_up(value.as_bytes()), "{value}");
        }
    }

    #[test]
    fn what_is_encoded_is_looked_at_too() {
        for value in ["Y2hhbmdlbWU=", "cGFzc3dvcmQ=", "d2l0aCAxMjM0NTY3OA", "RU5DW1JTQSx4XQ=="] {
            assert!(hides_nothing(value.as_bytes()), "{value}");
        }
        for value in ["Tr0ub4dor&3", "SHVudGVyMi0zNCE=", "f3a91bc07d5e2846"] {
            assert!(!hides_nothing(value.as_bytes()), "{value}");
        }
    }

    #[test]
    fn references_are_told_from_values() {
        let references = [
            "${DB_PASSWORD}",
            "$DB_PASSWORD",
            "{{ password }}",
            "<password>",
            "%(pass)s",
            "/run/secrets/db",
            "vault:secret/db#pw",
            "os.environ['X']",
            "ENC[AES256_GCM,data:x]",
            "{password}",
            "config/db/password",
            "arn:aws:secretsmanager:eu-1:1:secret:x",
            "settings.DB_PASS",
            "DB_PASSWORD_OF_PROD",
            "@javax.annotation.Generated",
        ];
        for value in references {
            assert!(is_reference(value.as_bytes(), false), "{value}");
        }
        for value in ["pa$$w0rd", "$ecr3t!", "a/b+c/d9Q==", "Tr0ub4dor.3", "hunter2("] {
            assert!(!is_reference(value.as_bytes(), true), "{value}");
        }
    }
}
