//! Images made by the tests: tars byte by byte, layers, documents, and every packing of them.

#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(clippy::disallowed_methods, reason = "tests run the program")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ring::rand::{SecureRandom, SystemRandom};
use serde_json::{Value, json};

const LETTERS: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Random letters and digits.
pub fn random(count: usize) -> String {
    let mut bytes = vec![0; count];
    SystemRandom::new().fill(&mut bytes).unwrap();
    bytes.iter().map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()])).collect()
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

/// A GitHub token that nobody has, with its checksum.
pub fn token() -> String {
    let body = random(30);
    let mut crc = crc32(body.as_bytes());
    let mut sum = Vec::new();
    for _ in 0..6 {
        sum.insert(0, LETTERS[(crc % 62) as usize]);
        crc /= 62;
    }
    format!("{}{}{body}{}", "gh", "p_", String::from_utf8(sum).unwrap())
}

pub fn sha256(bytes: &[u8]) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, bytes);
    hash.as_ref().iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

/// One header block.
pub fn header(name: &[u8], flag: u8, size: u64, link: &[u8]) -> Vec<u8> {
    let mut block = vec![0; 512];
    block[..name.len().min(100)].copy_from_slice(&name[..name.len().min(100)]);
    block[100..108].copy_from_slice(b"0000644\0");
    block[108..116].copy_from_slice(b"0000000\0");
    block[116..124].copy_from_slice(b"0000000\0");
    block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    block[136..148].copy_from_slice(b"00000000000\0");
    block[156] = flag;
    block[157..157 + link.len().min(100)].copy_from_slice(&link[..link.len().min(100)]);
    block[257..265].copy_from_slice(b"ustar\x0000");
    seal(&mut block);
    block
}

/// Writes the checksum of a header.
pub fn seal(block: &mut [u8]) {
    block[148..156].copy_from_slice(b"        ");
    let sum: u32 = block[..512].iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// A tar in the making.
#[derive(Clone, Default)]
pub struct Tar(pub Vec<u8>);

impl Tar {
    pub fn new() -> Tar {
        Tar::default()
    }

    pub fn raw(mut self, bytes: &[u8]) -> Tar {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Any member, padded.
    pub fn member(self, name: &str, flag: u8, content: &[u8], link: &str) -> Tar {
        let padding = vec![0; (512 - content.len() % 512) % 512];
        self.raw(&header(name.as_bytes(), flag, content.len() as u64, link.as_bytes()))
            .raw(content)
            .raw(&padding)
    }

    pub fn file(self, name: &str, content: impl AsRef<[u8]>) -> Tar {
        self.member(name, b'0', content.as_ref(), "")
    }

    pub fn dir(self, name: &str) -> Tar {
        self.member(name, b'5', b"", "")
    }

    pub fn symlink(self, name: &str, to: &str) -> Tar {
        self.member(name, b'2', b"", to)
    }

    pub fn hardlink(self, name: &str, to: &str) -> Tar {
        self.member(name, b'1', b"", to)
    }

    /// A PAX header for the next member.
    pub fn pax(self, records: &[(&str, &str)]) -> Tar {
        let text: String = records.iter().map(|(key, value)| record(key, value)).collect();
        self.member("PaxHeaders/x", b'x', text.as_bytes(), "")
    }

    pub fn end(self) -> Vec<u8> {
        self.raw(&[0; 1024]).0
    }
}

pub fn record(key: &str, value: &str) -> String {
    let rest = format!(" {key}={value}\n");
    let mut length = rest.len();
    while length != rest.len() + length.to_string().len() {
        length = rest.len() + length.to_string().len();
    }
    format!("{length}{rest}")
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// As small as it gets.
pub fn gzip_best(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 3).unwrap()
}

pub fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A zip: name, content, whether it is deflated.
pub fn zip(members: &[(&str, &[u8], bool)]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, content, deflated) in members {
        let packed = if *deflated { deflate(content) } else { content.to_vec() };
        let at = u32::try_from(out.len()).unwrap();
        let mut common = Vec::new();
        common.extend_from_slice(&[20, 0, 0, 0, if *deflated { 8 } else { 0 }, 0, 0, 0, 0, 0]);
        common.extend_from_slice(&crc32(content).to_le_bytes());
        common.extend_from_slice(&u32::try_from(packed.len()).unwrap().to_le_bytes());
        common.extend_from_slice(&u32::try_from(content.len()).unwrap().to_le_bytes());
        common.extend_from_slice(&u16::try_from(name.len()).unwrap().to_le_bytes());
        common.extend_from_slice(&[0, 0]);
        out.extend_from_slice(b"PK\x03\x04");
        out.extend_from_slice(&common);
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(&packed);
        directory.extend_from_slice(b"PK\x01\x02\x14\0");
        directory.extend_from_slice(&common);
        directory.extend_from_slice(&[0; 10]);
        directory.extend_from_slice(&at.to_le_bytes());
        directory.extend_from_slice(name.as_bytes());
    }
    let (at, size) = (out.len(), directory.len());
    out.extend_from_slice(&directory);
    out.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    let count = u16::try_from(members.len()).unwrap().to_le_bytes();
    out.extend_from_slice(&count);
    out.extend_from_slice(&count);
    out.extend_from_slice(&u32::try_from(size).unwrap().to_le_bytes());
    out.extend_from_slice(&u32::try_from(at).unwrap().to_le_bytes());
    out.extend_from_slice(&[0, 0]);
    out
}

/// How layers are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packed {
    Plain,
    Gzip,
    Zstd,
}

