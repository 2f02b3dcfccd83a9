//! Runs of several images: failures, bases, lists, memory, crashes.

#![cfg(feature = "scan")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod images;

use images::*;
use serde_json::json;

fn secret_image() -> (Vec<u8>, String) {
    let secret = token();
    let image = Image::with_file("a/.env", format!("TOKEN={secret}\n"));
    (image.docker_new(Packed::Gzip), secret)
}

fn run(arguments: &[&str], stdin: Option<&[u8]>) -> Said {
    said(command().args(["--format", "json", "--reveal"]).args(arguments), stdin)
}

#[test]
fn an_image_that_gives_nothing_takes_no_other_with_it() {
    let scratch = Scratch::new();
    let (bytes, secret) = secret_image();
    let good = scratch.write("good.tar", &bytes);
    let bad = scratch.write("bad.tar", b"not an archive");
    let missing = scratch.0.path().join("missing.tar");
    let paths = [&bad, &missing, &good].map(|path| path.to_str().unwrap().to_owned());
    let said = run(&[&paths[0], &paths[1], &paths[2]], None);
    assert_eq!(said.code, 2);
    let json = said.json();
    let images = json["images"].as_array().unwrap();
    assert_eq!(images.len(), 3);
    assert!(images[0]["error"].is_object() && images[1]["error"].is_object());
    assert_eq!(images[2]["findings"][0]["secret"], json!(secret));
    assert!(said.err.contains("missing.tar"), "{}", said.err);
}

#[test]
fn the_exit_code_is_failure_over_findings_over_gaps() {
    let scratch = Scratch::new();
    let write = |name: &str, bytes: &[u8]| scratch.write(name, bytes).to_str().unwrap().to_owned();
    let found = write("found.tar", &secret_image().0);
    let clean = write("clean.tar", &Image::with_file("a", "x").docker_old(Packed::Plain));
    let cut = Image::new().layer(Tar::new().file("a", random(2000)).0[..1000].to_vec(), "x");
    let gap = write("gap.tar", &cut.docker_old(Packed::Plain));
    let failed = write("failed.tar", b"");
    for (arguments, code) in [
        (vec![&clean], 0),
        (vec![&clean, &gap], 3),
        (vec![&gap, &found], 1),
        (vec![&found, &failed, &gap], 2),
    ] {
        let arguments: Vec<&str> = arguments.into_iter().map(String::as_str).collect();
        assert_eq!(run(&arguments, None).code, code, "{arguments:?}");
    }
    for (option, code) in [("--exit-zero", 0), ("--fail-on=critical", 1), ("--accept=limit", 1)] {
        assert_eq!(run(&[option, &found], None).code, code, "{option}");
    }
    assert_eq!(run(&["--accept=layer_truncated", &gap], None).code, 0);
    for wrong in [&["--fail-on=urgent", "x.tar"][..], &["--only=no-such-rule", "x.tar"], &[]] {
        assert_eq!(said(command().args(wrong), None).code, 2, "{wrong:?}");
    }
}

#[test]
fn images_are_named_in_a_file_too() {
    let scratch = Scratch::new();
    let (bytes, secret) = secret_image();
    let path = scratch.write("a.tar", &bytes);
    let list = format!("# images\n\n{}\n", path.display());
    let file = scratch.write("list", list.as_bytes());
    assert_eq!(
        secrets(&run(&["--from-file", file.to_str().unwrap()], None)),
        std::slice::from_ref(&secret)
    );
    assert_eq!(secrets(&run(&["--from-file", "-"], Some(list.as_bytes()))), [secret]);
    assert_eq!(run(&["--from-file", "-"], Some(b"\n")).code, 2);
}

