//! The rules of the house, held by a machine: who may import whom, who may open a secret, where time
//! and chance may come from, and that every file says what it owns.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The rooms in the order of the path. A room may import those above it, and itself.
///
/// `hook` before `rotate`: deciding when something happens needs to know what can happen.
const ROOMS: &[(&str, &str)] = &[
    ("sandbox", "sandbox"),
    ("secret", "secret"),
    ("agent/reason.rs", "agent::reason"),
    ("agent/config", "agent::config"),
    ("kube", "kube"),
    ("agent/identity", "agent::identity"),
    ("agent/store", "agent::store"),
    ("agent/render", "agent::render"),
    ("agent/volume", "agent::volume"),
    ("agent/hook", "agent::hook"),
    ("agent/rotate", "agent::rotate"),
    ("agent/state", "agent::state"),
    ("agent/observe", "agent::observe"),
    ("agent/local", "agent::local"),
    ("agent/pipeline", "agent::pipeline"),
    ("agent/cli", "agent::cli"),
    ("scan/finding", "scan::finding"),
    ("scan/limits", "scan::limits"),
    ("scan/detect", "scan::detect"),
    ("scan/image", "scan::image"),
    ("scan/source", "scan::source"),
    ("scan/scan", "scan::scan"),
    ("scan/report", "scan::report"),
    ("scan/cli", "scan::cli"),
    ("bin", "bin"),
];

/// Arrows that the order would allow and the house does not.
const FORBIDDEN: &[(&str, &str, &str)] = &[
    ("secret", "agent::config", "the vocabulary is defined by what it lacks"),
    ("agent::hook", "agent::store", "whoever is told knows no store"),
    ("agent::volume", "agent::store", "a volume carries files, wherever they come from"),
    ("agent::volume", "agent::render", "a volume carries files, whatever is in them"),
    ("agent::render", "agent::identity", "rendering is pure"),
    ("agent::observe", "agent::volume", "facts come to it, it asks nobody"),
    ("agent::observe", "agent::hook", "facts come to it, it asks nobody"),
];

/// Where secrets leave their type, and why.
const DOORS: &[(&str, &str)] = &[
    ("secret/", "the type itself, its digests and its JSON"),
    ("agent/identity/", "proofs are trimmed"),
    ("agent/store/", "the wire, and the key of the local store"),
    ("agent/render/", "templates, formats and checks"),
    ("agent/volume/", "the files"),
    ("agent/state", "what a restart needs"),
    ("agent/local", "the local store's commands"),
    ("agent/pipeline/program.rs", "the environment of the command of `exec`"),
    ("agent/cli/get.rs", "its output is the secret"),
    (
        "scan/image/outbox.rs",
        "whether what stands in a container's raw bytes was found inside as well",
    ),
    ("scan/scan/", "a blob that several images have, and the way between two processes"),
    ("scan/source/registry", "the login of a registry"),
    ("scan/finding/", "fingerprints, previews, and taking secrets out of the text around them"),
    ("scan/report/", "`--reveal` only"),
];

/// Modules whose result depends on their arguments only.
const PURE: &[&str] = &[
    "secret/",
    "agent/reason.rs",
    "agent/config/",
    "agent/render/",
    "agent/volume/plan.rs",
    "kube/",
    "agent/rotate/",
    "agent/pipeline/compose.rs",
    "agent/pipeline/tracked.rs",
    "scan/finding",
    "scan/report/",
];

/// What a pure module does not say, and the files that are the doors for it.
const IMPURE: &[(&str, &[&str])] = &[
    ("SystemTime", &[]),
    ("Instant::now", &[]),
    ("clock_gettime", &["agent/rotate/clock.rs"]),
    ("std::fs", &[]),
    ("File::open", &[]),
    ("fastrand", &["agent/rotate/roll.rs"]),
    ("std::env::var", &[]),
    ("reqwest", &[]),
];

struct SourceFile {
    /// Beneath `src/`.
    path: String,
    /// Without comments and without the inline tests.
    code: String,
    text: String,
}

fn sources() -> Vec<SourceFile> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&root, &mut files);
    assert!(files.len() > 20, "found only {} source files", files.len());
    files
        .into_iter()
        .map(|file| {
            let text = std::fs::read_to_string(&file).unwrap();
            let path = file.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            SourceFile { path, code: code_only(&text), text }
        })
        .collect()
}

/// All but `tests.rs`, which is an inline test that outgrew its file.
fn walk(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("tests.rs") {
            files.push(path);
        }
    }
}

