//! Reads assignments in whatever language: the name around a word, and the value behind it.

mod value;

use std::ops::Range;

use self::value::value;
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
/// The widest gap between name, sign and value.
const GAP: usize = 40;

/// The assignment whose name contains the bytes from `at` to `end`.
pub(super) fn around(data: &[u8], at: usize, end: usize) -> Option<Assignment> {
    let name = name_around(data, at, end);
    if data[..name.start].ends_with(b"${") {
        let value = otherwise(data, name.end)?;
        return Some(Assignment { name, value, quoted: true, sign: Sign::Equals, leads: false });
    }
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
    if let Some(value_at) = defaulted(data, after) {
        let (value, quoted) = value(data, value_at, Sign::Equals, false)?;
        return Some(Assignment { name, value, quoted, sign: Sign::Equals, leads: false });
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
    let before = data[..name.start].last();
    let is_tag = !quoted && sign == Sign::Colon && value.start == name.end + 1;
    if sign == Sign::Argument && !quoted || is_tag && before.is_some_and(|b| b":/@".contains(b)) {
        return None;
    }
    let quoted = quoted || sign == Sign::Equals && in_literal(data, &name, value.start);
    Some(Assignment { name, value, quoted, sign, leads })
}

/// `${NAME:-value}`, `${NAME:value}`: the value that holds where there is none.
fn otherwise(data: &[u8], at: usize) -> Option<Range<usize>> {
    let rest = data.get(at..data.len().min(at + 200))?;
    let sign = match rest {
        [b':', b'-' | b'=', ..] => 2,
        [b':', b'?' | b'+' | b'0'..=b'9', ..] => return None,
        [b':' | b'-' | b'=', ..] => 1,
        _ => return None,
    };
    let end = rest.iter().position(|&b| b == b'}' || b == b'\n')?;
    let quote = usize::from(matches!(rest[sign], b'"' | b'\''));
    (rest[end] == b'}' && end > sign + 2 * quote).then(|| at + sign + quote..at + end - quote)
}

/// `"host=db password=value"`: part of a text in quotes, with its value close to its sign.
fn in_literal(data: &[u8], name: &Range<usize>, value: usize) -> bool {
    let before = &data[name.start.saturating_sub(300)..name.start];
    let line = before.rsplit(|&b| b == b'\n').next().unwrap_or_default();
    let is_odd = |quote: u8| memchr::memchr_iter(quote, line).count() % 2 == 1;
    let starts = line.last().is_some_and(|b| b" ;\"'`?&{".contains(b));
    value == name.end + 1 && starts && (is_odd(b'"') || is_odd(b'\'') || is_odd(b'`'))
}

/// A directive is one word; names with dashes and dots before blanks are columns of a table.
fn is_plain(name: &[u8]) -> bool {
    name.iter().all(|&b| b.is_ascii_alphabetic() || b == b'_')
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

/// The name that contains the bytes from `at` to `end`.
pub(super) fn name_around(data: &[u8], at: usize, end: usize) -> Range<usize> {
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
    let skipped = rest.iter().take_while(|b| b" \t\r\n,\"':{".contains(b)).count();
    let word = rest.get(skipped..skipped + 5)?;
    let next = *rest.get(skipped + 5)?;
    let is_value = skipped > 0 && word.eq_ignore_ascii_case(b"value") && b"=:\"' ".contains(&next);
    is_value.then_some(at + skipped)
}

/// `variable "NAME" { … default = …`: where the value begins.
fn defaulted(data: &[u8], at: usize) -> Option<usize> {
    let rest = data.get(at..data.len().min(at + 400))?;
    let block = rest.trim_ascii_start().strip_prefix(b"{\n")?;
    let block = &block[..text::find(block, b"\n}").unwrap_or(block.len())];
    let word = text::find(block, b"default")? + "default".len();
    let sign = block[word..].iter().position(|&b| b == b'=')?;
    let blank = block[word..word + sign].iter().all(|&b| b == b' ');
    let before = rest.len() - rest.trim_ascii_start().len() + 2;
    blank.then(|| skip_blanks(data, at + before + word + sign + 1))
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
        [b',', b' ', b'<', b'<', ..] => (Sign::Argument, 1),
        [b'|', b'|', ..] | [b'?', b'?' | b':', ..] => (Sign::Argument, 2),
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
            ("variable \"db_password\" {\n  default = \"xyz\"\n}".into(), "db_password", "xyz"),
            ("\"adminPassword\": {\n \"value\": \"xyz\"}".into(), "adminPassword", "xyz"),
            ("password: |-\n    xyz\nb: 1".into(), "password", "xyz"),
            ("<password><![CDATA[xyz]]></password>".into(), "password", "xyz"),
            ("<Password><Value>xyz</Value>".into(), "Password", "xyz"),
            ("{password, <<\"xyz\">>}".into(), "password", "xyz"),
            ("passwords = [\n  \"xyz\", \"b\"]".into(), "passwords", "xyz"),
            ("password := []byte(\"xyz\")".into(), "password", "xyz"),
            ("let password = String::from(\"xyz\");".into(), "password", "xyz"),
            ("password: process.env.DB_PW || 'xyz',".into(), "password", "xyz"),
            ("x = process.env.password ?? 'xyz'".into(), "process.env.password", "xyz"),
            ("password = os.getenv('A', 'xyz')".into(), "password", "xyz"),
            ("a: ${db_password:-xyz}".into(), "db_password", "xyz"),
            ("password = \"\"\"xyz;\"\"\"".into(), "password", "xyz;"),
            ("open(\"host=db password=xyz sslmode=no\")".into(), "password", "xyz"),
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
        for text in [
            "${password:?missing}",
            "a:password:b",
            "if password == 'x'",
            "the password of",
            "password",
            "password::new",
            "password\n",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
