//! Where the processes that parse come from: a process with one thread that was forked before
//! anything was opened, and does nothing but fork.
//!
//! The process that opens files and connections has threads, and can't fork any more when a parser
//! has crashed and another one is needed.

use std::io;
use std::os::fd::AsFd;

use rustix::process::{Pid, WaitOptions};

use super::channel::Channel;
use crate::sandbox::fork::fork;

/// The nursery, seen from outside.
pub struct Nursery {
    orders: Channel,
    pid: Pid,
}

impl Nursery {
    /// Forks it, with what its children do. To be called on the only thread.
    pub fn start(child: impl Fn(&Channel) -> i32) -> io::Result<Nursery> {
        let (ours, theirs) = Channel::pair()?;
        let pid = fork(theirs.into_fd(), |fd| tend(&Channel::new(fd), &child))?;
        Ok(Nursery { orders: ours, pid })
    }

    /// A new child, at the other end of the channel.
    pub fn spawn(&self) -> io::Result<Channel> {
        let (ours, theirs) = Channel::pair()?;
        self.orders.send(b"", Some(theirs.as_fd()))?;
        Ok(ours)
    }
}

impl Nursery {
    /// Waits for it and its children, so that their work counts as this process's.
    pub fn close(self) {
        drop(self.orders);
        let _ = rustix::process::waitpid(Some(self.pid), WaitOptions::empty());
    }
}

fn tend(orders: &Channel, child: &impl Fn(&Channel) -> i32) -> i32 {
    while let Ok(Some((_, Some(fd)))) = orders.receive() {
        if fork(fd, |fd| child(&Channel::new(fd))).is_err() {
            return 1;
        }
        // Those that ended.
        while matches!(rustix::process::wait(WaitOptions::NOHANG), Ok(Some(_))) {}
    }
    while matches!(rustix::process::wait(WaitOptions::empty()), Ok(Some(_))) {}
    0
}
