//! What is left of a secret in the process's memory once it has been delivered: nothing.

#![cfg(feature = "agent")]
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::sync::Mutex;

use sidekey::sandbox::allocator::ZeroOnFree;
use sidekey::sandbox::arena::{self, MemoryLevel, Region};
use sidekey::secret::SecretBytes;

#[global_allocator]
static ALLOCATOR: ZeroOnFree = ZeroOnFree;

const PAGE: usize = 4096;
const MASK: u8 = 0x55;
const LEN: usize = 24;

/// A page and the beginning of the next, for what lies across the border. Static, because the pages
/// around it are left out of the search, and no secret is among the statics.
static BUFFER: Mutex<[u8; PAGE + LEN - 1]> = Mutex::new(NOTHING);
const NOTHING: [u8; PAGE + LEN - 1] = [0; PAGE + LEN - 1];

/// A secret that is nowhere in memory as it is, only masked.
struct Needle([u8; LEN]);

impl Needle {
    fn new(seed: u8) -> Needle {
        let byte = |i: u8| (b'!' + (i.wrapping_mul(37) ^ seed) % 90) ^ MASK;
        Needle(std::array::from_fn(|i| byte(u8::try_from(i).unwrap())))
    }

    fn unmasked(&self) -> impl Iterator<Item = u8> {
        self.0.iter().map(|byte| byte ^ MASK)
    }

    /// How often it is in the writable memory of this process.
    fn copies(&self) -> usize {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let memory = File::open("/proc/self/mem").unwrap();
        let mut buffer = BUFFER.lock().unwrap();
        let own = buffer.as_ptr().addr()..buffer.as_ptr().addr() + buffer.len();
        let writable = maps.lines().filter(|line| line.contains(" rw"));
        let mut copies = 0;
        for (from, to) in writable.map(range) {
            for page in (from..to).step_by(PAGE) {
                if page < own.end && own.start < page + buffer.len() {
                    continue;
                }
                // Pages of secret memory answer EIO: nobody can read them, so they don't count.
                let got = memory.read_at(&mut buffer[..], page as u64).unwrap_or(0);
                if buffer[..got] == NOTHING[..got] {
                    continue;
                }
                copies += buffer[..got]
                    .windows(LEN)
                    .filter(|seen| seen[0] == self.0[0] ^ MASK)
                    .filter(|seen| seen.iter().copied().eq(self.unmasked()))
                    .count();
            }
        }
        copies
    }
}

fn range(line: &str) -> (usize, usize) {
    let (from, to) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
    let number = |text| usize::from_str_radix(text, 16).unwrap();
    (number(from), number(to))
}

/// One secret's way as libraries take it: socket, body, tree, text, rendered text, file. The needle
/// lies behind `depth` other bytes, because a free block's first bytes are the allocator's own.
fn deliver(needle: &Needle, depth: usize, meanwhile: impl FnOnce()) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    let secret = "-".repeat(depth) + &needle.unmasked().map(char::from).collect::<String>();
    let json = serde_json::json!({ "data": { "password": secret } });
    server.write_all(json.to_string().as_bytes()).unwrap();
    drop(server);

    let mut body = Vec::new();
    stream.read_to_end(&mut body).unwrap();
    let tree: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let password = tree["data"]["password"].as_str().unwrap().to_owned();
    let rendered = format!("DB_PASSWORD={password}\n");
    let bytes = SecretBytes::from(rendered);
    tempfile::tempfile().unwrap().write_all(bytes.expose()).unwrap();
    meanwhile();
}

#[test]
fn no_copy_of_a_delivered_secret_is_left_in_memory() {
    let needle = Needle::new(0x2a);
    for depth in [0, 50, 500, 5000, 50_000] {
        let mut live = 0;
        deliver(&needle, depth, || live = needle.copies());
        assert!(live >= 4, "the search must find what is there; it saw {live}");
        assert_eq!(needle.copies(), 0, "behind {depth} bytes");
    }
}

#[test]
fn the_arena_cannot_be_read_from_outside_where_the_kernel_has_secret_memory() {
    let needle = Needle::new(0x13);
    let mut region = Region::new(LEN);
    region.iter_mut().zip(needle.unmasked()).for_each(|(to, from)| *to = from);
    let readable = usize::from(arena::level() != MemoryLevel::SecretMemory);
    assert_eq!(needle.copies(), readable);
    drop(region);
    assert_eq!(needle.copies(), 0);
}
