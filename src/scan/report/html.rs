//! One page for a browser: it asks nothing of anybody, and says so to the browser.
//!
//! The report is in the page as JSON, and the page's script makes text nodes of it, never markup.
//! Style and script may run because the page names their digests; nothing else may.

use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};

use super::Options;
use super::escape::{JsonWriter, plain};
use super::wire::Document;
use crate::scan::finding::ScanReport;

const STYLE: &str = include_str!("html/page.css");
const SCRIPT: &str = include_str!("html/page.js");

/// Writes the page.
pub fn write(report: &ScanReport, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let names: Vec<_> = report.images.iter().map(|image| plain(&image.reference)).collect();
    let title = text(&format!("{}: {}", report.verdict, names.join(", ")));
    write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
         style-src '{}'; script-src '{}'; base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title} · sidekey-scan</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <div id=\"app\"><noscript>{title}. The details need JavaScript, which only reads this \
         page.</noscript></div>\n<script type=\"application/json\" id=\"report\">",
        source(STYLE),
        source(SCRIPT),
    )?;
    serde_json::to_writer(JsonWriter::for_html(&mut *out), &Document::of(report, options))?;
    writeln!(out, "</script>\n<script>{SCRIPT}</script>\n</body>\n</html>")
}

/// How a content security policy names an inline source.
fn source(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(digest(&SHA256, text.as_bytes())))
}

/// Between tags.
fn text(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