impl Packed {
    pub const ALL: [Packed; 3] = [Packed::Plain, Packed::Gzip, Packed::Zstd];

    pub fn pack(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Packed::Plain => bytes.to_vec(),
            Packed::Gzip => gzip(bytes),
            Packed::Zstd => zstd(bytes),
        }
    }

    pub fn media(self) -> &'static str {
        match self {
            Packed::Plain => "application/vnd.oci.image.layer.v1.tar",
            Packed::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            Packed::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }
}

/// An image in the making.
#[derive(Clone, Default)]
pub struct Image {
    /// Tars and the instructions that made them.
    pub layers: Vec<(Vec<u8>, String)>,
    /// The `config` of the config.
    pub run: Value,
    /// Steps without a layer, after the others.
    pub steps: Vec<String>,
    pub author: String,
    pub annotations: Vec<(String, String)>,
    pub base: Option<String>,
}

impl Image {
    pub fn new() -> Image {
        Image { run: json!({}), ..Image::default() }
    }

    pub fn layer(mut self, tar: Vec<u8>, instruction: &str) -> Image {
        self.layers.push((tar, instruction.to_owned()));
        self
    }

    /// One layer with one file.
    pub fn with_file(name: &str, content: impl AsRef<[u8]>) -> Image {
        Image::new().layer(Tar::new().file(name, content).end(), "COPY . /")
    }

    pub fn config(&self) -> Vec<u8> {
        let diff_ids: Vec<String> = self.layers.iter().map(|(tar, _)| sha256(tar)).collect();
        let layers = self.layers.iter().map(|(_, text)| json!({"created_by": text}));
        let steps = self.steps.iter().map(|text| json!({"created_by": text, "empty_layer": true}));
        let history: Vec<Value> = layers.chain(steps).collect();
        let mut config = json!({
            "os": "linux", "architecture": "amd64", "config": self.run,
            "rootfs": {"type": "layers", "diff_ids": diff_ids}, "history": history,
        });
        if !self.author.is_empty() {
            config["author"] = json!(self.author);
        }
        serde_json::to_vec(&config).unwrap()
    }

