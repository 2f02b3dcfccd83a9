//! Free ports on the loopback address.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the range from which the kernel gives ports to clients (`ip_local_port_range`), so that
/// no connection of another test takes one in the meantime.
const FIRST: u16 = 20_000;
const PAIRS: u16 = 6_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A free port whose successor is free too: OpenBao's cluster port is the listen port + 1.
pub(crate) fn free_pair() -> u16 {
    let offset = u16::try_from(std::process::id() % u32::from(PAIRS)).unwrap();
    for _ in 0..PAIRS {
        // Test processes with neighbouring ids begin far from one another.
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let pair = (offset.wrapping_mul(37) % PAIRS).wrapping_add(step) % PAIRS;
        let port = FIRST + 2 * pair;
        if [port, port + 1].iter().all(|&port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return port;
        }
    }
    panic!("no two free ports in a row between {FIRST} and {}", FIRST + 2 * PAIRS);
}
