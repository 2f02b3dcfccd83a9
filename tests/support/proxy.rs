//! A TCP proxy between the agent and a server, that fails as it is told.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What happens to what the server sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It passes.
    None,
    /// After so many bytes the connection is closed.
    Cut(usize),
    /// One byte in this time.
    Drip(Duration),
    /// Nothing passes, and nothing is said.
    BlackHole,
    /// The connection is reset (RST) at the first byte.
    Reset,
}

/// A running proxy. Its threads end with the test's process.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    fault: Arc<Mutex<Fault>>,
    passed: Arc<Mutex<usize>>,
}

impl Proxy {
    /// Between a new port and `upstream` on the loopback address.
    pub(crate) fn start(upstream: u16) -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let fault = Arc::new(Mutex::new(Fault::None));
        let passed = Arc::<Mutex<usize>>::default();
        let (control, count) = (Arc::clone(&fault), Arc::clone(&passed));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", upstream)) else { continue };
                relay(client, server, &control, &count);
            }
        });
        Proxy { port, fault, passed }
    }

    pub(crate) fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// From now on; connections that stand are affected too. The count of passed bytes restarts.
    pub(crate) fn set(&self, fault: Fault) {
        *self.passed.lock().unwrap() = 0;
        *self.fault.lock().unwrap() = fault;
    }

    /// Bytes that the server sent and that passed since the last `set`.
    pub(crate) fn passed(&self) -> usize {
        *self.passed.lock().unwrap()
    }
}

fn relay(
    client: TcpStream,
    server: TcpStream,
    fault: &Arc<Mutex<Fault>>,
    count: &Arc<Mutex<usize>>,
) {
    let (mut from_client, mut to_server) =
        (client.try_clone().unwrap(), server.try_clone().unwrap());
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Both);
    });
    let (fault, count) = (Arc::clone(fault), Arc::clone(count));
    std::thread::spawn(move || {
        let _ = answer(server, &client, &fault, &count);
        let _ = client.shutdown(Shutdown::Both);
    });
}

fn answer(
    mut server: TcpStream,
    mut client: &TcpStream,
    fault: &Mutex<Fault>,
    count: &Mutex<usize>,
) -> std::io::Result<()> {
    let mut buffer = [0; 8192];
    loop {
        let len = server.read(&mut buffer)?;
        if len == 0 {
            return Ok(());
        }
        let mode = *fault.lock().unwrap();
        // Before the bytes are on their way: who has them may look at the count at once.
        let before = *count.lock().unwrap();
        *count.lock().unwrap() = before + len;
        match mode {
            Fault::None => client.write_all(&buffer[..len])?,
            Fault::Cut(after) => {
                let left = after.saturating_sub(before);
                client.write_all(&buffer[..len.min(left)])?;
                if len >= left {
                    return Ok(());
                }
            }
            Fault::Drip(pause) => {
                for byte in &buffer[..len] {
                    client.write_all(&[*byte])?;
                    std::thread::sleep(pause);
                }
            }
            Fault::BlackHole => {}
            Fault::Reset => {
                // A close with data unsent and no time to linger is a reset.
                rustix::net::sockopt::set_socket_linger(client, Some(Duration::ZERO))?;
                return Err(std::io::ErrorKind::ConnectionReset.into());
            }
        }
    }
}
