//! A line on the terminal while a scan goes on: how much of the layers is read, and how many matches
//! there are so far.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, Instant};

use crate::scan::scan::collect::Collected;

/// Short work needs no line.
const SILENT: Duration = Duration::from_millis(700);

/// The line is drawn no more often than this.
const PAUSE: Duration = Duration::from_millis(100);

/// Cells of the bar.
const CELLS: u64 = 24;

/// Draws the line, and takes it away at the end.
pub struct Progress<'a> {
    out: Option<&'a mut dyn Write>,
    begun: Instant,
    drawn: Option<Instant>,
}

impl<'a> Progress<'a> {
    /// Draws on `out`, if there is one.
    pub fn new(out: Option<&'a mut dyn Write>) -> Progress<'a> {
        Progress { out, begun: Instant::now(), drawn: None }
    }

    /// Looks at what is known by now.
    pub fn look(&mut self, collected: &Collected) {
        let Some(out) = &mut self.out else { return };
        let now = Instant::now();
        let due = self.drawn.map_or(self.begun + SILENT, |drawn| drawn + PAUSE);
        if now >= due {
            self.drawn = Some(now);
            // A terminal that went away is no reason to stop.
            let _ = write!(out, "\r\x1b[K{}", line(&Sum::of(collected))).and_then(|()| out.flush());
        }
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        if let (Some(out), Some(_)) = (&mut self.out, self.drawn) {
            let _ = write!(out, "\r\x1b[K").and_then(|()| out.flush());
        }
    }
}

/// Each blob counts once, however many images have it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sum {
    layers: usize,
    read: usize,
    bytes: u64,
    bytes_read: u64,
    matches: usize,
}

impl Sum {
    fn of(collected: &Collected) -> Sum {
        let images = collected.images.iter().filter_map(|(_, image)| image.as_ref().ok());
        let layers = images.flat_map(|image| &image.layers);
        let sizes: BTreeMap<&str, u64> =
            layers.filter_map(|l| Some((l.key.as_deref()?, l.size.unwrap_or(0)))).collect();
        let is_read =
            |key: &str| collected.blobs.get(key).is_some_and(|blob| blob.passage.is_some());
        let read: Vec<u64> =
            sizes.iter().filter(|(key, _)| is_read(key)).map(|(_, n)| *n).collect();
        Sum {
            layers: sizes.len(),
            read: read.len(),
            bytes: sizes.values().sum(),
            bytes_read: read.iter().sum(),
            matches: collected.blobs.values().map(|blob| blob.seen.len()).sum(),
        }
    }
}

fn line(sum: &Sum) -> String {
    let full = (sum.bytes_read * CELLS).checked_div(sum.bytes).unwrap_or(0).min(CELLS);
    let cells: String = (0..CELLS).map(|cell| if cell < full { '█' } else { '░' }).collect();
    let mb = |bytes: u64| bytes / 1_000_000;
    format!(
        "{cells} {} of {} MB packed, layer {} of {}, {} {}",
        mb(sum.bytes_read),
        mb(sum.bytes),
        sum.read,
        sum.layers,
        sum.matches,
        if sum.matches == 1 { "match" } else { "matches" }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_much_is_read() {
        let sum = Sum { layers: 4, read: 1, bytes: 80_000_000, bytes_read: 20_000_000, matches: 1 };
        assert_eq!(
            line(&sum),
            format!(
                "{}{} 20 of 80 MB packed, layer 1 of 4, 1 match",
                "█".repeat(6),
                "░".repeat(18)
            )
        );
        assert!(line(&Sum::default()).contains("layer 0 of 0, 0 matches"));
    }

    #[test]
    fn without_a_terminal_or_with_short_work_nothing_is_drawn() {
        let mut out = Vec::new();
        Progress::new(Some(&mut out)).look(&Collected::default());
        assert!(out.is_empty());
        Progress::new(None).look(&Collected::default());
    }

    #[test]
    fn what_was_drawn_is_taken_away() {
        let mut out = Vec::new();
        let mut progress = Progress::new(Some(&mut out));
        progress.begun -= SILENT;
        progress.look(&Collected::default());
        progress.look(&Collected::default());
        drop(progress);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.matches("layer 0 of 0").count(), 1, "not more often than the pause");
        assert!(text.ends_with("\r\x1b[K"));
    }
}
