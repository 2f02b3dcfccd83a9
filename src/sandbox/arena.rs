//! Guarded memory for secret bytes: a small arena of pages that are kept out of other processes,
//! the swap and core dumps as far as the kernel allows, and the heap for what has no room there.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

pub use super::pages::MemoryLevel;
use super::pages::Pages;
use super::wipe::wipe;

/// The arena grows by this much, so that an agent with a few secrets locks little memory.
const CHUNK: usize = 256 << 10;

/// The arena never grows beyond this: half of what Linux lets a process lock by default since 5.16
/// (8 MiB), because the limit is the whole process's. Larger secrets are rare; they live on the
/// heap and are wiped all the same.
const MOST: usize = 4 << 20;

/// Blocks begin at multiples of this, and are as long.
const GRAIN: usize = 16;

static ARENA: Mutex<Arena> = Mutex::new(Arena::new());
static SPILLED: AtomicUsize = AtomicUsize::new(0);

/// Set in a forked child, which has none of the arena's pages.
static FORKED: AtomicBool = AtomicBool::new(false);

/// A block of memory of fixed size, wiped when it is dropped.
///
/// In a forked child a region of the parent is absent: touching it is a segmentation fault, and
/// dropping it does nothing. Regions that the child makes itself are on its heap.
pub struct Region(Memory);

enum Memory {
    Guarded(Block),
    Heap(Box<[u8]>),
}

impl Region {
    /// A block of `len` zero bytes.
    pub fn new(len: usize) -> Region {
        if len > 0
            && !FORKED.load(Ordering::Relaxed)
            && let Some(block) = arena().take(len)
        {
            return Region(Memory::Guarded(block));
        }
        SPILLED.fetch_add(len, Ordering::Relaxed);
        Region(Memory::Heap(vec![0; len].into_boxed_slice()))
    }
}

impl Deref for Region {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Memory::Guarded(block) => block.bytes(),
            Memory::Heap(bytes) => bytes,
        }
    }
}

impl DerefMut for Region {
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.0 {
            Memory::Guarded(block) => block.bytes_mut(),
            Memory::Heap(bytes) => bytes,
        }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        match &mut self.0 {
            Memory::Guarded(block) if !FORKED.load(Ordering::Relaxed) => {
                wipe(block.bytes_mut());
                arena().give_back(block);
            }
            Memory::Guarded(_) => {}
            Memory::Heap(bytes) => {
                wipe(bytes);
                SPILLED.fetch_sub(bytes.len(), Ordering::Relaxed);
            }
        }
    }
}

/// How well this process's secrets are guarded: the weakest kind of memory that the arena had to
/// take. `Plain` says that the kernel refused it all.
pub fn level() -> MemoryLevel {
    let mut arena = arena();
    if arena.chunks.is_empty() {
        arena.grow(GRAIN);
    }
    arena.chunks.iter().map(|chunk| chunk.pages.level).max().unwrap_or(MemoryLevel::Plain)
}

/// Bytes of secrets that live on the heap now, because the arena had no room for them.
pub fn spilled() -> usize {
    SPILLED.load(Ordering::Relaxed)
}

fn arena() -> MutexGuard<'static, Arena> {
    // A panic ends the process; should one ever be caught, the arena's lists are still whole,
    // because nothing in `Arena` panics between two of its steps.
    ARENA.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Pages, and which parts of them are free.
struct Chunk {
    pages: Pages,
    /// Length by offset. No two of them touch.
    free: BTreeMap<usize, usize>,
}

/// A part of a chunk that one region has to itself.
struct Block {
    base: NonNull<u8>,
    len: usize,
}

#[expect(unsafe_code, reason = "a block is owned memory, as a box is")]
// SAFETY: no two blocks overlap, and a block is reached through its owner only.
unsafe impl Send for Block {}
#[expect(unsafe_code, reason = "a block is owned memory, as a box is")]
// SAFETY: a shared block can only be read.
unsafe impl Sync for Block {}

impl Block {
    #[expect(unsafe_code, reason = "turns the address that the arena gave out into its bytes")]
    fn bytes(&self) -> &[u8] {
        // SAFETY: the block lies inside a live mapping (chunks with blocks out are not unmapped),
        // is initialised (zero pages or wiped), and overlaps no other block.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.len) }
    }

    #[expect(unsafe_code, reason = "turns the address that the arena gave out into its bytes")]
    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.base.as_ptr(), self.len) }
    }
}

/// First fit over a few chunks. Its own bookkeeping lies on the heap and holds no secrets.
struct Arena {
    chunks: Vec<Chunk>,
    /// The kernel would give no more; it isn't asked again.
    refused: bool,
    most: usize,
    levels: &'static [MemoryLevel],
}

impl Arena {
    const fn new() -> Arena {
        let levels = &[MemoryLevel::SecretMemory, MemoryLevel::Locked];
        Arena { chunks: Vec::new(), refused: false, most: MOST, levels }
    }

