//! A fleet of pods in virtual time: the real arithmetic of `rotate` in each of them, driven as the
//! pipeline drives it, against a store that is a few lines. Nothing waits; a heap of events is the
//! clock.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;
use std::time::Duration;

use sidekey::agent::rotate::{Backoff, Line, Pace, Phase, Timestamp, next};
use sidekey::agent::store::vault::{Fault, Unreachable, VaultError};
use sidekey::agent::store::{Retry, Scope};
use sidekey::secret::StoreName;

use super::chance::Chance;

/// Secrets of a pod.
pub(crate) const SECRETS: usize = 3;

/// When a fleet's time begins. Machines have run for a while.
pub(crate) const BEGIN: Timestamp = Timestamp(Duration::from_secs(1000));

/// So many seconds after the beginning.
pub(crate) fn at(seconds: u64) -> Timestamp {
    BEGIN.after(Duration::from_secs(seconds))
}

/// What a store may suffer from for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Nobody listens.
    Away,
    /// It answers, and nothing but its health.
    Sealed,
}

/// The store.
#[derive(Clone, Debug, Default)]
pub(crate) struct Store {
    /// Requests that it serves in each second; those above it get a 429. `sys/health` is not counted,
    /// as in Vault and OpenBao.
    limit: Option<u32>,
    /// What comes with a 429.
    retry_after: Option<Duration>,
    /// From when until when it is in trouble.
    troubles: Vec<(Range<Timestamp>, Trouble)>,
    /// The second that is being counted, and what was served in it.
    served: (u64, u32),
}

/// One request on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Call {
    Health,
    Login,
    Read,
}

impl Store {
    /// A store that serves so many requests in each second.
    pub(crate) fn serving(limit: u32) -> Store {
        Store { limit: Some(limit), ..Store::default() }
    }

    /// The same, and a 429 names a time.
    pub(crate) fn naming(self, retry_after: Duration) -> Store {
        Store { retry_after: Some(retry_after), ..self }
    }

    /// The same, in trouble for a while.
    pub(crate) fn suffering(mut self, trouble: Trouble, when: Range<Timestamp>) -> Store {
        self.troubles.push((when, trouble));
        self
    }

    fn answer(&mut self, call: Call, now: Timestamp) -> Result<(), Fault> {
        let trouble = self.troubles.iter().find(|(when, _)| when.contains(&now));
        match trouble {
            Some((_, Trouble::Away)) => return Err(Fault::Unreachable(Unreachable::Refused)),
            Some((_, Trouble::Sealed)) => return Err(Fault::Sealed),
            None => {}
        }
        let Some(limit) = self.limit.filter(|_| call != Call::Health) else { return Ok(()) };
        if self.served.0 != now.0.as_secs() {
            self.served = (now.0.as_secs(), 0);
        }
        if self.served.1 == limit {
            return Err(Fault::Throttled { status: 429, after: self.retry_after });
        }
        self.served.1 += 1;
        Ok(())
    }
}

/// What follows from a fault of AWS: there is no 429 that names a time.
#[cfg(feature = "aws")]
pub(crate) fn aws(_: Fault) -> (Scope, Retry) {
    use sidekey::agent::store::aws;
    let error = aws::AwsError {
        store: StoreName::parse("prod").unwrap(),
        action: aws::Action::GetSecretValue,
        resource: String::new(),
        fault: Box::new(aws::Fault::Throttled),
        elsewhere: false,
    };
    (error.scope(), error.retry())
}

/// What follows from a fault, by the real table.
fn consequence(fault: Fault) -> (Scope, Retry) {
    let store = StoreName::parse("vault").unwrap();
    let fault = Box::new(fault);
    let (address, path) = (String::new(), String::new());
    let error = VaultError { store, address, path, fault, logged_in: false };
    (error.scope(), error.retry())
}

/// A secret, as `pipeline/tracked.rs` has it.
#[derive(Clone, Debug, Default)]
struct Tracked {
    due: Option<Timestamp>,
    answered: Option<Timestamp>,
    backoff: Backoff,
}

/// A pod: what `pipeline/fetch.rs` keeps for its store, and what `store/vault/session.rs` does.
struct Pod {
    line: Line,
    phase: Phase,
    secrets: [Tracked; SECRETS],
    /// When the token ends, if there is one.
    token: Option<Timestamp>,
    logging_in: bool,
    /// Fetches that wait for a login which another one is making.
    waiting: Vec<usize>,
    sealed: bool,
    /// The number of the alarm that counts; earlier ones don't ring.
    alarm: u64,
    /// When it was set.
    alarm_set: Timestamp,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Alarm { pod: usize, number: u64 },
    Arrives { pod: usize, secret: usize, call: Call },
    Answered { pod: usize, secret: usize, call: Call, fault: Option<usize> },
}

/// What a store saw in one second.
#[derive(Clone, Copy, Debug, Default)]
struct Second {
    /// Everything that came.
    requests: u32,
    /// What it did not answer, or refused.
    refused: u32,
}

/// What a store saw over some seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Load {
    pub(crate) requests: u32,
    pub(crate) refused: u32,
    /// Requests of the worst second.
    pub(crate) worst: u32,
}

