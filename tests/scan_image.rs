//! Images in every packing: what is planted is found, with its layer, instruction and state.

#![cfg(feature = "scan")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod images;

use images::*;
use serde_json::{Value, json};

/// The places that hold a secret: kind, path, layer.
type Plant = (&'static str, Option<&'static str>, Option<u64>, String);

/// An image with a token in every kind of place, or without any.
fn planted(with: bool) -> (Image, Vec<Plant>) {
    let mut plants = Vec::new();
    let mut plant = |kind, path, layer| {
        if !with {
            return "none".to_owned();
        }
        let token = token();
        plants.push((kind, path, layer, token.clone()));
        token
    };
    let env = format!("export TOKEN={}\n", plant("file", Some("root/.profile"), Some(0)));
    let deleted = plant("file", Some("app/.env"), Some(1));
    let overwritten = plant("file", Some("app/config.json"), Some(1));
    let nested = plant("file", Some("app/lib.jar"), Some(1));
    let name = plant("filename", None, Some(2));
    let lower = Tar::new().file("root/.profile", &env).end();
    let middle = Tar::new()
        .file("app/.env", format!("TOKEN={deleted}\n"))
        .file("app/config.json", format!(r#"{{"token": "{overwritten}"}}"#))
        .file("app/lib.jar", zip(&[("a/b.properties", format!("t={nested}").as_bytes(), true)]))
        .end();
    let upper = Tar::new()
        .file("app/.wh..env", "")
        .file("app/config.json", "{}")
        .file(&format!("tmp/{name}"), "")
        .end();
    let mut image = Image::new()
        .layer(lower, "ADD rootfs.tar /")
        .layer(middle, "COPY . /app # buildkit")
        .layer(upper, "RUN /bin/sh -c rm /app/.env # buildkit");
    image.run = json!({
        "Env": ["PATH=/bin", format!("GITHUB_TOKEN={}", plant("env", Some("GITHUB_TOKEN"), None))],
        "Labels": {"build.token": plant("label", Some("build.token"), None)},
        "Cmd": ["serve", "--token", plant("command", None, None)],
        "Entrypoint": ["/entry", plant("entrypoint", None, None)],
        "Healthcheck": {"Test": ["CMD", "probe", plant("healthcheck", None, None)]},
    });
    image.steps = vec![
        format!("ARG TOKEN={}", plant("history", None, None)),
        "ENV GITHUB_TOKEN=x".to_owned(),
    ];
    image.author = format!("me <{}@example.org>", plant("author", None, None));
    (image, plants)
}

fn check(said: &Said, plants: &[Plant], what: &str) {
    let findings = said.findings();
    for (kind, path, layer, token) in plants {
        let finding = findings
            .iter()
            .find(|finding| finding["secret"] == json!(token))
            .unwrap_or_else(|| panic!("{what}: {kind} {path:?} is not found"));
        let place = finding["places"]
            .as_array()
            .unwrap()
            .iter()
            .find(|place| place["kind"] == json!(kind))
            .unwrap_or_else(|| panic!("{what}: no place is a {kind}: {finding}"));
        assert_eq!(place["introduced"]["layer"], json!(layer), "{what}: {kind} {path:?}");
        if let Some(path) = path {
            assert_eq!(place["path"], json!(path), "{what}");
        }
    }
    assert_eq!(findings.len(), plants.len(), "{what}: {findings:#?}");
    assert_eq!(said.code, 1, "{what}: {}", said.err);
    assert_eq!(said.json()["images"][0]["complete"], json!(true), "{what}");
}

#[test]
fn what_is_planted_is_found_in_every_packing_and_compression() {
    let (image, plants) = planted(true);
    for packed in Packed::ALL {
        let scratch = Scratch::new();
        for (name, bytes) in [
            ("old", image.docker_old(packed)),
            ("new", image.docker_new(packed)),
            ("oci", image.oci_archive(packed)),
        ] {
            let path = scratch.write(&format!("{name}.tar"), &bytes);
            check(&scan(&path, &[]), &plants, &format!("{name} {packed:?}"));
            let mut stdin = command();
            stdin.args(["--format", "json", "--reveal", "-"]);
            check(&said(&mut stdin, Some(&bytes)), &plants, &format!("{name} {packed:?} on stdin"));
            let whole = scratch.write(&format!("{name}.tar.gz"), &gzip(&bytes));
            check(&scan(&whole, &[]), &plants, &format!("{name} {packed:?} compressed"));
        }
        let layout = scratch.0.path().join("layout");
        write_layout(&image.oci(packed), &layout);
        check(&scan(&layout, &[]), &plants, &format!("layout {packed:?}"));
    }
}

#[test]
fn the_same_images_without_the_plants_are_clean() {
    let (image, _) = planted(false);
    for packed in Packed::ALL {
        for bytes in [image.docker_old(packed), image.docker_new(packed), image.oci_archive(packed)]
        {
            let said = scan_bytes(&bytes, &[]);
            assert_eq!((said.code, said.findings().len()), (0, 0), "{}", said.out);
            assert_eq!(said.json()["verdict"], json!("clean"));
        }
    }
}

#[test]
fn the_state_and_the_instruction_of_each_place_are_told() {
    let (image, plants) = planted(true);
    let said = scan_bytes(&image.docker_new(Packed::Gzip), &[]);
    let find = |path: &str| {
        let token = &plants.iter().find(|plant| plant.1 == Some(path)).unwrap().3;
        said.findings().into_iter().find(|finding| finding["secret"] == json!(token)).unwrap()
    };
    for (path, state, by, instruction) in [
        ("root/.profile", "present", json!(null), "ADD rootfs.tar /"),
        ("app/.env", "deleted", json!(2), "COPY . /app"),
        ("app/config.json", "overwritten", json!(2), "COPY . /app"),
        ("app/lib.jar", "present", json!(null), "COPY . /app"),
    ] {
        let finding = find(path);
        assert_eq!(finding["state"], json!(state), "{path}");
        assert_eq!(finding["place"]["removed_by"], by, "{path}");
        assert_eq!(finding["introduced"]["instruction"], json!(instruction), "{path}");
    }
    assert_eq!(find("GITHUB_TOKEN")["introduced"]["instruction"], json!("ENV GITHUB_TOKEN=x"));
}

/// The state of the one finding of a stack of layers.
fn fate(layers: &[Vec<u8>]) -> (String, Value) {
    let image = layers.iter().fold(Image::new(), |image, tar| image.layer(tar.clone(), "COPY . /"));
    let said = scan_bytes(&image.docker_old(Packed::Plain), &[]);
    let findings = said.findings();
    assert_eq!(findings.len(), 1, "{findings:#?}");
    let state = findings[0]["state"].as_str().unwrap().to_owned();
    (state, findings[0]["place"]["removed_by"].clone())
}

/// What, its layers, and what became of the secret in them.
type Stack = (&'static str, Vec<Vec<u8>>, (String, Value));

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn a_stack_of_layers_shows_what_an_engine_would_unpack() {
    let secret = format!("TOKEN={}\n", token());
    let below = |name: &str| Tar::new().file(name, &secret).end();
    let gone = |state: &str, by: u64| (state.to_owned(), json!(by));
    let here = || ("present".to_owned(), Value::Null);
    let cases: Vec<Stack> = vec![
        ("nothing above", vec![below("a/b")], here()),
        (
            "a whiteout",
            vec![below("a/b"), Tar::new().file("a/.wh.b", "").end()],
            gone("deleted", 1),
        ),
        (
            "a whiteout of its directory",
            vec![below("a/b/c"), Tar::new().file(".wh.a", "").end()],
            gone("deleted", 1),
        ),
        (
            "a whiteout with other spellings of the path",
            vec![below("./a//b"), Tar::new().file("/a/./.wh.b", "").end()],
            gone("deleted", 1),
        ),
        (
            "an opaque directory",
            vec![below("a/b/c"), Tar::new().file("a/.wh..wh..opq", "").end()],
            gone("deleted", 1),
        ),
        (
            "an opaque marker hides lower layers only, wherever it stands",
            vec![
                Tar::new().file("a/x", "").end(),
                Tar::new().file("a/b", &secret).file("a/.wh..wh..opq", "").end(),
            ],
            here(),
        ),
        (
            "a directory replaced by a file",
            vec![below("a/b/c"), Tar::new().file("a", "x").end()],
            gone("deleted", 1),
        ),
        (
            "a directory replaced by a link",
            vec![below("a/b"), Tar::new().symlink("a", "c").end()],
            gone("deleted", 1),
        ),
        ("a directory that comes again", vec![below("a/b"), Tar::new().dir("a/").end()], here()),
        (
            "a whiteout through a link of a lower layer",
            vec![
                Tar::new().dir("usr/lib").symlink("lib", "usr/lib").end(),
                below("usr/lib/x"),
                Tar::new().file("lib/.wh.x", "").end(),
            ],
            gone("deleted", 2),
        ),
        (
            "a file written through a link of the same layer",
            vec![
                Tar::new().symlink("lib", "usr/lib").file("usr/lib/x", &secret).end(),
                Tar::new().file("lib/x", "clean").end(),
            ],
            gone("overwritten", 1),
        ),
        (
            "a link that is a directory by then",
            vec![
                Tar::new().symlink("lib", "usr/lib").file("usr/lib/x", &secret).end(),
                Tar::new().file(".wh.lib", "").end(),
                Tar::new().dir("lib").file("lib/x", "clean").end(),
            ],
            here(),
        ),
        (
            "the last of two members with one name wins",
            vec![Tar::new().file("a", &secret).file("a", "clean").end()],
            gone("overwritten", 0),
        ),
        (
            "the last of two members with one name is the secret",
            vec![Tar::new().file("a", "clean").file("a", &secret).end()],
            here(),
        ),
        (
            "a hard link keeps the content",
            vec![
                Tar::new().file("a", &secret).hardlink("b", "a").end(),
                Tar::new().file(".wh.a", "").end(),
            ],
            here(),
        ),
        (
            "both names of a file go",
            vec![
                Tar::new().file("a", &secret).hardlink("b", "a").end(),
                Tar::new().file(".wh.a", "").end(),
                Tar::new().file("b", "clean").end(),
            ],
            gone("overwritten", 2),
        ),
        (
            "a name that was given to another file is linked to",
            vec![
                Tar::new().file("a", &secret).hardlink("b", "a").end(),
                Tar::new().file("b", "clean").hardlink("c", "b").end(),
                Tar::new().file("a", "clean").end(),
            ],
            gone("overwritten", 2),
        ),
        (
            "what goes may come back",
            vec![below("a"), Tar::new().file(".wh.a", "").end(), below("a")],
            here(),
        ),
    ];
    for (what, layers, expected) in cases {
        assert_eq!(fate(&layers), expected, "{what}");
    }
}

#[test]
fn content_that_is_copied_up_is_one_finding_of_the_first_layer() {
    let secret = format!("TOKEN={}\n", token());
    let tar = Tar::new().file("a", &secret).end();
    let image = Image::new()
        .layer(tar.clone(), "COPY a /")
        .layer(Tar::new().file("x", "").file("a", &secret).end(), "RUN chmod 600 /a");
    let said = scan_bytes(&image.docker_old(Packed::Plain), &[]);
    let findings = said.findings();
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0]["state"], json!("present"));
    assert_eq!(findings[0]["introduced"]["layer"], json!(0));
}

#[test]
fn a_history_that_does_not_fit_names_no_instruction() {
    let mut image = Image::with_file("a", format!("TOKEN={}", token()));
    let mut config: Value = serde_json::from_slice(&image.config()).unwrap();
    config["history"] = json!([{"created_by": "one"}, {"created_by": "two"}]);
    image.steps.clear();
    let bytes = serde_json::to_vec(&config).unwrap();
    let name = format!("{}.json", &sha256(&bytes)[7..]);
    let manifest = json!([{"Config": name, "RepoTags": null, "Layers": ["l.tar"]}]);
    let archive = archive(&[
        ("l.tar".to_owned(), image.layers[0].0.clone()),
        (name, bytes),
        ("manifest.json".to_owned(), serde_json::to_vec(&manifest).unwrap()),
    ]);
    let said = scan_bytes(&archive, &[]);
    assert_eq!(said.findings()[0]["introduced"]["instruction"], Value::Null);
    assert_eq!(said.findings()[0]["introduced"]["layer"], json!(0));
}

#[test]
fn a_layer_that_is_a_link_to_another_is_read_once_and_stands_twice() {
    let secret = token();
    let tar = Tar::new().file("a", format!("TOKEN={secret}")).end();
    let image = Image::new().layer(tar.clone(), "one").layer(tar.clone(), "two");
    let config = image.config();
    let manifest = json!([{"Config": "c.json", "RepoTags": ["a:1"],
                           "Layers": ["0/layer.tar", "1/layer.tar"]}]);
    let archive = Tar::new()
        .file("0/layer.tar", &tar)
        .symlink("1/layer.tar", "../0/layer.tar")
        .file("c.json", &config)
        .file("manifest.json", serde_json::to_vec(&manifest).unwrap())
        .end();
    let scratch = Scratch::new();
    for said in [
        scan(&scratch.write("a.tar", &archive), &[]),
        said(command().args(["--format", "json", "--reveal", "-"]), Some(&archive)),
    ] {
        assert_eq!(secrets(&said), std::slice::from_ref(&secret));
        assert_eq!(said.findings()[0]["introduced"]["layer"], json!(0));
        assert_eq!(said.findings()[0]["state"], json!("present"));
        assert_eq!(said.json()["images"][0]["layers"].as_array().unwrap().len(), 2);
        assert_eq!(said.code, 1);
    }
}

#[test]
fn two_runs_say_the_same_bytes_however_many_threads() {
    let (image, _) = planted(true);
    let scratch = Scratch::new();
    let path = scratch.write("a.tar", &image.oci_archive(Packed::Gzip));
    let first = scan(&path, &["--jobs", "1"]).out;
    for jobs in ["1", "2", "7"] {
        assert_eq!(scan(&path, &["--jobs", jobs]).out, first, "{jobs} jobs");
    }
}

#[test]
fn a_layer_that_is_unpacked_ahead_says_the_same_as_on_one_thread() {
    let mut tar = Tar::new().file("first", format!("TOKEN={}\n", token()));
    for number in 0..16 {
        tar = tar.file(&format!("data/{number}"), random(60_000));
    }
    let tar = tar.file("last", format!("TOKEN={}\n", token())).end();
    let mut torn = tar.clone();
    let header = torn.windows(6).position(|part| part == b"data/9").unwrap();
    torn[header..header + 400].fill(0xff);
    let whole = gzip(&tar);
    let cases = [
        ("whole", whole.clone(), 2),
        ("cut", whole[..whole.len() - 9000].to_vec(), 1),
        ("followed by something", [&whole[..], token().as_bytes()].concat(), 3),
        ("in two members", [gzip(&tar[..600_000]), gzip(&tar[600_000..])].concat(), 2),
        ("torn", gzip(&torn), 2),
    ];
    for (what, bytes, count) in cases {
        let image = Image::new().layer(bytes, "ADD rootfs.tar.gz /").docker_old(Packed::Plain);
        let scratch = Scratch::new();
        let path = scratch.write("a.tar", &image);
        let one = scan(&path, &["--jobs", "1"]);
        assert_eq!(one.findings().len(), count, "{what}: {}", one.out);
        for _ in 0..3 {
            assert_eq!(scan(&path, &["--jobs", "2"]).out, one.out, "{what}");
        }
    }
}

#[test]
fn a_file_tree_is_read_without_following_links() {
    let scratch = Scratch::new();
    let root = scratch.0.path().join("tree");
    let long = "d".repeat(120);
    std::fs::create_dir_all(root.join(&long)).unwrap();
    let (one, two) = (token(), token());
    std::fs::write(root.join(".env"), format!("TOKEN={one}\n")).unwrap();
    std::fs::write(root.join(&long).join("x"), format!("TOKEN={two}\n")).unwrap();
    std::fs::write(scratch.0.path().join("outside"), format!("TOKEN={}\n", token())).unwrap();
    std::os::unix::fs::symlink("../outside", root.join("link")).unwrap();
    let said = said(
        command().args(["--format", "json", "--reveal"]).arg(format!("dir:{}", root.display())),
        None,
    );
    let mut found = secrets(&said);
    found.sort();
    let mut expected = [one, two];
    expected.sort();
    assert_eq!(found, expected);
    let paths: Vec<Value> =
        said.findings().iter().map(|finding| finding["place"]["path"].clone()).collect();
    assert!(paths.contains(&json!(".env")) && paths.contains(&json!(format!("{long}/x"))));
    assert_eq!(said.code, 1);
}

#[test]
fn platforms_of_an_index_are_chosen() {
    let images = [("amd64", token()), ("arm64", token())];
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    let mut listed = Vec::new();
    for (architecture, secret) in &images {
        let image = Image::with_file("a", format!("TOKEN={secret}"));
        let mut of_one = image.oci(Packed::Gzip);
        let index: Value = serde_json::from_slice(
            &of_one.iter().find(|(name, _)| name == "index.json").unwrap().1,
        )
        .unwrap();
        of_one.retain(|(name, _)| name.starts_with("blobs"));
        let mut descriptor = index["manifests"][0].clone();
        descriptor["platform"] = json!({"os": "linux", "architecture": architecture});
        listed.push(descriptor);
        files.append(&mut of_one);
    }
    let index = json!({"schemaVersion": 2, "manifests": listed});
    files.push(("index.json".to_owned(), serde_json::to_vec(&index).unwrap()));
    let bytes = archive(&files);
    let all = scan_bytes(&bytes, &[]);
    assert_eq!(all.json()["images"].as_array().unwrap().len(), 2);
    let one = scan_bytes(&bytes, &["--platform", "linux/arm64"]);
    assert_eq!(one.json()["images"].as_array().unwrap().len(), 1);
    assert_eq!(secrets(&one), [images[1].1.clone()]);
    let none = scan_bytes(&bytes, &["--platform", "linux/s390x"]);
    assert_eq!(none.code, 2);
}

#[test]
fn an_artifact_that_is_no_tar_is_read_as_it_is() {
    let secret = token();
    let blob = format!("name: app\ntoken: {secret}\n").into_bytes();
    let config = b"{}".to_vec();
    let manifest = json!({
        "schemaVersion": 2, "artifactType": "application/vnd.example.values",
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": sha256(&config),
                   "size": config.len()},
        "layers": [{"mediaType": "application/yaml", "digest": sha256(&blob), "size": blob.len()}],
    });
    let manifest = serde_json::to_vec(&manifest).unwrap();
    let index = json!({"schemaVersion": 2, "manifests": [
        {"digest": sha256(&manifest), "size": manifest.len(),
         "mediaType": "application/vnd.oci.image.manifest.v1+json"}]});
    let path = |bytes: &[u8]| format!("blobs/{}", sha256(bytes).replace(':', "/"));
    let files = [
        (path(&blob), blob.clone()),
        (path(&config), config.clone()),
        (path(&manifest), manifest.clone()),
        ("index.json".to_owned(), serde_json::to_vec(&index).unwrap()),
    ];
    let said = scan_bytes(&archive(&files), &[]);
    assert_eq!((secrets(&said), said.code), (vec![secret], 1));
    assert!(said.reasons().is_empty(), "{:?}", said.reasons());
}

