//! Inflates and walks the layers of an archive with the libraries of the scanner and looks for
//! nothing: what a scan can't be faster than. Says how many bytes there were.

#![allow(clippy::unwrap_used, reason = "a measurement that can't go on fails")]
#![allow(clippy::print_stdout, reason = "it is its output")]

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};

use flate2::bufread::MultiGzDecoder;

const BLOCK: usize = 512;

/// The members of the outer archive: where they begin, and how long they are.
fn members(file: &mut File) -> Vec<(u64, u64)> {
    let mut found = Vec::new();
    let mut header = [0; BLOCK];
    let mut at = 0;
    while file.read_exact(&mut header).is_ok() && header[0] != 0 {
        let size = size(&header);
        found.push((at + BLOCK as u64, size));
        at += BLOCK as u64 + size.next_multiple_of(BLOCK as u64);
        file.seek(SeekFrom::Start(at)).unwrap();
    }
    found
}

fn size(header: &[u8; BLOCK]) -> u64 {
    let digits = header[124..136].iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |size, digit| size * 8 + u64::from(digit - b'0'))
}

/// Reads a tar to its end, header by header.
fn walk(mut tar: impl Read) -> u64 {
    let mut buffer = vec![0; 64 << 10];
    let mut header = [0; BLOCK];
    let mut bytes = 0;
    while tar.read_exact(&mut header).is_ok() {
        bytes += BLOCK as u64;
        let mut left = size(&header).next_multiple_of(BLOCK as u64);
        bytes += left;
        while left > 0 {
            let part = left.min(buffer.len() as u64);
            tar.read_exact(&mut buffer[..usize::try_from(part).unwrap()]).unwrap();
            left -= part;
        }
    }
    bytes
}

fn main() {
    let mut file = File::open(std::env::args().nth(1).unwrap()).unwrap();
    let mut bytes = 0;
    for (at, size) in members(&mut file) {
        file.seek(SeekFrom::Start(at)).unwrap();
        let mut head = [0; 2];
        if size < 2 || file.read_exact(&mut head).is_err() || head != [0x1f, 0x8b] {
            continue;
        }
        file.seek(SeekFrom::Start(at)).unwrap();
        let member = BufReader::with_capacity(64 << 10, (&file).take(size));
        bytes += walk(MultiGzDecoder::new(member));
    }
    println!("{bytes}");
}
