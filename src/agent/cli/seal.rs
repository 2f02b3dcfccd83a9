//! `seal`: encrypt stdin with a key of AWS KMS, for a ciphertext that lives in Git or in an image.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{SealArgs, complain, load, print};
use crate::agent::config::{Config, StoreKind};
use crate::agent::pipeline;
use crate::agent::reason::{Exit, Reason, Report, system_word};
use crate::agent::store::Store;
use crate::secret::{SecretBytes, StoreName};

/// Bytes of stdin that are read; what may be sealed is less.
const MAX_INPUT: u64 = 2 * 1024 * 1024;

/// Letters of a line of base64.
const LINE: usize = 76;

pub(super) fn seal(args: &SealArgs) -> Exit {
    let config = match load(&args.config) {
        Ok((_, parsed)) => parsed.config,
        Err(exit) => return exit,
    };
    match sealed(&config, args) {
        Ok(envelope) => {
            print(&lines(&envelope));
            Exit::Done
        }
        Err(report) => {
            complain(&report);
            report.reason.exit()
        }
    }
}

fn sealed(config: &Config, args: &SealArgs) -> Result<Vec<u8>, Report> {
    let name = store(config, args.store.as_deref())?;
    let mut context = BTreeMap::new();
    for pair in &args.context {
        let (key, value) = pair.split_once('=').ok_or_else(|| {
            let what = format!("`{}` is no part of a context", pair.escape_debug());
            Report::new(Reason::ConfigInvalid, what, "there is no `=` in it")
                .hint("write `--context NAME=VALUE`, once for each name")
        })?;
        context.insert(key.to_owned(), value.to_owned());
    }
    let mut plain = Vec::with_capacity(64 * 1024);
    std::io::stdin().lock().take(MAX_INPUT).read_to_end(&mut plain).map_err(|error| {
        Report::new(Reason::ParameterUnreadable, "can't read stdin", system_word(error.kind()))
    })?;
    let plain = SecretBytes::from(plain);
    let stores = pipeline::stores(&config.stores, &BTreeSet::from([name.clone()]))?;
    match stores.get(&name) {
        Some(store) => ask(store, &name, args, context, &plain),
        None => Err(no_store()),
    }
}

#[cfg(feature = "aws")]
fn ask(
    store: &Store,
    _: &StoreName,
    args: &SealArgs,
    context: BTreeMap<String, String>,
    plain: &SecretBytes,
) -> Result<Vec<u8>, Report> {
    #[allow(irrefutable_let_patterns, reason = "there may be no other kind of store")]
    let Store::Aws(store) = store else { return Err(no_store()) };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|_| Report::new(Reason::Bug, "can't start", "the kernel gives no event queue"))?;
    let now = crate::agent::rotate::now().0;
    let sealing = store.seal(&args.key, context, plain, now);
    runtime.block_on(sealing).map_err(|error| error.report())
}

#[cfg(not(feature = "aws"))]
fn ask(
    _: &Store,
    name: &StoreName,
    _: &SealArgs,
    _: BTreeMap<String, String>,
    _: &SecretBytes,
) -> Result<Vec<u8>, Report> {
    Err(crate::agent::store::StoreError::KindMissing { store: name.clone() }.report())
}

/// The store that is named, or the only one of AWS.
fn store(config: &Config, named: Option<&str>) -> Result<StoreName, Report> {
    let of_aws = config.stores.iter().filter(|(_, kind)| matches!(kind, StoreKind::Aws(_)));
    let all: Vec<&StoreName> = of_aws.map(|(name, _)| name).collect();
    match (named, all.as_slice()) {
        (Some(named), all) => all.iter().find(|name| name.as_str() == named).copied(),
        (None, [only]) => Some(*only),
        (None, _) => None,
    }
    .cloned()
    .ok_or_else(no_store)
}

fn no_store() -> Report {
    Report::new(
        Reason::ConfigInvalid,
        "nothing says with which account the key is found",
        "`--store` names no store of kind `aws`, or there is not exactly one in the config",
    )
    .hint("write `stores: { prod: { kind: aws, region: … } }`, and `--store prod` if there are several")
}

fn lines(envelope: &[u8]) -> String {
    let text = STANDARD.encode(envelope);
    let mut out = String::with_capacity(text.len() + text.len() / LINE + 1);
    for (i, letter) in text.chars().enumerate() {
        if i > 0 && i % LINE == 0 {
            out.push('\n');
        }
        out.push(letter);
    }
    out.push('\n');
    out
}
