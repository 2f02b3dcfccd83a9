//! The walk over a tar against GNU tar and Python's `tarfile`: the same members, names, links and
//! contents.

#![cfg(feature = "scan")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "tests run other programs")]

mod images;

use std::path::Path;
use std::process::Command;

use images::*;
use sidekey::scan::image::feed::{Fault, Feed, Input, Section};
use sidekey::scan::image::path::normal;
use sidekey::scan::image::tar::{Member, MemberKind, Visit, walk};
use sidekey::scan::limits::{Bound, Limits};

/// A member in one line: kind, name, link, digest of the content.
fn line(kind: &str, name: &[u8], link: &[u8], content: &[u8]) -> String {
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
    format!("{kind} {} -> {} {}", text(&normal(name)), text(link), sha256(content))
}

#[derive(Default)]
struct Listed(Vec<String>);

impl Visit for Listed {
    fn member(&mut self, member: &Member, content: &mut Section<'_>) -> Result<(), Fault> {
        let mut bytes = Vec::new();
        loop {
            let shown = content.peek(1)?;
            if shown.is_empty() {
                break;
            }
            bytes.extend_from_slice(shown);
            let count = shown.len();
            content.consume(count);
        }
        let (kind, link) = match member.kind {
            MemberKind::File => ("file", &b""[..]),
            MemberKind::Directory => ("dir", &b""[..]),
            MemberKind::Symlink => ("symlink", &member.link[..]),
            MemberKind::Hardlink => ("hardlink", &member.link[..]),
            MemberKind::Special => ("special", &b""[..]),
        };
        if !member.beyond {
            self.0.push(line(kind, &member.name, link, &bytes));
        }
        Ok(())
    }

    fn hidden(&mut self, _: &[u8], _: u64, _: &[u8]) {}

    fn partly(&mut self, _: &[u8], _: Bound) {}
}

fn ours(tar: &[u8]) -> Vec<String> {
    let mut listed = Listed::default();
    walk(&mut Input::new(tar, 4096), &Limits::default(), 100_000, &mut listed).unwrap();
    listed.0
}

const PYTHON: &str = r"
import hashlib, posixpath, sys, tarfile
def text(name):
    out = ''
    for byte in name.encode('utf-8', 'surrogateescape'):
        c = chr(byte)
        if c in '\\\'\x22': out += '\\' + c
        elif c == '\n': out += '\\n'
        elif c == '\t': out += '\\t'
        elif c == '\r': out += '\\r'
        elif 32 <= byte < 127: out += c
        else: out += '\\x%02x' % byte
    return out
def normal(name):
    parts = []
    for part in name.split('/'):
        if part in ('', '.'): continue
        if part == '..': parts[-1:] = []
        else: parts.append(part)
    return '/'.join(parts)
with tarfile.open(sys.argv[1], 'r:', encoding='utf-8', errors='surrogateescape') as tar:
    for m in tar:
        kind = ('dir' if m.isdir() else 'symlink' if m.issym() else 'hardlink' if m.islnk()
                else 'special' if m.ischr() or m.isblk() or m.isfifo() else 'file')
        content = tar.extractfile(m).read() if kind == 'file' else b''
        link = m.linkname if kind in ('symlink', 'hardlink') else ''
        print(kind, text(normal(m.name)), '->', text(link), 'sha256:' + hashlib.sha256(content).hexdigest())
";