    /// A zeroed block of `len` bytes, or none if there is no room.
    fn take(&mut self, len: usize) -> Option<Block> {
        let need = len.checked_next_multiple_of(GRAIN)?;
        if let Some(base) = self.chunks.iter_mut().find_map(|chunk| chunk.take(need)) {
            return Some(Block { base, len });
        }
        self.grow(need)?;
        let base = self.chunks.last_mut()?.take(need)?;
        Some(Block { base, len })
    }

    /// Takes a block back, which the caller has wiped, and returns pages nobody uses.
    fn give_back(&mut self, block: &Block) {
        let Some(at) = self.chunks.iter().position(|chunk| chunk.pages.contains(block.base)) else {
            return;
        };
        let chunk = &mut self.chunks[at];
        chunk.give_back(block.base, block.len.next_multiple_of(GRAIN));
        if chunk.is_free() && self.chunks.len() > 1 {
            self.chunks.swap_remove(at);
        }
    }

    fn grow(&mut self, need: usize) -> Option<()> {
        let mapped: usize = self.chunks.iter().map(|chunk| chunk.pages.len()).sum();
        let room = locked_memory_limit().min(self.most).saturating_sub(mapped);
        let page = rustix::param::page_size();
        let len = need.checked_next_multiple_of(page)?.max(CHUNK.min(room / page * page));
        if self.refused || len > room {
            return None;
        }
        let Some(pages) = self.levels.iter().find_map(|&level| Pages::map(len, level)) else {
            self.refused = true;
            return None;
        };
        forget_in_forked_children();
        self.chunks.push(Chunk { free: BTreeMap::from([(0, pages.len())]), pages });
        Some(())
    }
}

impl Chunk {
    #[expect(unsafe_code, reason = "adds an offset to the address of the mapping")]
    fn take(&mut self, need: usize) -> Option<NonNull<u8>> {
        let (&offset, &len) = self.free.iter().find(|&(_, &len)| len >= need)?;
        self.free.remove(&offset);
        if len > need {
            self.free.insert(offset + need, len - need);
        }
        // SAFETY: `offset + need` is at most the length of the mapping.
        Some(unsafe { self.pages.base().add(offset) })
    }

    fn give_back(&mut self, base: NonNull<u8>, len: usize) {
        let mut offset = base.addr().get() - self.pages.base().addr().get();
        let mut len = len;
        if let Some(next) = self.free.remove(&(offset + len)) {
            len += next;
        }
        if let Some((&before, &before_len)) = self.free.range(..offset).next_back()
            && before + before_len == offset
        {
            (offset, len) = (before, before_len + len);
        }
        self.free.insert(offset, len);
    }

    fn is_free(&self) -> bool {
        self.free.first_key_value() == Some((&0, &self.pages.len()))
    }
}

/// What `RLIMIT_MEMLOCK` allows: 64 KiB before Linux 5.16, 8 MiB since. A limit of 0 binds only
/// processes that have no privilege to pass it, and those are refused by the kernel.
fn locked_memory_limit() -> usize {
    match rustix::process::getrlimit(rustix::process::Resource::Memlock).current {
        None | Some(0) => usize::MAX,
        Some(bytes) => usize::try_from(bytes).unwrap_or(usize::MAX),
    }
}

