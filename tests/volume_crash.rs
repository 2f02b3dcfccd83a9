//! The write path under strace: killed at every system call, and every one of them failing, with the
//! errors that a full or broken machine gives. And what needs mounts: small, swapless and odd file
//! systems, other users and umasks. Runs as root in `make e2e`; needs Debian's `strace`.
//!
//! Without a test harness, because this program traces itself: started with [`DRIVER`] set, it is
//! the writer.

#![expect(clippy::unwrap_used, reason = "a test stops where its helper cannot help")]
#![expect(clippy::disallowed_methods, reason = "the test runs strace, mount and itself")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is its own test harness")]

#[path = "support/volume.rs"]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};

use sidekey::agent::config::VolumeConfig;
use sidekey::agent::volume::{Fault, Gap, LINGER, Level, Published, Volume};
use support::{Set, Tmpfs, config, fault, mode, names, publish, secs, swap, volume_name};

/// Set for the writer: the directory of its volume.
const DRIVER: &str = "SIDEKEY_TEST_DRIVER";
/// Set for the writer: the group of its files.
const GROUP: &str = "SIDEKEY_TEST_GROUP";
/// Asked for (and not there) before and after the write path, so that it is found in the trace.
const BEGIN: &str = "/sidekey-write-path-begins";
const END: &str = "/sidekey-write-path-ends";
/// The writer's exit code when the volume refused.
const REFUSED: i32 = 3;

fn main() -> ExitCode {
    if let Some(path) = std::env::var_os(DRIVER) {
        return drive(Path::new(&path));
    }
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let cases: [(&str, fn()); 8] = [
        ("a_rotation_killed_at_any_system_call_is_whole", killed_in_a_rotation),
        ("a_first_generation_killed_at_any_system_call_is_whole", killed_in_the_first),
        ("a_system_call_that_fails_never_tears_a_set", failing),
        ("a_full_tmpfs_is_told_with_the_numbers", full),
        ("a_tmpfs_without_a_free_page_still_takes_links_and_renames", no_page_left),
        ("a_tmpfs_without_inodes_is_told_with_the_numbers", no_inodes),
        ("each_mount_gets_its_grade", grades),
        ("owner_and_mode_are_right_for_every_user_root_and_umask", users),
    ];
    let mut failed = 0;
    for (name, case) in cases {
        if wanted.as_ref().is_some_and(|wanted| !name.contains(wanted.as_str())) {
            continue;
        }
        let fine = std::panic::catch_unwind(case).is_ok();
        println!("test {name} ... {}", if fine { "ok" } else { "FAILED" });
        failed += u8::from(!fine);
    }
    ExitCode::from(failed)
}

fn old() -> Set {
    Set::of(&[("gone", "old"), ("one", "old"), ("pair/cert", "old"), ("pair/key", "old")])
}

fn new() -> Set {
    Set::of(&[("one", "new"), ("pair/cert", "new"), ("pair/key", "new"), ("x/y/z", "new")])
}

fn open(path: &Path) -> Result<Volume, Fault> {
    let config = VolumeConfig { keep_previous: LINGER, ..config(path) };
    Volume::open(&volume_name(), &config, Gap::STANDARD, secs(0)).map_err(|error| error.fault)
}

/// The writer: one whole life, from opening to the removal of the old generation.
fn drive(path: &Path) -> ExitCode {
    let group = std::env::var(GROUP).ok().map(|group| group.parse().unwrap());
    let set = Set { group, ..new() };
    let _ = fs::metadata(BEGIN);
    let result = open(path).and_then(|mut volume| {
        let published = publish(&mut volume, 3, &set, secs(1));
        volume.tidy(secs(100));
        published.map_err(|error| error.fault)
    });
    let _ = fs::metadata(END);
    match result {
        Ok(_) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("{fault:?}");
            ExitCode::from(u8::try_from(REFUSED).unwrap())
        }
    }
}

/// The writer under strace with these options.
fn trace(path: &Path, options: &[&str]) -> Output {
    let traced = Command::new("strace")
        .args(["-f", "-qq"])
        .args(options)
        .arg(std::env::current_exe().unwrap())
        .env(DRIVER, path)
        .output();
    traced.unwrap_or_else(|error| panic!("strace: {error}; install it: apt-get install strace"))
}

