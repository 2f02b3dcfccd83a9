//! Patterns of paths: `*` within a name, `**` across directories, `?` one byte. Pure.

/// Whether `path` fits `pattern`. A pattern without a slash fits a name anywhere.
pub fn fits(pattern: &[u8], path: &[u8]) -> bool {
    let pattern = pattern.strip_prefix(b"/").unwrap_or(pattern);
    if pattern.contains(&b'/') {
        return whole(pattern, path);
    }
    path.split(|byte| *byte == b'/').any(|name| whole(pattern, name)) || whole(pattern, path)
}

/// In time that grows with the product of the lengths: the last star is where it goes on.
fn whole(pattern: &[u8], path: &[u8]) -> bool {
    let (mut p, mut at) = (0, 0);
    // Where to go on: for `*`, and for `**`, which is the outer one.
    let mut star: Option<(usize, usize)> = None;
    let mut stars: Option<(usize, usize)> = None;
    while at < path.len() {
        let rest = &pattern[p..];
        if rest.starts_with(b"**") {
            p += if rest.starts_with(b"**/") { 3 } else { 2 };
            (stars, star) = (Some((p, at)), None);
        } else if rest.first() == Some(&b'*') {
            p += 1;
            star = Some((p, at));
        } else if rest.first().is_some_and(|c| *c == path[at] || (*c == b'?' && path[at] != b'/')) {
            (p, at) = (p + 1, at + 1);
        } else if let Some((to, from)) = star.filter(|(_, from)| path[*from] != b'/') {
            star = Some((to, from + 1));
            (p, at) = (to, from + 1);
        } else if let Some((to, from)) = stars {
            stars = Some((to, from + 1));
            star = None;
            (p, at) = (to, from + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn stars_stay_within_a_name_and_double_stars_do_not() {
        for (pattern, path, expected) in [
            ("*.pem", "etc/ssl/a.pem", true),
            ("etc/*.pem", "etc/ssl/a.pem", false),
            ("etc/**/*.pem", "etc/ssl/x/a.pem", true),
            ("etc/**/*.pem", "etc/a.pem", true),
            ("**/test/**", "a/b/test/c/d", true),
            ("/usr/share/**", "usr/share/doc/x", true),
            ("a?c", "x/abc", true),
            ("node_modules", "app/node_modules/x/index.js", true),
            ("b", "abc", false),
            ("etc/*", "etc/a", true),
        ] {
            assert_eq!(fits(pattern.as_bytes(), path.as_bytes()), expected, "{pattern} {path}");
        }
    }
}
