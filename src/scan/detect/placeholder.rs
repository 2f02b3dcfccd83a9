//! Values that are shown in place of a secret.

/// Nobody's secret: repeated, counted up, or saying so.
pub(super) fn is_made_up(value: &[u8]) -> bool {
    is_monotone(value) || says_so(value)
}

/// More than half of its steps repeat the byte or count one up or down.
fn is_monotone(value: &[u8]) -> bool {
    let steps =
        value.windows(2).filter(|pair| (i16::from(pair[0]) - i16::from(pair[1])).abs() <= 1);
    value.len() >= 8 && steps.count() * 2 > value.len()
}

fn says_so(value: &[u8]) -> bool {
    const WORDS: &[&str] = &[
        "example",
        "placeholder",
        "changeme",
        "change_me",
        "change-me",
        "replace",
        "redacted",
        "your_",
        "your-",
        "yourtoken",
        "yourkey",
        "xxxx",
        "****",
        "....",
        "dummy",
        "insert",
        "notreal",
    ];
    let lower = value.to_ascii_lowercase();
    WORDS.iter().any(|word| lower.windows(word.len()).any(|part| part == word.as_bytes()))
}
