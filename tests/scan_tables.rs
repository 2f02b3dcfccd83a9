//! What is called what, where names and values are kept apart: rows of `SQLite`, compiled Python.

#![cfg(feature = "scan")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "Python makes the databases")]

mod images;

use std::path::Path;
use std::process::Command;

use images::*;
use serde_json::json;

/// Runs the SQL with Python's own `SQLite`.
fn database(sql: &str) -> Vec<u8> {
    let scratch = Scratch::new();
    let path = scratch.write("app.db", b"");
    std::fs::remove_file(&path).unwrap();
    let script = "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1])\nc.executescript(sys.argv[2])\nc.commit()\nc.close()";
    let status = Command::new("python3").args(["-c", script]).arg(&path).arg(sql).status();
    assert!(status.expect("python3 has to be installed").success(), "python3 with sqlite3");
    std::fs::read(Path::new(&path)).unwrap()
}

fn scan_file(name: &str, bytes: &[u8]) -> Said {
    scan_layer(Tar::new().file(name, bytes).end())
}

fn steps(said: &Said) -> Vec<String> {
    let findings = said.findings();
    let places = findings.iter().flat_map(|finding| finding["places"].as_array().unwrap().clone());
    let inside = places.flat_map(|place| place["inside"].as_array().unwrap().clone());
    inside.map(|step| step["via"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_password_in_a_row_is_found_by_its_column_and_by_the_name_beside_it() {
    let (first, second) = (random(18), random(18));
    let bytes = database(&format!(
        "CREATE TABLE account (id INTEGER PRIMARY KEY, login TEXT, smtp_password TEXT);
         CREATE TABLE setting (name TEXT, value TEXT);
         INSERT INTO account VALUES (1, 'app', '{first}');
         INSERT INTO setting VALUES ('theme', 'dark'), ('ldap_password', '{second}');"
    ));
    let said = scan_file("srv/app.db", &bytes);
    let mut found = secrets(&said);
    found.sort();
    let mut wanted = vec![first, second];
    wanted.sort();
    assert_eq!(found, wanted, "{:?}", said.reasons());
    assert_eq!(steps(&said), ["sqlite", "sqlite"]);
    let names: Vec<_> =
        said.findings().iter().map(|f| f["places"][0]["inside"][0]["name"].clone()).collect();
    assert!(names.contains(&json!("account")) && names.contains(&json!("setting")), "{names:?}");
    assert_eq!(said.json()["images"][0]["complete"], json!(true));
}

#[test]
fn a_token_that_is_cut_by_the_pages_of_a_database_is_found() {
    for encoding in ["UTF-8", "UTF-16le", "UTF-16be"] {
        // Wherever the cut falls, one of them lies across it.
        let tokens: Vec<String> = (0..40).map(|_| token()).collect();
        let text = tokens.join(" ");
        let bytes = database(&format!(
            "PRAGMA page_size = 512; PRAGMA encoding = '{encoding}';
             CREATE TABLE note (body TEXT); INSERT INTO note VALUES ('{text}');"
        ));
        let said = scan_file("srv/app.db", &bytes);
        let mut found = secrets(&said);
        found.sort();
        let mut wanted = tokens.clone();
        wanted.sort();
        assert_eq!(found, wanted, "{encoding}");
        assert!(steps(&said).contains(&"sqlite".to_owned()));
    }
}

#[test]
fn a_database_that_points_into_itself_is_read_to_an_end() {
    let mut bytes = database("CREATE TABLE a (b TEXT); INSERT INTO a VALUES ('x');");
    let clean = scan_file("srv/app.db", &bytes);
    assert_eq!((clean.code, clean.reasons()), (0, vec![]));
    // Every cell of every page is the first one, and every tree leads to itself.
    for page in bytes.chunks_mut(4096) {
        let start = if page.starts_with(b"SQLite") { 100 } else { 0 };
        page[start + 3..start + 5].copy_from_slice(&2000_u16.to_be_bytes());
        page[start] = 5;
    }
    assert_eq!(scan_file("srv/app.db", &bytes).code, 0);
    bytes.truncate(4096);
    assert_eq!(scan_file("srv/app.db", &bytes).code, 0);
    bytes[16] = 7;
    let said = scan_file("srv/app.db", &bytes);
    assert_eq!(said.reasons(), ["nested_corrupt"]);
}

/// What Python's `marshal` writes.
fn short(text: &str) -> Vec<u8> {
    [&[b'z', u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
}

fn tuple(members: &[Vec<u8>]) -> Vec<u8> {
    [&[b')', u8::try_from(members.len()).unwrap()], &members.concat()[..]].concat()
}

fn bytes_of(bytes: &[u8]) -> Vec<u8> {
    [&b"s"[..], &u32::try_from(bytes.len()).unwrap().to_le_bytes(), bytes].concat()
}

/// A module of that version whose code is `instructions`.
fn module(magic: u16, instructions: &[u8], constants: &[Vec<u8>], names: &[&str]) -> Vec<u8> {
    let together = magic >= 3495;
    let names: Vec<Vec<u8>> = names.iter().map(|name| short(name)).collect();
    let mut out = [&magic.to_le_bytes()[..], b"\r\n", &[0; 12], &[b'c' | 0x80]].concat();
    out.extend_from_slice(&vec![0; if together { 20 } else { 24 }]);
    out.extend(bytes_of(instructions));
    out.extend([tuple(constants), tuple(&names)].concat());
    if together {
        out.extend([tuple(&[]), bytes_of(b""), short("a.py"), short("x"), short("x")].concat());
    } else {
        out.extend([tuple(&[]), tuple(&[]), tuple(&[]), short("a.py"), short("x")].concat());
    }
    out.extend_from_slice(&[1, 0, 0, 0]);
    out.extend(bytes_of(b""));
    if together {
        out.extend(bytes_of(b""));
    }
    out
}

#[test]
fn a_password_in_compiled_python_is_found_by_the_name_it_is_assigned_to() {
    let secret = format!("{}1!", random(14));
    for (magic, load, store) in [(3413, 100, 90), (3495, 100, 90), (3531, 100, 90), (3571, 83, 114)]
    {
        let assigned = module(magic, &[load, 0, store, 0], &[short(&secret)], &["DB_PASSWORD"]);
        let keys = tuple(&[short("USER"), short("PASSWORD")]);
        let constants = [short("app"), short(&secret), keys];
        let literal = module(magic, &[load, 0, load, 1, load, 2], &constants, &[]);
        for bytes in [assigned, literal] {
            let said = scan_file("app/__pycache__/settings.cpython.pyc", &bytes);
            assert_eq!(
                secrets(&said),
                std::slice::from_ref(&secret),
                "{magic} {:?}",
                said.reasons()
            );
            assert_eq!(steps(&said), ["pyc"], "{magic}");
            let place = &said.findings()[0]["places"][0]["inside"][0];
            assert_eq!(place["name"], json!("settings.py"));
        }
        let other = module(magic, &[load, 0, store, 0], &[short(&secret)], &["TITLE"]);
        assert_eq!(scan_file("app/x.pyc", &other).code, 0, "{magic}");
    }
}

#[test]
fn damaged_compiled_python_is_said() {
    let whole = module(3531, &[100, 0, 90, 0], &[short("x")], &["a"]);
    for length in [17, 30, whole.len() - 1] {
        let said = scan_file("app/x.pyc", &whole[..length]);
        assert_eq!((said.code, said.reasons()), (0, vec!["nested_corrupt".to_owned()]), "{length}");
    }
    let deep = [&whole[..16], b"c", &[0; 20], &vec![b')'; 5000]].concat();
    assert_eq!(scan_file("app/x.pyc", &deep).reasons(), ["nested_corrupt"]);
}
