//! Quantities of Kubernetes: `10m`, `1.5`, `64Mi`.

/// A quantity in thousandths: of a core, or of a byte.
pub(super) fn parse(text: &str) -> Option<i128> {
    const UNITS: [(&str, i128); 13] = [
        ("Ki", 1 << 10),
        ("Mi", 1 << 20),
        ("Gi", 1 << 30),
        ("Ti", 1 << 40),
        ("Pi", 1 << 50),
        ("Ei", 1 << 60),
        ("k", 1000),
        ("M", 1_000_000),
        ("G", 1_000_000_000),
        ("T", 1_000_000_000_000),
        ("P", 1_000_000_000_000_000),
        ("E", 1_000_000_000_000_000_000),
        ("", 1),
    ];
    if let Some(number) = text.strip_suffix('m') {
        return decimal(number, 1);
    }
    let (number, factor) =
        UNITS.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))?;
    decimal(number, 1000 * factor)
}

/// `12.5` times a factor.
fn decimal(text: &str, factor: i128) -> Option<i128> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit()) && text.len() <= 18;
    if whole.is_empty() || !digits(whole) || !digits(part) {
        return None;
    }
    let scale = 10_i128.checked_pow(u32::try_from(part.len()).ok()?)?;
    let part: i128 = if part.is_empty() { 0 } else { part.parse().ok()? };
    let whole: i128 = whole.parse().ok()?;
    (whole * scale + part).checked_mul(factor).map(|product| product / scale)
}

/// Bytes as a person writes them.
pub(super) fn bytes(bytes: u64) -> String {
    match bytes {
        0 => "0".to_owned(),
        _ if bytes.is_multiple_of(1 << 20) => format!("{}Mi", bytes >> 20),
        _ if bytes.is_multiple_of(1 << 10) => format!("{}Ki", bytes >> 10),
        _ => bytes.to_string(),
    }
}

/// Thousandths of a core as a person writes them.
pub(super) fn cores(thousandths: i128) -> String {
    if thousandths % 1000 == 0 {
        (thousandths / 1000).to_string()
    } else {
        format!("{thousandths}m")
    }
}

/// A quantity of bytes, rounded up.
pub(super) fn whole_bytes(text: &str) -> Option<u64> {
    let thousandths = parse(text)?;
    u64::try_from((thousandths + 999) / 1000).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_and_written_as_kubernetes_does() {
        for (text, thousandths) in [
            ("10m", Some(10)),
            ("1", Some(1000)),
            ("1.5", Some(1500)),
            ("1Ki", Some(1_024_000)),
            ("0.5Mi", Some(524_288_000)),
            ("2M", Some(2_000_000_000)),
            ("", None),
            ("1e3", None),
            ("Mi", None),
            ("-1", None),
        ] {
            assert_eq!(parse(text), thousandths, "{text}");
        }
        assert_eq!(
            (bytes(34 << 20), bytes(1537), bytes(7)),
            ("34Mi".into(), "1537".into(), "7".into())
        );
        assert_eq!((cores(1000), cores(110)), ("1".into(), "110m".into()));
        assert_eq!(whole_bytes("128Mi"), Some(128 << 20));
    }
}
