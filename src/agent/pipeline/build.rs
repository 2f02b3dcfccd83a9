//! Everything that is opened, bound or forked, before the process locks itself in.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::agent::config::{Config, FieldRef, StoreKind};
use crate::agent::hook::{self, Helper, Hook};
use crate::agent::observe::{Event, Observe, log_report};
use crate::agent::reason::Report;
use crate::agent::render::Renderer;
use crate::agent::rotate::{self, Clocks, Phase, Rolls, Settle, Timestamp};
use crate::agent::store::{Record, Store};
use crate::agent::volume::{Gap, Level, Volume};
use crate::sandbox::Confinement;
use crate::secret::{DigestKey, SecretName, StoreName, VolumeName};

use super::compose::{Files, Group};
use super::fetch::{HURRY, Slot};
use super::holds::Hold;
use super::hooks::Teller;
use super::keeper::Keeper;
use super::program::Runner;
use super::reload::ConfigSource;
use super::rotation::Carrier;
use super::tracked::Tracked;
use super::{Mode, Pipeline};

/// Builds stores for `get` and `check`, which keep nothing.
pub fn stores(
    kinds: &BTreeMap<StoreName, StoreKind>,
    wanted: &BTreeSet<StoreName>,
) -> Result<BTreeMap<StoreName, Store>, Report> {
    let key = Rc::new(Keeper::of_nothing().digest_key()?);
    let kinds = kinds.iter().filter(|(name, _)| wanted.contains(name));
    let built = kinds.map(|(name, kind)| {
        let record: Record = Box::new(|_, _| Ok(()));
        let store = Store::build(name, kind, Rc::clone(&key), Vec::new(), record);
        Ok((name.clone(), store.map_err(|error| error.report())?))
    });
    built.collect()
}

/// The secrets that files are made of. What nothing uses is never asked for.
pub fn used_secrets(config: &Config) -> BTreeSet<SecretName> {
    config.groups.iter().flat_map(|group| group.secrets.iter().cloned()).collect()
}

/// The secrets that files and variables name, for `check --live`.
pub fn named_secrets(config: &Config) -> BTreeSet<SecretName> {
    let variables = config.env.values().map(|FieldRef { secret, .. }| secret.clone());
    used_secrets(config).into_iter().chain(variables).collect()
}

impl Pipeline {
    /// Opens volumes, state, stores and hooks. Every failure is reported, not only the first.
    ///
    /// `helper` was forked before, when nothing was open yet.
    pub fn build(
        config: Config,
        source: Option<ConfigSource>,
        helper: Option<Helper>,
        mode: Mode,
        observe: Observe,
        runner: Option<Runner>,
    ) -> Result<Pipeline, Vec<Report>> {
        let now = rotate::now();
        let mut failures = Vec::new();
        let carriers = carriers(&config, now, &observe, &mut failures);
        let keeper = Keeper::open(&config).map_err(|report| vec![report])?;
        let keeper = Rc::new(keeper);
        let key = keeper.digest_key().map_err(|report| vec![report])?;
        let mut rolls = Rolls::default();
        let used = match &runner {
            Some(_) => named_secrets(&config),
            None => used_secrets(&config),
        };
        let stores =
            build_stores(&config, &used, &keeper, &Rc::new(key), &mut rolls, &mut failures);
        let secrets = tracked(&config, &used, &keeper, now, &mut failures);
        let tellers = tellers(&config, helper, mode == Mode::Stay, &mut failures);
        let renderer = Renderer::compile(&config.files)
            .map_err(|errors| failures.extend(errors.iter().map(|error| error.report())))
            .ok();
        let (Some(renderer), true) = (renderer, failures.is_empty()) else { return Err(failures) };
        let mut pipeline = Pipeline {
            secrets,
            groups: config.groups.iter().cloned().map(Group::new).collect(),
            config,
            stores,
            carriers,
            tellers,
            runner,
            holds: Vec::new(),
            lingering: Vec::new(),
            ended: BTreeSet::new(),
            clocks: Clocks::at(now, rotate::unix_now()),
            renderer,
            keeper,
            observe,
            source,
            phase: Phase::of_pod(&pod_identity()),
            rolls,
            settle: Settle::default(),
            generation: 0,
            unconfirmed: BTreeMap::new(),
            problems: BTreeSet::new(),
            rolled_back: None,
            started: false,
            shown: None,
            confinement: Confinement::default(),
        };
        pipeline.foretell();
        pipeline.adopt(now).map_err(|report| vec![report])?;
        Ok(pipeline)
    }

