//! The writing side of a volume: publishing a set, removing what lived out its time, recovering, and
//! noticing what somebody else did.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rustix::fs::{StatVfs, fstatvfs};
use rustix::io::Errno;

use super::apply::{Site, Stopped};
use super::desired::{Desired, DesiredFile};
use super::error::{Fault, VolumeError};
use super::look::{self, Seen, Stamp, look};
use super::plan::{Changes, Room, Step, Target, plan};
use super::{Current, Published, Remark, Volume};
use crate::secret::FilePath;

/// Remarks that wait to be taken; more than these are dropped, so that whoever may write to the
/// root can't fill our memory.
const REMARKS_MAX: usize = 64;

impl Volume {
    /// Makes the volume show exactly `files`, as generation `generation`: all of them at once, or
    /// none of them and an error.
    ///
    /// If it shows them already, nothing is touched (but a missing visible link is made again) and
    /// the number is not used. The current files are read for that, so what somebody else changed
    /// counts as a change and is put right. An owner or mode alone is a change too.
    pub fn publish(
        &mut self,
        generation: u64,
        files: &[DesiredFile<'_>],
        now: Duration,
    ) -> Result<Published, VolumeError> {
        let published = self.try_publish(generation, files, now).map_err(|fault| {
            let error = self.error(fault);
            // What was begun is removed now, or else by the next call.
            if self.clear(now).is_err() {
                self.remark(Remark::NotTidied);
            }
            error
        })?;
        self.tidy(now);
        Ok(published)
    }

    fn try_publish(
        &mut self,
        generation: u64,
        files: &[DesiredFile<'_>],
        now: Duration,
    ) -> Result<Published, Fault> {
        let desired = Desired::of(generation, files, self.us)?;
        let seen = self.look(Some(&desired))?;
        let changes = Changes::of(seen.shown.as_ref(), &desired);
        if changes.none() {
            self.keep_to(&seen, now)?;
            return Ok(Published::Unchanged);
        }
        if let Some(until) = self.earliest_swap().filter(|&until| now < until) {
            return Ok(Published::Early { until });
        }
        let steps = plan(&seen, &self.lives.kept(now), Target::New(&desired, self.room()?))?;
        let stamps = self.swap(&steps, &desired)?;
        let current = Current { number: generation, weight: desired.weight(), stamps };
        let before = self.shown.replace(current).map(|shown| (shown.number, shown.weight));
        self.lives.swapped(before, now);
        Ok(Published::Swapped { changed: changes.changed, removed: changes.removed })
    }

    /// Carries out a plan with a new generation. After the swap only somebody else's work turns the
    /// rotation into a failed one; what the kernel refuses from there on is tidied up later.
    fn swap(
        &mut self,
        steps: &[Step],
        desired: &Desired<'_>,
    ) -> Result<BTreeMap<FilePath, Stamp>, Fault> {
        let mut site = Site::new(&self.root, self.us.user, Some(desired));
        let ended = site.apply(steps);
        let stamps = site.stamps;
        match self.settle(steps, ended) {
            Err(Stopped { done, fault: Fault::Io { .. } })
                if steps[..done].contains(&Step::Swap) =>
            {
                self.remark(Remark::NotTidied);
                Ok(stamps)
            }
            Err(Stopped { fault, .. }) => Err(self.full_or(fault, desired.weight().bytes)),
            Ok(()) => Ok(stamps),
        }
    }

    /// Removes generations that lived out their time. Returns when to call again; `None`: only
    /// after the next rotation.
    pub fn tidy(&mut self, now: Duration) -> Option<Duration> {
        if self.lives.something_ended(now) && self.clear(now).is_err() {
            self.remark(Remark::NotTidied);
            self.lives.try_again(now);
        }
        self.lives.next_end(now)
    }

    pub(super) fn recover(&mut self, now: Duration) -> Result<(), Fault> {
        let seen = self.look(None)?;
        let shown = self.generation();
        for &number in seen.generations.iter().filter(|&&number| Some(number) < shown) {
            // One that can't be weighed was tampered with, and is not worth keeping.
            if let Ok(weight) = look::weigh(&self.root, number) {
                self.lives.found(number, weight, now);
            }
        }
        match self.keep_to(&seen, now)? {
            0 => {}
            steps => self.remark(Remark::Recovered { steps }),
        }
        Ok(())
    }

    fn clear(&mut self, now: Duration) -> Result<(), Fault> {
        let seen = self.look(None)?;
        self.keep_to(&seen, now).map(drop)
    }

    /// Leaves what is shown and what still lives, and nothing else. Returns the number of steps.
    fn keep_to(&mut self, seen: &Seen, now: Duration) -> Result<usize, Fault> {
        let steps = plan(seen, &self.lives.kept(now), Target::AsShown)?;
        let ended = Site::new(&self.root, self.us.user, None).apply(&steps);
        self.settle(&steps, ended).map_err(|stopped| stopped.fault)?;
        self.lives.forget_ended(now);
        Ok(steps.len())
    }

    /// Remembers how far a plan was carried out.
    fn settle(&mut self, steps: &[Step], ended: Result<(), Stopped>) -> Result<(), Stopped> {
        let done = ended.as_ref().map_or_else(|stopped| stopped.done, |()| steps.len());
        for step in &steps[..done] {
            if let Step::Retire(number) = step {
                self.lives.forget(*number);
            }
        }
        if ended.is_err() {
            self.lives.leave_some();
        }
        ended
    }

    fn look(&mut self, desired: Option<&Desired<'_>>) -> Result<Seen, Fault> {
        let seen = look(&self.root, self.us.user, |number| self.lives.has(number), desired)?;
        self.notice(&seen);
        self.shown = seen.shown.as_ref().map(|shown| Current {
            number: shown.number,
            weight: shown.weight(),
            stamps: shown.stamps(),
        });
        Ok(seen)
    }

    fn room(&self) -> Result<Room, Fault> {
        let stat = fstatvfs(&self.root).map_err(Fault::io("ask for the room left"))?;
        let inodes = (stat.f_files > 0).then_some(stat.f_ffree);
        Ok(Room { size: self.size, bytes: bytes_left(&stat), inodes })
    }

    /// A full file system is told as such.
    fn full_or(&self, fault: Fault, needed: u64) -> Fault {
        let full = [Errno::NOSPC, Errno::DQUOT].map(Errno::raw_os_error);
        match fault {
            Fault::Io { errno, .. } if full.contains(&errno) => {
                let left = self.room().ok().and_then(|room| room.bytes);
                Fault::Full { needed, available: left.unwrap_or(0) }
            }
            fault => fault,
        }
    }

    /// Remembers what somebody else did to the volume.
    fn notice(&mut self, seen: &Seen) {
        let new: Vec<_> = seen.foreign.difference(&self.foreign).cloned().collect();
        for name in new {
            self.remark(Remark::Foreign { name });
        }
        self.foreign.clone_from(&seen.foreign);
        let there = seen.shown.as_ref();
        if let (Some(generation), None) = (seen.pointed, there) {
            self.remark(Remark::Gone { generation });
        }
        let Some(known) = &self.shown else { return };
        let remark = match there {
            Some(there) if there.number == known.number => {
                let now = there.stamps();
                let paths: BTreeSet<_> = now.keys().chain(known.stamps.keys()).collect();
                let other = |path: &&FilePath| now.get(*path) != known.stamps.get(*path);
                let files: Vec<_> = paths.into_iter().filter(other).cloned().collect();
                (!files.is_empty()).then_some(Remark::Touched { generation: known.number, files })
            }
            other => Some(Remark::Turned { from: known.number, to: other.map(|s| s.number) }),
        };
        if let Some(remark) = remark {
            self.remark(remark);
        }
    }

    fn remark(&mut self, remark: Remark) {
        if self.remarks.len() < REMARKS_MAX && !self.remarks.contains(&remark) {
            self.remarks.push(remark);
        }
    }
}

/// Bytes that a file system has left; one of zero blocks has no limit.
fn bytes_left(stat: &StatVfs) -> Option<u64> {
    (stat.f_blocks > 0).then(|| stat.f_bavail.saturating_mul(stat.f_frsize))
}
