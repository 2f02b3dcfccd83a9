//! The little of Prometheus' languages that tells which series somebody asks for, or exposes.

/// A metric of ours, and what is asked of its labels.
pub(crate) struct Use {
    pub(crate) metric: String,
    pub(crate) matchers: Vec<Matcher>,
}

/// `label="value"`, with any operator.
pub(crate) struct Matcher {
    pub(crate) label: String,
    pub(crate) value: String,
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Every metric whose name begins with `sidekey_`, with its matchers.
pub(crate) fn uses(text: &str) -> Vec<Use> {
    let starts = text.match_indices("sidekey_").map(|(at, _)| at);
    let whole = starts.filter(|&at| !text[..at].ends_with(is_word));
    whole
        .map(|at| {
            let end = text[at..].find(|c| !is_word(c)).map_or(text.len(), |n| at + n);
            let inside = text[end..].strip_prefix('{').and_then(|rest| rest.split('}').next());
            let matchers = inside.map(matchers).unwrap_or_default();
            Use { metric: text[at..end].to_owned(), matchers }
        })
        .collect()
}

/// `a="x", b=~"y|z"`; none of our values has a quote in it.
fn matchers(text: &str) -> Vec<Matcher> {
    let mut parts = text.split('"');
    let mut all = Vec::new();
    while let (Some(label), Some(value)) = (parts.next(), parts.next()) {
        let label = label.trim_matches(|c| !is_word(c)).to_owned();
        all.push(Matcher { label, value: value.to_owned() });
    }
    all
}

/// The labels in `by (…)`, `on (…)` and at the end of `label_values(…)`.
pub(crate) fn grouped(text: &str) -> Vec<String> {
    let lists = ["by (", "on ("].into_iter().flat_map(|word| text.split(word).skip(1));
    let lists = lists.filter_map(|rest| rest.split(')').next());
    let mut all: Vec<_> =
        lists.flat_map(|list| list.split(',').map(|label| label.trim().to_owned())).collect();
    if let Some(rest) = text.strip_prefix("label_values(") {
        all.extend(rest.trim_end_matches(')').rsplit(',').next().map(|l| l.trim().to_owned()));
    }
    all
}