fn code_only(text: &str) -> String {
    let before_tests = text.split("\n#[cfg(test)]").next().unwrap_or_default();
    let lines = before_tests.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

fn room_of(path: &str) -> Option<usize> {
    ROOMS.iter().position(|(folder, _)| {
        path == *folder || path == format!("{folder}.rs") || path.starts_with(&format!("{folder}/"))
    })
}

/// Rooms that a file names, as `crate::room::…`.
fn imports(code: &str) -> Vec<usize> {
    let flat = code.replace('\n', " ");
    let named = |room: &str| {
        flat.contains(&format!("crate::{room}::")) || flat.contains(&format!("crate::{room};"))
    };
    (0..ROOMS.len()).filter(|&i| named(ROOMS[i].1)).collect()
}

#[test]
fn imports_point_one_way_along_the_path() {
    let mut wrong = Vec::new();
    for file in sources() {
        let Some(from) = room_of(&file.path) else { continue };
        for to in imports(&file.code) {
            if to > from {
                wrong.push(format!("{} imports {}, which is to its right", file.path, ROOMS[to].1));
            }
            for (who, whom, why) in FORBIDDEN {
                if ROOMS[from].1 == *who && ROOMS[to].1 == *whom {
                    wrong.push(format!("{} imports {whom}: {why}", file.path));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_the_pipeline_and_the_command_line_see_the_whole_road() {
    const STAGES: [&str; 4] = ["agent::store", "agent::render", "agent::volume", "agent::hook"];
    for file in sources() {
        let whole = ["agent/pipeline", "agent/cli"].iter().any(|room| file.path.starts_with(room));
        let seen = STAGES
            .iter()
            .filter(|stage| file.code.replace('\n', " ").contains(&format!("crate::{stage}::")))
            .count();
        assert!(whole || seen < 3, "{} sees {seen} stages", file.path);
    }
}

#[test]
fn the_sandbox_knows_nothing_of_secrets_or_stages() {
    for file in sources().iter().filter(|f| f.path.starts_with("sandbox")) {
        assert!(!file.code.contains("crate::secret"), "{}", file.path);
        assert!(!file.code.contains("crate::agent"), "{}", file.path);
    }
}

#[test]
fn the_scanner_and_the_agent_know_nothing_of_each_other() {
    for file in sources() {
        let other = match file.path.split('/').next() {
            Some("scan") => "crate::agent",
            Some("agent") => "crate::scan",
            _ => continue,
        };
        assert!(!file.code.contains(other), "{} says {other}", file.path);
    }
}

#[test]
fn secrets_leave_their_type_only_through_the_known_doors() {
    let mut used: BTreeMap<&str, usize> = BTreeMap::new();
    for file in sources() {
        let calls = file.code.matches(".expose()").count();
        if calls == 0 {
            continue;
        }
        match DOORS.iter().find(|(door, _)| file.path.starts_with(door)) {
            Some((door, _)) => *used.entry(door).or_default() += calls,
            None => panic!("{} exposes a secret {calls} times and is no door", file.path),
        }
    }
    for (door, why) in DOORS {
        assert!(used.contains_key(door), "{door} is a door ({why}) that nobody uses any more");
    }
}

#[test]
fn pure_modules_have_no_clock_no_file_and_no_chance() {
    for file in sources() {
        if !PURE.iter().any(|pure| file.path.starts_with(pure)) {
            continue;
        }
        for (word, doors) in IMPURE {
            let is_door = doors.contains(&file.path.as_str());
            assert!(is_door || !file.code.contains(word), "{} says {word}", file.path);
        }
    }
}

/// Where the agent asks for the wall clock, and what for: always to compare it with a date that
/// somebody else wrote. Timers follow the boot-time clock, so a clock that jumps by an hour or ten
/// years changes no wait.
const WALL_CLOCK: &[(&str, &str)] = &[
    ("agent/rotate/clock.rs", "the one place that reads it for the others"),
    ("agent/rotate/mod.rs", "hands it on"),
    ("agent/pipeline/build.rs", "whether somebody sets it later"),
    ("agent/pipeline/reload.rs", "whether somebody set it, and how old a certificate is then"),
    ("agent/pipeline/fetch.rs", "how old a certificate is, by its own dates"),
    ("agent/pipeline/rotation.rs", "whether a certificate is in its dates"),
    ("agent/store/aws/answer.rs", "how far the clock is from the service's, for the message"),
    ("agent/store/aws/caller.rs", "the moment of a signature, which STS compares with its own"),
    ("agent/store/aws/identity.rs", "when credentials end"),
    ("agent/store/vault/answer.rs", "`Retry-After` as a date without `Date`, at most five minutes"),
    ("agent/store/vault/session.rs", "whether a proof has ended, for the message"),
];

#[test]
fn the_wall_clock_is_compared_with_dates_and_times_nothing() {
    for file in sources().iter().filter(|file| file.path.starts_with("agent/")) {
        let asks = ["SystemTime", "Realtime", "unix_now()"].iter().any(|w| file.code.contains(w));
        let is_door = WALL_CLOCK.iter().any(|(door, _)| *door == file.path);
        assert!(is_door || !asks, "{} asks for the wall clock", file.path);
    }
}

#[test]
fn unsafe_code_is_in_the_sandbox_only() {
    for file in sources() {
        let has = file.code.contains("unsafe {") || file.code.contains("unsafe fn");
        assert!(!has || file.path.starts_with("sandbox/"), "{} is unsafe", file.path);
    }
}

#[test]
fn every_file_says_what_it_owns() {
    for file in sources() {
        assert!(file.text.starts_with("//! "), "{} does not begin with `//! `", file.path);
    }
}

#[test]
fn main_is_a_story_of_at_most_eighty_lines() {
    for file in sources().iter().filter(|f| f.path.starts_with("bin/")) {
        assert!(file.text.lines().count() <= 80, "{} is too long", file.path);
    }
}

#[test]
fn every_file_of_code_is_in_a_room() {
    const MAPS: [&str; 3] = ["lib.rs", "agent/mod.rs", "scan/mod.rs"];
    for file in sources() {
        let known = MAPS.contains(&file.path.as_str()) || room_of(&file.path).is_some();
        assert!(known, "{} is in no room of the table", file.path);
    }
}
