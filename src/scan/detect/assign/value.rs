//! Where the value behind a sign begins and ends, in whatever language.

use std::ops::Range;

use super::Sign;
use crate::scan::detect::text;

/// The longest value.
const VALUE: usize = 2048;

pub(super) fn value(
    data: &[u8],
    at: usize,
    sign: Sign,
    leads: bool,
) -> Option<(Range<usize>, bool)> {
    let at = at + opening(data, at, sign);
    let at = at + wrapping(data, at);
    let at = fallback(data, at).unwrap_or(at);
    let rest = data.get(at..data.len().min(at + VALUE))?;
    match rest {
        [b'\\', quote @ (b'"' | b'\''), ..] => {
            let close = [b'\\', *quote];
            let end = rest[2..].windows(2).position(|pair| pair == close)?;
            Some((at + 2..at + 2 + end, true))
        }
        [b'"', b'"', b'"', tail @ ..] | [b'\'', b'\'', b'\'', tail @ ..] => {
            let end = tail.windows(3).position(|three| three == &rest[..3])?;
            Some((at + 3..at + 3 + end, true))
        }
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

/// How long what opens the value at `at` is: a block of YAML, a list, an element inside the element.
fn opening(data: &[u8], at: usize, sign: Sign) -> usize {
    let rest = data.get(at..data.len().min(at + 200)).unwrap_or_default();
    let blanks = |from: usize| rest[from..].iter().take_while(|b| b.is_ascii_whitespace()).count();
    match rest {
        [b'|' | b'>', b'\n', ..] if sign == Sign::Colon => 1 + blanks(1),
        [b'|' | b'>', b'-' | b'+', b'\n', ..] if sign == Sign::Colon => 2 + blanks(2),
        [b'[', ..] => {
            let inner = 1 + blanks(1);
            if matches!(rest.get(inner), Some(b'"' | b'\'')) { inner } else { 0 }
        }
        [b'<', b'!', b'[', b'C', b'D', b'A', b'T', b'A', b'[', ..] => 9,
        [b'<', b'v' | b'V', b'a', b'l', b'u', b'e', b'>', ..] => 7,
        _ => 0,
    }
}

/// What may stand around a literal and leave it what it is.
static WRAPPERS: text::Starts = text::Starts::new(
    "\
    []byte( String::from( String( string( Buffer.from( bytes( Some( SecretString::from( \
    SecretString::new( SecretStr( Secret( Optional.of( std::string( << F( TEXT( L( _T( \
    QStringLiteral( QString( str( Encoding.UTF8.GetBytes( Encoding.ASCII.GetBytes( strings.TrimSpace( \
    OsString::from( Box::from( Cow::from( Some(String::from( URI.escape( encodeURIComponent( \
    urlencode( pulumi.String( aws.String( to_string( Uint8Array.from( SecureString( unhex( \
    base64.b64decode( atob( Base64.decode64( bytes.fromhex( Bytes.from( charlist( ByteString(",
);

/// How long what wraps the literal at `at` is: `r"…"`, `b'…'`, `@"…"`, `[]byte("…")`.
fn wrapping(data: &[u8], at: usize) -> usize {
    let rest = data.get(at..data.len().min(at + 48)).unwrap_or_default();
    let new = if rest.starts_with(b"new ") { 4 } else { 0 };
    let is_quote = |at: usize| matches!(rest.get(at), Some(b'"' | b'\'' | b'`'));
    let call = rest.iter().take(32).take_while(|&&b| !b"\"'` \n".contains(&b)).count();
    let inner = &rest[new.min(rest.len())..];
    if let Some(longest) = WRAPPERS.longest(inner).filter(|&length| is_quote(new + length)) {
        return new + longest;
    }
    match rest {
        [b'r' | b'b' | b'u' | b'@' | b'L' | b'R' | b'f', ..] if call == 1 && is_quote(1) => 1,
        _ => 0,
    }
}

/// How an expression begins that asks the environment or the settings first.
static ASKING: text::Starts = text::Starts::new(
    "\
    process.env os.environ os.getenv os.Getenv getenv( ENV[ ENV.fetch env( System.getenv \
    import.meta.env Deno.env Environment.Get config( settings. viper. std::env env:: option_env",
);
/// What stands before the value that holds where there is none.
const OTHERWISE: [&[u8]; 8] =
    [b"|| ", b"?? ", b"?: ", b" or ", b"\", ", b"', ", b"unwrap_or(", b"unwrap_or_else(|_| "];
/// How far after an expression begins that value may begin.
const EXPRESSION: usize = 120;

/// `process.env.X || "…"`: where the literal begins that is used if nothing else says it.
fn fallback(data: &[u8], at: usize) -> Option<usize> {
    let rest = data.get(at..data.len().min(at + EXPRESSION))?;
    ASKING.longest(rest)?;
    let line = rest.split(|&b| b == b'\n').next()?;
    let found = OTHERWISE.iter().filter_map(|word| text::find(line, word).map(|i| i + word.len()));
    let literal = found.max().filter(|&i| matches!(line.get(i), Some(b'"' | b'\'' | b'`')));
    literal.map(|i| at + i)
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
    // One look at each byte: lines may be long, and most values are short.
    let stops = |i: usize, b: u8| match b {
        b'\n' | b'\r' | 0 => true,
        b'\\' => matches!(rest.get(i + 1), Some(b'n' | b'r')),
        _ => false,
    };
    let ends = |i: usize, b: u8| match sign {
        Sign::Tag => b == b'<' || b == b']',
        Sign::Equals | Sign::Colon if leads => {
            b.is_ascii_whitespace() && matches!(rest.get(i + 1), Some(b'#' | b';'))
        }
        _ => text::ends_word(b),
    };
    let end = rest.iter().enumerate().position(|(i, &b)| stops(i, b) || ends(i, b));
    let value = rest[..end.unwrap_or(rest.len())].trim_ascii_end();
    let trailing = value.iter().rev().take_while(|&&b| b == b',' || b == b';').count();
    value.len() - trailing
}
