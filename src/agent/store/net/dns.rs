//! Names to addresses, with a deadline and a memory: a store stays reachable while the name
//! service is down (catalogue row 28).

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// How long a name may take. It leaves the connection a part of its own three seconds.
const DEADLINE: Duration = Duration::from_secs(2);

/// Addresses tried per name: more of them can't be reached within the time of one connection.
const MAX_ADDRESSES: usize = 3;

/// Asks the system, and remembers what it answered last.
#[derive(Clone, Default)]
pub struct Resolver {
    last: Arc<Mutex<BTreeMap<String, Vec<SocketAddr>>>>,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let last = Arc::clone(&self.last);
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found = match tokio::time::timeout(DEADLINE, lookup(&host)).await {
                Ok(found) => found,
                Err(_) => Err(io::ErrorKind::TimedOut.into()),
            };
            let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
            let found = found.or_else(|error| last.get(&host).cloned().ok_or(error))?;
            last.insert(host, found.clone());
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

async fn lookup(host: &str) -> io::Result<Vec<SocketAddr>> {
    let found: Vec<_> = tokio::net::lookup_host((host, 0)).await?.take(MAX_ADDRESSES).collect();
    if found.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Catalogue 28.
    #[tokio::test]
    async fn the_last_good_addresses_outlive_the_name_service() {
        let resolver = Resolver::default();
        let name = || "sidekey-no-such-host.invalid".parse::<Name>().unwrap();
        assert!(resolver.resolve(name()).await.is_err());
        let known: SocketAddr = "127.0.0.1:0".parse().unwrap();
        resolver.last.lock().unwrap().insert(name().as_str().to_owned(), vec![known]);
        let found: Vec<_> = resolver.resolve(name()).await.ok().unwrap().collect();
        assert_eq!(found, [known]);
    }
}
