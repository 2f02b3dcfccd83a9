//! The scratch buffer that files are composed in, wiped when it grows and when it goes.

use std::io;

use zeroize::Zeroize;

use crate::secret::SecretBytes;

/// Bytes under way. Growing moves them and wipes where they were, so that a file that is composed
/// leaves one copy behind: the finished one.
pub(super) struct Buffer {
    bytes: Vec<u8>,
    limit: usize,
}

impl Buffer {
    /// Room for `size` bytes at once; more is a matter of one move.
    pub(super) fn with_room(size: usize) -> Buffer {
        Buffer { bytes: Vec::with_capacity(size), limit: usize::MAX }
    }

    /// A buffer that [`io::Write`] fills up to `limit` bytes and not further.
    pub(super) fn up_to(limit: usize) -> Buffer {
        Buffer { bytes: Vec::new(), limit }
    }

    pub(super) fn extend(&mut self, more: &[u8]) {
        let needed = self.bytes.len() + more.len();
        if needed > self.bytes.capacity() {
            let mut roomy = Vec::with_capacity(needed.max(2 * self.bytes.capacity()));
            roomy.extend_from_slice(&self.bytes);
            std::mem::replace(&mut self.bytes, roomy).zeroize();
        }
        self.bytes.extend_from_slice(more);
    }

    pub(super) fn push(&mut self, byte: u8) {
        self.extend(&[byte]);
    }

    pub(super) fn push_char(&mut self, c: char) {
        self.extend(c.encode_utf8(&mut [0; 4]).as_bytes());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Removes the newlines (`\n` and `\r\n`) at the end.
    pub(super) fn trim_newlines(&mut self) {
        while self.bytes.last() == Some(&b'\n') {
            let carriage_return = self.bytes.ends_with(b"\r\n");
            self.bytes.truncate(self.bytes.len() - 1 - usize::from(carriage_return));
        }
    }

    /// The finished bytes.
    pub(super) fn finish(mut self) -> SecretBytes {
        SecretBytes::from(std::mem::take(&mut self.bytes))
    }
}

impl io::Write for Buffer {
    fn write(&mut self, more: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + more.len() > self.limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.extend(more);
        Ok(more.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::Buffer;

    #[test]
    fn what_goes_in_comes_out_however_often_it_grew() {
        let mut buffer = Buffer::with_room(1);
        let bytes: Vec<u8> = (0..=255).cycle().take(10_000).collect();
        bytes.chunks(7).for_each(|chunk| buffer.extend(chunk));
        assert_eq!(buffer.finish().expose(), bytes);
    }

    #[test]
    fn a_writer_cannot_pass_the_limit() {
        let mut buffer = Buffer::up_to(4);
        assert!(buffer.write_all(b"1234").is_ok());
        assert!(buffer.write_all(b"5").is_err());
    }

    #[test]
    fn only_newlines_at_the_end_are_trimmed() {
        for (before, after) in
            [("a\n\n", "a"), ("a\r\n\r\n", "a"), ("\na", "\na"), ("a\r", "a\r"), ("\n", "")]
        {
            let mut buffer = Buffer::with_room(8);
            buffer.extend(before.as_bytes());
            buffer.trim_newlines();
            assert_eq!(buffer.finish().expose(), after.as_bytes(), "{before:?}");
        }
    }
}