/// A fleet and its store.
pub(crate) struct Herd {
    pods: Vec<Pod>,
    store: Store,
    events: BinaryHeap<Reverse<(Timestamp, u64, Event)>>,
    faults: Vec<Fault>,
    number: u64,
    chance: Chance,
    pace: Pace,
    token_life: Duration,
    /// When the machines sleep, all at once.
    sleep: Range<Timestamp>,
    /// Second by second since the beginning.
    seconds: Vec<Second>,
    /// Logins that succeeded.
    pub(crate) logins: u32,
    /// What follows from a fault.
    consequence: fn(Fault) -> (Scope, Retry),
    /// When each pod's requests came to the store, if they are to be remembered.
    pub(crate) visits: Option<Vec<Vec<Timestamp>>>,
}

impl Herd {
    /// `count` pods that start at the beginning or up to `within` later.
    pub(crate) fn new(count: usize, within: Duration, store: Store, seed: u64) -> Herd {
        let mut herd = Herd {
            pods: Vec::with_capacity(count),
            store,
            events: BinaryHeap::new(),
            faults: Vec::new(),
            number: 0,
            chance: Chance(seed),
            pace: Pace::Pinned,
            token_life: Duration::MAX,
            sleep: BEGIN..BEGIN,
            seconds: Vec::new(),
            logins: 0,
            consequence,
            visits: None,
        };
        for pod in 0..count {
            let start = BEGIN.after(herd.chance.below(within));
            let secret = Tracked { due: Some(start), ..Tracked::default() };
            herd.pods.push(Pod {
                line: Line::default(),
                phase: Phase::of_pod(&format!("orders-{seed}-{pod}")),
                secrets: std::array::from_fn(|_| secret.clone()),
                token: None,
                logging_in: false,
                waiting: Vec::new(),
                sealed: false,
                alarm: 0,
                alarm_set: start,
            });
            herd.set_alarm(pod, start);
        }
        herd
    }

    /// Asks for every secret again and again.
    pub(crate) fn polling_every(mut self, refresh: Duration) -> Herd {
        self.pace = Pace::Poll { refresh };
        self
    }

    /// Takes what the store refuses for what this makes of it.
    #[cfg(feature = "aws")]
    pub(crate) fn failing_as(mut self, consequence: fn(Fault) -> (Scope, Retry)) -> Herd {
        self.consequence = consequence;
        self
    }

    /// Remembers each pod's requests.
    pub(crate) fn remembering(mut self) -> Herd {
        self.visits = Some(vec![Vec::new(); self.pods.len()]);
        self
    }

    /// Lets all machines sleep for a while: the boot-time clock goes on, and nothing else does.
    pub(crate) fn sleeping(mut self, sleep: Range<Timestamp>) -> Herd {
        self.sleep = sleep;
        self
    }

    /// How long a login's token lives.
    pub(crate) fn with_tokens_of(mut self, token_life: Duration) -> Herd {
        self.token_life = token_life;
        self
    }

    /// Lets time pass.
    pub(crate) fn pass_until(&mut self, end: Timestamp) {
        while self.events.peek().is_some_and(|Reverse((when, ..))| *when < end) {
            let Some(Reverse((now, _, event))) = self.events.pop() else { return };
            if self.sleep.contains(&now) {
                self.sleep_over(now, event);
                continue;
            }
            match event {
                Event::Alarm { pod, number } if self.pods[pod].alarm == number => {
                    self.go_on(pod, now);
                }
                Event::Alarm { .. } => {}
                Event::Arrives { pod, secret, call } => self.arrives(pod, secret, call, now),
                Event::Answered { pod, secret, call, fault } => {
                    let fault = fault.map(|index| self.faults[index].clone());
                    self.answered(pod, secret, call, fault, now);
                    self.go_on(pod, now);
                }
            }
        }
    }

    /// Pods with a secret that the store has not answered for since then.
    pub(crate) fn stale(&self, since: Timestamp) -> usize {
        let stale = |secret: &Tracked| secret.answered < Some(since);
        self.pods.iter().filter(|pod| pod.secrets.iter().any(stale)).count()
    }

    /// What came in these seconds since the beginning: of all of them, and of the worst.
    pub(crate) fn load(&self, seconds: Range<usize>) -> Load {
        let mut load = Load::default();
        for second in self.seconds.iter().take(seconds.end).skip(seconds.start) {
            load.requests += second.requests;
            load.refused += second.refused;
            load.worst = load.worst.max(second.requests);
        }
        load
    }

    fn post(&mut self, when: Timestamp, event: Event) {
        self.number += 1;
        self.events.push(Reverse((when, self.number, event)));
    }

    fn set_alarm(&mut self, pod: usize, when: Timestamp) {
        self.pods[pod].alarm = self.number + 1;
        self.post(when, Event::Alarm { pod, number: self.number + 1 });
    }

