//! The page of the scanner in a real browser: what it shows, that it asks for nothing, and what it
//! looks like.

#![cfg(all(feature = "scan", feature = "e2e"))]
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]
#![expect(clippy::disallowed_methods, reason = "it runs the browser")]

#[path = "scan_report/sample.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod sample;

use std::io::Read;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use sidekey::scan::finding::ScanReport;
use sidekey::scan::report::{Format, Options, write};

fn page(report: &ScanReport, folder: &Path) -> String {
    let path = folder.join("report.html");
    let mut file = std::fs::File::create(&path).unwrap();
    write(Format::Html, report, &Options::default(), &mut file).unwrap();
    format!("file://{}", path.display())
}

/// Runs the browser, which may reach nothing but `proxy`.
fn chromium(folder: &Path, proxy: &str, arguments: &[&str]) -> String {
    let output = Command::new("chromium")
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--no-first-run",
        ])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .arg(format!("--proxy-server={proxy}"))
        .arg(format!("--user-data-dir={}", folder.join("profile").display()))
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{error}: apt-get install chromium"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A proxy that lets nobody through and remembers for what it was asked.
fn nobody() -> (String, &'static AtomicUsize) {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut first = [0; 256];
            let read = stream.unwrap().read(&mut first).unwrap_or(0);
            let said = String::from_utf8_lossy(&first[..read]).into_owned();
            // The browser's own services are not the page's requests.
            if !said.contains("google") && !said.contains("chromium") {
                ASKED.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    (address, &ASKED)
}

#[test]
fn the_page_shows_every_finding_and_every_layer_and_asks_for_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (proxy, asked) = nobody();
    let url = page(&sample::full(), folder.path());
    let dom = chromium(folder.path(), &proxy, &["--dump-dom", &url]);
    assert_eq!(dom.matches("<details class=\"finding ").count(), 4);
    assert_eq!(dom.matches("class=\"slab").count(), 5, "four layers and the config");
    for shown in [
        "AWS secret access key",
        "app/.env:3:14",
        "RUN rm /app/.git-credentials",
        "not everything was read",
    ] {
        assert!(dom.contains(shown), "{shown}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

#[test]
fn a_link_to_a_finding_opens_it_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let report = sample::full();
    let finding = report.images[0].findings.iter().find(|f| f.rule == "github-pat").unwrap();
    let url = format!("{}#{}", page(&report, folder.path()), finding.id);
    let dom =
        chromium(folder.path(), &nobody().0, &["--virtual-time-budget=3000", "--dump-dom", &url]);
    for shown in ["Rotate it.", "RUN --mount=type=secret", "kind: vault", "deleted by layer 3"] {
        assert!(dom.contains(shown), "{shown}");
    }
}

#[test]
fn names_of_an_attacker_are_text() {
    let folder = tempfile::tempdir().unwrap();
    let url = page(&sample::hostile(), folder.path());
    let dom =
        chromium(folder.path(), &nobody().0, &["--virtual-time-budget=3000", "--dump-dom", &url]);
    let shown = dom.split("<div id=\"app\">").nth(1).unwrap();
    let shown = shown.split("<script type=\"application/json\"").next().unwrap();
    assert!(shown.contains("&lt;/script&gt;&lt;script&gt;alert(1)&lt;/script&gt;"));
    assert!(shown.contains("\\u{202e}gnp.exe") && !shown.contains('\u{202e}'));
    assert!(!shown.contains("<script") && !shown.contains("<!--"));
    assert!(shown.contains("<details class=\"finding "));
}

#[test]
fn the_page_has_a_face() {
    let folder = tempfile::tempdir().unwrap();
    let url = page(&sample::full(), folder.path());
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/scan-page");
    std::fs::create_dir_all(&target).unwrap();
    for (name, size, scheme) in
        [("wide", "1400,1100", "1"), ("dark", "1400,1100", "0"), ("narrow", "500,1400", "1")]
    {
        let file = target.join(format!("{name}.png"));
        let _ = std::fs::remove_file(&file);
        let screenshot = format!("--screenshot={}", file.display());
        let (size, scheme) = (
            format!("--window-size={size}"),
            format!("--blink-settings=preferredColorScheme={scheme}"),
        );
        chromium(folder.path(), &nobody().0, &[&size, &scheme, &screenshot, &url]);
        // An empty page of one colour is some kilobytes.
        let bytes = std::fs::read(&file).unwrap();
        assert!(
            bytes.starts_with(b"\x89PNG") && bytes.len() > 50_000,
            "{name}: {} bytes",
            bytes.len()
        );
    }
}
