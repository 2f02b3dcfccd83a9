//! Hooks that are HTTP requests.

use std::collections::BTreeMap;

use super::super::decode::At;
use super::super::mistake::Mistake;
use super::super::model::{HookKind, HttpTarget};
use super::super::raw::RawHttp;
use super::vault::is_host;
use super::{Context, choice};

/// Headers that the hook itself sets.
const OURS: [&str; 5] =
    ["sidekey-generation", "content-length", "transfer-encoding", "connection", "upgrade"];

impl Context<'_> {
    pub(super) fn http(&mut self, http: &At<RawHttp>) -> Option<HookKind> {
        let raw = &http.value;
        let method = self.method(raw);
        let headers = self.headers(raw);
        let to = match (&raw.url, &raw.unix) {
            (Some(url), None) => {
                if let Some(path) = &raw.path {
                    self.mistakes.push(Mistake::new(
                        &path.span,
                        "`path` belongs to `unix`",
                        "a URL has its path in it",
                        "write the path at the end of `url`",
                    ));
                }
                self.url(url).map(HttpTarget::Url)
            }
            (None, Some(unix)) => {
                let path = raw.path.as_ref().map_or("/", |path| path.value.as_str()).to_owned();
                if let Some(bad) = raw.path.as_ref().filter(|_| !is_request_path(&path)) {
                    self.mistakes.push(Mistake::new(
                        &bad.span,
                        format!("`{}` is not the path of a request", bad.shown),
                        "it begins with `/` and has no blanks",
                        "write for example /reload",
                    ));
                }
                self.absolute(unix).map(|socket| HttpTarget::Unix { socket, path })
            }
            (None, None) if !raw.wrong.is_empty() => None,
            _ => {
                self.mistakes.push(Mistake::new(
                    &http.span,
                    "an HTTP hook has one of `url` and `unix`",
                    "this one has none, or both",
                    "write `url: http://…`, or `unix: /run/app.sock` and `path: /reload`",
                ));
                None
            }
        };
        Some(HookKind::Http { to: to?, method: method?, headers: headers? })
    }

    fn url(&mut self, url: &At<String>) -> Option<String> {
        let text = &url.value;
        let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
        let host = rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
        if !host.is_some_and(is_host)
            || text.contains(|c: char| c.is_whitespace() || c.is_control())
        {
            self.mistakes.push(Mistake::new(
                &url.span,
                format!("`{}` is not a URL", url.shown),
                "it begins with `http://` or `https://` and a host, without a user",
                "write for example http://127.0.0.1:8080/-/reload",
            ));
            return None;
        }
        Some(text.clone())
    }

    fn method(&mut self, raw: &RawHttp) -> Option<String> {
        let Some(method) = &raw.method else { return Some("POST".to_owned()) };
        if method.value.is_empty() || !method.value.bytes().all(|b| b.is_ascii_uppercase()) {
            self.mistakes.push(choice("method", method, &["POST", "PUT", "PATCH", "GET"]));
            return None;
        }
        Some(method.value.clone())
    }

    fn headers(&mut self, raw: &RawHttp) -> Option<BTreeMap<String, String>> {
        let mut headers = BTreeMap::new();
        let mut good = true;
        for (name, value) in raw.headers.iter().flat_map(|headers| &headers.value.entries) {
            let lower = name.value.to_ascii_lowercase();
            let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
            let (what, why, hint) = if OURS.contains(&lower.as_str()) {
                ("is set by us", "each request of a hook has it already", "remove it")
            } else if name.value.is_empty() || !name.value.bytes().all(token) {
                ("can't be the name of a header", "RFC 9110 has no such name", "rename it")
            } else if value.value.contains(|c: char| c.is_control() && c != '\t') {
                ("has a control character in it", "a header is one line", "remove it")
            } else {
                headers.insert(name.value.clone(), value.value.clone());
                continue;
            };
            good = false;
            let what = format!("the header `{}` {what}", name.shown);
            self.mistakes.push(Mistake::new(&name.span, what, why, hint));
        }
        good.then_some(headers)
    }
}

fn is_request_path(path: &str) -> bool {
    path.starts_with('/') && !path.contains(|c: char| c.is_whitespace() || c.is_control())
}
