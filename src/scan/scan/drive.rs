//! The drive through the sources: documents first, then every blob that they name, the largest
//! first, on several threads.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::message::{Message, Tell};
use super::streamed;
use crate::scan::detect::Detector;
use crate::scan::finding::{SkipReason, Trouble};
use crate::scan::image::config;
use crate::scan::image::feed::Fault;
use crate::scan::image::layer::{self, Expected, Passage};
use crate::scan::image::look::Look;
use crate::scan::image::outbox::{Counts, Outbox};
use crate::scan::image::plan::{Planned, Planner, Shown, Task};
use crate::scan::image::platform::Wanted;
use crate::scan::image::store::{Archive, Ask, Name, Opened, Store};
use crate::scan::image::unpack::Meter;
use crate::scan::limits::{Deadline, Limits};

/// Where an image comes from, once it is open.
pub enum Source<'a> {
    /// A tar that can be read anywhere.
    Archive(Arc<File>),
    /// A directory or a registry that somebody else opens.
    Asked(Ask<'a>),
    /// A tar that comes in order, perhaps compressed.
    Stream(Arc<File>),
    /// The tar of a file tree.
    Tree(Arc<File>),
}

/// What a drive needs besides its sources.
pub struct Drive<'a> {
    /// The rules.
    pub detector: &'a Detector,
    /// The bounds.
    pub limits: &'a Limits,
    /// When it has to be over.
    pub deadline: Deadline,
    /// Which platforms.
    pub wanted: &'a Wanted,
    /// Threads.
    pub jobs: usize,
    /// Memory for the windows of each thread.
    pub room: u64,
    /// Memory for the windows of one thread that has it all to itself.
    pub whole_room: u64,
    /// Only documents are read, and not looked at.
    pub plan_only: bool,
    /// Blobs that were read before, or that nobody can read.
    pub known: Mutex<BTreeSet<String>>,
    /// Who is told.
    pub tell: Tell<'a>,
}

