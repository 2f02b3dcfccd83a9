//! Asks a running agent how it is, as a probe does.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::agent::config::Listen;

/// How long an answer may take. The kubelet gives a probe one second unless told otherwise.
const PATIENCE: Duration = Duration::from_millis(900);
/// Bytes of an answer that are read.
const LONGEST: u64 = 1024 * 1024;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Whether the first generation is there.
    Startup,
    /// Whether every required file is there and good.
    Ready,
    /// Whether the agent itself is alive.
    Live,
}

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    /// Yes or no.
    pub yes: bool,
    /// The JSON that says why.
    pub body: String,
}

/// Asks. No answer at all is an error; the caller takes it for a no.
pub fn ask(listen: &Listen, question: Question) -> io::Result<Answer> {
    let path = if question == Question::Live { "/live" } else { "/ready" };
    let text = match listen {
        Listen::Tcp(address) => {
            let mut address = *address;
            if address.ip().is_unspecified() {
                address.set_ip(if address.is_ipv4() {
                    std::net::Ipv4Addr::LOCALHOST.into()
                } else {
                    std::net::Ipv6Addr::LOCALHOST.into()
                });
            }
            let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            exchange(stream, path)?
        }
        Listen::Unix(socket) => {
            let stream = UnixStream::connect(socket)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            exchange(stream, path)?
        }
    };
    let (head, body) = text.split_once("\r\n\r\n").ok_or(io::ErrorKind::InvalidData)?;
    let ok = head.split(' ').nth(1) == Some("200");
    let yes = match question {
        Question::Startup => generation(body) >= 1,
        Question::Ready | Question::Live => ok,
    };
    Ok(Answer { yes, body: body.to_owned() })
}

fn generation(body: &str) -> u64 {
    let json: Option<serde_json::Value> = serde_json::from_str(body).ok();
    json.and_then(|json| json.get("generation")?.as_u64()).unwrap_or_default()
}

fn exchange(mut stream: impl Read + Write, path: &str) -> io::Result<String> {
    let request = format!("GET {path} HTTP/1.1\r\nhost: sidekey\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut text = String::new();
    stream.take(LONGEST).read_to_string(&mut text)?;
    Ok(text)
}
