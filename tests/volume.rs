//! The volume on a real tmpfs (`/dev/shm`): what readers see, what is left, what is refused.

#![cfg(feature = "agent")]

#[path = "support/volume.rs"]
mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sidekey::agent::config::VolumeConfig;
use sidekey::agent::volume::{Fault, Gap, Level, Published, Remark, Stranger, Unfit, Volume};
use sidekey::secret::SecretBytes;
use support::{
    Set, Tmpfs, config, everything, fault, mode, open, path, publish, secs, swap, volume_name,
};

fn swapped(changed: &[&str], removed: &[&str]) -> Published {
    let paths = |names: &[&str]| names.iter().map(|name| path(name)).collect();
    Published::Swapped { changed: paths(changed), removed: paths(removed) }
}

fn open_with(config: &VolumeConfig) -> Result<Volume, Fault> {
    Volume::open(&volume_name(), config, Gap::STANDARD, secs(0)).map_err(|error| error.fault)
}

/// Something that somebody does to a volume.
type Touch<'a> = &'a dyn Fn();

/// One file called `a`.
fn one(text: &str) -> Set {
    Set::of(&[("a", text)])
}

#[test]
fn files_are_laid_out_as_the_kubelet_does() {
    let tmpfs = Tmpfs::new();
    let mut volume = open(&tmpfs);
    assert_eq!(volume.generation(), None);
    let set = Set::of(&[("orders.env", "A=1"), ("certs/tls.pem", "pem"), ("certs/ca/root", "ca")]);
    assert_eq!(
        publish(&mut volume, 1, &set, secs(0)),
        Ok(swapped(&["certs/ca/root", "certs/tls.pem", "orders.env"], &[]))
    );
    let link = |name: &str| fs::read_link(tmpfs.path().join(name)).unwrap();
    assert_eq!(link("..data"), Path::new("..1"));
    assert_eq!(link("orders.env"), Path::new("..data/orders.env"));
    assert_eq!(link("certs"), Path::new("..data/certs"));
    assert_eq!(fs::read(tmpfs.path().join("certs/ca/root")).unwrap(), b"ca");
    assert_eq!(tmpfs.names(), ["..1", "..data", "certs", "orders.env"]);
    assert_eq!(volume.generation(), Some(1));
    let read = volume.read_current().unwrap();
    assert_eq!(read.len(), 3);
    assert_eq!(read[&path("certs/tls.pem")].expose(), b"pem");
}

#[test]
fn an_unchanged_set_touches_nothing() {
    let tmpfs = Tmpfs::new();
    let mut volume = open(&tmpfs);
    let set = Set::of(&[("a", "1"), ("d/b", "2")]);
    swap(&mut volume, 1, &set, secs(0));
    let look = || {
        let of = |name: &str| fs::symlink_metadata(tmpfs.path().join(name)).unwrap();
        ["", "a", "..data", "..1", "..1/a", "..1/d", "..1/d/b"]
            .map(|name| (of(name).ino(), of(name).mtime_nsec(), of(name).ctime_nsec()))
    };
    let before = look();
    for time in [1, 10, 100] {
        assert_eq!(publish(&mut volume, 2, &set, secs(time)), Ok(Published::Unchanged));
    }
    drop(volume);
    let mut volume = open(&tmpfs);
    assert_eq!(publish(&mut volume, 2, &set, secs(101)), Ok(Published::Unchanged));
    assert_eq!(look(), before);
    assert_eq!(volume.take_remarks(), []);
}

#[test]
fn every_byte_arrives_as_it_is() {
    let tmpfs = Tmpfs::new();
    let mut volume = open(&tmpfs);
    let all: Vec<u8> = (0..1 << 20).map(|i: u32| u8::try_from(i % 251).unwrap()).collect();
    let mut set = Set::of(&[("empty", ""), ("odd", "a\0b\n'\"$x\r\u{feff}")]);
    set.files.insert(path("large"), SecretBytes::from(all.clone()));
    swap(&mut volume, 1, &set, secs(0));
    assert_eq!(fs::read(tmpfs.path().join("large")).unwrap(), all);
    assert_eq!(fs::read(tmpfs.path().join("empty")).unwrap(), b"");
    assert_eq!(fs::read(tmpfs.path().join("odd")).unwrap(), "a\0b\n'\"$x\r\u{feff}".as_bytes());
}