impl Drive<'_> {
    /// Reads one source.
    pub fn source(&self, number: usize, source: Source<'_>) {
        let store = match source {
            Source::Asked(ask) => Store::Asked(ask),
            Source::Archive(file) => match Archive::list(file, self.limits) {
                Ok(archive) => Store::Archive(archive),
                Err(error) => return self.failed(number, &Fault::from(error)),
            },
            Source::Stream(file) => Store::Kept(streamed::pass(self, number, &file)),
            Source::Tree(file) => return self.tree(number, &file),
        };
        self.planned(number, &store);
        (self.tell)(Message::Over { source: number });
    }

    /// Reads one source that somebody else opened.
    pub fn opened(
        &self,
        number: usize,
        opened: Result<Opened, Fault>,
        source: impl FnOnce(Arc<File>) -> Source<'static>,
    ) {
        match opened {
            Ok(opened) => self.source(number, source(opened.into_file())),
            Err(fault) => self.failed(number, &fault),
        }
    }

    /// A file tree is one tar without any document.
    fn tree(&self, number: usize, file: &File) {
        let key = format!("tree:{number}");
        let planned = Planned { documents: vec![key.clone()], ..Planned::default() };
        (self.tell)(Message::Image { source: number, planned: Box::new(planned) });
        self.with_look(&key, |look| layer::pass(look, file, &Expected::default()));
        (self.tell)(Message::Over { source: number });
    }

    /// Reads the blobs that the documents of a store name.
    fn planned(&self, number: usize, store: &Store<'_>) {
        let mut show = |key: &str, shown: &Shown<'_>| self.document(key, shown);
        let plan = Planner::new(number, store, self.limits, self.wanted, &mut show).plan();
        let plan = match plan {
            Ok(plan) => plan,
            Err(trouble) => return (self.tell)(Message::Failed { source: number, trouble }),
        };
        for planned in plan.images {
            (self.tell)(Message::Image { source: number, planned: Box::new(planned) });
        }
        if !self.plan_only {
            self.tasks(store, plan.tasks);
        }
    }

    fn failed(&self, source: usize, fault: &Fault) {
        let trouble = Trouble {
            what: "can't be read".to_owned(),
            why: fault.to_string(),
            hint: "copy or save the image again".to_owned(),
        };
        (self.tell)(Message::Failed { source, trouble });
    }

    /// Whether nobody has read `key` yet; from now on somebody has.
    pub(super) fn is_new(&self, key: &str) -> bool {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned())
    }

    fn document(&self, key: &str, shown: &Shown<'_>) {
        if !self.plan_only && self.is_new(key) {
            self.with_look(key, |look| {
                let fault = config::look_at(look, shown).err();
                let faults = fault.map(|fault| (SkipReason::Io, Some(fault.to_string())));
                let counts = Counts::default();
                Passage { faults: faults.into_iter().collect(), counts, ..Passage::default() }
            });
        }
    }

    fn tasks(&self, store: &Store<'_>, tasks: Vec<Task>) {
        let mut tasks: Vec<Task> =
            tasks.into_iter().filter(|task| self.is_new(&task.key)).collect();
        let size = |task: &Task| match store {
            Store::Archive(archive) => archive.size(&task.name.path()),
            _ => task.expected.size,
        };
        tasks.sort_by_cached_key(|task| std::cmp::Reverse(size(task)));
        let ahead = self.jobs > 1 && is_alone(tasks.iter().map(size));
        let next = AtomicUsize::new(0);
        let heavy = Mutex::new(Vec::new());
        let work = || {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(task) = tasks.get(number) else { break };
                if !self.task(store, task, self.room, ahead && number == 0) {
                    heavy.lock().unwrap_or_else(PoisonError::into_inner).push(task);
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..self.jobs.min(tasks.len()) {
                scope.spawn(work);
            }
            work();
        });
        // What did not fit beside others is read again, alone.
        for task in heavy.into_inner().unwrap_or_else(PoisonError::into_inner) {
            self.task(store, task, self.whole_room, false);
        }
    }

    /// Whether it was read, or has to be read again with more memory or on one thread.
    fn task(&self, store: &Store<'_>, task: &Task, room: u64, ahead: bool) -> bool {
        self.with_room(&task.key, room, |look| match open(store, &task.name) {
            Ok(opened) => {
                let told = Told { reader: opened, tell: self.tell, count: 0 };
                if ahead {
                    layer::pass_ahead(look, told, &task.expected)
                } else {
                    Some(layer::pass(look, told, &task.expected))
                }
            }
            Err(fault) => {
                let reason = match fault {
                    Fault::Io(_) => SkipReason::Io,
                    _ => SkipReason::LayerUnreadable,
                };
                let faults = vec![(reason, Some(fault.to_string()))];
                Some(Passage { faults, ..Passage::default() })
            }
        })
    }

    /// Looks at one blob and tells of it.
    pub(super) fn with_look(&self, key: &str, look_at: impl FnOnce(&Look<'_>) -> Passage) {
        let _ = self.with_room(key, self.whole_room, |look| Some(look_at(look)));
    }

    /// Whether it was read, and the memory did or there is no more.
    fn with_room(
        &self,
        key: &str,
        room: u64,
        look_at: impl FnOnce(&Look<'_>) -> Option<Passage>,
    ) -> bool {
        let key = || key.to_owned();
        (self.tell)(Message::Begin { key: key() });
        let mut emit = |event| (self.tell)(Message::Event { key: key(), event });
        let meter = Meter::new(self.limits, self.deadline, room);
        let outbox = Outbox::new(self.limits, &mut emit);
        let look = Look { detector: self.detector, meter: &meter, outbox: &outbox };
        let Some(mut passage) = look_at(&look) else { return false };
        if meter.is_short() && room < self.whole_room {
            return false;
        }
        passage.counts = outbox.counts();
        (self.tell)(Message::End { key: key(), passage: Box::new(passage) });
        true
    }
}

/// Whether the first blob, which is the largest, is longer than all others: its thread would be the
/// last to end, and the others' processors would wait.
fn is_alone(sizes: impl Iterator<Item = Option<u64>>) -> bool {
    let mut sizes = sizes.map(Option::unwrap_or_default);
    sizes.next().is_some_and(|first| first > sizes.sum())
}

/// Tells of the bytes that are read.
struct Told<'a, R> {
    reader: R,
    tell: Tell<'a>,
    count: u64,
}

/// It is told after so many bytes.
const STEP: u64 = 4 << 20;

impl<R: Read> Read for Told<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.count += count as u64;
        if self.count >= STEP || count == 0 {
            (self.tell)(Message::Progress(std::mem::take(&mut self.count)));
        }
        Ok(count)
    }
}

fn open(store: &Store<'_>, name: &Name) -> Result<Box<dyn Read + Send>, Fault> {
    if let Store::Kept(kept) = store {
        let document = kept.documents.get(&store.real(&name.path()));
        let document = document.ok_or(Fault::Corrupt("is missing"))?;
        return Ok(Box::new(io::Cursor::new(document.clone())));
    }
    Ok(Box::new(store.open(name)?.ok_or(Fault::Corrupt("is missing"))?))
}
