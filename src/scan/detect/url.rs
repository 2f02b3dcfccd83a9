//! Passwords in URLs: `scheme://user:password@host`.

use super::class::Class;
use super::matcher::{Found, Scene, View};
use super::rule::Rule;
use super::{credible, placeholder, text};
use crate::scan::finding::Confidence;

/// The longest user, password and host together.
const LONGEST: usize = 500;
/// Hosts that belong to nobody.
const NOBODY: &str = "\
    example.com example.org example.net example host hostname localhost.example server \
    domain.com company.com yourhost test.com foo.com bar.com site.com mydomain.com \
    yourdomain.com proxy.com some.host someproxy myhost my.host your-host ip address fqdn x.com \
    a.com h url uri proxyserver proxy.server proxy.example myproxy dbhost db_host servername \
    domain yourserver foo bar a b x some_host some-host";
/// Passwords that documentation uses.
const SHOWN: &str = "\
    pass password passwd pwd pw secret p passw0rd pass123 token b test foo bar x y mypassword \
    user userpass username key auth passphrase yourpassword mypass a 0 abc xyz baz pswd \
    access_token api_key apikey x-oauth-basic creds xyzzy p@ssw0rd p%40ssw0rd p4ssw0rd s3cret s3cr3t hunter2 letmein qwerty";

impl Scene<'_> {
    /// `at` is where the letter before `://` stands.
    pub(super) fn url(
        &self,
        view: &View<'_>,
        rule: &Rule,
        number: u16,
        at: usize,
    ) -> Option<Found> {
        if matches!(self.class, Class::Lock | Class::Generated) {
            return None;
        }
        let start = at + 4;
        let rest = view.data.get(start..view.data.len().min(start + LONGEST))?;
        let end = rest.iter().position(|&b| {
            b.is_ascii_whitespace() || b"/\"'`<>\\|".contains(&b) || !(b' '..0x7f).contains(&b)
        });
        let authority = &rest[..end.unwrap_or(rest.len())];
        let sign = authority.iter().rposition(|&b| b == b'@')?;
        let (login, host) = (&authority[..sign], &authority[sign + 1..]);
        let colon = login.iter().position(|&b| b == b':')?;
        let password = &login[colon + 1..];
        let user = &login[..colon];
        if !is_real(user, password, host) {
            return None;
        }
        let from = start + colon + 1;
        let mut found = Found::new(view, rule, number, from..from + password.len());
        let scheme = scheme(view.data, at);
        found.weak = true;
        found.key_name = Some(String::from_utf8_lossy(scheme).into_owned());
        let settings = matches!(self.class, Class::Config | Class::Shell | Class::Text);
        if self.class == Class::Doc
            || credible::is_for_show(self.path)
            || !settings && !is_hard(password)
        {
            found.confidence = Confidence::Possible;
        }
        Some(found)
    }
}

fn scheme(data: &[u8], at: usize) -> &[u8] {
    let before = &data[..=at];
    let length = before
        .iter()
        .rev()
        .take(30)
        .take_while(|b| b.is_ascii_alphanumeric() || b"+.-".contains(b))
        .count();
    &before[before.len() - length..]
}

fn is_hard(password: &[u8]) -> bool {
    password.len() >= 8
        && password.iter().any(u8::is_ascii_digit)
        && text::strangeness(password) > 0.2
}

fn is_real(user: &[u8], password: &[u8], host: &[u8]) -> bool {
    let lower = password.to_ascii_lowercase();
    let name = host
        .split(|&b| b == b':' || b == b',' || b == b'?')
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    let reserved = [
        &b".example"[..],
        b".example.com",
        b".example.org",
        b".example.net",
        b".test",
        b".invalid",
        b"-example.com",
    ];
    let host_like = name.iter().all(|&b| b.is_ascii_alphanumeric() || b"-._[]%".contains(&b))
        && !name.is_empty();
    let template =
        |part: &[u8]| part.iter().any(|b| b"${}()<>%*[]".contains(b)) && !percent_only(part);
    password.len() >= 3
        && !password.contains(&b'/')
        && host_like
        && !template(password)
        && !template(user)
        && !text::listed(SHOWN, &lower)
        && !text::listed(NOBODY, &name)
        && !reserved.iter().any(|end| name.ends_with(end))
        && !placeholder::is_made_up(password)
        && !placeholder::is_nothing(password)
        && !placeholder::is_reference(password, true)
}

/// Percent signs are only those of escapes.
fn percent_only(part: &[u8]) -> bool {
    let escape = |at: usize| {
        part.get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit))
    };
    let templates = part.iter().any(|b| b"{}<>[]".contains(b)) || part.starts_with(b"$");
    !templates && part.iter().enumerate().filter(|(_, b)| **b == b'%').all(|(at, _)| escape(at))
}
