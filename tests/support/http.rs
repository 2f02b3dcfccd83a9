//! A small blocking HTTP client, for setting servers up.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// Speaks HTTP/1.1 to one server on the loopback address.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) port: u16,
    pub(crate) headers: Vec<(String, String)>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// The body as JSON; `null` if it is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The answer, if it is a success.
    #[track_caller]
    pub(crate) fn good(self) -> Reply {
        let text = String::from_utf8_lossy(&self.body);
        assert!((200..300).contains(&self.status), "{}: {text}", self.status);
        self
    }
}

impl Client {
    pub(crate) fn new(port: u16) -> Client {
        Client { port, headers: Vec::new() }
    }

    /// The same client with one more header.
    pub(crate) fn with(&self, name: &str, value: &str) -> Client {
        let mut client = self.clone();
        client.headers.retain(|(other, _)| other != name);
        client.headers.push((name.into(), value.into()));
        client
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, None).expect("the server answers")
    }

    pub(crate) fn put(&self, path: &str, body: &Value) -> Reply {
        self.ask("PUT", path, Some(body)).expect("the server answers")
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Reply {
        self.ask("POST", path, Some(body)).expect("the server answers")
    }

    pub(crate) fn delete(&self, path: &str) -> Reply {
        self.ask("DELETE", path, None).expect("the server answers")
    }

    /// One request on a connection of its own.
    pub(crate) fn ask(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> std::io::Result<Reply> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut head = format!("{method} /v1/{path} HTTP/1.1\r\nHost: localhost\r\n");
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        stream.write_all(head.as_bytes())?;
        stream.write_all(body.as_bytes())?;
        read_reply(BufReader::new(stream))
    }
}

pub(crate) fn read_reply(mut from: impl BufRead) -> std::io::Result<Reply> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or(std::io::ErrorKind::InvalidData)?;
    let mut chunked = false;
    let mut length = None;
    loop {
        line.clear();
        from.read_line(&mut line)?;
        let header = line.trim_end().to_ascii_lowercase();
        match header.split_once(':') {
            None => break,
            Some(("content-length", value)) => length = value.trim().parse().ok(),
            Some(("transfer-encoding", value)) => chunked = value.contains("chunked"),
            Some(_) => {}
        }
    }
    let mut body = Vec::new();
    if chunked {
        loop {
            line.clear();
            from.read_line(&mut line)?;
            let size = u64::from_str_radix(line.trim(), 16).unwrap_or(0);
            from.by_ref().take(size).read_to_end(&mut body)?;
            from.read_line(&mut line)?;
            if size == 0 {
                break;
            }
        }
    } else {
        from.take(length.unwrap_or(u64::MAX)).read_to_end(&mut body)?;
    }
    Ok(Reply { status, body })
}
