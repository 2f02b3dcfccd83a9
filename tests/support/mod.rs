//! Shared parts of the integration tests: real servers that end with the test, a network that
//! fails on demand, and servers that say what a real one won't.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a set-up that fails is a failed test")]
#![allow(clippy::format_push_string, reason = "no test is slowed down by it")]
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(unused_imports, reason = "each test file uses a part of it")]

pub(crate) mod app;
mod bao;
mod certs;
mod http;
mod jwt;
#[cfg(feature = "aws")]
mod moto;
mod orders;
mod ports;
mod postgres;
mod proxy;
mod script;
#[cfg(feature = "vault")]
mod vault;

pub(crate) use bao::{Bao, Kind};
pub(crate) use certs::{Authority, Issued};
pub(crate) use http::{Client, Reply};
pub(crate) use jwt::{Signer, unix_now};
#[cfg(feature = "aws")]
pub(crate) use moto::{Front, Moto, REGION, refusal, refusal_xml};
pub(crate) use orders::Orders;
pub(crate) use ports::free_pair;
pub(crate) use postgres::{Connection, Database, Postgres};
pub(crate) use proxy::{Fault, Proxy};
pub(crate) use script::{Request, Response, Script};
#[cfg(feature = "vault")]
pub(crate) use vault::{Agent, field, moved, vault_config};
