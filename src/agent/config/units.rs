//! Durations, sizes, modes and signals as people write them.

use std::time::Duration;

use serde_json::{Value, json};

use super::decode::{Decode, Sink, variable, wrong};
use super::mistake::Mistake;
use super::yaml::Node;

/// `500ms`, `30s`, `5m`, `12h`, `7d`, `1h30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

/// `4MiB`, `512KiB`, `2Mi`, or plain bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

/// `"0440"`, `0440`, `0o440`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode(pub u32);

/// No duration is longer: beyond it, arithmetic on the clock would overflow before anybody cared.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Reads a duration.
pub fn duration(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest.get(..digits)?.parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let millis = match &rest[..unit] {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        rest = &rest[unit..];
        total = total.checked_add(Duration::from_millis(number.checked_mul(millis)?))?;
    }
    (!text.is_empty() && total <= LONGEST).then_some(total)
}

/// Reads a size.
pub fn size(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text.get(..digits)?.parse().ok()?;
    let shift = match text[digits..].trim() {
        "" | "B" => 0,
        "KiB" | "Ki" => 10,
        "MiB" | "Mi" => 20,
        "GiB" | "Gi" => 30,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

/// Reads a mode.
pub fn mode(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let octal =
        digits.len() <= 5 && !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if octal { u32::from_str_radix(digits, 8).ok() } else { None }
}

impl Decode for Span {
    fn decode(node: &Node, sink: &mut Sink) -> Option<Self> {
        let read = node.text().and_then(duration).map(Span);
        if read.is_none() {
            wrong(
                node,
                "a duration",
                "write a number with a unit, like 500ms, 30s, 5m, 12h or 1h30m",
                sink,
            );
        }
        read
    }

    fn schema() -> Value {
        json!({ "anyOf": [
            { "type": "string", "pattern": "^([0-9]+(ms|s|m|h|d))+$" },
            variable(),
        ] })
    }
}

impl Decode for Size {
    fn decode(node: &Node, sink: &mut Sink) -> Option<Self> {
        let read = node.text().and_then(size).filter(|bytes| *bytes > 0).map(Size);
        if read.is_none() {
            wrong(node, "a size", "write bytes, or a number with KiB, MiB or GiB, like 4MiB", sink);
        }
        read
    }

    fn schema() -> Value {
        json!({ "anyOf": [
            { "type": "integer", "minimum": 1 },
            { "type": "string", "pattern": "^[0-9]+ ?(B|Ki|KiB|Mi|MiB|Gi|GiB)?$" },
            variable(),
        ] })
    }
}

impl Decode for Mode {
    fn decode(node: &Node, sink: &mut Sink) -> Option<Self> {
        let Some(mode) = node.text().and_then(mode) else {
            wrong(node, "a file mode", "write it in octal, like \"0440\" or \"0400\"", sink);
            return None;
        };
        let shown = node.shown().unwrap_or_default();
        let (what, why) = if mode & !0o440 != 0 {
            let why =
                "a delivered secret is read by its owner and one group, and written by nobody";
            ("is too loose", why)
        } else if mode & 0o400 == 0 {
            ("shuts the owner out", "the owner of a file is one of those that read it")
        } else {
            return Some(Mode(mode));
        };
        sink.push(Mistake::new(
            &node.span,
            format!("mode `{shown}` {what}"),
            why,
            "use \"0440\" or \"0400\"; let the application join the file's group",
        ));
        None
    }

    fn schema() -> Value {
        // A YAML 1.1 reader sees 288 in 0440, a YAML 1.2 reader 440.
        let known = json!(["0440", "0400", "0o440", "0o400", "440", "400", 440, 400, 288, 256]);
        json!({ "anyOf": [{ "enum": known }, variable()] })
    }
}

/// Signals that a hook may send, by name. Linux numbers of x86 and Arm (signal(7)).
pub const SIGNALS: [(&str, i32); 11] = [
    ("SIGHUP", 1),
    ("SIGINT", 2),
    ("SIGQUIT", 3),
    ("SIGUSR1", 10),
    ("SIGUSR2", 12),
    ("SIGTERM", 15),
    ("SIGCONT", 18),
    ("SIGURG", 23),
    ("SIGWINCH", 28),
    ("SIGIO", 29),
    ("SIGKILL", 9),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_numbers_with_units() {
        for (text, millis) in
            [("500ms", 500), ("30s", 30_000), ("5m", 300_000), ("1h30m", 5_400_000), ("0s", 0)]
        {
            assert_eq!(duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for bad in ["", "5", "m", "5 m", "-5m", "5y", "1.5h", "99999999999999999999s", "20000d"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes_are_bytes_or_powers_of_two() {
        for (text, bytes) in
            [("4MiB", 4 << 20), ("2Mi", 2 << 20), ("512KiB", 512 << 10), ("77", 77)]
        {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for bad in ["", "MiB", "4MB", "-1", "1.5MiB", "99999999999GiB"] {
            assert_eq!(size(bad), None, "{bad}");
        }
    }

    #[test]
    fn modes_are_octal_in_every_spelling() {
        for text in ["0440", "440", "0o440"] {
            assert_eq!(mode(text), Some(0o440), "{text}");
        }
        for bad in ["", "0x120", "rw-", "0490", "0o"] {
            assert_eq!(mode(bad), None, "{bad}");
        }
    }
}
