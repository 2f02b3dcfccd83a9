//! What is in a layer: every container, every byte that is in no member, and what is said of what
//! could not be read.

#![cfg(feature = "scan")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod images;

use images::*;
use serde_json::{Value, json};

fn env(secret: &str) -> Vec<u8> {
    format!("# settings\nTOKEN={secret}\n").into_bytes()
}

fn ar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = b"!<arch>\n".to_vec();
    for (name, content) in members {
        let header =
            format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 644, content.len());
        out.extend_from_slice(header.as_bytes());
        out.extend_from_slice(content);
        if content.len() % 2 == 1 {
            out.push(b'\n');
        }
    }
    out
}

fn cpio(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, content) in members.iter().chain(&[("TRAILER!!!", &b""[..])]) {
        let mut fields = [0; 13];
        (fields[1], fields[6], fields[11]) = (0o100_644, content.len(), name.len() + 1);
        out.extend_from_slice(b"070701");
        for field in fields {
            out.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        out.extend_from_slice(name.as_bytes());
        out.push(0);
        out.resize(out.len().next_multiple_of(4), 0);
        out.extend_from_slice(content);
        out.resize(out.len().next_multiple_of(4), 0);
    }
    out
}

/// With the old binary headers, in either order of bytes.
fn old_cpio(members: &[(&str, &[u8])], bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, content) in members.iter().chain(&[("TRAILER!!!", &b""[..])]) {
        let (name_size, size) = (name.len() + 1, content.len());
        let mut units = [0_u16; 13];
        (units[0], units[3]) = (0o070_707, 0o100_644);
        units[10] = u16::try_from(name_size).unwrap();
        units[12] = u16::try_from(size).unwrap();
        out.extend(units.into_iter().flat_map(bytes));
        out.extend_from_slice(name.as_bytes());
        out.push(0);
        out.resize(out.len().next_multiple_of(2), 0);
        out.extend_from_slice(content);
        out.resize(out.len().next_multiple_of(2), 0);
    }
    out
}

fn rpm(payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0xed, 0xab, 0xee, 0xdb];
    out.resize(96, 0);
    let mut header = vec![0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0];
    header.extend_from_slice(&0_u32.to_be_bytes());
    header.extend_from_slice(&4_u32.to_be_bytes());
    header.extend_from_slice(b"abcd");
    out.extend_from_slice(&header);
    out.resize(out.len().next_multiple_of(8), 0);
    out.extend_from_slice(&header);
    out.extend_from_slice(payload);
    out
}

#[test]
fn every_container_is_opened_and_every_step_into_it_is_named() {
    let secret = token();
    let plain = env(&secret);
    let tar = Tar::new().file("in/.env", &plain).end();
    let deb = ar(&[("debian-binary", b"2.0\n"), ("data.tar.xz", &xz(&tar))]);
    let large = vec![b'x'; 5 << 20];
    let streamed = zip(&[("large.bin", &large, false), ("a/.env", &plain, true)]);
    let script = [b"#!/bin/sh\nexit\n".to_vec(), zip(&[("a/.env", &plain, true)])].concat();
    let cases: Vec<(&str, Vec<u8>, Vec<&str>)> = vec![
        ("a.env.gz", gzip(&plain), vec!["gzip"]),
        ("a.env.zst", zstd(&plain), vec!["zstd"]),
        ("a.env.xz", xz(&plain), vec!["xz"]),
        ("a.env.bz2", bzip2(&plain), vec!["bzip2"]),
        ("two.gz", [gzip(b"clean\n"), gzip(&plain)].concat(), vec!["gzip"]),
        ("two.zst", [zstd(b"clean\n"), zstd(&plain)].concat(), vec!["zstd"]),
        ("two.xz", [xz(b"clean\n"), xz(&plain)].concat(), vec!["xz"]),
        ("a.tar", tar.clone(), vec!["tar"]),
        ("a.tar.gz", gzip(&tar), vec!["gzip", "tar"]),
        ("a.jar", zip(&[("META-INF/x", b"", false), ("a/.env", &plain, true)]), vec!["zip"]),
        ("a.war", zip(&[("lib/a.jar", &zip(&[("b", &plain, true)]), false)]), vec!["zip", "zip"]),
        ("large.zip", streamed, vec!["zip"]),
        ("run.pyz", script, vec!["zip"]),
        ("a.deb", deb, vec!["ar", "xz", "tar"]),
        ("a.cpio", cpio(&[("etc/.env", &plain)]), vec!["cpio"]),
        ("old.cpio", old_cpio(&[("etc/.env", &plain)], u16::to_le_bytes), vec!["cpio"]),
        ("big.cpio", old_cpio(&[("etc/x/.env", &plain)], u16::to_be_bytes), vec!["cpio"]),
        ("a.rpm", rpm(&gzip(&cpio(&[("etc/.env", &plain)]))), vec!["rpm", "gzip", "cpio"]),
        ("a.crate", gzip(&Tar::new().file("x/.env", &plain).end()), vec!["gzip", "tar"]),
    ];
    for (name, bytes, steps) in cases {
        let said = scan_layer(Tar::new().file(&format!("opt/{name}"), &bytes).end());
        let findings = said.findings();
        assert_eq!(findings.len(), 1, "{name}: {findings:#?} {:?}", said.reasons());
        assert_eq!(findings[0]["secret"], json!(secret), "{name}");
        let places = findings[0]["places"].as_array().unwrap();
        let deepest = places.iter().max_by_key(|p| p["inside"].as_array().unwrap().len()).unwrap();
        let via: Vec<&str> = deepest["inside"]
            .as_array()
            .unwrap()
            .iter()
            .map(|step| step["via"].as_str().unwrap())
            .collect();
        assert_eq!(via, steps, "{name}");
        assert_eq!(places.len(), 1, "{name}: {places:#?}");
        assert_eq!(deepest["path"], json!(format!("opt/{name}")));
        assert_eq!(said.json()["images"][0]["complete"], json!(true), "{name}");
    }
}

