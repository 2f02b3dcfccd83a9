//! Reads assignments in whatever language: the name around a word, and the value behind it.

use std::ops::Range;

use super::text;

/// A name with its value, as places in the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Assignment {
    pub name: Range<usize>,
    pub value: Range<usize>,
    /// The value stands in quotes.
    pub quoted: bool,
    pub sign: Sign,
    /// Nothing but white space, a dash or `export` stands before the name on its line.
    pub leads: bool,
}

/// What stands between name and value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    Equals,
    Colon,
    /// White space: options of commands, netrc.
    Blank,
    /// The next argument of a call.
    Argument,
    /// An XML element or attribute pair.
    Tag,
}

/// The longest name.
const NAME: usize = 80;
/// The longest value.
const VALUE: usize = 2048;
/// The widest gap between name, sign and value.
const GAP: usize = 40;

/// The assignment whose name contains the bytes from `at` to `end`.
pub(super) fn around(data: &[u8], at: usize, end: usize) -> Option<Assignment> {
    let name = name_around(data, at, end);
    let leads = leads(data, name.start);
    let is_element = name.start > 0 && data[name.start - 1] == b'<';
    let is_option = data[name.start..].starts_with(b"-");
    let closers = data[name.end..].iter().take(4).take_while(|b| b"\"'`]\\)".contains(b)).count();
    let after = name.end + closers;
    if let Some(value) = paired(data, after) {
        let mut found = around(data, value, value + "value".len())?;
        found.name = name;
        found.sign = Sign::Tag;
        return Some(found);
    }
    if let Some(value_at) = plist(data, name.end) {
        let (value, quoted) = value(data, value_at, Sign::Tag, false)?;
        return Some(Assignment { name, value, quoted, sign: Sign::Tag, leads: false });
    }
    let (sign, value_at) = sign(data, after, closers > 0, is_element)
        .or_else(|| blank(data, name.end, is_option || leads && is_plain(&data[name.clone()])))?;
    if sign == Sign::Tag && !is_element && !in_attribute(data, name.start) {
        return None;
    }
    let (value, quoted) = value(data, value_at, sign, leads)?;
    if matches!(sign, Sign::Argument) && !quoted {
        return None;
    }
    Some(Assignment { name, value, quoted, sign, leads })
}

