//! A hundred thousand leases and logins in virtual time: whatever a store grants and suffers from,
//! none ends that a store which answers could have kept, and none makes anybody spin.
//!
//! The driver does what `pipeline/holds.rs`, `leases.rs`, `sessions.rs` and `fetch.rs` do, with the
//! real `Life`, `Backoff` and `Line`.

#![cfg(feature = "agent")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/chance.rs"]
mod chance;

use std::ops::Range;
use std::time::Duration;

use chance::Chance;
use sidekey::agent::rotate::{Backoff, Kind, Life, Line, Step, Timestamp};
use sidekey::agent::store::{Retry, Scope};

const BEGIN: Timestamp = Timestamp(Duration::from_secs(1000));
/// How often a life without a known end is renewed: `refresh`.
const IDLE: Duration = Duration::from_secs(300);
/// Lives that are looked at in each world.
const LIVES: usize = 5;
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// What a request meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// Nobody listens.
    Away,
    /// It asks for fewer requests.
    Busy,
    /// It is sealed.
    Sealed,
    /// This path only answers with an error.
    Broken,
    /// Somebody took the permission away.
    Forbidden,
    /// Nothing can be renewed, and all else works.
    NoRenewals,
}

impl Trouble {
    fn failure(self) -> (Scope, Retry) {
        match self {
            Trouble::Away => (Scope::Store, Retry::Transient),
            Trouble::Busy => (Scope::Store, Retry::Overload { after: None }),
            Trouble::Sealed => (Scope::Store, Retry::Sealed),
            Trouble::Broken | Trouble::NoRenewals => (Scope::Secret, Retry::Transient),
            Trouble::Forbidden => (Scope::Secret, Retry::Permanent),
        }
    }

    /// How long after its end a life may still be lost to it: as long as a store in that trouble is
    /// left alone, whatever ends meanwhile.
    fn shadow(self) -> Duration {
        match self {
            Trouble::Busy | Trouble::Sealed => Duration::from_secs(61),
            Trouble::Away | Trouble::Broken | Trouble::Forbidden => Duration::from_secs(1),
            Trouble::NoRenewals => Duration::ZERO,
        }
    }
}

/// A store that grants lives, as it knows them itself.
#[derive(Clone, Debug)]
struct World {
    kind: Kind,
    /// What is granted at first and with each renewal; `None`: no end.
    ttl: Option<Duration>,
    /// What a life may come to with all its renewals.
    max: Option<Duration>,
    renewable: bool,
    /// Times of trouble.
    troubles: Vec<(Range<Timestamp>, Trouble)>,
    /// How many of a hundred requests fail by chance.
    unlucky: u64,
    /// When the machine sleeps.
    sleep: Range<Timestamp>,
}

/// A life as the store knows it.
#[derive(Clone, Copy, Debug)]
struct Granted {
    ends: Option<Timestamp>,
    at_most: Option<Timestamp>,
}

/// Why there is no good answer.
#[derive(Clone, Copy, Debug)]
enum Failure {
    /// The store or the path is in trouble.
    Trouble(Trouble),
    /// The life is over, or was never to be renewed.
    Over,
}

impl Failure {
    fn consequence(self) -> (Scope, Retry) {
        match self {
            Failure::Trouble(trouble) => trouble.failure(),
            Failure::Over => (Scope::Secret, Retry::Permanent),
        }
    }
}

/// What is on its way back.
#[derive(Clone, Copy, Debug)]
enum Answer {
    /// More time, for the life with that number.
    Renewed(usize, Result<(Option<Duration>, Granted), Failure>),
    /// A new one.
    Made(Result<(Option<Duration>, Granted), Failure>),
}

fn log_uniform(chance: &mut Chance, from: f64, to: f64) -> Duration {
    Duration::from_secs_f64(from * (to / from).powf(chance.part()))
}

impl World {
    /// A store without trouble.
    fn quiet(kind: Kind, ttl: Duration, renewable: bool) -> World {
        let (troubles, sleep) = (Vec::new(), BEGIN..BEGIN);
        World { kind, ttl: Some(ttl), max: None, renewable, troubles, unlucky: 0, sleep }
    }

