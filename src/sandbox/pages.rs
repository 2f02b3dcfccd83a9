//! Memory pages that neighbours, the swap and a core dump don't see, as far as the kernel allows.

use std::fmt;
use std::os::fd::{FromRawFd, OwnedFd};
use std::ptr::{NonNull, null_mut};

use rustix::mm::{self, Advice, MapFlags, ProtFlags};

/// How well a piece of memory is guarded, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemoryLevel {
    /// `memfd_secret` (Linux 5.14): taken out of the kernel's own map, so that not even root reads
    /// it through `/proc/PID/mem`, `ptrace` or `process_vm_readv`; never swapped, never dumped.
    SecretMemory,
    /// `mlock` and `MADV_DONTDUMP`: never swapped, never dumped, but readable by who may trace us.
    Locked,
    /// The heap, wiped when it is freed.
    Plain,
}

impl MemoryLevel {
    /// The word for logs and metrics.
    pub fn word(self) -> &'static str {
        match self {
            MemoryLevel::SecretMemory => "secret",
            MemoryLevel::Locked => "locked",
            MemoryLevel::Plain => "plain",
        }
    }
}

impl fmt::Display for MemoryLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A mapping of whole pages, all zero at first, which a forked child does not inherit.
#[derive(Debug)]
pub(super) struct Pages {
    base: NonNull<u8>,
    len: usize,
    pub(super) level: MemoryLevel,
}

#[expect(unsafe_code, reason = "the mapping belongs to this value alone, whatever thread it is on")]
// SAFETY: `base` is not shared; what lies behind it has no thread affinity.
unsafe impl Send for Pages {}

impl Pages {
    /// Maps `len` bytes, a multiple of the page size, at exactly this level. `None` where the
    /// kernel does not have it or does not allow it (`ENOSYS`, `EPERM`, the limit on locked
    /// memory). There are no pages of level `Plain`: that is the heap.
    pub(super) fn map(len: usize, level: MemoryLevel) -> Option<Pages> {
        let base = match level {
            MemoryLevel::SecretMemory => map_secret(len)?,
            MemoryLevel::Locked => map_anonymous(len)?,
            MemoryLevel::Plain => return None,
        };
        let pages = Pages { base, len, level };
        pages.guard()?;
        Some(pages)
    }

    /// Without the lock or the promise of absence in a child, the mapping is worth nothing.
    #[expect(unsafe_code, reason = "`madvise` and `mlock` take addresses; ours cover the mapping")]
    fn guard(&self) -> Option<()> {
        let at = self.base.as_ptr().cast();
        // SAFETY: the range is exactly the mapping made by `map`, and neither call frees or writes.
        unsafe {
            mm::madvise(at, self.len, Advice::LinuxDontFork).ok()?;
            if self.level == MemoryLevel::Locked {
                mm::madvise(at, self.len, Advice::LinuxDontDump).ok()?;
                mm::mlock(at, self.len).ok()?;
            }
        }
        Some(())
    }

    pub(super) fn base(&self) -> NonNull<u8> {
        self.base
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn contains(&self, at: NonNull<u8>) -> bool {
        (self.base.addr().get()..self.base.addr().get() + self.len).contains(&at.addr().get())
    }
}

impl Drop for Pages {
    #[expect(unsafe_code, reason = "`munmap` takes an address; ours is the mapping made by `map`")]
    fn drop(&mut self) {
        // SAFETY: nobody else knows of the mapping; the arena drops it only when no block is out.
        let _ = unsafe { mm::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

#[expect(
    unsafe_code,
    reason = "no safe crate has `memfd_secret`; mapping memory is unsafe by type"
)]
fn map_secret(len: usize) -> Option<NonNull<u8>> {
    // SAFETY: the call takes one integer, and what it returns is checked before it is owned.
    let fd = unsafe {
        match i32::try_from(libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC)) {
            Ok(fd) if fd >= 0 => OwnedFd::from_raw_fd(fd),
            _ => return None,
        }
    };
    rustix::fs::ftruncate(&fd, len as u64).ok()?;
    let rw = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice touches no existing memory; the
    // file has its full length and, once `fd` is closed, no other name.
    let at = unsafe { mm::mmap(null_mut(), len, rw, MapFlags::SHARED, &fd, 0) };
    NonNull::new(at.ok()?.cast())
}

#[expect(unsafe_code, reason = "mapping memory is unsafe by type")]
fn map_anonymous(len: usize) -> Option<NonNull<u8>> {
    let rw = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice touches no existing memory.
    let at = unsafe { mm::mmap_anonymous(null_mut(), len, rw, MapFlags::PRIVATE) };
    NonNull::new(at.ok()?.cast())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_no_plain_pages() {
        assert!(Pages::map(4096, MemoryLevel::Plain).is_none());
    }

    #[test]
    fn what_the_kernel_cannot_give_is_none_and_no_crash() {
        for level in [MemoryLevel::SecretMemory, MemoryLevel::Locked] {
            assert!(Pages::map(1 << 60, level).is_none(), "{level}");
        }
    }

    #[test]
    fn the_levels_are_ordered_from_the_best() {
        assert!(MemoryLevel::SecretMemory < MemoryLevel::Locked);
        assert!(MemoryLevel::Locked < MemoryLevel::Plain);
    }
}