/// A directive is one word; names with dashes and dots before blanks are columns of a table.
fn is_plain(name: &[u8]) -> bool {
    name.iter().all(|&b| b.is_ascii_alphabetic() || b == b'_')
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

fn name_around(data: &[u8], at: usize, end: usize) -> Range<usize> {
    let before = data[..at].iter().rev().take(NAME).take_while(|&&b| is_name(b)).count();
    let mut after = data[end..].iter().take(NAME).take_while(|&&b| is_name(b)).count();
    while after > 0 && matches!(data[end + after - 1], b'.' | b'-') {
        after -= 1;
    }
    at - before..end + after
}

fn leads(data: &[u8], at: usize) -> bool {
    let before = &data[at.saturating_sub(120)..at];
    let line = before.iter().rposition(|&b| b == b'\n').map_or(before, |i| &before[i + 1..]);
    let line = line.trim_ascii_start();
    let words: [&[u8]; 14] = [
        b"",
        b"-",
        b"\"",
        b"'",
        b"- \"",
        b"export",
        b"ENV",
        b"ARG",
        b"set",
        b"SET",
        b"Environment=",
        b"define",
        b"$",
        b"- '",
    ];
    words.contains(&line.trim_ascii_end())
}

fn skip_blanks(data: &[u8], at: usize) -> usize {
    at + data[at.min(data.len())..]
        .iter()
        .take(GAP)
        .take_while(|&&b| b == b' ' || b == b'\t')
        .count()
}

/// `name: X` and then `value: …`, in YAML, JSON and XML: where the word `value` stands.
fn paired(data: &[u8], at: usize) -> Option<usize> {
    let rest = data.get(at..data.len().min(at + 80))?;
    let skipped = rest.iter().take_while(|b| b" \t\r\n,\"'".contains(b)).count();
    let word = rest.get(skipped..skipped + 5)?;
    let next = *rest.get(skipped + 5)?;
    let is_value = skipped > 0 && word.eq_ignore_ascii_case(b"value") && b"=:\"' ".contains(&next);
    is_value.then_some(at + skipped)
}

/// `<key>NAME</key> <string>…</string>`: where the string begins.
fn plist(data: &[u8], at: usize) -> Option<usize> {
    let rest = data.get(at..data.len().min(at + 80))?.strip_prefix(b"</key>")?;
    let value = rest.trim_ascii_start().strip_prefix(b"<string>")?;
    Some(at + b"</key>".len() + rest.len() - value.len())
}

fn in_attribute(data: &[u8], at: usize) -> bool {
    let before = &data[at.saturating_sub(60)..at];
    before.ends_with(b"name=\"") || before.ends_with(b"key=\"") || before.ends_with(b"Name=\"")
}

fn sign(data: &[u8], at: usize, closed: bool, is_element: bool) -> Option<(Sign, usize)> {
    let at = skip_blanks(data, at);
    let rest = data.get(at..data.len().min(at + 64))?;
    let found = match rest {
        [b'=', b'=' | b'~', ..] => return None,
        [b'=', b'>', ..] => (Sign::Equals, 2),
        [b'=', ..] => (Sign::Equals, 1),
        [b':' | b'?' | b'+', b'=', ..] => (Sign::Equals, 2),
        [b':', b':', ..] => return None,
        [b':', tail @ ..] => match typed(tail) {
            Some(equals) => (Sign::Equals, 1 + equals),
            None => (Sign::Colon, 1),
        },
        [b',', ..] if closed => (Sign::Argument, 1),
        [b'(', ..] => (Sign::Argument, 1),
        [b'>', ..] if is_element || closed => (Sign::Tag, 1),
        [first, ..] if first.is_ascii_alphabetic() => (Sign::Equals, typed(rest)?),
        _ => return None,
    };
    let mut value_at = skip_blanks(data, at + found.1);
    if found.0 == Sign::Colon && closed && data.get(value_at) == Some(&b'\n') {
        value_at = skip_blanks(data, value_at + 1);
    }
    Some((found.0, value_at))
}

/// `string = `, ` str = `: where the text behind the equals sign begins.
fn typed(rest: &[u8]) -> Option<usize> {
    let is_type = |&&b: &&u8| b.is_ascii_alphanumeric() || b" []<>?&'|*.".contains(&b);
    let length = rest.iter().take(40).take_while(is_type).count();
    let mid = rest.get(..length)?;
    let is_word = mid.iter().any(u8::is_ascii_alphabetic);
    let equals = rest.get(length) == Some(&b'=') && rest.get(length + 1) != Some(&b'=');
    (is_word && equals && mid.last() == Some(&b' ') && mid.len() < 32).then_some(length + 1)
}

/// White space alone is a sign after an option, or where the name begins the line.
fn blank(data: &[u8], at: usize, allowed: bool) -> Option<(Sign, usize)> {
    let value_at = skip_blanks(data, at);
    (allowed && value_at > at).then_some((Sign::Blank, value_at))
}

fn value(data: &[u8], at: usize, sign: Sign, leads: bool) -> Option<(Range<usize>, bool)> {
    let at = at + string_prefix(data, at);
    let rest = data.get(at..data.len().min(at + VALUE))?;
    match rest {
        [b'\\', quote @ (b'"' | b'\''), ..] => {
            let close = [b'\\', *quote];
            let end = rest[2..].windows(2).position(|pair| pair == close)?;
            Some((at + 2..at + 2 + end, true))
        }
        [b'"', b'"', b'"', ..] | [b'\'', b'\'', b'\'', ..] => None,
        [quote @ (b'"' | b'\'' | b'`'), ..] => {
            let end = closing(&rest[1..], *quote)?;
            Some((at + 1..at + 1 + end, true))
        }
        [b'&', b'q', b'u', b'o', b't', b';', ..] => {
            let end = rest[6..].iter().position(|&b| b == b'&')?;
            Some((at + 6..at + 6 + end, true))
        }
        _ => {
            let end = bare(rest, sign, leads);
            (end > 0).then_some((at..at + end, false))
        }
    }
}

/// `r"…"`, `b'…'`, `@"…"`.
fn string_prefix(data: &[u8], at: usize) -> usize {
    match data.get(at..) {
        Some([b'r' | b'b' | b'u' | b'@' | b'L' | b'R', b'"' | b'\'', ..]) => 1,
        _ => 0,
    }
}

fn closing(rest: &[u8], quote: u8) -> Option<usize> {
    let mut escaped = false;
    for (i, &byte) in rest.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'\n' => return None,
            _ if byte == quote => return Some(i),
            _ => {}
        }
    }
    None
}