    fn random(seed: u64, chance: &mut Chance) -> World {
        // Whole seconds, as every store grants them: from one second to 32 days, and nonsense.
        let ttl = match chance.bits() % 20 {
            0 => None,
            1 => Some(Duration::from_secs(100 * 366 * 24 * 3600)),
            _ => {
                let ttl = log_uniform(chance, 1.0, 32.0 * 24.0 * 3600.0);
                Some(Duration::from_secs(ttl.as_secs().max(1)))
            }
        };
        let scale = ttl.unwrap_or(DAY).min(32 * DAY);
        let max = (chance.one_in(3)).then(|| scale.mul_f64(1.0 + 4.0 * chance.part()));
        let mut world = World {
            kind: if seed.is_multiple_of(2) { Kind::Lease } else { Kind::Token },
            ttl,
            max: max.map(|max| Duration::from_secs(max.as_secs())),
            renewable: !chance.one_in(4),
            troubles: Vec::new(),
            unlucky: if chance.one_in(3) { chance.bits() % 60 } else { 0 },
            sleep: BEGIN..BEGIN,
        };
        for _ in 0..chance.bits() % 5 {
            let from = BEGIN.after(scale.mul_f64(0.05 + 3.0 * chance.part()));
            let lasts = scale.mul_f64(0.7 * chance.part() * chance.part());
            let which = [
                Trouble::Away,
                Trouble::Away,
                Trouble::Busy,
                Trouble::Sealed,
                Trouble::Broken,
                Trouble::Forbidden,
                Trouble::NoRenewals,
                Trouble::NoRenewals,
            ];
            let which = which[usize::try_from(chance.bits() % 8).unwrap()];
            world.troubles.push((from..from.after(lasts), which));
        }
        if chance.one_in(10) {
            let from = BEGIN.after(scale.mul_f64(0.1 + 2.0 * chance.part()));
            world.sleep = from..from.after(log_uniform(chance, 1.0, 20.0 * 3600.0));
        }
        world
    }

    /// Whether nothing ever goes wrong.
    fn is_quiet(&self) -> bool {
        self.troubles.is_empty() && self.unlucky == 0 && self.sleep.is_empty()
    }

    /// How late anything may be after the machine slept.
    fn nap(&self) -> Duration {
        let slept = self.sleep.end.0.saturating_sub(self.sleep.start.0);
        slept.min(Duration::from_secs(30))
    }

    fn trouble(&self, now: Timestamp, chance: &mut Chance) -> Option<Trouble> {
        let trouble = self.troubles.iter().find(|(when, _)| when.contains(&now));
        let unlucky = chance.bits() % 100 < self.unlucky;
        trouble.map(|(_, trouble)| *trouble).or(unlucky.then_some(Trouble::Broken))
    }

    fn grant(&self, at_most: Option<Timestamp>, now: Timestamp) -> Granted {
        let ends = self.ttl.map(|ttl| now.after(ttl));
        let ends = ends.map(|ends| at_most.map_or(ends, |at_most| ends.min(at_most)));
        Granted { ends, at_most }
    }

    /// A duration as it is told: whole seconds, and 0 (or -1, or nothing) for a life without an end,
    /// which an answer's reader takes for no end.
    fn told(granted: Granted, now: Timestamp) -> Option<Duration> {
        let left = granted.ends?.0.saturating_sub(now.0).as_secs();
        (left > 0).then(|| Duration::from_secs(left))
    }
}

/// One pod with one secret (or one login), and what it went through.
struct Pod<'a> {
    world: &'a World,
    chance: Chance,
    line: Line,
    /// The newest life, as we know it and as the store does.
    life: Option<(Life, Granted)>,
    renew_at: Option<Timestamp>,
    due: Option<Timestamp>,
    renewing: bool,
    making: bool,
    backoff: Backoff,
    renewal_backoff: Backoff,
    on_the_way: Vec<(Timestamp, Answer)>,
    /// When requests went out.
    requests: Vec<Timestamp>,
    /// When troubles were heard of.
    failures: Vec<(Timestamp, Trouble)>,
    /// Lives so far.
    made: usize,
    /// When each of them came.
    beginnings: Vec<Timestamp>,
    /// The last of them whose end was noticed.
    ended: usize,
    /// Looked at until there were so many requests.
    most_requests: usize,
}

