//! The names that the volume keeps for itself. Short, because a link with a long target needs a
//! page of its own, which a full tmpfs does not have; the longest is 26 bytes.

/// The link that shows the current generation.
pub(super) const DATA: &str = "..data";
/// The same link while it is made.
pub(super) const DATA_NEW: &str = "..data_tmp";

/// A name of the volume's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Own {
    Data,
    DataNew,
    Generation(u64),
    Unfinished(u64),
}

/// The directory of a complete generation.
pub(super) fn generation(number: u64) -> String {
    format!("..{number}")
}

/// The directory of a generation that is being made or removed.
pub(super) fn unfinished(number: u64) -> String {
    format!("..{number}.tmp")
}

/// What the visible link of a name leads to.
pub(super) fn through_data(name: &str) -> String {
    format!("{DATA}/{name}")
}

/// Which of the volume's own names this is.
pub(super) fn parse(name: &str) -> Option<Own> {
    match name {
        DATA => return Some(Own::Data),
        DATA_NEW => return Some(Own::DataNew),
        _ => {}
    }
    if let Some(number) = name.strip_suffix(".tmp").and_then(number) {
        return Some(Own::Unfinished(number));
    }
    number(name).map(Own::Generation)
}

/// The number of a generation's directory, written as we write it.
pub(super) fn number(name: &str) -> Option<u64> {
    let number = name.strip_prefix("..")?.parse().ok()?;
    (generation(number) == name).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_written_as_we_write_them_are_ours() {
        for (name, own) in [
            ("..data", Some(Own::Data)),
            ("..data_tmp", Some(Own::DataNew)),
            ("..7", Some(Own::Generation(7))),
            ("..7.tmp", Some(Own::Unfinished(7))),
            ("..18446744073709551615", Some(Own::Generation(u64::MAX))),
            ("..18446744073709551616", None),
            ("..07", None),
            ("..+7", None),
            ("..", None),
            ("...tmp", None),
            ("..2026_01_31_10_00_00.123", None),
            ("7", None),
            ("data", None),
        ] {
            assert_eq!(parse(name), own, "{name}");
        }
    }

    #[test]
    fn names_are_short_enough_for_a_full_tmpfs() {
        assert!(unfinished(u64::MAX).len() <= 40);
    }
}