/// Every system call of the write path: its name, and how many of that name the process has made
/// by then. Found by a run that is only watched.
fn write_path(prepare: fn() -> Tmpfs) -> Vec<(String, usize)> {
    let tmpfs = prepare();
    let log = tempfile::NamedTempFile::new().unwrap();
    let log_path = log.path().to_str().unwrap();
    assert!(trace(tmpfs.path(), &["-o", log_path]).status.success());
    let log = fs::read_to_string(log_path).unwrap();
    let mut made: BTreeMap<&str, usize> = BTreeMap::new();
    let mut path = Vec::new();
    let mut within = false;
    for line in log.lines() {
        let call = line.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start();
        let Some((name, rest)) = call.split_once('(') else { continue };
        let count = made.entry(name).or_default();
        *count += 1;
        within |= rest.contains(BEGIN);
        if rest.contains(END) {
            break;
        }
        if within && !rest.contains(BEGIN) {
            path.push((name.to_owned(), *count));
        }
    }
    assert!(path.iter().any(|(name, _)| name.starts_with("rename")), "no write path in the trace");
    path
}

/// A volume that shows the old set, with everything around it that an interrupted run can leave.
fn rotating() -> Tmpfs {
    let tmpfs = Tmpfs::new();
    let mut volume = open(tmpfs.path()).unwrap();
    swap(&mut volume, 1, &Set::of(&[("gone", "older")]), secs(0));
    swap(&mut volume, 2, &old(), secs(5));
    drop(volume);
    let at = |name: &str| tmpfs.path().join(name);
    symlink("..9", at("..data_tmp")).unwrap();
    symlink("..data/stale", at("stale")).unwrap();
    fs::remove_file(at("one")).unwrap();
    for name in ["..8", "..9.tmp/half"] {
        fs::create_dir_all(at(name)).unwrap();
        fs::write(at(name).join("left"), "over").unwrap();
    }
    tmpfs
}

/// Which set the volume shows, whole: by `..data`, and by the visible links to `names`.
fn shown(path: &Path) -> Option<&'static str> {
    let data = path.join("..data");
    fs::symlink_metadata(&data).ok()?;
    let holds = |set: &Set| {
        set.files.iter().all(|(file, bytes)| {
            fs::read(data.join(file.as_str())).is_ok_and(|there| there == bytes.expose())
        })
    };
    let tops = names(&data);
    match () {
        () if holds(&old()) && tops == ["gone", "one", "pair"] => Some("old"),
        () if holds(&new()) && tops == ["one", "pair", "x"] => Some("new"),
        () => panic!("neither the old set nor the new one: {tops:?}"),
    }
}

/// The next start: what was shown is shown, by its names too, and nothing is left over. And the new
/// set can be published.
fn starts_clean(path: &Path, before: Option<&str>) {
    let mut volume = open(path).unwrap();
    volume.tidy(secs(100));
    let files: &[&str] = match before {
        Some("old") => &["..2", "..data", "gone", "one", "pair"],
        Some(_) => &["..3", "..data", "one", "pair", "x"],
        None => &[],
    };
    assert_eq!(shown(path), before);
    assert_eq!(names(path), files);
    let published = publish(&mut volume, 3, &new(), secs(200)).unwrap();
    assert_eq!(published == Published::Unchanged, before == Some("new"), "{published:?}");
    assert_eq!(shown(path), Some("new"));
    for file in new().files.keys() {
        assert_eq!(fs::read(path.join(file.as_str())).unwrap(), b"new");
    }
}

/// Does something at every system call of the write path. Returns how often the writer's volume
/// showed the old set, the new one, or none afterwards.
fn at_every_call(
    prepare: fn() -> Tmpfs,
    inject: &str,
    judge: impl Fn(Option<&str>, &Output),
) -> BTreeMap<Option<&'static str>, usize> {
    let mut seen = BTreeMap::new();
    for (name, count) in write_path(prepare) {
        let tmpfs = prepare();
        let option = format!("inject={name}:{inject}:when={count}");
        let only = format!("trace={name}");
        let mut options = vec!["-o", "/dev/null", "-e", &only, "-e", &option];
        // Much faster, but strace 6.1 sends no signal then.
        if inject.starts_with("error") {
            options.push("--seccomp-bpf");
        }
        let output = trace(tmpfs.path(), &options);
        let check = std::panic::AssertUnwindSafe(|| {
            let now = shown(tmpfs.path());
            judge(now, &output);
            starts_clean(tmpfs.path(), now);
            now
        });
        match std::panic::catch_unwind(check) {
            Ok(now) => *seen.entry(now).or_default() += 1,
            Err(panic) => {
                eprintln!("with {option}: {output:?}");
                std::panic::resume_unwind(panic);
            }
        }
    }
    println!("{inject}: {seen:?}");
    seen
}

