//! What may be shown of a secret: what every secret of its kind begins with, and a little more.

/// How many further characters may be shown.
const FURTHER: usize = 2;

/// How many must stay hidden for that.
const HIDDEN_AT_LEAST: usize = 20;

/// The public prefix and at most two further characters where twenty or more remain.
///
/// A weak value shows nothing, not even how long it is.
pub fn preview(prefixes: &[String], secret: &[u8], weak: bool) -> String {
    if weak {
        return "…".to_owned();
    }
    let prefix = prefixes
        .iter()
        .filter(|prefix| secret.starts_with(prefix.as_bytes()))
        .max_by_key(|prefix| prefix.len())
        .map_or("", String::as_str);
    let rest = &secret[prefix.len()..];
    let plain = rest.iter().take(FURTHER).all(|byte| byte.is_ascii_alphanumeric());
    let further = if plain && rest.len() >= FURTHER + HIDDEN_AT_LEAST { FURTHER } else { 0 };
    format!("{prefix}{}…", String::from_utf8_lossy(&rest[..further]))
}

#[cfg(test)]
mod tests {
    use super::preview;

    fn prefixes() -> Vec<String> {
        vec!["gh".to_owned(), "ghp_".to_owned()]
    }

    #[test]
    fn the_longest_prefix_and_two_more_are_shown() {
        assert_eq!(preview(&prefixes(), b"ghp_0123456789012345678901", false), "ghp_01…");
    }

    #[test]
    fn nothing_more_where_fewer_than_twenty_would_remain() {
        assert_eq!(preview(&prefixes(), b"ghp_012345678901234567890", false), "ghp_…");
    }

    #[test]
    fn without_a_known_prefix_two_characters_at_most() {
        assert_eq!(preview(&prefixes(), b"zz01234567890123456789", false), "zz…");
        assert_eq!(preview(&prefixes(), b"short", false), "…");
    }

    #[test]
    fn a_weak_value_shows_nothing_whatever_its_length() {
        assert_eq!(preview(&prefixes(), b"ghp_0123456789012345678901", true), "…");
        assert_eq!(preview(&prefixes(), b"", true), "…");
    }

    #[test]
    fn bytes_that_are_no_letters_are_never_shown() {
        assert_eq!(preview(&[], b"\x1b]0123456789012345678901234", false), "…");
    }
}
