//! Bombs and smuggled archives: in time, in memory, with the right reason and exit code, and what can
//! be seen of them is seen.

#![cfg(feature = "scan")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod images;

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use images::*;
use serde_json::{Value, json};

/// What an archive has to come to.
struct Case {
    what: &'static str,
    archive: Vec<u8>,
    code: i32,
    /// A reason that has to be among the skips.
    reason: Option<&'static str>,
    /// What has to be found all the same.
    secret: Option<String>,
}

fn case(what: &'static str, archive: Vec<u8>, code: i32, reason: Option<&'static str>) -> Case {
    Case { what, archive, code, reason, secret: None }
}

/// An archive whose one layer is these bytes, whatever they are.
fn of_layer(layer: &[u8]) -> Vec<u8> {
    let config = br#"{"os":"linux","architecture":"amd64"}"#.to_vec();
    let manifest = json!([{"Config": "c.json", "RepoTags": ["a:1"], "Layers": ["l.tar"]}]);
    archive(&[
        ("l.tar".to_owned(), layer.to_vec()),
        ("c.json".to_owned(), config),
        ("manifest.json".to_owned(), serde_json::to_vec(&manifest).unwrap()),
    ])
}

fn of_file(name: &str, content: &[u8]) -> Vec<u8> {
    of_layer(&Tar::new().file(name, content).end())
}

fn of_documents(files: &[(&str, &[u8])]) -> Vec<u8> {
    let files: Vec<(String, Vec<u8>)> =
        files.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec())).collect();
    archive(&files)
}

/// Zeros, compressed as one member after the other.
fn zeros(member: &[u8], times: usize) -> Vec<u8> {
    member.repeat(times)
}

const MIB: usize = 1 << 20;

fn bombs() -> Vec<Case> {
    let zero = vec![0; MIB];
    let tar_of_zeros = |packed: fn(&[u8]) -> Vec<u8>| {
        let head = header(b"a", b'0', 400 << 20, b"");
        [packed(&head), zeros(&packed(&zero), 400)].concat()
    };
    let mut nested = b"TOKEN".to_vec();
    for _ in 0..40 {
        nested = gzip(&nested);
    }
    let mut zips = b"x".to_vec();
    for _ in 0..40 {
        zips = zip(&[("a.zip", &zips, true)]);
    }
    let long = gzip_best(&zero);
    vec![
        case("a gzip layer of zeros", of_layer(&tar_of_zeros(gzip_best)), 3, Some("limit")),
        case("a zstd layer of zeros", of_layer(&tar_of_zeros(zstd)), 3, Some("limit")),
        case("a gzip file of zeros", of_file("a.gz", &zeros(&long, 300)), 3, Some("limit")),
        case("a zstd file of zeros", of_file("a.zst", &zeros(&zstd(&zero), 300)), 3, Some("limit")),
        case("an xz file of zeros", of_file("a.xz", &zeros(&xz(&zero), 300)), 3, Some("limit")),
        case(
            "a bzip2 file of zeros",
            of_file("a.bz2", &zeros(&bzip2(&zero), 300)),
            3,
            Some("limit"),
        ),
        case("forty times gzip", of_file("a.gz", &nested), 3, Some("limit")),
        case("forty times zip", of_file("a.zip", &zips), 3, Some("limit")),
        case(
            "members of a zip that share bytes",
            of_file("a.zip", &overlapping()),
            3,
            Some("limit"),
        ),
        case("a zip of zeros", of_file("a.zip", &zip_of_zeros()), 3, Some("limit")),
    ]
}

/// A zip whose directory names one member a thousand times.
fn overlapping() -> Vec<u8> {
    let one = zip(&[("a", &vec![b'x'; 100_000], false)]);
    let at = one.windows(4).position(|four| four == b"PK\x01\x02").unwrap();
    let end = one.windows(4).position(|four| four == b"PK\x05\x06").unwrap();
    let mut out = one[..at].to_vec();
    let directory = one[at..end].repeat(1000);
    out.extend_from_slice(&directory);
    let mut tail = one[end..].to_vec();
    tail[8..10].copy_from_slice(&1000_u16.to_le_bytes());
    tail[10..12].copy_from_slice(&1000_u16.to_le_bytes());
    tail[12..16].copy_from_slice(&u32::try_from(directory.len()).unwrap().to_le_bytes());
    out.extend_from_slice(&tail);
    out
}

