//! Names that values are assigned to: their words, and what they promise.

use super::text;

/// The words of a name, in lower case: `DB_Password`, `db.password` and `dbPassword` are the same.
pub(super) fn words(name: &[u8]) -> Vec<String> {
    let word = |part: &[u8]| String::from_utf8_lossy(part).to_ascii_lowercase();
    parts(name).map(word).collect()
}

/// The words of a name as they are written.
pub(super) fn parts(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = name;
    std::iter::from_fn(move || {
        let start = rest.iter().position(u8::is_ascii_alphanumeric)?;
        rest = &rest[start..];
        let end = (1..rest.len()).find(|&at| is_end(rest, at)).unwrap_or(rest.len());
        let (part, after) = rest.split_at(end);
        rest = after;
        Some(part)
    })
}

/// Whether a word ends before the byte at `at`.
fn is_end(name: &[u8], at: usize) -> bool {
    let (last, byte) = (name[at - 1], name[at]);
    let next_is_lower = name.get(at + 1).is_some_and(u8::is_ascii_lowercase);
    let humps = byte.is_ascii_uppercase()
        && (last.is_ascii_lowercase()
            || last.is_ascii_digit()
            || last.is_ascii_uppercase() && next_is_lower);
    humps || !byte.is_ascii_alphanumeric()
}

/// Words after the one that counts that don't change what the value is.
const NEUTRAL: &str = "\
    value plain plaintext string str text raw prod production dev development staging stage live \
    test testing default base64 b64 old new current previous primary secondary admin root master \
    main local qa uat literal data db database server client user one two a b v1 v2 k8s api app \
    readonly rw ro backup us eu global hex internal external legacy base";

/// Words before the one that counts that make it something else.
const HARMLESS: &str = "\
    public publishable foreign partition sort cache csrf xsrf next page pagination continuation \
    cancel cancellation eos bos pad unk mask sep special no has is show hide use allow require \
    requires forgot reset invalid missing wrong bad confirm enter change update verify check \
    validate parse idempotency sync hash i18n label translation shortcut hot arrow \
    secondary_index object lookup index map dict cursor syntax lexer parser start \
    end stop min max num total count color colour without disable enable skip hide with ssh_pub \
    pub mock fake dummy example stub placeholder";

/// Whether the name ends in one of `kinds` (words with blanks between them), apart from numbers
/// and words that say where or when.
pub(super) fn promises(name: &[u8], kinds: &[String]) -> bool {
    let words: Vec<&[u8]> = parts(name).collect();
    let mut words: &[&[u8]] = &words;
    while let [rest @ .., last] = words {
        if matches(words, kinds) {
            return true;
        }
        let is_number = last.iter().all(u8::is_ascii_digit);
        if !is_number && !is_one_of(NEUTRAL, last) {
            return false;
        }
        words = rest;
    }
    false
}

fn matches(words: &[&[u8]], kinds: &[String]) -> bool {
    kinds.iter().any(|kind| {
        let mut before = words;
        for word in kind.rsplit(' ') {
            let [rest @ .., last] = before else { return false };
            if !last.eq_ignore_ascii_case(word.as_bytes()) {
                return false;
            }
            before = rest;
        }
        let harmless = |word: &&[u8]| is_one_of(HARMLESS, word);
        !before.last().is_some_and(harmless) && !before.first().is_some_and(harmless)
    })
}

fn is_one_of(list: &str, word: &[u8]) -> bool {
    text::listed(list, &word.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_the_same_in_every_style() {
        for name in ["DB_PASSWORD", "db.password", "dbPassword", "db-password", "DbPassword"] {
            assert_eq!(words(name.as_bytes()), ["db", "password"], "{name}");
        }
        assert_eq!(words(b"AWSSecretKey2"), ["aws", "secret", "key2"]);
    }

    #[test]
    fn the_end_of_the_name_decides() {
        let kinds = ["password".to_owned(), "api key".to_owned()];
        let yes = ["password", "PASSWORD_PROD", "my_api_key", "DB_PASSWORD_2"];
        let no = [
            "password_file",
            "password_min_length",
            "public_api_key",
            "reset_password",
            "passwords",
        ];
        for name in yes {
            assert!(promises(name.as_bytes(), &kinds), "{name}");
        }
        for name in no {
            assert!(!promises(name.as_bytes(), &kinds), "{name}");
        }
    }
}