fn python(path: &Path) -> Vec<String> {
    let output = Command::new("python3").args(["-c", PYTHON]).arg(path).output();
    let output = output.expect("no python3: apt-get install python3");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// Names as GNU tar lists them.
fn gnu_names(path: &Path) -> Vec<String> {
    let output = Command::new("tar").args(["--quoting-style=literal", "-tf"]).arg(path).output();
    let output = output.expect("no tar: apt-get install tar");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter(|name| !name.is_empty())
        .map(|name| normal(name).escape_ascii().to_string())
        .collect()
}

fn names(lines: &[String]) -> Vec<String> {
    let name = |line: &String| {
        let rest = line.split_once(' ').unwrap().1;
        rest.split(" -> ").next().unwrap().to_owned()
    };
    lines.iter().map(name).collect()
}

fn run(program: &str, directory: &Path, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A tree with everything that a header can hold.
fn tree(root: &Path) {
    use std::os::unix::ffi::OsStrExt;
    let write = |name: &str, content: &[u8]| {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    };
    write("plain.txt", b"content");
    write("empty", b"");
    write("block", &[b'x'; 512]);
    write("block and one", &[b'y'; 513]);
    write("large", &random(200_000).into_bytes());
    write(&format!("{}/{}", "d".repeat(90), "f".repeat(90)), b"long in two parts");
    write(&format!("{}/x", vec!["e".repeat(60); 6].join("/")), b"long in many parts");
    write("ümläut/日本", b"not ASCII");
    std::fs::create_dir(root.join("nothing in it")).unwrap();
    std::os::unix::fs::symlink("plain.txt", root.join("link")).unwrap();
    std::os::unix::fs::symlink("t/".repeat(100), root.join("long link")).unwrap();
    std::fs::hard_link(root.join("plain.txt"), root.join("second name")).unwrap();
    std::fs::write(root.join(std::ffi::OsStr::from_bytes(b"no\xffutf8")), b"bytes").unwrap();
}

#[test]
fn archives_of_gnu_tar_have_the_members_that_python_and_gnu_tar_see() {
    let scratch = Scratch::new();
    let root = scratch.0.path().join("tree");
    std::fs::create_dir(&root).unwrap();
    tree(&root);
    for format in ["gnu", "oldgnu", "pax", "posix"] {
        let path = scratch.0.path().join(format!("{format}.tar"));
        let archive = path.to_str().unwrap();
        run("tar", &root, &[&format!("--format={format}"), "--sort=name", "-cf", archive, "."]);
        let bytes = std::fs::read(&path).unwrap();
        let ours = ours(&bytes);
        assert!(ours.len() > 12, "{format}");
        assert_eq!(ours, python(&path), "{format}");
        assert_eq!(names(&ours), gnu_names(&path), "{format}");
    }
}

#[test]
fn archives_of_python_have_the_members_that_python_and_gnu_tar_see() {
    let scratch = Scratch::new();
    let root = scratch.0.path().join("tree");
    std::fs::create_dir(&root).unwrap();
    tree(&root);
    for format in ["GNU_FORMAT", "PAX_FORMAT"] {
        let path = scratch.0.path().join(format!("{format}.tar"));
        let program = format!(
            "import sys,tarfile\nt=tarfile.open(sys.argv[1],'w',format=tarfile.{format})\n\
             t.add('.')\nt.close()"
        );
        run("python3", &root, &["-c", &program, path.to_str().unwrap()]);
        let bytes = std::fs::read(&path).unwrap();
        let ours = ours(&bytes);
        assert_eq!(ours, python(&path), "{format}");
        assert_eq!(names(&ours), gnu_names(&path), "{format}");
    }
}

#[test]
fn short_names_in_the_oldest_formats_are_the_same() {
    let scratch = Scratch::new();
    let root = scratch.0.path().join("tree");
    std::fs::create_dir_all(root.join("a/b")).unwrap();
    std::fs::write(root.join("a/b/c"), "content").unwrap();
    std::fs::write(root.join(format!("a/{}", "n".repeat(90))), "content").unwrap();
    std::fs::create_dir_all(root.join("d".repeat(80))).unwrap();
    std::fs::write(root.join(format!("{}/{}", "d".repeat(80), "n".repeat(90))), "x").unwrap();
    for format in ["v7", "ustar"] {
        let path = scratch.0.path().join(format!("{format}.tar"));
        let what = if format == "v7" { "a" } else { "." };
        let archive = path.to_str().unwrap();
        run("tar", &root, &[&format!("--format={format}"), "--sort=name", "-cf", archive, what]);
        let ours = ours(&std::fs::read(&path).unwrap());
        assert_eq!(ours, python(&path), "{format}");
        assert_eq!(names(&ours), gnu_names(&path), "{format}");
    }
}

#[test]
fn members_made_by_hand_are_the_same() {
    let cases: Vec<(&str, Tar)> = vec![
        (
            "PAX path and link",
            Tar::new().pax(&[("path", "p/x"), ("linkpath", "q/y")]).symlink("s", "t"),
        ),
        (
            "a global header",
            Tar::new().member("g", b'g', record("comment", "x").as_bytes(), "").file("a", "x"),
        ),
        (
            "a PAX size",
            Tar::new()
                .pax(&[("size", "3")])
                .raw(&header(b"a", b'0', 0, b""))
                .raw(b"abc")
                .raw(&[0; 509]),
        ),
        ("a directory of old", Tar::new().member("a/", 0, b"", "")),
        ("contiguous", Tar::new().member("a", b'7', b"content", "")),
        (
            "a long name",
            Tar::new()
                .member("L", b'L', format!("{}\0", "n".repeat(300)).as_bytes(), "")
                .file("a", "x"),
        ),
        (
            "a long link",
            Tar::new()
                .member("K", b'K', format!("{}\0", "n".repeat(300)).as_bytes(), "")
                .symlink("a", "x"),
        ),
        ("a name twice", Tar::new().file("a", "one").file("a", "two")),
    ];
    let scratch = Scratch::new();
    for (what, tar) in cases {
        let bytes = tar.end();
        let path = scratch.write("a.tar", &bytes);
        let ours = ours(&bytes);
        assert_eq!(ours, python(&path), "{what}");
        assert_eq!(names(&ours), gnu_names(&path), "{what}");
    }
}
