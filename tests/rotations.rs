//! Ten thousand rotations in one process, as an agent that runs for years makes them: what it holds
//! on to does not grow.

#![cfg(all(feature = "agent", feature = "local"))]
#![allow(clippy::unwrap_used, reason = "a set-up that fails is a failed test")]
#![allow(clippy::disallowed_methods, reason = "the key is made by the binary under test")]

#[path = "support/volume.rs"]
mod support;

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use sidekey::agent::config::{self, Config, Origin, Source, Surroundings};
use sidekey::agent::render::{Renderer, Secrets, check_group};
use sidekey::agent::store::local::{LocalStore, seal};
use sidekey::agent::store::{Answer, Wanted};
use sidekey::agent::volume::{DesiredFile, Gap, Published, Volume};
use sidekey::sandbox::allocator::ZeroOnFree;
use sidekey::secret::{DigestKey, Secret, SecretBytes};
use support::Tmpfs;

/// As in the shipped binary.
#[global_allocator]
static ALLOCATOR: ZeroOnFree = ZeroOnFree;

const ROTATIONS: u64 = 10_000;
const GAP: Duration = Duration::from_millis(10);
/// How long a generation lives at least once another one took its place.
const LINGER: Duration = Duration::from_secs(2);

/// What a process holds on to.
#[derive(Clone, Copy, Debug)]
struct Held {
    resident_kib: u64,
    descriptors: usize,
    generations: usize,
    on_tmpfs_kib: u64,
}

impl Held {
    fn now(volume: &Path) -> Held {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let names = support::names(volume);
        let number = |name: &&String| name.starts_with("..") && *name != "..data";
        Held {
            resident_kib: resident.trim().trim_end_matches(" kB").parse().unwrap(),
            descriptors: std::fs::read_dir("/proc/self/fd").unwrap().count(),
            generations: names.iter().filter(number).count(),
            on_tmpfs_kib: blocks(volume) / 2,
        }
    }
}

/// Blocks of 512 bytes beneath a directory.
fn blocks(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let of = |entry: std::fs::DirEntry| match entry.file_type().unwrap() {
        kind if kind.is_dir() => blocks(&entry.path()),
        _ => std::fs::symlink_metadata(entry.path()).unwrap().blocks(),
    };
    entries.map(of).sum()
}

/// A local store, the files made of it, and the volume they go to.
struct Road {
    config: Config,
    store: LocalStore,
    renderer: Renderer,
    volume: Volume,
}

impl Road {
    fn build(dir: &Path) -> Road {
        let text = format!(
            "stores: {{ dev: {{ kind: local, file: {0}/store.age, key_file: {0}/key.txt }} }}\n\
             secrets: {{ db: {{ from: \"dev:db\" }} }}\n\
             files:\n  \
               orders.env: {{ format: dotenv, from: {{ USER: db.user, PASSWORD: db.password }} }}\n  \
               deep/all.json: {{ format: json, from: db }}\n  \
               app.ini: {{ template: \"url = postgres://{{{{ db.user }}}}:{{{{ db.password | urlencode }}}}@db\" }}\n\
             volume: {{ path: {0}/volume }}\n",
            dir.display()
        );
        let around = Surroundings { env: &|_| None, uid: 1000, in_pod: false };
        let source = Source { origin: Origin::File("sidekey.yaml".into()), text };
        let config = config::parse(&source, &around).unwrap().config;
        let config::StoreKind::Local(local) = config.stores.values().next().unwrap() else {
            panic!("it is a local store")
        };
        let key = DigestKey::new(SecretBytes::from(vec![7; DigestKey::LEN]));
        let store = LocalStore::build(local, Rc::new(key)).unwrap();
        let renderer = Renderer::compile(&config.files).map_err(drop).unwrap();
        let (name, place) = config.volumes.iter().next().unwrap();
        let volume = Volume::open(name, place, Gap::of(GAP), Duration::ZERO).unwrap();
        Road { config, store, renderer, volume }
    }

