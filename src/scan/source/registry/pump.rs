//! A blob from a registry into a pipe, taken up again where it broke off.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;

use rustix::pipe::{PipeFlags, pipe_with};
use ureq::http::Response;
use ureq::{Body, BodyReader};

use super::Registry;
use crate::scan::source::Handed;

/// How often one blob may break off without a byte in between.
const BREAKS: u32 = 5;

/// Begins to fetch a blob.
pub fn blob(registry: Registry, digest: &str) -> io::Result<Handed> {
    let path = format!("blobs/{digest}");
    let response = registry.0.get(&path, None, None)?;
    let size = length(&response);
    let (read, write): (OwnedFd, OwnedFd) = pipe_with(PipeFlags::CLOEXEC)?;
    let pump = move || {
        // An error of the pipe: nobody reads any more. One of the registry is kept as its trouble.
        if let Err(error) = run(&registry, &path, response, File::from(write)) {
            registry.0.state().trouble = Some(error.to_string());
        }
    };
    std::thread::Builder::new().name("pump".to_owned()).spawn(pump)?;
    Ok(Handed { file: File::from(read), size })
}

fn length(response: &Response<Body>) -> Option<u64> {
    response.headers().get("content-length")?.to_str().ok()?.parse().ok()
}

fn run(registry: &Registry, path: &str, response: Response<Body>, mut to: File) -> io::Result<()> {
    let size = length(&response);
    let mut reader = response.into_body().into_reader();
    let mut buffer = vec![0; 64 << 10];
    let (mut at, mut breaks) = (0_u64, 0);
    loop {
        let broken = match reader.read(&mut buffer) {
            Ok(0) if size.is_none_or(|size| at >= size) => return Ok(()),
            Ok(0) => io::Error::from(io::ErrorKind::UnexpectedEof),
            Ok(count) => {
                to.write_all(&buffer[..count])?;
                (at, breaks) = (at + count as u64, 0);
                continue;
            }
            Err(error) => error,
        };
        breaks += 1;
        if breaks > BREAKS {
            return Err(broken);
        }
        reader = resumed(registry, path, at)?;
    }
}

/// The rest of a blob.
fn resumed(registry: &Registry, path: &str, at: u64) -> io::Result<BodyReader<'static>> {
    let response = registry.0.get(path, None, Some(at))?;
    let partial = response.status() == 206;
    let mut reader = response.into_body().into_reader();
    if !partial {
        // The registry knows no ranges and begins anew.
        io::copy(&mut reader.by_ref().take(at), &mut io::sink())?;
    }
    Ok(reader)
}
