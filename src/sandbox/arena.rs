//! Guarded memory for secret bytes.

use std::ops::{Deref, DerefMut};

use zeroize::Zeroize;

/// A block of memory of fixed size, wiped when it is dropped.
pub struct Region(Box<[u8]>);

impl Region {
    /// A block of `len` zero bytes.
    pub fn new(len: usize) -> Region {
        Region(vec![0; len].into_boxed_slice())
    }
}

impl Deref for Region {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for Region {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}
