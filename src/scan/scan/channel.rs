//! Frames with a descriptor now and then, between the process that parses and the one that opens.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg,
    sendmsg, socketpair,
};

/// A frame that is longer is none: the index of a million names is 8 MB, its links 16 MB.
const LONGEST: usize = 64 << 20;

/// The length of a frame, before it.
const HEAD: usize = 8;

/// One end.
#[derive(Debug)]
pub struct Channel(OwnedFd);

/// What came in.
pub type Frame = (Vec<u8>, Option<OwnedFd>);

impl Channel {
    /// Both ends.
    pub fn pair() -> io::Result<(Channel, Channel)> {
        let flags = SocketFlags::CLOEXEC;
        let (one, other) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        Ok((Channel(one), Channel(other)))
    }

    /// The end that a descriptor is.
    pub fn new(fd: OwnedFd) -> Channel {
        Channel(fd)
    }

    /// The descriptor.
    pub fn into_fd(self) -> OwnedFd {
        self.0
    }

    /// Sends a frame.
    pub fn send(&self, bytes: &[u8], fd: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let head = (bytes.len() as u64).to_le_bytes();
        let fds: Vec<BorrowedFd<'_>> = fd.into_iter().collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            ancillary.push(SendAncillaryMessage::ScmRights(&fds));
        }
        let mut rest: &[u8] = &head;
        while !rest.is_empty() {
            let sent = again(|| {
                sendmsg(&self.0, &[IoSlice::new(rest)], &mut ancillary, SendFlags::NOSIGNAL)
            })?;
            // The descriptor went with the first byte.
            ancillary.clear();
            rest = &rest[sent..];
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let sent = again(|| rustix::net::send(&self.0, rest, SendFlags::NOSIGNAL))?;
            rest = &rest[sent..];
        }
        Ok(())
    }

    /// The next frame. None when the other end is closed.
    pub fn receive(&self) -> io::Result<Option<Frame>> {
        let mut head = [0; HEAD];
        let mut fd = None;
        let mut got = 0;
        while got < HEAD {
            let count = self.receive_head(&mut head[got..], &mut fd)?;
            if count == 0 {
                return if got == 0 { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
            got += count;
        }
        let length = usize::try_from(u64::from_le_bytes(head)).unwrap_or(usize::MAX);
        if length > LONGEST {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut bytes = vec![0; length];
        let mut got = 0;
        while got < length {
            match again(|| rustix::io::read(&self.0, &mut bytes[got..]))? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => got += count,
            }
        }
        Ok(Some((bytes, fd)))
    }

    fn receive_head(&self, buffer: &mut [u8], fd: &mut Option<OwnedFd>) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let message = loop {
            let mut slices = [IoSliceMut::new(buffer)];
            match recvmsg(&self.0, &mut slices, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
                Err(rustix::io::Errno::INTR) => {}
                other => break other?,
            }
        };
        if message.flags.contains(ReturnFlags::CTRUNC) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        for item in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = item {
                *fd = fds.into_iter().next().or(fd.take());
            }
        }
        Ok(message.bytes)
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn again<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(rustix::io::Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn frames_and_descriptors_arrive_together() {
        let (one, other) = Channel::pair().unwrap();
        let file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut &file, b"content").unwrap();
        std::io::Seek::rewind(&mut &file).unwrap();
        one.send(b"first", None).unwrap();
        one.send(b"", Some(file.as_fd())).unwrap();
        drop(one);
        assert_eq!(other.receive().unwrap().unwrap().0, b"first");
        let (bytes, fd) = other.receive().unwrap().unwrap();
        let mut text = String::new();
        std::fs::File::from(fd.unwrap()).read_to_string(&mut text).unwrap();
        assert_eq!((bytes.len(), text.as_str()), (0, "content"));
        assert!(other.receive().unwrap().is_none());
    }

    #[test]
    fn a_frame_of_absurd_length_is_refused() {
        let (one, other) = Channel::pair().unwrap();
        rustix::io::write(one.as_fd(), &u64::MAX.to_le_bytes()).unwrap();
        assert_eq!(other.receive().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