    /// What the pipeline does with each change: ask, render, check, publish, tidy up.
    fn travel(&mut self, generation: u64, have: &mut Option<Secret>, now: Duration) {
        let (name, secret) = self.config.secrets.iter().next().unwrap();
        let version = have.as_ref().map(|secret| &secret.version);
        let plain = Wanted::plain(&secret.from, &secret.with, now);
        let wanted = Wanted { have: version, ..plain };
        let Answer::Moved(secret) = self.store.fetch(wanted).map_err(drop).unwrap() else {
            panic!("it has another value each time")
        };
        let secrets = Secrets::from([(name, &secret)]);
        let rendered: BTreeMap<_, _> = self
            .config
            .files
            .iter()
            .map(|(path, file)| {
                (path, (file, self.renderer.render(path, file, &secrets).map_err(drop).unwrap()))
            })
            .collect();
        let checked = rendered.iter().map(|(path, (file, bytes))| (*path, (*file, bytes)));
        check_group(&checked.collect(), 0).map_err(drop).unwrap();
        let desired: Vec<DesiredFile<'_>> = rendered
            .iter()
            .map(|(path, (file, bytes))| DesiredFile {
                path,
                bytes,
                mode: file.mode,
                owner_user: None,
                owner_group: None,
            })
            .collect();
        let published = self.volume.publish(generation, &desired, now).unwrap();
        assert!(matches!(published, Published::Swapped { .. }), "{published:?}");
        self.volume.tidy(now);
        drop(desired);
        drop(rendered);
        *have = Some(secret);
    }
}

#[test]
fn ten_thousand_rotations_leave_memory_descriptors_and_tmpfs_as_they_were() {
    let tmpfs = Tmpfs::new();
    let dir = tmpfs.path();
    std::fs::create_dir(dir.join("volume")).unwrap();
    let keygen = Command::new(env!("CARGO_BIN_EXE_sidekey"))
        .args(["local", "keygen"])
        .arg(dir.join("key.txt"))
        .output()
        .unwrap();
    assert!(keygen.status.success(), "{keygen:?}");
    let key = std::fs::read_to_string(dir.join("key.txt")).unwrap();
    let recipient = key.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap();
    // Sealed beforehand: making the store is not what is looked at.
    for number in 0..8 {
        let plain = format!("db: {{ user: u{number}, password: \"p&{number}\" }}\n");
        let sealed =
            seal(&SecretBytes::from(plain), &[recipient.to_owned()]).map_err(drop).unwrap();
        std::fs::write(dir.join(format!("sealed-{number}")), sealed).unwrap();
    }
    let change = |number: u64| {
        std::fs::copy(dir.join(format!("sealed-{}", number % 8)), dir.join("new.age")).unwrap();
        std::fs::rename(dir.join("new.age"), dir.join("store.age")).unwrap();
    };
    change(0);
    let mut road = Road::build(dir);
    let volume = dir.join("volume");
    let (mut have, mut now) = (None, Duration::ZERO);
    let mut seen = Vec::new();
    for number in 1..=ROTATIONS {
        change(number);
        now += GAP;
        road.travel(number, &mut have, now);
        if number % 1000 == 0 {
            seen.push(Held::now(&volume));
        }
    }
    // The first thousand fills what is only ever filled once.
    let (early, late) = (seen[1], seen[9]);
    // Less than the smallest piece of memory for each rotation between the two.
    let grown = late.resident_kib.saturating_sub(early.resident_kib);
    assert!(grown < 8000 * 32 / 1024, "memory: {seen:?}");
    let count = |held: &Held| (held.descriptors, held.generations, held.on_tmpfs_kib);
    assert!(seen.iter().all(|held| count(held) == count(&early)), "{seen:?}");
    // Those that were pushed out in the last two seconds, and the current one.
    assert_eq!(u128::try_from(late.generations).unwrap(), LINGER.as_millis() / GAP.as_millis() + 1);

    // Then they have lived, and what is left is the current one and the one before.
    road.volume.tidy(now + LINGER);
    let rest = Held::now(&volume);
    assert_eq!((rest.generations, rest.descriptors), (2, early.descriptors));
    let each = rest.on_tmpfs_kib / 2;
    assert_eq!(u64::try_from(late.generations).unwrap() * each, late.on_tmpfs_kib);
    road.volume.tidy(now + Duration::from_hours(1));
    assert_eq!(support::names(&volume), ["..10000", "..data", "app.ini", "deep", "orders.env"]);
}
