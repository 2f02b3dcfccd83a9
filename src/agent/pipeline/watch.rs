//! Notices that the config or a local store changed on disk.
//!
//! Directories are watched, not files: the kubelet replaces a projected file by renaming a link
//! next to it, and editors replace files by renaming too. Neither shows on a watch of the file. The
//! watch only wakes us up; whether something changed is read from the file's stamp, which is also
//! compared every [`BACKSTOP`], because a watch can be refused or lost.

use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

use crate::sandbox::door::{Door, Stamp};

/// How often stamps are compared whether or not the watch said anything.
pub(super) const BACKSTOP: Duration = Duration::from_secs(30);

/// How long a burst of changes is left to end: a kubelet swap is four events.
const BURST: Duration = Duration::from_millis(100);

/// A watch on the directories of a few files.
pub(super) struct Watch {
    /// Dropping it ends the watch.
    watcher: Option<RecommendedWatcher>,
    events: mpsc::Receiver<()>,
    /// An event came and its burst is not over.
    pending: bool,
    backstop: tokio::time::Instant,
}

impl Watch {
    /// Watches the directories of `files`. A directory that can't be watched is left to the
    /// backstop.
    pub fn start<'a>(files: impl Iterator<Item = &'a Path>) -> Watch {
        let (sender, events) = mpsc::channel(1);
        let on_event = move |event: notify::Result<notify::Event>| {
            // Reading a file is an event too, and ours would wake us for ever.
            if event.is_ok_and(|event| !event.kind.is_access()) {
                let _ = sender.try_send(());
            }
        };
        let mut watcher = notify::recommended_watcher(on_event).ok();
        let mut dirs: Vec<PathBuf> = Vec::new();
        for file in files {
            let Some(dir) = file.parent() else { continue };
            let dir = if dir == Path::new("") { Path::new(".") } else { dir };
            if let Some(watcher) = &mut watcher
                && !dirs.iter().any(|seen| seen == dir)
                && watcher.watch(dir, RecursiveMode::NonRecursive).is_ok()
            {
                dirs.push(dir.to_owned());
            }
        }
        Watch { watcher, events, pending: false, backstop: tokio::time::Instant::now() + BACKSTOP }
    }

    /// Whether the kernel tells of changes; if not, they are noticed by the backstop.
    pub fn is_told(&self) -> bool {
        self.watcher.is_some()
    }

    /// Watches nothing.
    pub fn none() -> Watch {
        let (_, events) = mpsc::channel(1);
        let backstop = tokio::time::Instant::now() + BACKSTOP;
        Watch { watcher: None, events, pending: false, backstop }
    }

    /// Waits until something in one of the directories changed, or the backstop is over. Dropping
    /// the future loses nothing.
    pub async fn changed(&mut self) {
        if !self.pending {
            match tokio::time::timeout_at(self.backstop, self.events.recv()).await {
                Ok(Some(())) => self.pending = true,
                Ok(None) => tokio::time::sleep_until(self.backstop).await,
                Err(_) => {}
            }
        }
        if self.pending {
            tokio::time::sleep(BURST).await;
            while self.events.try_recv().is_ok() {}
            self.pending = false;
        }
        self.backstop = tokio::time::Instant::now() + BACKSTOP;
    }
}

/// A file and the stamp it had when it was last looked at.
pub(super) struct Stamped {
    stamp: Option<Stamp>,
}

impl Stamped {
    /// Remembers the file as it is.
    pub fn of(door: &Door) -> Stamped {
        Stamped { stamp: door.stamp().ok() }
    }

    /// Whether the file is another one than last time. One that is gone is not: what was read from
    /// it is still good.
    pub fn moved(&mut self, door: &Door) -> bool {
        match door.stamp() {
            Ok(stamp) if self.stamp != Some(stamp) => {
                self.stamp = Some(stamp);
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[tokio::test]
    async fn a_swap_by_the_kubelet_wakes_the_watch_and_changes_the_stamp() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for generation in ["..1", "..2"] {
            std::fs::create_dir(path(generation)).unwrap();
            std::fs::write(path(generation).join("config.yaml"), generation).unwrap();
        }
        symlink("..1", path("..data")).unwrap();
        symlink("..data/config.yaml", path("config.yaml")).unwrap();

        let door = Door::open(&path("config.yaml")).unwrap();
        let mut stamped = Stamped::of(&door);
        let mut watch = Watch::start([path("config.yaml")].iter().map(PathBuf::as_path));
        assert!(!stamped.moved(&door));

        symlink("..2", path("..tmp")).unwrap();
        std::fs::rename(path("..tmp"), path("..data")).unwrap();
        watch.changed().await;
        assert!(stamped.moved(&door));
        assert!(!stamped.moved(&door), "a change is noticed once");
    }
}