/// A member of 200 MiB of zeros.
fn zip_of_zeros() -> Vec<u8> {
    let packed = deflate(&vec![0; 200 * MIB]);
    let mut out = b"PK\x03\x04\x14\0\0\0\x08\0\0\0\0\0\0\0\0\0".to_vec();
    out.extend_from_slice(&u32::try_from(packed.len()).unwrap().to_le_bytes());
    out.extend_from_slice(&u32::try_from(200 * MIB).unwrap().to_le_bytes());
    out.extend_from_slice(b"\x01\0\0\0a");
    out.extend_from_slice(&packed);
    out
}

fn windows() -> Vec<Case> {
    // A frame that wants a window of 2 GiB, one of a single segment as large, one with a dictionary.
    let wide = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 1, 0, 0];
    let single = [0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0, 0x80, 1, 0, 0];
    let dictionary = [0x28, 0xb5, 0x2f, 0xfd, 0x01, 0x58, 7, 1, 0, 0];
    let mut dense = xz(b"x");
    // The dictionary of the first block: 1.5 GiB. (The header's checksum is wrong by then.)
    dense[16] = 37;
    vec![
        case("a zstd window of 2 GiB", of_layer(&wide), 3, Some("limit")),
        case("a zstd segment of 2 GiB", of_layer(&single), 3, Some("limit")),
        case("a zstd dictionary", of_layer(&dictionary), 3, Some("unknown_layer_compression")),
        case("an xz dictionary of 1.5 GiB", of_file("a.xz", &dense), 3, Some("limit")),
    ]
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn tars() -> Vec<Case> {
    let secret = token();
    let text = format!("TOKEN={secret}\n");
    let good = Tar::new().file("before/.env", &text);
    let sized = |field: &[u8]| {
        let mut head = header(b"a", b'0', 0, b"");
        head[124..124 + field.len()].copy_from_slice(field);
        seal(&mut head);
        head
    };
    let mut sparse = header(b"disk.img", b'S', 512, b"");
    sparse[257..265].copy_from_slice(b"ustar  \0");
    sparse[386..398].copy_from_slice(b"00000000000\0");
    sparse[398..410].copy_from_slice(b"00000001000\0");
    sparse[483..495].copy_from_slice(b"\x80\0\0\0\0\0\0\x01\0\0\0\0");
    seal(&mut sparse);
    let pax_sparse = [
        ("GNU.sparse.major", "1"),
        ("GNU.sparse.minor", "0"),
        ("GNU.sparse.name", "disk.img"),
        ("GNU.sparse.realsize", "1099511627776"),
    ];
    let mut wrong = header(b"a", b'0', 0, b"");
    wrong[148..154].copy_from_slice(b"000000");
    let whole = good.clone().end();
    let long_pax = record("comment", &"x".repeat(3 * MIB));
    let long_name = "n/".repeat(2 * MIB);
    let mut tail = good.clone().0;
    tail.truncate(530);
    let found = |case: Case| Case { secret: Some(secret.clone()), ..case };
    let layer = |tar: Tar| of_layer(&tar.end());
    vec![
        found(case(
            "a sparse file of 1 TiB",
            layer(good.clone().raw(&sparse).raw(&[b'x'; 512])),
            1,
            None,
        )),
        found(case(
            "a sparse file of 1 TiB in PAX",
            layer(good.clone().pax(&pax_sparse).file("GNUSparseFile.0/disk.img", "0\n")),
            1,
            None,
        )),
        found(case(
            "a size of 8 EiB",
            layer(good.clone().raw(&sized(b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff"))),
            1,
            Some("layer_truncated"),
        )),
        found(case(
            "a negative size",
            layer(good.clone().raw(&sized(&[0xff; 12]))),
            1,
            Some("layer_unreadable"),
        )),
        found(case(
            "a size that is no number",
            layer(good.clone().raw(&sized(b"xxxxxxxxxxx\0"))),
            1,
            Some("layer_unreadable"),
        )),
        found(case(
            "a wrong checksum",
            layer(good.clone().raw(&wrong).raw(text.as_bytes())),
            1,
            Some("layer_unreadable"),
        )),
        found(case("cut in a header", of_layer(&whole[..1024 + 100]), 1, Some("layer_truncated"))),
        case("cut in a content", of_layer(&tail), 3, Some("layer_truncated")),
        found(case(
            "a PAX header of 3 MiB",
            layer(good.clone().member("x", b'x', long_pax.as_bytes(), "").file("a", "")),
            1,
            Some("limit"),
        )),
        found(case(
            "PAX records whose length lies",
            layer(good.clone().member("x", b'x', b"99999 path=a\n0 b=c\n-1 =\n", "").file("a", "")),
            1,
            None,
        )),
        found(case(
            "a name of 4 MiB",
            layer(good.clone().member("L", b'L', long_name.as_bytes(), "").file("a", "")),
            1,
            Some("limit"),
        )),
        found(case(
            "a path 100,000 directories deep",
            layer(good.clone().pax(&[("path", &"d/".repeat(100_000))]).file("a", &text)),
            1,
            None,
        )),
        found(case(
            "names that lead out",
            layer(Tar::new().file("../../../etc/.env", &text).file("/abs", "")),
            1,
            None,
        )),
        found(case(
            "links in a ring",
            layer(
                good.clone()
                    .symlink("a", "b")
                    .symlink("b", "a")
                    .hardlink("c", "d")
                    .hardlink("d", "c"),
            ),
            1,
            None,
        )),
        found(case(
            "devices and pipes",
            layer(
                good.clone()
                    .member("dev/sda", b'4', b"", "")
                    .member("p", b'6', b"", "")
                    .member("z", b'3', b"", ""),
            ),
            1,
            None,
        )),
        found(case(
            "an unknown kind of member",
            layer(Tar::new().member("x", b'Z', text.as_bytes(), "")),
            1,
            None,
        )),
        found(case(
            "x then L",
            layer(
                Tar::new()
                    .pax(&[("path", "one")])
                    .member("L", b'L', b"two\0", "")
                    .file("three", &text),
            ),
            1,
            None,
        )),
        found(case(
            "L then x",
            layer(
                Tar::new()
                    .member("L", b'L', b"two\0", "")
                    .pax(&[("path", "one")])
                    .file("three", &text),
            ),
            1,
            None,
        )),
        found(case(
            "the sizes of PAX and header differ",
            layer(Tar::new().pax(&[("size", "0")]).file("a", &text)),
            1,
            Some("layer_unreadable"),
        )),
        found(case(
            "a name that is no UTF-8",
            layer(good.clone().raw(&header(b"\xff\xfe/x", b'0', 0, b""))),
            1,
            None,
        )),
        found(case(
            "a hundred thousand names of one file",
            layer(
                (0..2_000)
                    .fold(good.clone(), |tar, at| tar.hardlink(&format!("h{at}"), "before/.env")),
            ),
            1,
            None,
        )),
    ]
}

fn compressed() -> Vec<Case> {
    let secret = token();
    let tar = Tar::new().file("a/.env", format!("TOKEN={secret}\n")).end();
    let found = |case: Case| Case { secret: Some(secret.clone()), ..case };
    let mut crc = gzip(&tar);
    let at = crc.len() - 8;
    crc[at] ^= 0xff;
    let mut random = vec![0; 4000];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut random).unwrap();
    let noise = Tar::new().file("a/.env", format!("TOKEN={secret}\n")).file("b", &random).end();
    let cut = gzip(&noise);
    let cut_zstd = zstd(&noise);
    vec![
        found(case("gzip with a wrong sum", of_layer(&crc), 1, Some("layer_unreadable"))),
        found(case(
            "gzip that is cut",
            of_layer(&cut[..cut.len() - 100]),
            1,
            Some("layer_truncated"),
        )),
        case(
            "zstd that is cut",
            of_layer(&cut_zstd[..cut_zstd.len() - 100]),
            3,
            Some("layer_truncated"),
        ),
        found(case(
            "garbage after gzip",
            of_layer(&[gzip(&tar), b"garbage".to_vec()].concat()),
            1,
            None,
        )),
        case("lz4", of_layer(b"\x04\x22\x4d\x18rest of it"), 3, Some("unknown_layer_compression")),
        case(
            "a page instead of a layer",
            of_layer(b"<html>not found</html>"),
            3,
            Some("unknown_layer_compression"),
        ),
        case(
            "a zip instead of a layer",
            of_layer(&zip(&[("a", b"x", false)])),
            3,
            Some("unknown_layer_compression"),
        ),
        case(
            "nothing but a header of gzip",
            of_layer(b"\x1f\x8b\x08\0\0\0\0\0\0\x03"),
            3,
            Some("layer_truncated"),
        ),
        case(
            "an ar with a damaged size",
            of_file(
                "a.deb",
                b"!<arch>\nx               0           0     0     0       zzzzzzzzzz`\n",
            ),
            0,
            Some("nested_corrupt"),
        ),
        case(
            "a cpio with a name of 4 GiB",
            of_file(
                "a.cpio",
                format!("070701{}{}{}", "0".repeat(88), "ffffffff", "0".repeat(8)).as_bytes(),
            ),
            3,
            Some("limit"),
        ),
        case(
            "an rpm with a header of 64 GiB",
            of_file(
                "a.rpm",
                &[
                    &b"\xed\xab\xee\xdb"[..],
                    &[0; 92],
                    b"\x8e\xad\xe8\x01\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff",
                ]
                .concat(),
            ),
            0,
            Some("nested_corrupt"),
        ),
        case(
            "a zip whose directory points nowhere",
            of_file("a.zip", &misdirected()),
            0,
            Some("nested_corrupt"),
        ),
    ]
}

fn misdirected() -> Vec<u8> {
    let mut bytes = zip(&[("a", b"content", false)]);
    let at = bytes.windows(4).position(|four| four == b"PK\x01\x02").unwrap();
    bytes[at + 42..at + 46].copy_from_slice(&0x7fff_ffff_u32.to_le_bytes());
    bytes
}

/// The files of a layout.
type Files = Vec<(String, Vec<u8>)>;

#[expect(clippy::too_many_lines, reason = "a table")]
fn documents() -> Vec<Case> {
    let image = Image::with_file("a", "clean");
    let layout = |change: &dyn Fn(&mut Files)| {
        let mut files = image.oci(Packed::Gzip);
        change(&mut files);
        archive(&files)
    };
    let changed_manifest = |change: &dyn Fn(&mut Value)| {
        let mut files = image.oci(Packed::Gzip);
        let index: Value = json_of(&files, "index.json");
        let path = blob_path(&index["manifests"][0]["digest"]);
        let mut manifest = json_of(&files, &path);
        change(&mut manifest);
        let bytes = serde_json::to_vec(&manifest).unwrap();
        let mut index = index;
        index["manifests"][0]["digest"] = json!(sha256(&bytes));
        files.retain(|(name, _)| *name != path && name != "index.json");
        files.push((blob_path(&json!(sha256(&bytes))), bytes));
        files.push(("index.json".to_owned(), serde_json::to_vec(&index).unwrap()));
        archive(&files)
    };
    let layer_path = |files: &[(String, Vec<u8>)]| {
        let index = json_of(files, "index.json");
        let manifest = json_of(files, &blob_path(&index["manifests"][0]["digest"]));
        blob_path(&manifest["layers"][0]["digest"])
    };
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let million = format!(r#"{{"history":[{}{{}}]}}"#, "{},".repeat(1_000_000));
    let saved = |config: &[u8]| {
        let manifest = br#"[{"Config":"c.json","RepoTags":null,"Layers":["l.tar"]}]"#;
        of_documents(&[
            ("l.tar", &Tar::new().file("a", "x").end()),
            ("c.json", config),
            ("manifest.json", manifest),
        ])
    };
    vec![
        case("no bytes at all", Vec::new(), 2, None),
        case(
            "something else",
            b"this is no archive, but some text about archives\n".repeat(100),
            2,
            None,
        ),
        case("a tar without an image", Tar::new().file("a", "x").end(), 2, None),
        case(
            "a manifest that is a link to itself",
            Tar::new().symlink("manifest.json", "manifest.json").end(),
            2,
            None,
        ),
        case(
            "layers and manifests in one document",
            of_documents(&[("index.json", br#"{"layers":[],"manifests":[],"config":{}}"#)]),
            2,
            None,
        ),
        case(
            "schema 1",
            of_documents(&[("index.json", br#"{"schemaVersion":1,"fsLayers":[]}"#)]),
            2,
            None,
        ),
        case(
            "JSON a hundred thousand levels deep",
            of_documents(&[("index.json", deep.as_bytes())]),
            2,
            None,
        ),
        case(
            "a manifest of 5 MiB",
            of_documents(&[("manifest.json", &vec![b' '; 5 * MIB])]),
            2,
            None,
        ),
        case("a million entries of history", saved(million.as_bytes()), 3, Some("limit")),
        case("a config that is no JSON", saved(b"{"), 3, Some("layer_unreadable")),
        case(
            "more diff_ids than layers",
            saved(br#"{"rootfs":{"diff_ids":["a","b"]}}"#),
            3,
            Some("digest_mismatch"),
        ),
        case(
            "another diff_id",
            saved(br#"{"rootfs":{"diff_ids":["sha256:00"]}}"#),
            3,
            Some("digest_mismatch"),
        ),
        case(
            "a layer outside of the archive",
            of_documents(&[
                ("c.json", b"{}"),
                ("manifest.json", br#"[{"Config":"c.json","Layers":["../../../etc/passwd"]}]"#),
            ]),
            3,
            Some("layer_unreadable"),
        ),
        case(
            "no config",
            of_documents(&[
                ("l.tar", &Tar::new().end()),
                ("manifest.json", br#"[{"Config":"c.json","Layers":["l.tar"]}]"#),
            ]),
            3,
            Some("layer_unreadable"),
        ),
        case(
            "a layer that is missing",
            layout(&|files| {
                let path = layer_path(files);
                files.retain(|(name, _)| *name != path);
            }),
            3,
            Some("layer_unreadable"),
        ),
        case(
            "a layer with another digest",
            layout(&|files| {
                let path = layer_path(files);
                let other = gzip(&Tar::new().file("a", "other").end());
                files.iter_mut().find(|(name, _)| *name == path).unwrap().1 = other;
            }),
            3,
            Some("digest_mismatch"),
        ),
        case(
            "a layer that is longer than it should be",
            changed_manifest(&|manifest| manifest["layers"][0]["size"] = json!(1)),
            3,
            Some("digest_mismatch"),
        ),
        case(
            "an encrypted layer",
            changed_manifest(&|manifest| {
                manifest["layers"][0]["mediaType"] =
                    json!("application/vnd.oci.image.layer.v1.tar+gzip+encrypted");
            }),
            3,
            Some("encrypted_layer"),
        ),
        case(
            "a foreign layer",
            changed_manifest(&|manifest| {
                manifest["layers"][0]["digest"] = json!(sha256(b"elsewhere"));
                manifest["layers"][0]["urls"] = json!(["https://example.org/layer"]);
            }),
            3,
            Some("foreign_layer"),
        ),
        case(
            "a digest that is a path",
            changed_manifest(&|manifest| {
                manifest["layers"][0]["digest"] = json!("sha256:../../index.json");
            }),
            3,
            Some("layer_unreadable"),
        ),
        case(
            "a manifest with another digest",
            layout(&|files| {
                let path = blob_path(&json_of(files, "index.json")["manifests"][0]["digest"]);
                files.iter_mut().find(|(name, _)| *name == path).unwrap().1.push(b' ');
            }),
            2,
            None,
        ),
    ]
}

fn json_of(files: &[(String, Vec<u8>)], path: &str) -> Value {
    serde_json::from_slice(&files.iter().find(|(name, _)| name == path).unwrap().1).unwrap()
}

fn blob_path(digest: &Value) -> String {
    format!("blobs/{}", digest.as_str().unwrap().replace(':', "/"))
}

/// Memory of its own that every process below `pid` has, in bytes.
fn memory_below(pid: u32) -> u64 {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let below: u64 = children
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .map(memory_below)
        .sum();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib: u64 = line.and_then(|l| l.trim().split(' ').next()?.parse().ok()).unwrap_or(0);
    below + kib * 1024
}

/// Runs and says how much memory it took at most.
fn watched(path: &std::path::Path) -> (Said, u64) {
    let mut command = command();
    command.args(["--format", "json", "--reveal"]).arg(path);
    let (over, most, pid) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU32::new(0));
    let said = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let pid = pid.load(Ordering::Relaxed);
                if pid > 0 {
                    most.fetch_max(memory_below(pid), Ordering::Relaxed);
                }
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
        });
        let said = said_watched(&mut command, None, &|id| pid.store(id, Ordering::Relaxed));
        over.store(true, Ordering::Relaxed);
        said
    });
    (said, most.into_inner())
}

fn check(case: &Case) {
    let scratch = Scratch::new();
    let (said, most) = watched(&scratch.write("image.tar", &case.archive));
    let what = case.what;
    assert_eq!(said.code, case.code, "{what}: {}{}", said.out, said.err);
    let json = said.json();
    if let Some(reason) = case.reason {
        assert!(said.reasons().iter().any(|r| r == reason), "{what}: {:?}", said.reasons());
    }
    assert_eq!(
        json["images"][0]["complete"],
        json!(case.code == 0 || (case.code == 1 && case.reason.is_none())),
        "{what}"
    );
    if let Some(secret) = &case.secret {
        assert!(secrets(&said).contains(secret), "{what}: {}", said.out);
    }
    assert!(most <= 64 << 20, "{what} took {most} bytes");
}

#[test]
fn bombs_go_off_in_nobodys_memory() {
    bombs().iter().for_each(check);
}

#[test]
fn windows_that_do_not_fit_are_told_with_the_memory_that_would_do() {
    windows().iter().for_each(check);
    let said = scan_bytes(&windows()[0].archive, &[]);
    assert!(said.out.contains("--memory 2"), "{}", said.out);
}

#[test]
fn tars_that_lie_are_read_as_far_as_they_go() {
    tars().iter().for_each(check);
}

#[test]
fn compressed_bytes_that_lie_are_read_as_far_as_they_go() {
    compressed().iter().for_each(check);
}

#[test]
fn documents_that_lie_are_refused_or_said_to_be_incomplete() {
    documents().iter().for_each(check);
}

#[test]
fn there_are_more_than_forty_cases() {
    let all = [bombs(), windows(), tars(), compressed(), documents()];
    assert!(all.iter().map(Vec::len).sum::<usize>() >= 60);
}

#[test]
fn names_from_an_image_do_nothing_to_a_terminal_or_a_pipeline() {
    let secret = token();
    let names = [
        "a\x1b]52;c;eA==\x07",
        "</script><script>x",
        "::set-output name=x::y",
        "\u{202e}txt",
        "\x1b[2J",
    ];
    let tar =
        names.iter().fold(Tar::new(), |tar, name| tar.file(name, format!("TOKEN={secret}\n")));
    let mut image = Image::new().layer(tar.end(), "RUN \x1b[31mred\n::error::x");
    image.run = json!({"Labels": {"\x1b]0;x\x07": secret}});
    let scratch = Scratch::new();
    let path = scratch.write("a.tar", &image.docker_new(Packed::Gzip));
    for format in ["text", "json", "jsonl"] {
        let said = said(command().args(["--format", format]).arg(&path), None);
        assert_eq!(said.code, 1, "{}", said.err);
        for bad in ['\x1b', '\x07', '\u{202e}'] {
            assert!(!said.out.contains(bad), "{format}");
        }
        assert!(!said.out.lines().any(|line| line.trim_start().starts_with("::")), "{format}");
    }
}