/// Where a value without quotes ends.
fn bare(rest: &[u8], sign: Sign, leads: bool) -> usize {
    let ends = |(i, &b): (usize, &u8)| {
        matches!(b, b'\n' | b'\r' | 0) || b == b'\\' && matches!(rest.get(i + 1), Some(b'n' | b'r'))
    };
    let line = rest.iter().enumerate().position(ends).unwrap_or(rest.len());
    let line = &rest[..line];
    let end = match sign {
        Sign::Tag => line.iter().position(|&b| b == b'<').unwrap_or(line.len()),
        Sign::Equals | Sign::Colon if leads => {
            let comment = line
                .windows(2)
                .position(|pair| pair[0].is_ascii_whitespace() && matches!(pair[1], b'#' | b';'));
            comment.unwrap_or(line.len())
        }
        _ => line.iter().position(|&b| text::ends_word(b)).unwrap_or(line.len()),
    };
    let value = line[..end].trim_ascii_end();
    let trailing = value.iter().rev().take_while(|&&b| b == b',' || b == b';').count();
    value.len() - trailing
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<(String, String)> {
        let at = text.find("assword")?;
        let found = around(text.as_bytes(), at, at + 7)?;
        Some((text[found.name].to_owned(), text[found.value].to_owned()))
    }

    #[test]
    fn names_and_values_are_read_in_many_languages() {
        let cases = [
            ("DB_PASSWORD=hunter2!".replace("PASSWORD", "Password"), "DB_Password", "hunter2!"),
            ("export password='a b;c'".into(), "password", "a b;c"),
            ("  password: s3cr;et&x # old".into(), "password", "s3cr;et&x"),
            (r#"{"password": "a\"b", "x": 1}"#.into(), "password", r#"a\"b"#),
            (r#""{\"password\":\"abc\"}""#.into(), "password", "abc"),
            ("const password string = \"xyz\"".into(), "password", "xyz"),
            ("password: str = 'xyz'".into(), "password", "xyz"),
            ("my $password = 'xyz';".into(), "password", "xyz"),
            ("define('DB_password', 'xyz');".into(), "DB_password", "xyz"),
            ("<password>xyz</password>".into(), "password", "xyz"),
            ("<add key=\"DbPassword\" value=\"xyz\"/>".into(), "DbPassword", "xyz"),
            ("- name: DB_password\n  value: xyz".into(), "DB_password", "xyz"),
            (r#"{"name":"password","value":"xyz"}"#.into(), "password", "xyz"),
            ("x.setPassword(\"xyz\")".into(), "x.setPassword", "xyz"),
            ("Server=db;Password=xyz;Timeout=3".into(), "Password", "xyz"),
            ("https://h/?password=xyz&a=b".into(), "password", "xyz"),
            ("tool --password xyz run".into(), "--password", "xyz"),
            ("password xyz".into(), "password", "xyz"),
            ("config['password'] = 'xyz'".into(), "password", "xyz"),
            (":password => \"xyz\"".into(), "password", "xyz"),
            ("<key>password</key>\n  <string>xyz</string>".into(), "password", "xyz"),
        ];
        for (text, name, value) in cases {
            assert_eq!(read(&text), Some((name.to_owned(), value.to_owned())), "{text}");
        }
    }

    #[test]
    fn comparisons_and_bare_words_are_no_assignments() {
        for text in
            ["if password == 'x'", "the password of", "password", "password::new", "password\n"]
        {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
