//! The file that an application writes when it has taken a generation.

use std::path::Path;
use std::time::Duration;

use super::Fault;
use crate::sandbox::door::{Door, Stamp};

/// Bytes such a file may have: a number and a newline.
const LONGEST: usize = 64;

/// How often it is looked at.
const EVERY: Duration = Duration::from_millis(100);

/// A file that confirms.
pub(super) struct Sign(Door);

/// How the file was before anybody was told.
#[derive(Clone, Copy)]
pub(super) struct Before(Option<Stamp>);

impl Sign {
    /// Opens its directory; the file itself comes later.
    pub(super) fn open(path: &Path) -> Result<Sign, Fault> {
        Door::open(path).map(Sign).map_err(|_| Fault::NoDirectory { file: path.to_owned() })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    /// How it is now.
    pub(super) fn now(&self) -> Before {
        Before(self.0.stamp().ok())
    }

    /// Waits until it confirms `generation`; `false` if it does not in time.
    pub(super) async fn shows(&self, generation: u64, before: Before, within: Duration) -> bool {
        let looking = async {
            while !self.confirms(generation, before) {
                tokio::time::sleep(EVERY).await;
            }
        };
        tokio::time::timeout(within, looking).await.is_ok()
    }

    /// The number itself confirms, also when the application was quicker than we. A later one does
    /// only if it was written since: it may be left over from a volume whose numbers went further.
    fn confirms(&self, generation: u64, before: Before) -> bool {
        self.read().is_some_and(|shown| {
            shown == generation || (shown > generation && self.0.stamp().ok() != before.0)
        })
    }

    fn read(&self) -> Option<u64> {
        let bytes = self.0.read(LONGEST).ok()?;
        std::str::from_utf8(&bytes).ok()?.trim().parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_confirms_and_a_later_one_if_it_is_new() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("taken");
        let sign = Sign::open(&path).unwrap();
        let none = sign.now();
        assert!(!sign.confirms(5, none));
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        for (text, yes) in
            [("5", true), (" 5\n", true), ("6\n", true), ("4", false), ("", false), ("five", false)]
        {
            write(text);
            assert_eq!(sign.confirms(5, none), yes, "{text:?}");
        }
        write(&"5".repeat(LONGEST + 1));
        assert!(!sign.confirms(5, none));
        write("57");
        let left_over = sign.now();
        assert!(!sign.confirms(5, left_over));
        assert!(sign.confirms(57, left_over));
        std::fs::remove_file(&path).unwrap();
        write("58");
        assert!(sign.confirms(5, left_over));
    }

    #[test]
    fn without_its_directory_it_is_an_error() {
        let Err(fault) = Sign::open(Path::new("/nowhere/at/all")) else { panic!() };
        assert!(matches!(fault, Fault::NoDirectory { .. }));
    }
}
