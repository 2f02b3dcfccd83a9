//! Whether a value that is assigned to a promising name is a secret, by where it stands.

use super::assign::{Assignment, Sign};
use super::class::Class;
use super::matcher::Scene;
use super::{PlaceKind, names, placeholder, text};
use crate::scan::finding::Confidence;

/// What the name promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Promise {
    /// Chosen by a person: may be a word.
    Password,
    /// Made by a machine: looks like it.
    Key,
}

/// How much a place says by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ground {
    /// Variables, instructions, env files: a value that is no placeholder is one.
    Firm,
    /// Other settings: it has to look like one.
    Soft,
    /// Program text: quoted, and by no means a word.
    Source,
    /// Shown rather than used.
    Shown,
}

/// The longest value that the generic rules believe.
const LONGEST: usize = 400;

/// How sure one may be of a value, if at all.
pub(super) fn credible(
    scene: &Scene<'_>,
    data: &[u8],
    found: &Assignment,
    promise: Promise,
) -> Option<Confidence> {
    let value = &data[found.value.clone()];
    let name = &data[found.name.clone()];
    let ground = ground(scene, found)?;
    if value.len() > LONGEST || value.iter().any(|&b| b < b' ' || b == 0x7f) {
        return None;
    }
    let look = Look::at(value);
    let strong =
        || look.is_strong(promise) && (promise == Promise::Password || text::entropy(value) > 3.0);
    let believed = match ground {
        Ground::Firm if found.sign == Sign::Blank => look.is_soft(promise),
        Ground::Firm => look.is_firm(promise),
        Ground::Soft => look.is_soft(promise),
        Ground::Source => found.quoted && strong(),
        Ground::Shown => strong(),
    };
    // What is cheap to see comes first: most candidates are words.
    if !believed
        || placeholder::is_nothing(value)
        || placeholder::is_made_up(value)
        || placeholder::is_reference(value, found.quoted)
        || placeholder::hides_nothing(value)
        || promise == Promise::Key && names_a_resource(name, value)
        || repeats_name(name, value)
    {
        return None;
    }
    let shown = ground == Ground::Shown
        || is_for_show(scene.path) && (ground != Ground::Firm || has_show_name(scene.path));
    Some(if shown { Confidence::Possible } else { Confidence::Likely })
}

fn ground(scene: &Scene<'_>, found: &Assignment) -> Option<Ground> {
    let called = matches!(found.sign, Sign::Argument);
    let ground = match (scene.kind, scene.class) {
        (PlaceKind::File | PlaceKind::Hidden, Class::Shell) => Ground::Soft,
        (PlaceKind::File | PlaceKind::Hidden, Class::Config) if is_firm(scene.path) => Ground::Firm,
        (PlaceKind::File | PlaceKind::Hidden, Class::Config) => Ground::Soft,
        (PlaceKind::File | PlaceKind::Hidden, Class::Text) if called => Ground::Source,
        (PlaceKind::File | PlaceKind::Hidden, Class::Text) => Ground::Soft,
        (_, Class::Config | Class::Shell | Class::Text) => Ground::Firm,
        (_, Class::Source) => Ground::Source,
        (_, Class::Doc) => Ground::Shown,
        (_, Class::Lock | Class::Generated | Class::Binary) => return None,
    };
    Some(ground)
}

/// Files that hold settings and nothing else, and are written by people.
fn is_firm(path: &[u8]) -> bool {
    const ENDS: &str = "\
        .env .ini .properties .cnf .conf .cfg .tfvars .npmrc .netrc .pypirc .pgpass .envrc .yml \
        .yaml credentials .toml .secrets .config settings.xml .tfstate .plist .sh .bash .ps1 .bat .cmd .conf.d";
    /// Documents that may hold anything, unless their name begins so.
    const NAMED: &str =
        "config settings appsettings secrets credentials database auth local.settings .docker";
    let name = path.rsplit(|&b| b == b'/').next().unwrap_or_default();
    let is_json = name.ends_with(b".json") || name.ends_with(b".xml");
    name.starts_with(b".env")
        || text::words(ENDS).any(|end| name.ends_with(end))
        || is_json && text::words(NAMED).any(|start| name.starts_with(start))
}

/// Examples and tests: by a folder, or by the name.
pub(super) fn is_for_show(path: &[u8]) -> bool {
    const DIRS: &str = "\
        test tests testing testdata test_data test-data spec specs __tests__ fixtures fixture \
        example examples sample samples doc docs demo demos mock mocks __mocks__ e2e benches \
        benchmark benchmarks cookbook tutorial man unittests testsuite test_suite unit \
        integration locale locales i18n lang langs translations l10n nls messages schema schemas \
        typings unit_tests testutil testutils";
    let lower = path.to_ascii_lowercase();
    let mut folders = lower.rsplit(|&b| b == b'/').skip(1);
    let says_so = |folder: &[u8]| {
        text::listed(DIRS, folder)
            || text::contains(folder, b"test-suite")
            || text::contains(folder, b"testsuite")
    };
    folders.any(says_so) || has_show_name(path)
}