impl<'a> Pod<'a> {
    fn new(world: &'a World, chance: Chance) -> Pod<'a> {
        Pod {
            world,
            chance,
            line: Line::default(),
            life: None,
            renew_at: None,
            due: Some(BEGIN),
            renewing: false,
            making: false,
            backoff: Backoff::default(),
            renewal_backoff: Backoff::default(),
            on_the_way: Vec::new(),
            requests: Vec::new(),
            failures: Vec::new(),
            made: 0,
            beginnings: Vec::new(),
            ended: 0,
            most_requests: 100,
        }
    }

    /// Lives on until there were enough lives or requests. Says what went wrong.
    fn live(&mut self) -> Result<(), String> {
        let mut now = BEGIN;
        while self.made < LIVES && self.requests.len() < self.most_requests {
            self.ask(now);
            let answers = self.on_the_way.iter().map(|(when, _)| *when);
            let Some(next) = answers.chain(self.wake(now)).min() else { break };
            now = self.awake(next);
            let came: Vec<Answer> =
                self.on_the_way.extract_if(.., |(when, _)| *when <= now).map(|(_, a)| a).collect();
            for answer in came {
                self.note(answer, now)?;
            }
            self.note_end(now);
        }
        self.check_rate()
    }

    /// What is over is asked for anew, once, and not renewed.
    fn note_end(&mut self, now: Timestamp) {
        let over = self.life.as_ref().is_some_and(|(life, _)| life.is_over(now));
        if !over || self.ended == self.made {
            return;
        }
        self.ended = self.made;
        self.renew_at = None;
        if !self.making {
            self.due = Some(self.due.map_or(now, |due| due.min(now)));
        }
    }

    /// `rotate::sleep_until`: naps of at most 30 s go on where they were when the machine fell asleep.
    fn awake(&mut self, when: Timestamp) -> Timestamp {
        if !self.world.sleep.contains(&when) {
            return when;
        }
        self.world.sleep.end.after(self.chance.below(self.world.nap()))
    }

    fn way(&mut self) -> Duration {
        Duration::from_millis(1) + self.chance.below(Duration::from_millis(9))
    }

    fn ask(&mut self, now: Timestamp) {
        while self.line.is_free(now) {
            let is_due = |at: Option<Timestamp>| at.is_some_and(|at| at <= now);
            let arrives = now.after(self.way());
            let answer = if is_due(self.renew_at) && !self.renewing {
                self.renewing = true;
                Answer::Renewed(self.made, self.renewed(arrives))
            } else if is_due(self.due) && !self.making {
                (self.making, self.due) = (true, None);
                Answer::Made(self.new_life(arrives))
            } else {
                return;
            };
            self.line.asked();
            self.requests.push(now);
            let comes = arrives.after(self.way());
            self.on_the_way.push((comes, answer));
        }
    }

    fn renewed(&mut self, now: Timestamp) -> Result<(Option<Duration>, Granted), Failure> {
        let trouble = self.world.trouble(now, &mut self.chance);
        if let Some(trouble) = trouble {
            return Err(Failure::Trouble(trouble));
        }
        let (_, before) = self.life.as_ref().unwrap();
        if !self.world.renewable || before.ends.is_some_and(|ends| ends <= now) {
            return Err(Failure::Over);
        }
        let granted = self.world.grant(before.at_most, now);
        Ok((World::told(granted, now), granted))
    }

    fn new_life(&mut self, now: Timestamp) -> Result<(Option<Duration>, Granted), Failure> {
        let trouble = self.world.trouble(now, &mut self.chance);
        if let Some(trouble) = trouble.filter(|trouble| *trouble != Trouble::NoRenewals) {
            return Err(Failure::Trouble(trouble));
        }
        let granted = self.world.grant(self.world.max.map(|max| now.after(max)), now);
        Ok((World::told(granted, now), granted))
    }

    fn wake(&self, now: Timestamp) -> Option<Timestamp> {
        if self.line.is_full() {
            return None;
        }
        let renewal = self.renew_at.filter(|_| !self.renewing);
        let wake = renewal.into_iter().chain(self.due.filter(|_| !self.making)).min()?;
        let wake = wake.max(self.line.opens().unwrap_or_default());
        Some(wake.max(now.after(Duration::from_millis(1))))
    }

    fn note(&mut self, answer: Answer, now: Timestamp) -> Result<(), String> {
        let failure = match answer {
            Answer::Renewed(_, result) | Answer::Made(result) => result.err(),
        };
        let consequence = failure.map(Failure::consequence);
        self.line.heard(consequence, now, self.chance.roll());
        if let Some(Failure::Trouble(trouble)) = failure {
            self.failures.push((now, trouble));
        }
        let hurry = consequence
            .and_then(|(_, retry)| self.life.as_ref().and_then(|(life, _)| life.hurry(retry, now)));
        if let Some(by) = hurry {
            self.line.hurry(by);
        }
        match (answer, consequence) {
            (Answer::Renewed(number, _), _) if number != self.made => {}
            (Answer::Renewed(_, Ok((told, granted))), _) => {
                self.renewing = false;
                self.renewal_backoff.succeeded();
                let (life, known) = self.life.as_mut().unwrap();
                life.renewed(told, self.world.renewable, now);
                *known = granted;
                self.plan();
            }
            (Answer::Made(Ok((told, granted))), _) => {
                self.check_overlap(now)?;
                self.making = false;
                self.backoff.succeeded();
                self.life = Some((Life::new(told, self.world.renewable, now), granted));
                (self.made, self.renewing) = (self.made + 1, false);
                self.beginnings.push(now);
                self.plan();
            }
            (Answer::Renewed(..), Some((scope, retry))) => {
                self.renewing = false;
                self.note_failed_renewal(scope, retry, hurry, now);
            }
            (Answer::Made(_), Some((scope, retry))) => {
                self.making = false;
                let again = match scope {
                    Scope::Store => now,
                    Scope::Secret => self.backoff.failed(retry, now, self.chance.roll()),
                };
                self.due = Some(hurry.map_or(again, |by| again.min(by)));
            }
            (_, None) => unreachable!("an answer is good or a failure"),
        }
        Ok(())
    }

    fn note_failed_renewal(
        &mut self,
        scope: Scope,
        retry: Retry,
        hurry: Option<Timestamp>,
        now: Timestamp,
    ) {
        if retry == Retry::Permanent {
            self.renew_at = None;
            self.due = Some(now).filter(|_| !self.making);
            return;
        }
        let again = match scope {
            Scope::Store => now,
            Scope::Secret => self.renewal_backoff.failed(retry, now, self.chance.roll()),
        };
        let again = hurry.map_or(again, |by| again.min(by));
        let last_call = self.life.as_ref().and_then(|(life, _)| life.last_call());
        if self.world.kind == Kind::Token && last_call.is_some_and(|last| last <= again) {
            (self.renew_at, self.due) = (None, Some(now).filter(|_| !self.making));
        } else {
            self.renew_at = Some(again);
        }
    }

    fn plan(&mut self) {
        let roll = self.chance.roll();
        let (life, _) = self.life.as_ref().unwrap();
        let idle = (self.world.kind == Kind::Lease).then_some(IDLE);
        let (renew_at, replace_at) = match life.next(self.world.kind, idle, roll) {
            Some((at, Step::Renew)) if self.world.kind == Kind::Lease => {
                (Some(at), life.last_call())
            }
            Some((at, Step::Renew)) => (Some(at), None),
            Some((at, Step::Replace)) => (None, Some(at)),
            None => (None, None),
        };
        self.renew_at = renew_at;
        if !self.making {
            self.due = replace_at;
        }
    }

    /// A successor came: in time, unless there is an excuse.
    fn check_overlap(&self, now: Timestamp) -> Result<(), String> {
        let Some(ends) = self.life.as_ref().and_then(|(_, granted)| granted.ends) else {
            return Ok(());
        };
        let shadowed = self
            .failures
            .iter()
            .any(|(when, trouble)| *when <= ends && ends <= when.after(trouble.shadow()));
        let sleep = &self.world.sleep;
        let late = self.world.nap() + Duration::from_secs(1);
        let asleep = sleep.start <= ends && ends <= sleep.end.after(late);
        let (left, over) = (ends.0.saturating_sub(now.0), now.0.saturating_sub(ends.0));
        if !over.is_zero() && !shadowed && !asleep {
            return Err(format!("life {} ended {over:?} before the next began", self.made));
        }
        // What is told in whole seconds may be one less.
        let first = self.world.ttl.into_iter().chain(self.world.max).min().unwrap_or_default();
        let overlap = first / 10;
        if self.world.is_quiet() && left.saturating_add(Duration::from_secs(1)) < overlap {
            return Err(format!("life {} overlaps the next by {left:?} only", self.made));
        }
        Ok(())
    }

    fn check_rate(&self) -> Result<(), String> {
        let most = |within: Duration| {
            let crowd = |(index, first): (usize, &Timestamp)| {
                let rest = &self.requests[index..];
                rest.iter().take_while(|when| **when < first.after(within)).count()
            };
            self.requests.iter().enumerate().map(crowd).max().unwrap_or_default()
        };
        let (second, minute) = (most(Duration::from_secs(1)), most(Duration::from_secs(60)));
        let long = self.world.ttl.is_none_or(|ttl| ttl >= Duration::from_secs(600));
        if second > 20 || (long && minute > 30) {
            return Err(format!("{second} requests in a second, {minute} in a minute"));
        }
        Ok(())
    }
}

#[test]
fn of_a_hundred_thousand_lives_none_ends_that_a_store_which_answers_could_have_kept() {
    let (mut lives, mut seed, mut requests) = (0, 0, 0);
    while lives < 100_000 {
        seed += 1;
        let mut chance = Chance(seed);
        let world = World::random(seed, &mut chance);
        let mut pod = Pod::new(&world, chance);
        if let Err(wrong) = pod.live() {
            let last: Vec<_> = pod.failures.iter().rev().take(5).collect();
            panic!("seed {seed}: {wrong}\n{world:?}\n{last:?}\n{:?}", pod.requests);
        }
        lives += pod.made;
        requests += pod.requests.len();
    }
    println!("{lives} lives in {seed} worlds, {requests} requests");
}

#[test]
fn after_hours_of_sleep_what_ended_is_asked_for_once_and_not_renewed() {
    for seed in 0..1000 {
        let kind = if seed % 2 == 0 { Kind::Lease } else { Kind::Token };
        let mut world = World::quiet(kind, HOUR, seed % 4 < 2);
        let (asleep, awake) = (BEGIN.after(HOUR / 2), BEGIN.after(4 * HOUR));
        world.sleep = asleep..awake;
        let mut pod = Pod::new(&world, Chance(seed));
        pod.live().unwrap();
        let soon = pod.requests.iter().filter(|when| **when > asleep).copied();
        let soon: Vec<_> = soon.take_while(|when| *when < awake.after(HOUR / 2)).collect();
        assert_eq!(soon.len(), 1, "{seed}: {soon:?}");
        assert!(awake <= soon[0] && soon[0] <= awake.after(Duration::from_secs(30)), "{seed}");
    }
}

#[test]
fn a_day_of_outage_with_a_lease_is_two_requests_a_minute_once_the_lease_is_over() {
    for seed in 0..100 {
        let kind = if seed % 2 == 0 { Kind::Lease } else { Kind::Token };
        let mut world = World::quiet(kind, HOUR, seed % 4 < 2);
        let (gone, back) = (BEGIN.after(HOUR / 2), BEGIN.after(HOUR / 2 + DAY));
        world.troubles.push((gone..back, Trouble::Away));
        let mut pod = Pod::new(&world, Chance(seed));
        pod.most_requests = 5000;
        pod.live().unwrap();
        let second = Duration::from_secs(1);
        let (over, returned) = (BEGIN.after(HOUR + second), back.after(MINUTE + second));
        let day: Vec<_> =
            pod.requests.iter().filter(|when| over < **when && **when < back).collect();
        let crowded = day.windows(3).find(|three| *three[2] < three[0].after(MINUTE));
        assert_eq!(crowded, None, "{seed}: three requests within a minute");
        assert!(day.len() > 24 * 60 - 60, "{seed}: only {} requests", day.len());
        let before = pod.requests.iter().filter(|when| gone < **when && **when <= over).count();
        assert!(before < 60, "{seed}: {before} requests while the life ended");
        let next = pod.beginnings.iter().find(|when| **when >= back);
        assert!(next.is_some_and(|when| *when <= returned), "{seed}: the next at {next:?}");
    }
}