#[test]
fn layers_are_the_bases_only_when_all_of_them_are() {
    let scratch = Scratch::new();
    let (in_base, own) = (token(), token());
    let tar = |secret: &str| {
        Tar::new().file(&format!("{}/.env", &secret[8..12]), format!("TOKEN={secret}\n")).end()
    };
    let base = Image::new().layer(tar(&in_base), "ADD base");
    let image = base.clone().layer(tar(&own), "COPY own");
    let other =
        Image::new().layer(tar(&in_base), "ADD base").layer(Tar::new().file("x", "y").end(), "x");
    let write = |name: &str, image: &Image| {
        scratch.write(name, &image.docker_old(Packed::Plain)).to_str().unwrap().to_owned()
    };
    let (base, image, other) =
        (write("base.tar", &base), write("image.tar", &image), write("other.tar", &other));
    let said = run(&["--base", &base, &image], None);
    let json = said.json();
    assert_eq!(json["images"][0]["layers"][0]["origin"], json!("base"));
    assert_eq!(json["images"][0]["layers"][1]["origin"], json!("own"));
    assert_eq!(json["images"][0]["base"], json!(base));
    for finding in said.findings() {
        let below = finding["secret"] == json!(in_base);
        assert_eq!(finding["introduced"]["base"], json!(below));
    }
    assert_eq!(run(&["--base", &base, "--fail-on-origin", "own", &base], None).code, 0);
    assert_eq!(run(&["--base", &base, "--fail-on-origin", "own", &image], None).code, 1);
    let said = run(&["--base", &other, &image], None);
    assert_eq!(said.json()["images"][0]["layers"][0]["origin"], json!("unknown"));
    assert_eq!(run(&["--base", "/nowhere.tar", &image], None).code, 2);
}