#[test]
fn nobody_but_owner_and_group_gets_in_and_the_root_keeps_its_mode() {
    let tmpfs = Tmpfs::new();
    fs::set_permissions(tmpfs.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let mut volume = open(&tmpfs);
    let mut set = Set::of(&[("a", "1"), ("d/e/f", "2")]);
    swap(&mut volume, 1, &set, secs(0));
    let modes = |generation: &str| {
        ["", "a", "d", "d/e", "d/e/f"].map(|name| mode(&tmpfs.path().join(generation).join(name)))
    };
    assert_eq!(modes("..1"), [0o750, 0o440, 0o750, 0o750, 0o440]);
    assert_eq!(mode(tmpfs.path()), 0o777);
    // A mode alone is a change.
    set.mode = 0o400;
    assert_eq!(publish(&mut volume, 2, &set, secs(9)), Ok(swapped(&["a", "d/e/f"], &[])));
    assert_eq!(modes("..2"), [0o750, 0o400, 0o750, 0o750, 0o400]);
}

#[test]
fn a_mode_that_lets_others_read_is_refused_before_anything_is_written() {
    let tmpfs = Tmpfs::new();
    let mut volume = open(&tmpfs);
    let set = Set { mode: 0o444, ..one("1") };
    assert_eq!(
        fault(publish(&mut volume, 1, &set, secs(0))),
        Fault::Unfit { file: path("a"), why: Unfit::Mode(0o444) }
    );
    assert_eq!(tmpfs.names(), [""; 0]);
}

#[test]
fn a_file_that_goes_takes_its_visible_link_along() {
    let tmpfs = Tmpfs::new();
    let mut volume = open(&tmpfs);
    swap(&mut volume, 1, &Set::of(&[("a", "1"), ("d/x", "1"), ("d/y", "1")]), secs(0));
    let fewer = Set::of(&[("a", "1"), ("d/x", "1")]);
    assert_eq!(publish(&mut volume, 2, &fewer, secs(9)), Ok(swapped(&[], &["d/y"])));
    assert_eq!(publish(&mut volume, 3, &one("1"), secs(18)), Ok(swapped(&[], &["d/x"])));
    assert_eq!(tmpfs.names(), ["..2", "..3", "..data", "a"]);
    let nothing = Set::of(&[]);
    assert_eq!(publish(&mut volume, 4, &nothing, secs(27)), Ok(swapped(&[], &["a"])));
    assert_eq!(tmpfs.names(), ["..3", "..4", "..data"]);
}

#[test]
fn a_lost_link_is_made_again_and_a_stale_one_removed_without_a_rotation() {
    let tmpfs = Tmpfs::new();
    let mut volume = open(&tmpfs);
    let set = Set::of(&[("a", "1"), ("b", "1")]);
    swap(&mut volume, 1, &set, secs(0));
    let damage = || {
        fs::remove_file(tmpfs.path().join("a")).unwrap();
        symlink("..data/stale", tmpfs.path().join("stale")).unwrap();
    };
    damage();
    assert_eq!(publish(&mut volume, 2, &set, secs(9)), Ok(Published::Unchanged));
    assert_eq!(tmpfs.names(), ["..1", "..data", "a", "b"]);
    damage();
    drop(volume);
    assert_eq!(open(&tmpfs).take_remarks(), [Remark::Recovered { steps: 2 }]);
    assert_eq!(tmpfs.names(), ["..1", "..data", "a", "b"]);
}

#[test]
fn what_is_not_ours_is_left_alone_and_reported_once() {
    let tmpfs = Tmpfs::new();
    fs::write(tmpfs.path().join("note"), "mine").unwrap();
    symlink("/etc/hostname", tmpfs.path().join("host")).unwrap();
    fs::create_dir(tmpfs.path().join("..2026_01_31")).unwrap();
    let mut volume = open(&tmpfs);
    let foreign = |name: &str| Remark::Foreign { name: name.into() };
    let remarks = volume.take_remarks();
    assert_eq!(remarks, ["..2026_01_31", "host", "note"].map(foreign));
    swap(&mut volume, 1, &one("1"), secs(0));
    assert_eq!(volume.take_remarks(), []);
    assert_eq!(tmpfs.names(), ["..1", "..2026_01_31", "..data", "a", "host", "note"]);
    assert_eq!(fs::read(tmpfs.path().join("note")).unwrap(), b"mine");
    // In the place of a file it stops the rotation, and nothing of it is left.
    let set = Set::of(&[("a", "2"), ("note/x", "2")]);
    assert_eq!(
        fault(publish(&mut volume, 2, &set, secs(9))),
        Fault::NameTaken { name: "note".into() }
    );
    assert_eq!(tmpfs.names(), ["..1", "..2026_01_31", "..data", "a", "host", "note"]);
}

#[test]
fn the_generation_before_stays_for_its_time_and_over_a_restart() {
    let tmpfs = Tmpfs::new();
    let mut volume = open(&tmpfs);
    swap(&mut volume, 1, &one("1"), secs(0));
    swap(&mut volume, 2, &one("2"), secs(10));
    assert_eq!(volume.tidy(secs(10)), Some(secs(310)));
    assert_eq!(volume.tidy(secs(309)), Some(secs(310)));
    assert_eq!(tmpfs.names(), ["..1", "..2", "..data", "a"]);
    drop(volume);
    let mut volume =
        Volume::open(&volume_name(), &config(tmpfs.path()), Gap::STANDARD, secs(400)).unwrap();
    assert_eq!(volume.generation(), Some(2));
    assert_eq!(tmpfs.names(), ["..1", "..2", "..data", "a"]);
    assert_eq!(volume.tidy(secs(699)), Some(secs(700)));
    assert_eq!(volume.tidy(secs(700)), None);
    assert_eq!(tmpfs.names(), ["..2", "..data", "a"]);
    assert_eq!(volume.take_remarks(), []);
}

#[test]
fn a_generation_pushed_out_early_still_lives_two_seconds() {
    let tmpfs = Tmpfs::new();
    let gap = Gap::of(Duration::from_millis(10));
    let ms = Duration::from_millis;
    let mut volume = Volume::open(&volume_name(), &config(tmpfs.path()), gap, ms(0)).unwrap();
    for number in 1..=4 {
        swap(&mut volume, number, &one(&number.to_string()), ms(10 * number));
    }
    assert_eq!(tmpfs.names(), ["..1", "..2", "..3", "..4", "..data", "a"]);
    assert_eq!(volume.tidy(ms(2019)), Some(ms(2020)));
    assert_eq!(volume.tidy(ms(2020)), Some(ms(2030)));
    assert_eq!(tmpfs.names(), ["..2", "..3", "..4", "..data", "a"]);
    swap(&mut volume, 5, &one("5"), ms(2040));
    assert_eq!(tmpfs.names(), ["..4", "..5", "..data", "a"]);
}

// 60.
#[test]
fn a_reader_that_never_closes_keeps_its_bytes_and_holds_up_no_generation() {
    let tmpfs = Tmpfs::new();
    let mut volume = open(&tmpfs);
    swap(&mut volume, 1, &one("1"), secs(0));
    let mut reader = fs::File::open(tmpfs.path().join("a")).unwrap();
    for number in 2..10 {
        swap(&mut volume, number, &one(&number.to_string()), secs(number * 9));
        let before = format!("..{}", number - 1);
        assert_eq!(tmpfs.names(), [&before, &format!("..{number}"), "..data", "a"]);
    }
    let mut read = String::new();
    std::io::Read::read_to_string(&mut reader, &mut read).unwrap();
    assert_eq!(read, "1");
}

#[test]
fn rotations_come_no_closer_than_the_gap() {
    let tmpfs = Tmpfs::new();
    let mut volume = open(&tmpfs);
    assert_eq!(volume.earliest_swap(), None);
    swap(&mut volume, 1, &one("1"), secs(10));
    assert_eq!(volume.earliest_swap(), Some(secs(12)));
    let early = Published::Early { until: secs(12) };
    assert_eq!(publish(&mut volume, 2, &one("2"), secs(11)), Ok(early));
    assert_eq!(fs::read(tmpfs.path().join("a")).unwrap(), b"1");
    assert_eq!(publish(&mut volume, 2, &one("1"), secs(11)), Ok(Published::Unchanged));
    swap(&mut volume, 2, &one("2"), secs(12));
}

#[test]
fn a_second_writer_is_refused() {
    let tmpfs = Tmpfs::new();
    let first = open(&tmpfs);
    assert_eq!(open_with(&config(tmpfs.path())).unwrap_err(), Fault::Locked);
    drop(first);
    open_with(&config(tmpfs.path())).unwrap();
}

#[test]
fn what_is_not_in_memory_is_refused_unless_told() {
    let found = open_with(&config(Path::new("/proc"))).unwrap_err();
    assert_eq!(found, Fault::NotTmpfs { kind: 0x9fa0 });
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let allowed = VolumeConfig { allow_persistent: true, ..config(dir.path()) };
    let mut volume = open_with(&allowed).unwrap();
    if !volume.medium().in_memory() {
        assert_eq!(volume.grade().level, Level::Insecure);
    }
    swap(&mut volume, 1, &one("1"), secs(0));
    assert_eq!(fs::read(dir.path().join("a")).unwrap(), b"1");
}

#[test]
fn a_directory_that_is_missing_or_no_directory_is_told() {
    let tmpfs = Tmpfs::new();
    assert_eq!(open_with(&config(&tmpfs.path().join("x"))).unwrap_err(), Fault::Missing);
    fs::write(tmpfs.path().join("file"), "").unwrap();
    let found = open_with(&config(&tmpfs.path().join("file"))).unwrap_err();
    assert!(matches!(found, Fault::Io { .. }), "{found:?}");
}

#[test]
fn a_current_link_that_leads_elsewhere_is_refused_at_start_and_at_every_rotation() {
    let tmpfs = Tmpfs::new();
    let outside = Tmpfs::new();
    let elsewhere = Fault::Foreign { name: "..data".into(), found: Stranger::LeadsElsewhere };
    let mut volume = open(&tmpfs);
    swap(&mut volume, 1, &one("1"), secs(0));
    let data = tmpfs.path().join("..data");
    for target in [outside.path(), Path::new("../x"), Path::new("..1/."), Path::new("..01")] {
        fs::remove_file(&data).unwrap();
        symlink(target, &data).unwrap();
        assert_eq!(fault(publish(&mut volume, 2, &one("2"), secs(9))), elsewhere);
        assert_eq!(fs::read_link(&data).unwrap(), target);
    }
    drop(volume);
    assert_eq!(open_with(&config(tmpfs.path())).unwrap_err(), elsewhere);
    fs::remove_file(&data).unwrap();
    fs::write(&data, "").unwrap();
    let other = Fault::Foreign { name: "..data".into(), found: Stranger::OtherKind };
    assert_eq!(open_with(&config(tmpfs.path())).unwrap_err(), other);
    assert_eq!(outside.names(), [""; 0]);
    // Once it is gone, the volume starts anew.
    fs::remove_file(&data).unwrap();
    swap(&mut open(&tmpfs), 2, &one("2"), secs(0));
    assert_eq!(tmpfs.names(), ["..2", "..data", "a"]);
}

#[test]
fn something_else_in_the_place_of_a_generation_is_refused_and_not_entered() {
    let tmpfs = Tmpfs::new();
    let outside = Tmpfs::new();
    fs::write(outside.path().join("precious"), "kept").unwrap();
    for name in ["..1", "..9", "..9.tmp"] {
        let mut volume = open(&tmpfs);
        swap(&mut volume, 1, &one("1"), secs(0));
        let place = tmpfs.path().join(name);
        if place.exists() {
            fs::rename(&place, outside.path().join("moved")).unwrap();
        }
        symlink(outside.path(), &place).unwrap();
        let foreign = Fault::Foreign { name: name.into(), found: Stranger::OtherKind };
        assert_eq!(fault(publish(&mut volume, 2, &one("2"), secs(9))), foreign);
        drop(volume);
        assert_eq!(open_with(&config(tmpfs.path())).unwrap_err(), foreign);
        assert_eq!(fs::read(outside.path().join("precious")).unwrap(), b"kept");
        fs::remove_file(&place).unwrap();
        let _ = open(&tmpfs);
        fs::remove_file(tmpfs.path().join("..data")).unwrap();
        let _ = open(&tmpfs);
        assert_eq!(tmpfs.names(), [""; 0]);
    }
}

#[test]
fn what_somebody_touched_is_noticed_and_put_right() {
    let tmpfs = Tmpfs::new();
    let mut volume = open(&tmpfs);
    let set = Set::of(&[("a", "1"), ("d/b", "1")]);
    let file = |name: &str| tmpfs.path().join("..data").join(name);
    let open_up = |name: &str, mode| {
        fs::set_permissions(file(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    let touches: [(Touch, &[&str]); 6] = [
        (
            &|| {
                open_up("a", 0o640);
                fs::write(file("a"), "2").unwrap();
                open_up("a", 0o440);
            },
            &["a"],
        ),
        (&|| open_up("d/b", 0o444), &["d/b"]),
        (&|| fs::remove_file(file("d/b")).unwrap(), &["d/b"]),
        (&|| fs::write(file("more"), "x").unwrap(), &["more"]),
        (&|| symlink("/etc/passwd", file("link")).unwrap(), &[]),
        (&|| open_up("d", 0o777), &[]),
    ];
    let mut number = 1;
    swap(&mut volume, number, &set, secs(0));
    for (touch, files) in touches {
        touch();
        let files: Vec<_> = files.iter().map(|name| path(name)).collect();
        swap(&mut volume, number + 1, &set, secs(number * 10));
        let told = Remark::Touched { generation: number, files: files.clone() };
        let expected = if files.is_empty() { vec![] } else { vec![told] };
        assert_eq!(volume.take_remarks(), expected);
        number += 1;
        assert_eq!(
            publish(&mut volume, number + 1, &set, secs(number * 10)),
            Ok(Published::Unchanged)
        );
    }
    assert_eq!(fs::read(file("a")).unwrap(), b"1");
}

#[test]
fn a_generation_that_is_gone_is_published_again() {
    let tmpfs = Tmpfs::new();
    let mut volume = open(&tmpfs);
    swap(&mut volume, 1, &one("1"), secs(0));
    fs::remove_dir_all(tmpfs.path().join("..1")).unwrap();
    swap(&mut volume, 2, &one("1"), secs(9));
    assert_eq!(
        volume.take_remarks(),
        [Remark::Gone { generation: 1 }, Remark::Turned { from: 1, to: None }]
    );
    fs::remove_dir_all(tmpfs.path().join("..2")).unwrap();
    drop(volume);
    let mut volume = open(&tmpfs);
    assert_eq!(volume.generation(), None);
    swap(&mut volume, 3, &one("1"), secs(0));
    assert_eq!(tmpfs.names(), ["..3", "..data", "a"]);
}

#[test]
fn a_link_turned_to_an_older_generation_is_noticed_and_turned_back() {
    let tmpfs = Tmpfs::new();
    let mut volume = open(&tmpfs);
    swap(&mut volume, 1, &one("1"), secs(0));
    swap(&mut volume, 2, &one("2"), secs(9));
    fs::remove_file(tmpfs.path().join("..data")).unwrap();
    symlink("..1", tmpfs.path().join("..data")).unwrap();
    swap(&mut volume, 3, &one("2"), secs(18));
    assert_eq!(volume.take_remarks(), [Remark::Turned { from: 2, to: Some(1) }]);
    assert_eq!(fs::read(tmpfs.path().join("a")).unwrap(), b"2");
}

#[test]
fn a_set_that_is_too_large_is_refused_with_the_numbers_and_nothing_is_touched() {
    let tmpfs = Tmpfs::new();
    let small = VolumeConfig { size: 16384, ..config(tmpfs.path()) };
    let mut volume = open_with(&small).unwrap();
    let pages = |pages: usize| one(&"x".repeat(pages * 4096));
    assert_eq!(
        fault(publish(&mut volume, 1, &pages(5), secs(0))),
        Fault::Full { needed: 20480, available: 16384 }
    );
    assert_eq!(tmpfs.names(), [""; 0]);
    swap(&mut volume, 1, &pages(2), secs(0));
    swap(&mut volume, 2, &Set::of(&[("a", &"y".repeat(8192))]), secs(9));
    // The generation before is spare after two seconds, and makes room.
    swap(&mut volume, 3, &pages(1), secs(18));
    assert_eq!(tmpfs.names(), ["..2", "..3", "..data", "a"]);
    assert_eq!(
        fault(publish(&mut volume, 4, &pages(4), secs(20))),
        Fault::Full { needed: 16384, available: 12288 }
    );
    assert_eq!(tmpfs.names(), ["..2", "..3", "..data", "a"]);
}

#[test]
fn a_number_that_does_not_rise_is_a_bug_and_changes_nothing() {
    let tmpfs = Tmpfs::new();
    let mut volume = open(&tmpfs);
    swap(&mut volume, 7, &one("1"), secs(0));
    assert_eq!(
        fault(publish(&mut volume, 7, &one("2"), secs(9))),
        Fault::NotNewer { given: 7, there: 7 }
    );
    assert_eq!(fs::read(tmpfs.path().join("a")).unwrap(), b"1");
}

#[test]
fn a_missing_directory_is_made_only_where_nobody_else_could() {
    let tmpfs = Tmpfs::new();
    let place = tmpfs.path().join("sidekey");
    let set = |mode| fs::set_permissions(tmpfs.path(), fs::Permissions::from_mode(mode)).unwrap();
    set(0o777);
    assert!(!Volume::create_if_private(&place).unwrap());
    assert!(!place.exists());
    set(0o700);
    assert!(Volume::create_if_private(&place).unwrap());
    assert_eq!(mode(&place), 0o750);
    assert!(!Volume::create_if_private(&place).unwrap());
    assert!(!Volume::create_if_private(&tmpfs.path().join("no/where")).unwrap());
    open_with(&config(&place)).unwrap();
}

#[test]
fn somebody_who_swaps_links_all_the_time_gets_no_byte_and_loses_no_file() {
    let tmpfs = Tmpfs::new();
    let outside = Tmpfs::new();
    fs::write(outside.path().join("precious"), "kept").unwrap();
    fs::create_dir(outside.path().join("d")).unwrap();
    let before = everything(outside.path());
    let gap = Gap::of(Duration::ZERO);
    let mut volume = Volume::open(&volume_name(), &config(tmpfs.path()), gap, secs(0)).unwrap();
    let running = AtomicBool::new(true);
    let now = std::sync::atomic::AtomicU64::new(1);
    let attack = || {
        let place = |name: String| tmpfs.path().join(name);
        while running.load(Ordering::Relaxed) {
            let number = now.load(Ordering::Relaxed);
            for name in [
                "..data".to_owned(),
                "..data_tmp".to_owned(),
                format!("..{number}"),
                format!("..{number}.tmp"),
                "d".to_owned(),
            ] {
                let link = place(name);
                let aside = place("aside".to_owned());
                let _ = fs::rename(&link, &aside);
                let _ = symlink(outside.path(), &link);
                let _ = fs::remove_file(&link);
                let _ = fs::rename(&aside, &link);
                let _ = fs::remove_dir_all(&aside);
                let _ = fs::remove_file(&aside);
            }
        }
    };
    let (mut done, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(attack);
        for number in 1_u64.. {
            if number > 3000 && done > 0 && refused > 0 {
                break;
            }
            now.store(number, Ordering::Relaxed);
            let text = number.to_string();
            let set = Set::of(&[("d/x", &text), ("y", &text)]);
            match publish(&mut volume, number, &set, secs(number * 5)) {
                Ok(_) => done += 1,
                Err(_) => refused += 1,
            }
        }
        running.store(false, Ordering::Relaxed);
    });
    println!("{done} rotations, {refused} refused");
    assert_eq!(everything(outside.path()), before);
    // Without what was planted, the volume is as good as before.
    let _ = fs::remove_dir_all(tmpfs.path().join("aside"));
    for name in tmpfs.names() {
        let _ = fs::remove_file(tmpfs.path().join(name));
    }
    drop(volume);
    let mut volume = open(&tmpfs);
    swap(&mut volume, 9999, &one("1"), secs(0));
    assert_eq!(tmpfs.names(), ["..9999", "..data", "a"]);
}

#[test]
fn a_watch_on_the_directory_sees_the_swap_as_a_move_to_data() {
    use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};

    let tmpfs = Tmpfs::new();
    let mut volume = open(&tmpfs);
    swap(&mut volume, 1, &one("1"), secs(0));
    let watching = |path: &Path| {
        let watch = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).unwrap();
        inotify::add_watch(&watch, path, WatchFlags::ALL_EVENTS).unwrap();
        watch
    };
    let directory = watching(tmpfs.path());
    let file = watching(&tmpfs.path().join("a"));
    swap(&mut volume, 2, &one("2"), secs(9));
    let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
    let mut events = inotify::Reader::new(&directory, &mut buffer);
    let mut moves = 0;
    while let Ok(event) = events.next() {
        let name = event.file_name().map(|name| name.to_str().unwrap().to_owned());
        if event.events().contains(ReadFlags::MOVED_TO) && name.as_deref() == Some("..data") {
            moves += 1;
        }
    }
    assert_eq!(moves, 1);
    // The file itself is read by us, and not changed by the swap.
    let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
    let mut events = inotify::Reader::new(&file, &mut buffer);
    let quiet = ReadFlags::OPEN | ReadFlags::ACCESS | ReadFlags::CLOSE_NOWRITE;
    while let Ok(event) = events.next() {
        assert!(quiet.contains(event.events()), "{:?}", event.events());
    }
}

/// The Python of `docs/reading-files.md`, as it stands there.
#[test]
fn the_documented_reader_reads_one_generation() {
    let tmpfs = Tmpfs::new();
    let mut volume = open(&tmpfs);
    swap(&mut volume, 1, &Set::of(&[("tls.crt", "c1"), ("d/tls.key", "k1")]), secs(0));
    let docs = include_str!("../docs/reading-files.md");
    let (_, code) = docs.split_once("```python\n").unwrap();
    let (code, _) = code.split_once("```").unwrap();
    let call =
        format!("{code}\nprint(read_together({:?}, ['tls.crt', 'd/tls.key']))", tmpfs.path());
    #[expect(clippy::disallowed_methods, reason = "the test runs the documented reader")]
    let output = std::process::Command::new("python3").args(["-c", &call]).output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        "{'tls.crt': b'c1', 'd/tls.key': b'k1'}",
        "{output:?}"
    );
}
