//! The file that an application writes when it has taken a generation.

use std::path::Path;
use std::time::Duration;

use super::Fault;
use crate::sandbox::door::Door;

/// Bytes such a file may have: a number and a newline.
const LONGEST: usize = 64;

/// How often it is looked at.
const EVERY: Duration = Duration::from_millis(100);

/// A file that confirms.
pub(super) struct Sign(Door);

impl Sign {
    /// Opens its directory; the file itself comes later.
    pub(super) fn open(path: &Path) -> Result<Sign, Fault> {
        Door::open(path).map(Sign).map_err(|_| Fault::NoSignDirectory { file: path.to_owned() })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Waits until it holds `generation`, or a later one; `false` if it does not in time.
    pub(super) async fn shows(&self, generation: u64, within: Duration) -> bool {
        let looking = async {
            while self.read().is_none_or(|shown| shown < generation) {
                tokio::time::sleep(EVERY).await;
            }
        };
        tokio::time::timeout(within, looking).await.is_ok()
    }

    fn read(&self) -> Option<u64> {
        let bytes = self.0.read(LONGEST).ok()?;
        std::str::from_utf8(&bytes).ok()?.trim().parse().ok()
    }
}