    /// Takes over what was made for an earlier process and is still good, so that nothing is made
    /// twice.
    fn adopt_holds(&mut self, now: Timestamp) {
        let held = self.keeper.snapshot.borrow().holds.clone();
        for (id, held) in (1..).zip(held) {
            let adopted = Hold::adopt(id, &held);
            // What ended while nobody looked after it is nothing to begin with.
            let good = held.newest && !adopted.life.is_over(now);
            let current = self.secrets.get_mut(&held.secret).filter(|_| good);
            let fits = |tracked: &&mut Tracked| tracked.config.from.store == held.store;
            if let Some(tracked) = current.filter(fits) {
                tracked.latest = Some(Rc::clone(&held.value));
                tracked.answered = Some(Timestamp(held.at));
                tracked.due = adopted.replace_at;
                tracked.planned = adopted.replace_at.filter(|_| adopted.lease().is_none());
            }
            // The volume may show any of these.
            if adopted.leaving.is_none() {
                self.lingering.push(Rc::clone(&held.value));
            }
            self.holds.push(adopted);
            self.plan_hold(id, now);
        }
        let names: Vec<StoreName> = self.stores.keys().cloned().collect();
        for name in names {
            self.replace_what_is_under_earlier(&name, now);
        }
    }

    /// Takes over what an earlier process left on the volumes and in the state.
    fn adopt(&mut self, now: Timestamp) -> Result<(), Report> {
        let mut on_volume = Files::new();
        for carrier in self.carriers.values() {
            let files = carrier.volume.read_current().map_err(|error| error.report())?;
            on_volume.extend(files.into_iter().map(|(path, bytes)| (path, Rc::new(bytes))));
            self.generation = self.generation.max(carrier.volume.generation().unwrap_or_default());
        }
        for group in &mut self.groups {
            group.adopt(&on_volume);
            group.note_move(now);
        }
        self.adopt_holds(now);
        let snapshot = self.keeper.snapshot.borrow();
        self.generation = self.generation.max(snapshot.generation);
        self.unconfirmed = snapshot.unconfirmed.clone();
        self.unconfirmed.retain(|hook, _| *hook < self.tellers.len());
        // Published, and killed before it was written down whom to tell: so everybody is told.
        let published = self.carriers.values().filter_map(|c| c.volume.generation()).max();
        if let Some(published) = published
            && self.keeper.found
            && published > snapshot.generation
        {
            self.unconfirmed = (0..self.tellers.len()).map(|hook| (hook, published)).collect();
        }
        for group in &mut self.groups {
            let kept = group.config.secrets.iter().filter_map(|name| {
                Some((name.clone(), (snapshot.delivered.get(name)?.clone(), None)))
            });
            group.made_of = kept.collect();
        }
        drop(snapshot);
        self.resume_leaving();
        let everything: Vec<_> = self.groups.iter().map(Group::is_delivered).collect();
        let there = |name| self.secrets.get(name).is_some_and(|secret| secret.latest.is_some());
        self.started = everything.iter().all(|delivered| *delivered)
            && self.variable_secrets().iter().all(there);
        self.settle.changed(now);
        // An earlier process may have waited already, and the one before it, and so on to the end.
        if self.secrets.keys().any(|name| self.is_in_a_hurry(name, now)) {
            self.settle.hurry(now.after(HURRY));
        }
        Ok(())
    }
}

