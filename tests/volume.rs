//! The volume on a real tmpfs (`/dev/shm`): what readers see, what is left, what is refused.

#[path = "support/volume.rs"]
mod support;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use sidekey::agent::volume::Published;
use support::{Set, Tmpfs, open, path, publish, secs, swap};

fn swapped(changed: &[&str], removed: &[&str]) -> Published {
    let paths = |names: &[&str]| names.iter().map(|name| path(name)).collect();
    Published::Swapped { changed: paths(changed), removed: paths(removed) }
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
