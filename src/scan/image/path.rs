//! Paths of a layer, made comparable.

/// The path as an engine would unpack it: no leading slash, no `.`, no empty part, `..` not above
/// the root.
pub fn normal(path: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join(&b'/')
}

/// The directory and the last part.
pub fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

/// What a link at `path` points to: relative to its directory, or from the root.
pub fn target(path: &[u8], link: &[u8]) -> Vec<u8> {
    if link.starts_with(b"/") {
        return normal(link);
    }
    normal(&[split(path).0, link].join(&b'/'))
}

/// The directories that `path` is in, the nearest first, without the root.
pub fn ancestors(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = path;
    std::iter::from_fn(move || {
        rest = split(rest).0;
        (!rest.is_empty()).then_some(rest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_below_the_root() {
        for (written, expected) in [
            ("./etc//passwd", "etc/passwd"),
            ("/etc/./passwd/", "etc/passwd"),
            ("../../etc/passwd", "etc/passwd"),
            ("a/../../b", "b"),
            ("./", ""),
        ] {
            assert_eq!(normal(written.as_bytes()), expected.as_bytes(), "{written}");
        }
    }

    #[test]
    fn a_link_is_followed_from_where_it_stands() {
        assert_eq!(target(b"usr/lib/x", b"../bin"), b"usr/bin");
        assert_eq!(target(b"lib", b"usr/lib"), b"usr/lib");
        assert_eq!(target(b"a/b", b"/c"), b"c");
    }

    #[test]
    fn ancestors_come_nearest_first() {
        let all: Vec<&[u8]> = ancestors(b"a/b/c").collect();
        assert_eq!(all, [&b"a/b"[..], b"a"]);
    }
}
