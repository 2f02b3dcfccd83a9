//! A unified diff of a text before and after it was edited.

use std::fmt::Write as _;

/// Lines shown around a change.
const CONTEXT: usize = 3;

/// What became of a line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Stays,
    Goes,
    Comes,
}

/// The diff, empty where nothing changed.
pub fn unified(name: &str, before: &str, after: &str) -> String {
    if before == after {
        return String::new();
    }
    let old: Vec<&str> = before.split_inclusive('\n').collect();
    let new: Vec<&str> = after.split_inclusive('\n').collect();
    let lines = compare(&old, &new);
    let mut text = format!("--- {name}\n+++ {name}\n");
    for hunk in hunks(&lines) {
        write_hunk(&mut text, &lines, hunk);
    }
    text
}

/// Edits add lines and change few, so a line that is not the next one is looked for further on.
fn compare<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<(Fate, &'a str)> {
    let mut lines = Vec::new();
    let (mut i, mut j) = (0, 0);
    while i < old.len() || j < new.len() {
        match (old.get(i), new.get(j)) {
            (Some(o), Some(n)) if o == n => {
                lines.push((Fate::Stays, *o));
                (i, j) = (i + 1, j + 1);
            }
            (o, n) => {
                let (gone, come) = next_meeting(old, new, i, j);
                lines.extend(old[i..gone].iter().map(|line| (Fate::Goes, *line)));
                lines.extend(new[j..come].iter().map(|line| (Fate::Comes, *line)));
                debug_assert!(o.is_some() || n.is_some());
                (i, j) = (gone, come);
            }
        }
    }
    lines
}

/// Where both go on with the same lines, with the fewest left out; a few alike decide, not one `- `.
fn next_meeting(old: &[&str], new: &[&str], i: usize, j: usize) -> (usize, usize) {
    let (left, right) = (old.len() - i, new.len() - j);
    let alike = |a: usize, b: usize| {
        let both = old[a..].iter().zip(&new[b..]).take(CONTEXT);
        both.clone().all(|(x, y)| x == y) && both.count() == CONTEXT.min(old.len() - a)
    };
    for apart in 1..=left + right {
        for gone in 0..=apart.min(left) {
            let come = apart - gone;
            if come <= right && alike(i + gone, j + come) {
                return (i + gone, j + come);
            }
        }
    }
    (old.len(), new.len())
}

/// Ranges of lines that are shown together.
fn hunks(lines: &[(Fate, &str)]) -> Vec<std::ops::Range<usize>> {
    let mut hunks: Vec<std::ops::Range<usize>> = Vec::new();
    for (at, _) in lines.iter().enumerate().filter(|(_, (fate, _))| *fate != Fate::Stays) {
        let start = at.saturating_sub(CONTEXT);
        let end = (at + 1 + CONTEXT).min(lines.len());
        match hunks.last_mut() {
            Some(last) if start <= last.end => last.end = end,
            _ => hunks.push(start..end),
        }
    }
    hunks
}

fn write_hunk(text: &mut String, lines: &[(Fate, &str)], hunk: std::ops::Range<usize>) {
    let count = |part: &[(Fate, &str)], not: Fate| part.iter().filter(|(f, _)| *f != not).count();
    let (before, here) = (&lines[..hunk.start], &lines[hunk]);
    let (old, new) = (count(here, Fate::Comes), count(here, Fate::Goes));
    let start = |before: usize, length: usize| if length == 0 { before } else { before + 1 };
    let (from, to) = (count(before, Fate::Comes), count(before, Fate::Goes));
    let _ = writeln!(text, "@@ -{},{old} +{},{new} @@", start(from, old), start(to, new));
    for (fate, line) in here {
        let mark = match fate {
            Fate::Stays => ' ',
            Fate::Goes => '-',
            Fate::Comes => '+',
        };
        let _ = write!(text, "{mark}{line}");
        if !line.ends_with('\n') {
            text.push_str("\n\\ No newline at end of file\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diff_is_what_patch_reads() {
        let before = "a\nb\nc\nd\ne\nf\ng\nh\n";
        let after = "a\nb\nc\nd\nX\nY\ne\nf\ng\nH";
        assert_eq!(
            unified("f", before, after),
            "--- f\n+++ f\n@@ -2,7 +2,9 @@\n b\n c\n d\n+X\n+Y\n e\n f\n g\n-h\n+H\n\\ No newline at end of file\n"
        );
        assert_eq!(unified("f", before, before), "");
    }
}