/// Something in a tar that no engine would unpack.
fn hidden(tar: Vec<u8>, secret: &str, what: &str) {
    let said = scan_layer(tar);
    assert_eq!(secrets(&said), [secret], "{what}: {:?}", said.reasons());
    assert_eq!(said.code, 1, "{what}");
}

#[test]
fn bytes_that_are_in_no_member_are_looked_at() {
    let secret = token();
    let with = |tar: Tar| tar.end();
    let clean = || Tar::new().file("a", "clean");
    let xattr = ("SCHILY.xattr.user.token", secret.as_str());
    let padded = {
        let content = b"x";
        let mut tar = header(b"a", b'0', 1, b"");
        tar.extend_from_slice(content);
        tar.extend_from_slice(secret.as_bytes());
        tar.resize(1024, 0);
        Tar(tar)
    };
    let mut unused = header(b"a", b'0', 0, b"x");
    unused[158..158 + secret.len()].copy_from_slice(secret.as_bytes());
    unused[157] = 0;
    seal(&mut unused);
    for (what, tar) in [
        ("an extended attribute", with(Tar::new().pax(&[xattr]).file("a", "clean"))),
        ("a comment", with(Tar::new().pax(&[("comment", &secret)]).file("a", "clean"))),
        (
            "a global header",
            with(clean().member("g", b'g', record("comment", &secret).as_bytes(), "")),
        ),
        ("after the end", [clean().end(), env(&secret)].concat()),
        ("a tar after the end", [clean().end(), with(Tar::new().file("b", env(&secret)))].concat()),
        ("padding", with(padded)),
        ("a link without a name", with(Tar(unused))),
        ("the target of a link", with(clean().symlink("l", &format!("/x/{secret}")))),
        (
            "a long name",
            with(Tar::new().member("L", b'L', format!("{secret}\0").as_bytes(), "").file("a", "")),
        ),
        (
            "after the name in a long name",
            with(Tar::new().member("L", b'L', format!("b\0{secret}").as_bytes(), "").file("a", "")),
        ),
        ("the content of a link", with(clean().member("l", b'2', &env(&secret), "a"))),
        (
            "a header at the end of the tar without a member",
            with(Tar::new().file("a", "").pax(&[("comment", &secret)])),
        ),
    ] {
        hidden(tar, &secret, what);
    }
}

#[test]
fn comments_and_frames_of_compressed_layers_are_looked_at() {
    let secret = token();
    let tar = Tar::new().file("a", "clean").end();
    let commented = {
        let mut builder = flate2::GzBuilder::new()
            .comment(secret.as_bytes())
            .write(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut builder, &tar).unwrap();
        builder.finish().unwrap()
    };
    let skippable = {
        let mut frame = vec![0x5a, 0x2a, 0x4d, 0x18];
        frame.extend_from_slice(&u32::try_from(secret.len()).unwrap().to_le_bytes());
        frame.extend_from_slice(secret.as_bytes());
        frame
    };
    for (what, layer) in [
        ("a comment of gzip", commented),
        ("bytes after gzip", [gzip(&tar), env(&secret)].concat()),
        ("a skippable frame before", [skippable.clone(), zstd(&tar)].concat()),
        ("a skippable frame after", [zstd(&tar), skippable].concat()),
        ("a second member", [gzip(&tar[..1024]), gzip(&tar[1024..]), gzip(&env(&secret))].concat()),
    ] {
        let config = Image::new().layer(tar.clone(), "x").config();
        let manifest = json!([{"Config": "c.json", "RepoTags": null, "Layers": ["l.tar"]}]);
        let bytes = archive(&[
            ("l.tar".to_owned(), layer),
            ("c.json".to_owned(), config),
            ("manifest.json".to_owned(), serde_json::to_vec(&manifest).unwrap()),
        ]);
        let said = scan_bytes(&bytes, &[]);
        assert_eq!(secrets(&said), std::slice::from_ref(&secret), "{what}: {:?}", said.reasons());
    }
}

