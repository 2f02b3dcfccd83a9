//! The Docker daemon or the podman service: one request over its socket, answered with the archive
//! that `docker save` writes.

use std::env;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::pipe::{PipeFlags, pipe_with};

use super::Handed;

/// Bytes of the headers of an answer.
const HEADERS: u64 = 64 << 10;

/// Bytes of an error that are shown.
const MESSAGE: u64 = 500;

/// Which daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Docker's.
    Docker,
    /// podman's.
    Podman,
}

/// An image in a daemon.
pub struct Daemon {
    kind: Kind,
    image: String,
    /// Why it could not be read.
    pub trouble: Option<String>,
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

impl Daemon {
    /// An image. Nothing is asked yet.
    pub fn new(kind: Kind, image: &str) -> Daemon {
        Daemon { kind, image: image.to_owned(), trouble: None }
    }

    /// The archive, as a stream.
    pub fn open(&mut self) -> io::Result<Handed> {
        let opened = self.opened();
        if let Err(error) = &opened {
            self.trouble = Some(error.to_string());
        }
        opened
    }

    fn opened(&self) -> io::Result<Handed> {
        let mut stream = connect(self.kind)?;
        // In HTTP/1.0 the body ends with the connection, so that there is nothing to take apart.
        let path = encode(&self.image);
        write!(
            stream,
            "GET /images/{path}/get HTTP/1.0\r\nHost: localhost\r\nUser-Agent: sidekey-scan\r\n\r\n"
        )?;
        let mut reader = BufReader::new(stream);
        let (status, chunked) = head(&mut reader)?;
        if status != 200 {
            return Err(refused(status, reader));
        }
        let (read, write): (OwnedFd, OwnedFd) = pipe_with(PipeFlags::CLOEXEC)?;
        let pump = move || {
            // An error of the pipe: nobody reads any more. One of the daemon: the archive is cut.
            let _ = if chunked {
                copy_chunks(&mut reader, &mut File::from(write))
            } else {
                io::copy(&mut reader, &mut File::from(write)).map(drop)
            };
        };
        std::thread::Builder::new().name("daemon".to_owned()).spawn(pump)?;
        Ok(Handed::whole(File::from(read)))
    }
}

/// The status of an answer, and whether its body comes in chunks all the same.
fn head(reader: &mut impl BufRead) -> io::Result<(u16, bool)> {
    let mut left = reader.take(HEADERS);
    let mut line = String::new();
    left.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|word| word.trim().parse().ok());
    let status = status.ok_or_else(|| io::Error::other("what answers is no daemon"))?;
    let mut chunked = false;
    loop {
        line.clear();
        if left.read_line(&mut line)? == 0 {
            return Err(io::Error::other("what answers is no daemon"));
        }
        let header = line.trim().to_ascii_lowercase();
        if header.is_empty() {
            return Ok((status, chunked));
        }
        chunked |= header.starts_with("transfer-encoding:") && header.ends_with("chunked");
    }
}

fn copy_chunks(reader: &mut impl BufRead, to: &mut File) -> io::Result<()> {
    let mut line = String::new();
    loop {
        line.clear();
        reader.by_ref().take(1024).read_line(&mut line)?;
        let digits = line.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(digits, 16).map_err(|_| io::ErrorKind::InvalidData)?;
        if size == 0 {
            return Ok(());
        }
        if io::copy(&mut reader.by_ref().take(size), to)? < size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        line.clear();
        reader.by_ref().take(2).read_line(&mut line)?;
    }
}

fn refused(status: u16, reader: impl Read) -> io::Error {
    let mut text = String::new();
    let _ = reader.take(MESSAGE).read_to_string(&mut text);
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let kind = if status == 404 { io::ErrorKind::NotFound } else { io::ErrorKind::Other };
    io::Error::new(kind, format!("the daemon answers with {status}: {}", text.trim()))
}

fn encode(image: &str) -> String {
    use std::fmt::Write;
    image.bytes().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~/:@".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
        text
    })
}

fn connect(kind: Kind) -> io::Result<Box<dyn Stream>> {
    let variables: &[&str] = match kind {
        Kind::Docker => &["DOCKER_HOST"],
        Kind::Podman => &["CONTAINER_HOST", "DOCKER_HOST"],
    };
    let named = variables.iter().find_map(|name| env::var(name).ok().filter(|at| !at.is_empty()));
    if let Some(named) = named {
        return connect_to(&named);
    }
    let usual = usual(kind);
    let there = usual.iter().find(|path| std::fs::metadata(path).is_ok());
    match there {
        Some(path) => connect_to(&format!("unix://{path}")),
        None => {
            let text = format!("none of these sockets is there: {}", usual.join(", "));
            Err(io::Error::new(io::ErrorKind::NotFound, text))
        }
    }
}

fn usual(kind: Kind) -> Vec<String> {
    let own = env::var("XDG_RUNTIME_DIR").ok().filter(|dir| !dir.is_empty());
    let (own_name, system) = match kind {
        Kind::Docker => ("docker.sock", "/var/run/docker.sock"),
        Kind::Podman => ("podman/podman.sock", "/run/podman/podman.sock"),
    };
    own.map(|dir| format!("{dir}/{own_name}")).into_iter().chain([system.to_owned()]).collect()
}

fn connect_to(address: &str) -> io::Result<Box<dyn Stream>> {
    // Saving a large image takes a daemon minutes before its first byte.
    let patience = Some(Duration::from_secs(600));
    if let Some(path) = address.strip_prefix("unix://") {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(patience)?;
        return Ok(Box::new(stream));
    }
    if let Some(authority) = address.strip_prefix("tcp://") {
        let stream = TcpStream::connect(authority.trim_end_matches('/'))?;
        stream.set_read_timeout(patience)?;
        return Ok(Box::new(stream));
    }
    let text = "the address of a daemon begins with `unix://` or `tcp://`";
    Err(io::Error::new(io::ErrorKind::InvalidInput, text))
}