    /// `rotate::sleep_until`: a long wait is many of 30 s, measured by a clock that stands still
    /// while the machine sleeps. What is on the network is there when it wakes up.
    fn sleep_over(&mut self, now: Timestamp, event: Event) {
        let mut wake = self.sleep.end;
        if let Event::Alarm { pod, .. } = event {
            let begun = self.pods[pod].alarm_set;
            let until_asleep = self.sleep.start.0.saturating_sub(begun.0).as_nanos();
            let nap = Duration::from_secs(30);
            let done = Duration::from_nanos_u128(until_asleep % nap.as_nanos());
            let left = now.0.saturating_sub(self.sleep.start.0);
            wake = wake.after(nap.saturating_sub(done).min(left));
        }
        self.post(wake, event);
    }

    /// `Pipeline::ask` and `Pipeline::next_wake`.
    fn go_on(&mut self, pod: usize, now: Timestamp) {
        while self.pods[pod].line.is_free(now) {
            let due = self.pods[pod].secrets.iter().enumerate();
            let due = due.filter_map(|(index, secret)| Some((secret.due?, index)));
            let Some((_, secret)) = due.filter(|(due, _)| *due <= now).min() else { break };
            self.pods[pod].line.asked();
            self.pods[pod].secrets[secret].due = None;
            if self.pods[pod].sealed {
                self.call(pod, secret, Call::Health, now);
            } else {
                self.call_with_token(pod, secret, now);
            }
        }
        let state = &self.pods[pod];
        if state.line.is_full() {
            return;
        }
        let opens = state.line.opens().unwrap_or_default();
        let wake = state.secrets.iter().filter_map(|secret| Some(secret.due?.max(opens))).min();
        if let Some(wake) = wake {
            self.pods[pod].alarm_set = now;
            self.set_alarm(pod, wake.max(now.after(Duration::from_millis(1))));
        }
    }

    fn call(&mut self, pod: usize, secret: usize, call: Call, now: Timestamp) {
        let way = Duration::from_millis(1) + self.chance.below(Duration::from_millis(9));
        self.post(now.after(way), Event::Arrives { pod, secret, call });
    }

    fn call_with_token(&mut self, pod: usize, secret: usize, now: Timestamp) {
        let state = &mut self.pods[pod];
        if state.token.is_some_and(|ends| now < ends) {
            self.call(pod, secret, Call::Read, now);
        } else if state.logging_in {
            state.waiting.push(secret);
        } else {
            state.logging_in = true;
            self.call(pod, secret, Call::Login, now);
        }
    }

    fn arrives(&mut self, pod: usize, secret: usize, call: Call, now: Timestamp) {
        let fault = self.store.answer(call, now).err();
        let second = usize::try_from(now.0.saturating_sub(BEGIN.0).as_secs()).unwrap();
        if self.seconds.len() <= second {
            self.seconds.resize(second + 1, Second::default());
        }
        self.seconds[second].requests += 1;
        self.seconds[second].refused += u32::from(fault.is_some());
        self.logins += u32::from(call == Call::Login && fault.is_none());
        if let Some(visits) = &mut self.visits {
            visits[pod].push(now);
        }
        let fault = fault.map(|fault| self.index_of(fault));
        let way = Duration::from_millis(1) + self.chance.below(Duration::from_millis(9));
        self.post(now.after(way), Event::Answered { pod, secret, call, fault });
    }

    fn index_of(&mut self, fault: Fault) -> usize {
        let known = self.faults.iter().position(|known| *known == fault);
        known.unwrap_or_else(|| {
            self.faults.push(fault);
            self.faults.len() - 1
        })
    }

    fn answered(
        &mut self,
        pod: usize,
        secret: usize,
        call: Call,
        fault: Option<Fault>,
        now: Timestamp,
    ) {
        let token_ends = now.after(self.token_life);
        let state = &mut self.pods[pod];
        if call == Call::Login {
            state.logging_in = false;
            let mut waiting = std::mem::take(&mut state.waiting);
            if fault.is_none() {
                state.token = Some(token_ends);
                waiting.push(secret);
            }
            for secret in waiting {
                self.call_with_token(pod, secret, now);
            }
            if fault.is_none() {
                return;
            }
        }
        match (call, &fault) {
            (Call::Health, None) => {
                self.pods[pod].sealed = false;
                self.call_with_token(pod, secret, now);
                return;
            }
            (_, Some(Fault::Sealed)) => self.pods[pod].sealed = true,
            _ => {}
        }
        self.note(pod, secret, fault.map(consequence), now);
    }

    /// `Pipeline::note`.
    fn note(&mut self, pod: usize, secret: usize, failure: Option<(Scope, Retry)>, now: Timestamp) {
        let roll = self.chance.roll();
        let state = &mut self.pods[pod];
        state.line.heard(failure, now, roll);
        let tracked = &mut state.secrets[secret];
        tracked.due = match failure {
            None => {
                let first = tracked.answered.is_none();
                tracked.answered = Some(now);
                tracked.backoff.succeeded();
                next(self.pace, first, now, state.phase, self.chance.roll())
            }
            Some((Scope::Store, _)) => Some(now),
            Some((Scope::Secret, retry)) => {
                Some(tracked.backoff.failed(retry, now, self.chance.roll()))
            }
        };
    }
}