#[test]
fn what_can_t_be_opened_is_a_note_and_its_bytes_were_seen() {
    let secret = token();
    let mut broken = gzip(&vec![b'x'; 10_000]);
    broken.truncate(40);
    broken.extend_from_slice(&env(&secret));
    let mut encrypted = zip(&[("a", &env(&secret), false)]);
    encrypted[6] |= 1;
    let at = encrypted.windows(4).position(|four| four == b"PK\x01\x02").unwrap();
    encrypted[at + 8] |= 1;
    for (name, bytes, reason) in [
        ("a.gz", broken, "nested_corrupt"),
        ("a.zip", encrypted, "encrypted_member"),
        ("a.7z", [b"7z\xbc\xaf\x27\x1c".to_vec(), env(&secret)].concat(), "unsupported_format"),
        ("a.rar", [b"Rar!\x1a\x07\x01\x00".to_vec(), env(&secret)].concat(), "unsupported_format"),
        ("a.sqfs", [b"hsqs".to_vec(), env(&secret)].concat(), "unsupported_format"),
    ] {
        let tar = Tar::new().file(name, &bytes).end();
        let said = scan_layer(tar.clone());
        assert_eq!(secrets(&said), std::slice::from_ref(&secret), "{name}");
        assert_eq!(said.reasons(), [reason], "{name}");
        assert_eq!(said.json()["images"][0]["complete"], json!(true), "{name}");
        let image = Image::new().layer(tar, "x").docker_old(Packed::Plain);
        let strict = scan_bytes(&image, &["--strict"]);
        assert_eq!(strict.json()["images"][0]["complete"], json!(false), "{name}");
    }
    let clean = Image::with_file("a.gz", b"\x1f\x8b\x08 no gzip").docker_old(Packed::Plain);
    assert_eq!(scan_bytes(&clean, &[]).code, 0);
    assert_eq!(scan_bytes(&clean, &["--strict"]).code, 3);
    assert_eq!(scan_bytes(&clean, &["--strict", "--accept", "nested_corrupt"]).code, 0);
}

#[test]
fn a_config_is_read_to_its_last_byte() {
    let secret = token();
    let mut image = Image::with_file("a", "clean");
    image.run = json!({"OnBuild": [format!("RUN curl -H 'X: {secret}'")]});
    let said = scan_bytes(&image.docker_old(Packed::Plain), &[]);
    assert_eq!(secrets(&said), std::slice::from_ref(&secret));
    let mut config: Value = serde_json::from_slice(&Image::with_file("a", "x").config()).unwrap();
    config["container_config"] = json!({"unknown": {"deep": [secret]}});
    let bytes = serde_json::to_vec(&config).unwrap();
    let manifest = json!([{"Config": "c.json", "RepoTags": null, "Layers": ["l.tar"]}]);
    let archive = archive(&[
        ("l.tar".to_owned(), Tar::new().file("a", "x").end()),
        ("c.json".to_owned(), bytes),
        ("manifest.json".to_owned(), serde_json::to_vec(&manifest).unwrap()),
    ]);
    assert_eq!(secrets(&scan_bytes(&archive, &[])), [secret]);
}

#[test]
fn an_annotation_is_a_place() {
    let secret = token();
    let mut image = Image::with_file("a", "clean");
    image.annotations = vec![("org.example.token".to_owned(), secret.clone())];
    let said = scan_bytes(&image.oci_archive(Packed::Gzip), &[]);
    assert_eq!(secrets(&said), [secret]);
    assert_eq!(said.findings()[0]["place"]["kind"], json!("annotation"));
    assert_eq!(said.findings()[0]["place"]["path"], json!("org.example.token"));
}

#[test]
fn no_output_shows_a_secret_unless_asked() {
    let secret = token();
    let mut image = Image::with_file("a", env(&secret));
    image = image.layer(
        Tar::new().file(&format!("tmp/{secret}.txt"), "").end(),
        &format!("RUN curl -H 'Authorization: {secret}' https://example.org"),
    );
    image.steps = vec![format!("ENV TOKEN={secret}")];
    image.run = json!({"Env": [format!("TOKEN={secret}")]});
    let scratch = Scratch::new();
    let path = scratch.write("a.tar", &image.docker_new(Packed::Gzip));
    for format in ["text", "json", "jsonl"] {
        let said = said(command().args(["--format", format]).arg(&path), None);
        assert_eq!(said.code, 1);
        let body = &secret[6..];
        assert!(!said.out.contains(body) && !said.err.contains(body), "{format}:\n{}", said.out);
    }
    assert!(scan(&path, &[]).out.contains(&secret));
}

#[test]
fn objects_of_a_git_repository_are_noted_once() {
    let loose = deflate(b"blob 3\0abc");
    let loose = [&[0x78, 0x01][..], &loose].concat();
    let tar = Tar::new()
        .file("app/.git/objects/aa/bb", &loose)
        .file("app/.git/objects/aa/cc", &loose)
        .file("app/.git/objects/pack/pack-1.pack", b"PACK\0\0\0\x02\0\0\0\0")
        .file("app/font.z", &loose);
    let said = scan_layer(tar.end());
    assert_eq!((said.code, said.reasons()), (0, vec!["git_objects".to_owned()]));
}