fn carriers(
    config: &Config,
    now: Timestamp,
    observe: &Observe,
    failures: &mut Vec<Report>,
) -> BTreeMap<VolumeName, Carrier> {
    let mut carriers = BTreeMap::new();
    for (name, volume) in &config.volumes {
        let _ = Volume::create_if_private(&volume.path);
        match Volume::open(name, volume, Gap::STANDARD, now.0) {
            Ok(mut opened) => {
                let mut grade = opened.grade();
                if volume.allow_swap {
                    grade.flaws.retain(|flaw| !flaw.is_of_swap());
                }
                let level = grade.flaws.iter().map(|flaw| flaw.level()).max();
                let level = level.unwrap_or(Level::Secure).word();
                let flaws: Vec<String> = grade.flaws.iter().map(ToString::to_string).collect();
                let flaws = flaws.join(", ");
                observe.say(&Event::Graded { volume: name, grade: level, flaws: &flaws });
                for remark in opened.take_remarks() {
                    let remark = remark.to_string();
                    observe.say(&Event::Remarked { volume: name, remark: &remark });
                }
                let tidy = opened.tidy(now.0).map(Timestamp);
                carriers.insert(name.clone(), Carrier { tidy, ..Carrier::new(opened) });
            }
            Err(error) => failures.push(error.report()),
        }
    }
    carriers
}

fn build_stores(
    config: &Config,
    used: &BTreeSet<SecretName>,
    keeper: &Rc<Keeper>,
    key: &Rc<DigestKey>,
    rolls: &mut Rolls,
    failures: &mut Vec<Report>,
) -> BTreeMap<StoreName, Slot> {
    let of_used = config.secrets.iter().filter(|(name, _)| used.contains(name));
    let wanted: BTreeSet<&StoreName> = of_used.map(|(_, secret)| &secret.from.store).collect();
    let mut stores = BTreeMap::new();
    // One that is not used any more is needed to give back what was made there.
    let left = |name: &StoreName| keeper.is_left_something(name);
    for (name, kind) in config.stores.iter().filter(|(n, _)| wanted.contains(n) || left(n)) {
        let keep = Rc::clone(keeper);
        let record: Record = Box::new(move |store, session| {
            let session = session.duplicate();
            keep.update(|s| s.sessions.entry(store.clone()).or_default().push(session))
                .map_err(drop)
        });
        match Store::build(name, kind, Rc::clone(key), keeper.sessions(name), record) {
            Ok(store) => drop(stores.insert(name.clone(), Slot::new(store, rolls.roll()))),
            Err(error) if !wanted.contains(name) => log_report(&error.report()),
            Err(error) => failures.push(error.report()),
        }
    }
    stores
}

fn tellers(
    config: &Config,
    helper: Option<Helper>,
    tells: bool,
    failures: &mut Vec<Report>,
) -> Vec<Teller> {
    let helper = helper.map(Rc::new);
    let (_, places) = hook::commands(&config.on_change);
    let mut tellers = Vec::new();
    for (index, (hook, place)) in config.on_change.iter().zip(places).enumerate() {
        let built = tells.then(|| Hook::build(index, hook, place, helper.clone())).transpose();
        match built {
            Ok(built) => tellers.push(Teller::new(hook.clone(), built)),
            Err(error) => failures.push(error.report()),
        }
    }
    tellers
}

fn tracked(
    config: &Config,
    used: &BTreeSet<SecretName>,
    keeper: &Keeper,
    now: Timestamp,
    failures: &mut Vec<Report>,
) -> BTreeMap<SecretName, Tracked> {
    let snapshot = keeper.snapshot.borrow();
    let secrets = config.secrets.iter().filter(|(name, _)| used.contains(name));
    let tracked = secrets.map(|(name, secret)| {
        let mut tracked = Tracked::new(secret.clone(), now);
        failures.extend(tracked.open_files().err());
        tracked.seen = snapshot.delivered.get(name).cloned();
        tracked.refused = snapshot.refused.get(name).cloned();
        (name.clone(), tracked)
    });
    tracked.collect()
}

/// Who this pod is in its fleet: its uid if the platform tells it, else the host's name.
fn pod_identity() -> String {
    let uid = std::env::var("POD_UID").ok().filter(|uid| !uid.is_empty());
    uid.unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned())
}