    /// What an OCI layout holds: paths and contents.
    pub fn oci(&self, packed: Packed) -> Vec<(String, Vec<u8>)> {
        let mut files = Vec::new();
        let mut add = |bytes: Vec<u8>| {
            let digest = sha256(&bytes);
            let size = bytes.len();
            files.push((format!("blobs/{}", digest.replace(':', "/")), bytes));
            (digest, size)
        };
        let (config, config_size) = add(self.config());
        let layers: Vec<Value> = self
            .layers
            .iter()
            .map(|(tar, _)| {
                let (digest, size) = add(packed.pack(tar));
                json!({"mediaType": packed.media(), "digest": digest, "size": size})
            })
            .collect();
        let annotations: serde_json::Map<String, Value> =
            self.annotations.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
                       "digest": config, "size": config_size},
            "layers": layers, "annotations": annotations,
        });
        let (digest, size) = add(serde_json::to_vec(&manifest).unwrap());
        let index = json!({"schemaVersion": 2, "manifests": [
            {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest,
             "size": size, "annotations": {"org.opencontainers.image.ref.name": "app:1"}}]});
        files.push(("index.json".to_owned(), serde_json::to_vec(&index).unwrap()));
        files.push(("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()));
        files
    }

    pub fn oci_archive(&self, packed: Packed) -> Vec<u8> {
        archive(&self.oci(packed))
    }

    /// As `docker save` wrote it until version 24: a directory for each layer.
    pub fn docker_old(&self, packed: Packed) -> Vec<u8> {
        let mut files = Vec::new();
        let mut layers = Vec::new();
        for (at, (tar, _)) in self.layers.iter().enumerate() {
            let path = format!("{}/layer.tar", &sha256(format!("{at}").as_bytes())[7..]);
            files.push((path.clone(), packed.pack(tar)));
            layers.push(path);
        }
        let config = self.config();
        let name = format!("{}.json", &sha256(&config)[7..]);
        let manifest = json!([{"Config": name, "RepoTags": ["app:1"], "Layers": layers}]);
        files.push((name, config));
        files.push(("manifest.json".to_owned(), serde_json::to_vec(&manifest).unwrap()));
        archive(&files)
    }

    /// As `docker save` writes it since version 25: an OCI layout with a `manifest.json`.
    pub fn docker_new(&self, packed: Packed) -> Vec<u8> {
        let mut files = self.oci(packed);
        let blob = |bytes: &[u8]| format!("blobs/{}", sha256(bytes).replace(':', "/"));
        let layers: Vec<String> =
            self.layers.iter().map(|(tar, _)| blob(&packed.pack(tar))).collect();
        let manifest =
            json!([{"Config": blob(&self.config()), "RepoTags": ["app:1"], "Layers": layers}]);
        files.push(("manifest.json".to_owned(), serde_json::to_vec(&manifest).unwrap()));
        archive(&files)
    }
}

pub fn archive(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    files.iter().fold(Tar::new(), |tar, (name, bytes)| tar.file(name, bytes)).end()
}

/// Writes the files of a layout.
pub fn write_layout(files: &[(String, Vec<u8>)], to: &Path) {
    for (name, bytes) in files {
        let path = to.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

/// What a run said.
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Said {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|error| panic!("{error}\nout: {}\nerr: {}", self.out, self.err))
    }

    /// The findings of the first image.
    pub fn findings(&self) -> Vec<Value> {
        self.json()["images"][0]["findings"].as_array().unwrap().clone()
    }

    /// The reasons of the first image's skips.
    pub fn reasons(&self) -> Vec<String> {
        let json = self.json();
        let skips = json["images"][0]["coverage"]["skips"].as_array().unwrap();
        skips.iter().map(|skip| skip["reason"].as_str().unwrap().to_owned()).collect()
    }
}

/// A scratch directory with an archive in it.
pub struct Scratch(pub tempfile::TempDir);

impl Scratch {
    pub fn new() -> Scratch {
        Scratch(tempfile::tempdir().unwrap())
    }

    pub fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

pub fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sidekey-scan"));
    command.env_remove("DOCKER_HOST").env("NO_COLOR", "1");
    command
}

pub fn said(command: &mut Command, stdin: Option<&[u8]>) -> Said {
    said_watched(command, stdin, &|_| {})
}

/// Runs, with a look at the process that runs.
pub fn said_watched(command: &mut Command, stdin: Option<&[u8]>, watch: &dyn Fn(u32)) -> Said {
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = child.spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let bytes = stdin.unwrap_or_default().to_vec();
    let writer = std::thread::spawn(move || {
        let _ = pipe.write_all(&bytes);
    });
    watch(child.id());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Scans what is at `path`, as JSON with the secrets.
pub fn scan(path: &Path, arguments: &[&str]) -> Said {
    let mut command = command();
    command.args(["--format", "json", "--reveal"]).args(arguments).arg(path);
    said(&mut command, None)
}

/// Scans an archive.
pub fn scan_bytes(bytes: &[u8], arguments: &[&str]) -> Said {
    let scratch = Scratch::new();
    scan(&scratch.write("image.tar", bytes), arguments)
}

/// Scans one layer.
pub fn scan_layer(tar: Vec<u8>) -> Said {
    scan_bytes(&Image::new().layer(tar, "COPY . /").docker_old(Packed::Plain), &[])
}

/// The secrets that were found, each once.
pub fn secrets(said: &Said) -> Vec<String> {
    let all = said.findings();
    all.iter().map(|finding| finding["secret"].as_str().unwrap_or_default().to_owned()).collect()
}