#[expect(unsafe_code, reason = "`pthread_atfork` is a C call; the handler stores to an atomic")]
fn forget_in_forked_children() {
    extern "C" fn in_the_child() {
        FORKED.store(true, Ordering::Relaxed);
    }
    static ONCE: Once = Once::new();
    // SAFETY: the handler is safe to call after `fork` in a process of many threads.
    ONCE.call_once(|| {
        unsafe { libc::pthread_atfork(None, None, Some(in_the_child)) };
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn small(levels: &'static [MemoryLevel]) -> Arena {
        Arena { most: 2 * CHUNK, levels, ..Arena::new() }
    }

    const LEVELS: [&[MemoryLevel]; 2] = [&[MemoryLevel::SecretMemory], &[MemoryLevel::Locked]];

    #[test]
    fn a_region_is_zero_at_first_and_holds_what_is_written() {
        for len in [0, 1, 15, 16, 17, 4096, CHUNK, CHUNK + 1, MOST + 1] {
            let mut region = Region::new(len);
            assert_eq!(region.len(), len);
            assert!(region.iter().all(|&byte| byte == 0), "{len}");
            region.fill(0xa5);
            assert!(region.iter().all(|&byte| byte == 0xa5), "{len}");
        }
    }

    #[test]
    fn what_has_no_room_in_the_arena_is_on_the_heap_and_counted() {
        let region = Region::new(3 * MOST);
        assert!(matches!(region.0, Memory::Heap(_)));
        assert!(spilled() >= 3 * MOST);
        drop(region);
        assert!(spilled() < 3 * MOST);
    }

    #[test]
    fn chunks_come_on_demand_and_go_when_nobody_uses_them() {
        let mut arena = small(LEVELS[1]);
        let blocks = [CHUNK, CHUNK].map(|len| arena.take(len).unwrap());
        assert_eq!(arena.chunks.len(), 2);
        assert!(arena.take(1).is_none(), "beyond the most there is nothing");
        for block in &blocks {
            arena.give_back(block);
        }
        assert_eq!(arena.chunks.len(), 1, "one stays, so that it isn't mapped again and again");
    }

    #[test]
    fn a_kernel_that_gives_nothing_is_asked_once() {
        let mut arena = small(&[]);
        assert!(arena.take(1).is_none());
        assert!(arena.refused);
    }

    #[test]
    fn the_weaker_level_is_taken_where_the_better_is_missing() {
        let mut arena = small(&[MemoryLevel::Plain, MemoryLevel::Locked]);
        assert!(arena.take(1).is_some());
        assert_eq!(arena.chunks[0].pages.level, MemoryLevel::Locked);
    }

    /// Give out (a length) or take back (which of those that are out).
    #[derive(Clone, Debug)]
    enum Step {
        Take(usize),
        GiveBack(prop::sample::Index),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (1..6000usize).prop_map(Step::Take),
            Just(Step::Take(CHUNK / 2)),
            any::<prop::sample::Index>().prop_map(Step::GiveBack),
        ];
        prop::collection::vec(step, 1..200)
    }

    proptest! {
        #[test]
        fn blocks_never_overlap_come_zeroed_and_are_all_given_back(
            steps in steps(), level in 0..LEVELS.len(),
        ) {
            let mut arena = small(LEVELS[level]);
            let mut out: Vec<(Block, u8)> = Vec::new();
            for (n, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Take(len) => {
                        let Some(mut block) = arena.take(len) else { continue };
                        prop_assert!(block.bytes().iter().all(|&byte| byte == 0));
                        let mark = u8::try_from(n).unwrap() | 1;
                        block.bytes_mut().fill(mark);
                        out.push((block, mark));
                    }
                    Step::GiveBack(index) if !out.is_empty() => {
                        let (mut block, mark) = out.swap_remove(index.index(out.len()));
                        prop_assert!(block.bytes().iter().all(|&byte| byte == mark));
                        wipe(block.bytes_mut());
                        arena.give_back(&block);
                    }
                    Step::GiveBack(_) => {}
                }
            }
            for (mut block, mark) in out {
                prop_assert!(block.bytes().iter().all(|&byte| byte == mark));
                wipe(block.bytes_mut());
                arena.give_back(&block);
            }
            prop_assert!(arena.chunks.iter().all(Chunk::is_free));
            prop_assert!(arena.chunks.len() <= 1);
        }
    }

    #[test]
    fn threads_share_the_arena() {
        let work = |mark: u8| {
            for round in 1..200usize {
                let mut regions: Vec<Region> = (1..20).map(|n| Region::new(n * round)).collect();
                for region in &mut regions {
                    region.fill(mark);
                }
                assert!(regions.iter().all(|region| region.iter().all(|&byte| byte == mark)));
            }
        };
        std::thread::scope(|scope| (1..4).for_each(|mark| drop(scope.spawn(move || work(mark)))));
    }

    /// How a forked child that does `work` ends.
    #[expect(unsafe_code, reason = "a test of what a forked child sees has to fork")]
    fn in_a_child(work: impl FnOnce()) -> std::process::ExitStatus {
        use std::os::unix::process::ExitStatusExt;
        let mut status = 0;
        // SAFETY: the child allocates at most (glibc keeps its allocator usable over a fork) and
        // ends without returning into the test harness.
        unsafe {
            let child = libc::fork();
            if child == 0 {
                work();
                libc::_exit(0);
            }
            assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
        }
        std::process::ExitStatus::from_raw(status)
    }

    #[test]
    fn a_forked_child_has_no_copy_of_the_secrets() {
        use std::os::unix::process::ExitStatusExt;
        let mut region = Region::new(16);
        assert!(matches!(region.0, Memory::Guarded(_)), "the kernel locks no memory at all");
        region.fill(7);
        let end = in_a_child(|| assert!(std::hint::black_box(region[0]) != 0));
        assert_eq!(end.signal(), Some(libc::SIGSEGV));
        assert_eq!(region[0], 7, "and the parent keeps its own");
    }

    #[test]
    fn a_forked_child_can_drop_the_regions_it_inherited_and_make_its_own() {
        let region = Region::new(16);
        let end = in_a_child(move || {
            drop(region);
            let mut own = Region::new(16);
            own.fill(9);
            assert!(matches!(own.0, Memory::Heap(_)));
        });
        assert!(end.success(), "{end}");
    }
}