/// A frame whose window is `log` bits wide, of bytes that don't compress.
fn wide(log: u32, bytes: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(log).unwrap();
    std::io::Write::write_all(&mut encoder, bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_window_that_does_not_fit_beside_others_is_read_alone() {
    let secret = token();
    let tar = |tail: &str| Tar::new().file("a", format!("TOKEN={secret}\n")).file("b", tail).end();
    let layers: Vec<Vec<u8>> = (0..4).map(|_| tar(&random(50_000))).collect();
    let config = layers.iter().fold(Image::new(), |i, tar| i.layer(tar.clone(), "x")).config();
    let names: Vec<String> = (0..4).map(|at| format!("{at}.tar")).collect();
    let manifest = json!([{"Config": "c.json", "RepoTags": null, "Layers": names}]);
    let mut files = vec![
        ("c.json".to_owned(), config),
        ("manifest.json".to_owned(), serde_json::to_vec(&manifest).unwrap()),
    ];
    for (name, tar) in names.iter().zip(&layers) {
        files.push((name.clone(), wide(25, tar)));
    }
    let bytes = archive(&files);
    for jobs in ["1", "4"] {
        let said = scan_bytes(&bytes, &["--jobs", jobs]);
        assert_eq!(secrets(&said), std::slice::from_ref(&secret));
        assert_eq!(said.json()["images"][0]["complete"], json!(true), "{:?}", said.reasons());
    }
    let said = scan_bytes(&bytes, &["--memory", "32MiB"]);
    assert_eq!(said.reasons(), ["limit"; 4]);
    assert!(said.out.contains("--memory"), "{}", said.out);
}

#[test]
fn time_that_is_over_is_a_gap_and_no_silence() {
    let scratch = Scratch::new();
    let image = Image::new().layer(Tar::new().file("a", vec![b'x'; 300 << 20]).end(), "x");
    let path = scratch.write("a.tar", &image.docker_old(Packed::Plain));
    let said = scan(&path, &["--timeout", "1s"]);
    // A machine that is fast enough reads it all.
    if said.code != 0 {
        assert_eq!((said.code, said.reasons()), (3, vec!["timeout".to_owned()]));
    }
}

#[test]
fn reports_are_their_owners_and_several_can_be_written() {
    use std::os::unix::fs::PermissionsExt;

    let scratch = Scratch::new();
    let path = scratch.write("a.tar", &secret_image().0);
    let (json, text) = (scratch.0.path().join("r.json"), scratch.0.path().join("r.txt"));
    let said = said(
        command()
            .arg(format!("--output=json={}", json.display()))
            .arg(format!("--output=text={}", text.display()))
            .arg(&path),
        None,
    );
    assert_eq!((said.code, said.out.as_str()), (1, ""));
    for file in [json, text] {
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(std::fs::metadata(&file).unwrap().len() > 100);
    }
}

#[test]
fn excluded_paths_are_listed_and_do_not_count() {
    let scratch = Scratch::new();
    let path = scratch.write("a.tar", &secret_image().0);
    let config = scratch.write("scan.toml", b"exclude = [\"a/**\"]\n");
    let config = format!("--config={}", config.display());
    for option in ["--exclude=a/**", &config] {
        let said = scan(&path, &[option]);
        assert_eq!(said.code, 0, "{option}: {}", said.err);
        assert_eq!(said.findings()[0]["suppressed"]["by"], json!("config"));
    }
    assert_eq!(scan(&path, &["--exclude", "b/**"]).code, 1);
    let wrong = scratch.write("wrong.toml", b"\nexclud = []\n");
    let said = scan(&path, &[&format!("--config={}", wrong.display())]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("line 2"), "{}", said.err);
}

#[test]
fn rules_of_ones_own_find_what_they_say() {
    let scratch = Scratch::new();
    let rules = "[[provider]]\nname = \"Own\"\nfamily = \"own\"\ngrants = \"Opens the door.\"\n\
        revoke = \"Change the lock.\"\n[[provider.rule]]\nid = \"own-door\"\ntitle = \"door code\"\n\
        severity = \"high\"\nprefix = [\"door_\"]\npattern = '[0-9a-f]{16}'\n\
        examples = [\"door_0123456789abcdef\"]\n";
    scratch.write("own.toml", rules.as_bytes());
    let config = scratch.write("scan.toml", b"rules = [\"own.toml\"]\nonly = [\"own-door\"]\n");
    let image = Image::with_file("a", "x = door_9c41e07ab35d82f6\n").docker_old(Packed::Plain);
    let path = scratch.write("a.tar", &image);
    let said = scan(&path, &[&format!("--config={}", config.display())]);
    assert_eq!(
        (secrets(&said), said.code),
        (vec!["door_9c41e07ab35d82f6".to_owned()], 1),
        "{}",
        said.err
    );
}

fn children(pid: u32) -> Vec<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    text.unwrap_or_default().split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// Kills parsers as they come up, `most` of them.
fn with_kills(path: &std::path::Path, most: usize) -> Said {
    let pid = std::sync::atomic::AtomicU32::new(0);
    let over = std::sync::atomic::AtomicBool::new(false);
    let order = std::sync::atomic::Ordering::Relaxed;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut killed = std::collections::BTreeSet::new();
            while !over.load(order) {
                let parsers = children(pid.load(order)).into_iter().flat_map(children);
                for parser in parsers.collect::<Vec<_>>() {
                    if killed.len() < most && killed.insert(parser) {
                        // It has to be at work.
                        std::thread::sleep(std::time::Duration::from_millis(300));
                        let parser = rustix::process::Pid::from_raw(parser.cast_signed()).unwrap();
                        let _ =
                            rustix::process::kill_process(parser, rustix::process::Signal::KILL);
                    }
                }
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        });
        let mut command = command();
        command.args(["--format", "json", "--reveal", "--jobs", "2"]).arg(path);
        let said = said_watched(&mut command, None, &|id| pid.store(id, order));
        over.store(true, order);
        said
    })
}

/// Layers that take a while, each with a token.
fn slow() -> (Vec<u8>, Vec<String>) {
    let secrets: Vec<String> = (0..3).map(|_| token()).collect();
    let text = "word = value, other: thing; ".repeat(1 << 20);
    let image = secrets.iter().enumerate().fold(Image::new(), |image, (at, secret)| {
        let tar = Tar::new().file(&format!("{at}/.env"), format!("TOKEN={secret}\n"));
        image.layer(tar.file(&format!("{at}/big.txt"), &text).end(), "COPY . /")
    });
    (image.docker_old(Packed::Plain), secrets)
}

#[test]
fn a_parser_that_is_killed_is_replaced_and_nothing_is_lost() {
    let scratch = Scratch::new();
    let (bytes, mut planted) = slow();
    let said = with_kills(&scratch.write("a.tar", &bytes), 1);
    let mut found = secrets(&said);
    found.sort();
    planted.sort();
    assert_eq!((found, said.code), (planted, 1), "{}", said.err);
    assert_eq!(said.json()["images"][0]["complete"], json!(true), "{:?}", said.reasons());
}