/// The name says that it is an example or a test.
fn has_show_name(path: &[u8]) -> bool {
    // `^` is the beginning of the name, `$` its end.
    const PARTS: &str = "\
        $.example $.sample $.template $.tmpl $.tpl $-sample $_sample $-example $_example example. sample. _test. \
        test_^ test-^ vectors testvectors .test. .spec. _spec. conftest $.dist _tests. tests. schema locale^ i18n messages_^ $.in";
    let name = path.rsplit(|&b| b == b'/').next().unwrap_or_default().to_ascii_lowercase();
    text::words(PARTS).any(|part| match part {
        [start @ .., b'^'] => name.starts_with(start),
        [b'$', end @ ..] => name.ends_with(end),
        part => text::contains(&name, part),
    })
}

/// `password: password`, `DB_PASSWORD=db_password`.
fn repeats_name(name: &[u8], value: &[u8]) -> bool {
    let value = names::words(value).concat();
    let name = names::words(name).concat();
    !value.is_empty() && (name == value || value.len() >= 6 && name.contains(&value))
}

/// What the names of Kubernetes secrets and their like end in.
const RESOURCES: &str = "\
    secret secrets credential credentials creds token tokens tls auth key keys config cert login \
    password passwords";

/// `secret: shop-db-credentials`: where the secret is kept, not what it is.
fn names_a_resource(name: &[u8], value: &[u8]) -> bool {
    let is_name = value[0].is_ascii_lowercase()
        && value
            .iter()
            .all(|&b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b))
        && value.contains(&b'-')
        && text::strangeness(value) < 0.3;
    let last = value.rsplit(|&b| b == b'-').next().unwrap_or_default();
    let named = names::words(name);
    let is_kind = named.last().is_some_and(|word| text::listed(RESOURCES, word.as_bytes()));
    is_name && is_kind && (named.len() == 1 || value.len() <= 40 && text::listed(RESOURCES, last))
}

/// What can be seen of a value at a glance.
struct Look {
    length: usize,
    blank: bool,
    ascii: bool,
    digits: usize,
    upper: usize,
    lower: usize,
    symbols: usize,
    strange: f32,
}

impl Look {
    fn at(value: &[u8]) -> Look {
        let mut look = Look {
            length: value.len(),
            blank: false,
            ascii: true,
            digits: 0,
            upper: 0,
            lower: 0,
            symbols: 0,
            strange: text::strangeness(value),
        };
        for &byte in value {
            look.blank |= byte.is_ascii_whitespace();
            look.ascii &= byte.is_ascii();
            look.digits += usize::from(byte.is_ascii_digit());
            look.upper += usize::from(byte.is_ascii_uppercase());
            look.lower += usize::from(byte.is_ascii_lowercase());
            let symbol = byte.is_ascii_punctuation() && !b"-_./:,".contains(&byte);
            look.symbols += usize::from(symbol);
        }
        look
    }

    /// Of upper case, lower case, digits and symbols, how many there are.
    fn kinds(&self) -> usize {
        [self.digits, self.upper, self.lower, self.symbols].iter().filter(|&&n| n > 0).count()
    }

    /// A word: letters of one case, or capitalised.
    fn is_word(&self) -> bool {
        self.digits == 0
            && self.symbols == 0
            && (self.upper <= 1 || self.lower == 0)
            && self.strange < 0.45
    }

    fn is_firm(&self, promise: Promise) -> bool {
        let number = self.digits == self.length;
        match promise {
            _ if self.blank => false,
            Promise::Password => self.length >= 4 && !(number && self.length < 6),
            Promise::Key => {
                self.ascii && self.length >= 8 && !number && (!self.is_word() || self.length >= 16)
            }
        }
    }

    fn is_soft(&self, promise: Promise) -> bool {
        let number = self.digits == self.length;
        match promise {
            _ if self.blank || !self.ascii || number || self.is_word() => false,
            Promise::Password => self.length >= 6 && (self.kinds() >= 2 || self.strange > 0.45),
            Promise::Key => {
                self.length >= 10 && (self.strange > 0.3 || self.digits > 2 && self.kinds() >= 2)
            }
        }
    }

    fn is_strong(&self, promise: Promise) -> bool {
        match promise {
            _ if self.blank || !self.ascii => false,
            Promise::Password => {
                let mixed = self.kinds() >= 3 || self.symbols > 0;
                let hard = self.length >= 10 && self.strange > 0.3;
                self.digits > 0 && self.length >= 8 && (mixed || hard)
            }
            Promise::Key => self.length >= 16 && self.digits > 1 && self.strange > 0.3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_believed_only_where_settings_are_written_by_people() {
        let word = Look::at(b"postgres");
        assert!(word.is_firm(Promise::Password) && !word.is_soft(Promise::Password));
        let mixed = Look::at(b"Tr0ub4dor&3");
        assert!(mixed.is_strong(Promise::Password));
        let random = Look::at(b"f3a91bc07d5e2846a1c7");
        assert!(random.is_strong(Promise::Key));
        assert!(!Look::at(b"token_for_the_second_user").is_strong(Promise::Key));
    }

    #[test]
    fn tests_and_examples_are_for_show() {
        for path in ["a/tests/x.py", "app/.env.example", "x/test_login.py", "a/login_test.go"] {
            assert!(is_for_show(path.as_bytes()), "{path}");
        }
        for path in ["app/.env", "srv/latest/x.py", "app/attest.go", "app/config.prod.json"] {
            assert!(!is_for_show(path.as_bytes()), "{path}");
        }
    }
}