#[test]
fn provenance_is_read_as_what_it_is() {
    let image = Image::with_file("a", "clean");
    let secret = token();
    let mut files = image.oci(Packed::Gzip);
    let path = |bytes: &[u8]| format!("blobs/{}", sha256(bytes).replace(':', "/"));
    let statement = serde_json::to_vec(&json!({"_type": "https://in-toto.io/Statement/v0.1",
        "predicate": {"buildConfig": {"args": {"build-arg:TOKEN": secret}}}}))
    .unwrap();
    let config = b"{}".to_vec();
    let manifest = serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
                   "digest": sha256(&config), "size": config.len()},
        "layers": [{"mediaType": "application/vnd.in-toto+json", "digest": sha256(&statement),
                    "size": statement.len()}],
    }))
    .unwrap();
    let index = files.iter_mut().find(|(name, _)| name == "index.json").unwrap();
    let mut listed: Value = serde_json::from_slice(&index.1).unwrap();
    let subject = listed["manifests"][0]["digest"].clone();
    listed["manifests"].as_array_mut().unwrap().push(json!({
        "digest": sha256(&manifest), "size": manifest.len(),
        "platform": {"os": "unknown", "architecture": "unknown"},
        "annotations": {"vnd.docker.reference.type": "attestation-manifest",
                        "vnd.docker.reference.digest": subject}}));
    index.1 = serde_json::to_vec(&listed).unwrap();
    for bytes in [statement, config, manifest] {
        files.push((path(&bytes), bytes));
    }
    let said = scan_bytes(&archive(&files), &[]);
    assert_eq!(secrets(&said), [secret]);
    assert_eq!(said.findings()[0]["place"]["kind"], json!("attestation"));
    assert_eq!(said.json()["images"].as_array().unwrap().len(), 1);
}