fn killed_in_a_rotation() {
    let dead = |_: Option<&str>, output: &Output| assert!(!output.status.success());
    let seen = at_every_call(rotating, "signal=SIGKILL", dead);
    assert!(seen[&Some("old")] > 50 && seen[&Some("new")] > 10, "{seen:?}");
}

fn killed_in_the_first() {
    let dead = |_: Option<&str>, output: &Output| assert!(!output.status.success());
    let seen = at_every_call(Tmpfs::new, "signal=SIGKILL", dead);
    assert!(seen[&None] > 50 && seen[&Some("new")] > 3, "{seen:?}");
}

fn failing() {
    for error in ["ENOSPC", "EIO", "EMFILE", "EINTR"] {
        at_every_call(rotating, &format!("error={error}"), |now, output| {
            // What the writer says is what readers see.
            match output.status.code() {
                Some(0) => assert_eq!(now, Some("new")),
                Some(REFUSED) => assert_eq!(now, Some("old")),
                // An allocation that failed ends the process, as a kill does.
                _ => {}
            }
        });
    }
}

/// A file system of its own, unmounted at the end.
struct Mount(tempfile::TempDir);

impl Mount {
    fn new(kind: &str, options: &str) -> Mount {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", kind, "-o", options, kind])
            .arg(dir.path())
            .status()
            .unwrap();
        assert!(mounted.success(), "mounting needs root: run `make e2e` as root");
        Mount(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

fn file(text: &str) -> Set {
    Set::of(&[("a", text)])
}

fn full() {
    let mount = Mount::new("tmpfs", "size=64k");
    let mut volume = open(mount.path()).unwrap();
    let pages = |pages: usize| file(&"x".repeat(pages * 4096));
    assert_eq!(
        fault(publish(&mut volume, 1, &pages(17), secs(0))),
        Fault::Full { needed: 69632, available: 65536 }
    );
    assert_eq!(names(mount.path()), [""; 0]);
    swap(&mut volume, 1, &pages(7), secs(0));
    // Somebody else takes what is left.
    let ballast = mount.path().join("ballast");
    fs::write(&ballast, "x".repeat(8 * 4096)).unwrap();
    assert_eq!(
        fault(publish(&mut volume, 2, &file(&"y".repeat(8192)), secs(10))),
        Fault::Full { needed: 8192, available: 4096 }
    );
    assert_eq!(names(mount.path()), ["..1", "..data", "a", "ballast"]);
    fs::remove_file(ballast).unwrap();
    swap(&mut volume, 2, &file(&"y".repeat(8192)), secs(10));
    // The generation before makes room for one that would not fit beside it.
    swap(&mut volume, 3, &pages(9), secs(20));
    assert_eq!(names(mount.path()), ["..2", "..3", "..data", "a"]);
}

fn no_page_left() {
    let mount = Mount::new("tmpfs", "size=64k");
    let mut volume = open(mount.path()).unwrap();
    swap(&mut volume, 1, &file("1"), secs(0));
    let filled = fs::write(mount.path().join("ballast"), "x".repeat(65536));
    assert_eq!(filled.unwrap_err().raw_os_error(), Some(libc::ENOSPC));
    // No byte is left, and a set without bytes needs none: directories, links and renames are free.
    swap(&mut volume, u64::MAX, &Set::of(&[("a", ""), ("d/e", "")]), secs(10));
    assert_eq!(fs::read(mount.path().join("d/e")).unwrap(), b"");
}

fn no_inodes() {
    let mount = Mount::new("tmpfs", "size=1m,nr_inodes=16");
    let mut volume = open(mount.path()).unwrap();
    let many = |count: usize| {
        let names: Vec<_> = (0..count).map(|i| format!("f{i:02}")).collect();
        Set::of(&names.iter().map(|name| (name.as_str(), "x")).collect::<Vec<_>>())
    };
    // A generation, twenty files, twenty links, the link in the making; the root has one of the 16.
    assert_eq!(
        fault(publish(&mut volume, 1, &many(20), secs(0))),
        Fault::NoInodes { needed: 42, available: 15 }
    );
    assert_eq!(names(mount.path()), [""; 0]);
    swap(&mut volume, 1, &many(3), secs(0));
    swap(&mut volume, 2, &Set::of(&[("f00", "y"), ("f01", "y")]), secs(10));
}

fn grades() {
    let grade = |kind, options| {
        let mount = Mount::new(kind, options);
        let mut volume = open(mount.path()).unwrap();
        swap(&mut volume, 1, &file("1"), secs(0));
        volume.grade()
    };
    let swap_is_on = fs::read_to_string("/proc/swaps").unwrap().lines().count() > 1;
    assert_eq!(grade("tmpfs", "mode=0777,noswap").to_string(), "secure");
    let plain = if swap_is_on { Level::Insecure } else { Level::Weak };
    assert_eq!(grade("tmpfs", "mode=0777").level, plain);
    assert_eq!(grade("ramfs", "mode=0777").to_string(), "weak: ramfs has no size limit");
    assert_eq!(grade("tmpfs", "mode=0700,uid=12,noswap").level, Level::Insecure);
}

/// The writer as user 20001, in this group besides its own, with this umask.
fn drive_as(path: &Path, groups: &str, umask: &str, file_group: Option<u32>) -> Output {
    // The binary may stand where only root can go.
    let copy = tempfile::Builder::new().tempdir_in("/dev/shm").unwrap();
    fs::set_permissions(copy.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let binary = copy.path().join("driver");
    fs::copy(std::env::current_exe().unwrap(), &binary).unwrap();
    let script = format!("umask {umask}; exec {}", binary.display());
    let mut command = Command::new("setpriv");
    command.args(["--reuid=20001", "--regid=20001", groups, "sh", "-c", &script]);
    command.env(DRIVER, path);
    if let Some(group) = file_group {
        command.env(GROUP, group.to_string());
    }
    command.output().unwrap()
}

fn users() {
    let generation = |mount: &Mount| -> Vec<(PathBuf, u32, u32, u32)> {
        let of = |path: PathBuf| {
            let stat = fs::symlink_metadata(&path).unwrap();
            (path.clone(), stat.uid(), stat.gid(), mode(&path))
        };
        ["..3", "..3/one", "..3/x", "..3/x/y", "..3/x/y/z"]
            .map(|name| of(mount.path().join(name)))
            .to_vec()
    };
    for root in ["mode=0777", "mode=2777,gid=2000"] {
        for umask in ["000", "022", "077", "777"] {
            for file_group in [None, Some(2000)] {
                let mount = Mount::new("tmpfs", root);
                let output = drive_as(mount.path(), "--groups=2000", umask, file_group);
                let what = format!("{root}, umask {umask}, group {file_group:?}: {output:?}");
                assert!(output.status.success(), "{what}");
                let own = if root.starts_with("mode=2") { 2000 } else { 20001 };
                let group = file_group.unwrap_or(own);
                for (path, uid, gid, mode) in generation(&mount) {
                    let wanted = if path.is_dir() { 0o750 } else { 0o440 };
                    assert_eq!(
                        (uid, gid, mode),
                        (20001, group, wanted),
                        "{}: {what}",
                        path.display()
                    );
                }
            }
        }
    }
    // A set-group-id root hands its group on, also to who is not in it.
    let mount = Mount::new("tmpfs", "mode=2777,gid=2000");
    assert!(drive_as(mount.path(), "--clear-groups", "022", Some(2000)).status.success());
    assert!(generation(&mount).iter().all(|&(_, _, gid, _)| gid == 2000));
    // Without one, a group that is not ours is refused, and nothing is left.
    let mount = Mount::new("tmpfs", "mode=0777");
    let output = drive_as(mount.path(), "--clear-groups", "022", Some(2000));
    assert_eq!(output.status.code(), Some(REFUSED));
    let refused = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(refused.contains("OwnerRefused") && refused.contains("group: 2000"), "{refused}");
    assert_eq!(names(mount.path()), [""; 0]);
    // Nor may somebody write where the root does not let them.
    let mount = Mount::new("tmpfs", "mode=0755");
    let output = drive_as(mount.path(), "--clear-groups", "022", None);
    assert_eq!(output.status.code(), Some(REFUSED));
    assert_eq!(names(mount.path()), [""; 0]);
}
