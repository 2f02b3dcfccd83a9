//! Overwriting memory so that the compiler can't leave it out.

/// Overwrites `bytes` with zeros, also where nobody reads them again.
#[expect(unsafe_code, reason = "`explicit_bzero` is a C call, and far faster than byte by byte")]
pub(super) fn wipe(bytes: &mut [u8]) {
    // SAFETY: the slice is valid for writes of its length, and zero is a valid byte.
    unsafe { libc::explicit_bzero(bytes.as_mut_ptr().cast(), bytes.len()) }
}
