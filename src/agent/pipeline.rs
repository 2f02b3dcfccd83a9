//! The whole road of a secret, in one loop.
//!
//! ```text
//!  1. ask      every secret that is due, one request at a time for each store
//!  2. note     what came back: a new value, the same one, a failure and when to try again
//!  3. settle   all changes within a second are one rotation
//!  4. render   each group that moved, whole, in memory, checked; or not at all
//!  5. publish  each volume's next generation, made of each group's newest good files
//!  6. tell     the hooks concerned, and act on what they answer
//!  7. report   health, metrics, audit, state
//! ```
//!
//! `init` is this loop until the first generation is there, `run` is the same loop without an end.
//! All waiting is the one `select!` of [`Pipeline::run`].

mod build;
mod compose;
mod fetch;
mod holds;
mod hooks;
mod keeper;
mod leases;
mod program;
mod reload;
mod report;
mod rotation;
mod sessions;
mod tracked;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::agent::config::{Config, Then};
use crate::agent::observe::{Event, Observe, log_report as say_error};
use crate::agent::reason::{Exit, Reason, Report};
use crate::agent::render::Renderer;
use crate::agent::rotate::{self, Clocks, Phase, Rolls, Settle, Timestamp};
use crate::sandbox::{Confinement, LockedIn};
use crate::secret::{Secret, SecretName, StoreName, VolumeName};

pub use build::{named_secrets, stores, used_secrets};
use compose::{FirstStart, Group};
use fetch::{Request, Slot};
use holds::Hold;
use hooks::{Restart, Teller, Telling};
use keeper::Keeper;
pub use program::{NotStarted, Program, Runner, Variables};
pub use reload::{ConfigSource, Reread};
use rotation::Carrier;
use tracked::Tracked;
pub use tracked::parameter_files;
use watch::Watch;

/// How long the loop goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Until the first generation is there (`init`).
    Once,
    /// Until somebody ends it (`run`).
    Stay,
}

/// How the loop ended.
#[derive(Debug)]
pub struct Ending {
    /// The exit code.
    pub exit: Exit,
    /// What is to be said about it.
    pub reports: Vec<Report>,
    /// The exit code of the command that `exec` started.
    pub code: Option<u8>,
    /// The command that the process is to become.
    pub command: Option<(Program, Variables)>,
}

impl Ending {
    fn done() -> Ending {
        Ending { exit: Exit::Done, reports: Vec::new(), code: None, command: None }
    }

    /// The end because of these failures.
    pub fn failed(reports: Vec<Report>) -> Ending {
        let exit = Exit::of_all(reports.iter().map(|report| report.reason));
        Ending { exit, reports, ..Ending::done() }
    }
}

/// Everything that is on the road.
pub struct Pipeline {
    config: Config,
    stores: BTreeMap<StoreName, Slot>,
    secrets: BTreeMap<SecretName, Tracked>,
    groups: Vec<Group>,
    carriers: BTreeMap<VolumeName, Carrier>,
    tellers: Vec<Teller>,
    /// The command of `exec`.
    runner: Option<Runner>,
    /// What was made for us and is still good.
    holds: Vec<Hold>,
    /// What an earlier process or an earlier config may still show.
    lingering: Vec<Rc<Secret>>,
    /// Leases that ended before something new was there, by their number.
    ended: BTreeSet<u64>,
    /// How far the wall clock is from the one that nobody sets.
    clocks: Clocks,
    renderer: Renderer,
    keeper: Rc<Keeper>,
    observe: Observe,
    source: Option<ConfigSource>,
    phase: Phase,
    rolls: Rolls,
    settle: Settle,
    generation: u64,
    /// Hooks that have not answered yet, and the generation they owe an answer for.
    unconfirmed: BTreeMap<usize, u64>,
    /// What is wrong with the pod as a whole.
    problems: BTreeSet<Reason>,
    /// The generation that the application refused last.
    rolled_back: Option<u64>,
    /// Whether the first generation is there.
    started: bool,
    /// Readiness and reasons as shown last.
    shown: Option<(bool, BTreeSet<Reason>)>,
    /// How far the process is locked in.
    confinement: Confinement,
}

/// What ends or wakes the loop from outside.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    /// Listens from now on, so that a signal that comes early is not lost. Needs a runtime.
    pub fn listen() -> Result<Signals, Report> {
        let no_signals =
            |_| Report::new(Reason::Bug, "can't wait for signals", "the kernel refuses");
        Ok(Signals {
            terminate: signal(SignalKind::terminate()).map_err(no_signals)?,
            interrupt: signal(SignalKind::interrupt()).map_err(no_signals)?,
            hang_up: signal(SignalKind::hangup()).map_err(no_signals)?,
        })
    }

    /// Waits until somebody asks for something: the end, or (SIGHUP, as daemons have it) a look at
    /// the config.
    async fn wish(&mut self, quit: &Notify) -> Wish {
        tokio::select! {
            _ = self.terminate.recv() => Wish::End,
            _ = self.interrupt.recv() => Wish::End,
            () = quit.notified() => Wish::End,
            _ = self.hang_up.recv() => Wish::Reload,
        }
    }
}

/// Where a command is run: the next signal for it, or about it.
async fn next_signal(told: &mut Option<UnboundedReceiver<i32>>) -> Option<i32> {
    match told {
        Some(told) => told.recv().await,
        None => std::future::pending().await,
    }
}

/// What somebody outside may ask for.
enum Wish {
    End,
    Reload,
}

/// How long open ends may take once the end was asked for (catalogue row 49).
const DRAIN: Duration = Duration::from_secs(2);

impl Pipeline {
    /// Carries secrets along the road until the mode, a failure or a signal ends it. `quit` ends it
    /// like a signal does.
    pub async fn run(
        mut self,
        mode: Mode,
        locked: LockedIn,
        mut signals: Signals,
        quit: Rc<Notify>,
    ) -> Ending {
        self.confinement = locked.confinement().clone();
        let begun = rotate::now();
        let mut watch = self.watch(mode);
        if mode == Mode::Stay && !watch.is_told() {
            let what =
                "the kernel gives no inotify instance: changed files are noticed within 30 s";
            self.observe.say(&Event::Degraded { what });
        }
        self.remark_on_stores();
        self.probe_hooks().await;
        self.tell_again();
        let mut requests: FuturesUnordered<Request> = FuturesUnordered::new();
        let mut tellings: FuturesUnordered<Telling> = FuturesUnordered::new();
        let mut restarts: FuturesUnordered<Restart> = FuturesUnordered::new();
        let mut told = self.runner.as_mut().and_then(Runner::signals);
        let mut ending = loop {
            let now = rotate::now();
            if let Some(ending) = self.advance(mode, begun, now) {
                break ending;
            }
            if let Some(code) = self.tend_program(now) {
                break Ending { code: Some(code), ..Ending::done() };
            }
            if mode == Mode::Once && self.is_delivered_anew() {
                break Ending::done();
            }
            if let Some(ending) = self.too_stale(mode, now) {
                break ending;
            }
            self.sort_out_holds(now);
            requests.extend(self.ask(now, mode));
            if mode == Mode::Stay {
                tellings.extend(self.tell());
                restarts.extend(self.restart_due(now));
            }
            self.show(now);
            let wake = self.next_wake(begun, now);
            tokio::select! {
                Some(answered) = requests.next() => self.note(answered, rotate::now()),
                Some(told) = tellings.next() => self.note_told(told, rotate::now()),
                Some((hook, result)) = restarts.next() => self.note_restart(hook, result),
                () = watch.changed() => self.look_around(rotate::now()),
                Some(number) = next_signal(&mut told) => self.note_signal(number),
                wish = signals.wish(&quit) => match wish {
                    // The command gets the signal too, and its end is ours.
                    _ if self.runner.as_ref().is_some_and(Runner::runs) => {}
                    Wish::End => break self.ended(mode),
                    Wish::Reload => {
                        self.look_at_given(rotate::now());
                        self.reload(rotate::now());
                    }
                },
                () = rotate::sleep_until(wake) => {}
            }
        };
        drop((requests, tellings, restarts));
        self.leave(mode, &ending).await;
        if ending.exit == Exit::Done && ending.code.is_none() {
            let runner = self.runner.take().filter(|runner| runner.replace);
            ending.command = runner.map(Runner::into_command);
        }
        ending
    }

    fn note_signal(&mut self, number: i32) {
        if let Some(runner) = &mut self.runner {
            runner.note_signal(number);
        }
    }

    /// `init` is over before anything changes.
    fn watch(&self, mode: Mode) -> Watch {
        if mode == Mode::Once {
            return Watch::none();
        }
        let files = self.stores.values().flat_map(|slot| {
            let local = slot.store.watch().map(|door| door.path());
            local.into_iter().chain(slot.store.given_file())
        });
        let source = self.source.iter().map(|source| source.door.path());
        let parameters = self.secrets.values().flat_map(|tracked| &tracked.doors);
        let parameters = parameters.map(|(_, door, _)| door.path());
        Watch::start(files.chain(source).chain(parameters).collect::<Vec<&Path>>().into_iter())
    }
}

impl Pipeline {
    /// Steps 3 to 5, as far as it is time for them. Says whether this is the end.
    fn advance(&mut self, mode: Mode, begun: Timestamp, now: Timestamp) -> Option<Ending> {
        self.tidy(now);
        if self.started {
            // `init` asks each secret once, so there is nothing that could still join in.
            let all = mode == Mode::Once && self.secrets.values().all(Tracked::was_asked);
            let settled = self.settle.is_over(now) || (all && self.settle.close());
            if settled {
                self.render_moved();
                if let Some(runner) = &mut self.runner {
                    runner.due = true;
                }
            }
            if settled || self.rolls_back() || self.retry_is_due(now) {
                self.publish_and_tell(now);
            }
            return None;
        }
        self.render_moved();
        match compose::first_start(&self.groups, &self.variable_secrets(), &self.secrets) {
            FirstStart::Go => self.first_delivery(now),
            FirstStart::Fail(reports) => Some(Ending::failed(reports)),
            FirstStart::Wait if begun.after(self.config.init_within) <= now => {
                Some(self.too_late())
            }
            FirstStart::Wait => None,
        }
    }

    /// The first generation. A volume that refuses it is the end: there is nothing to fall back on.
    fn first_delivery(&mut self, now: Timestamp) -> Option<Ending> {
        self.publish_and_tell(now);
        let failed = self.carriers.values().filter_map(|carrier| carrier.failure.clone());
        let failed: Vec<Report> = failed.collect();
        if failed.is_empty() {
            self.started = true;
            self.settle.close();
            self.save();
            return None;
        }
        Some(Ending::failed(failed))
    }

    /// Whether everything was fetched by this process and is on the volumes: the end of `init`. A
    /// secret that can't be had while its files are there from an earlier start is no reason to wait.
    fn is_delivered_anew(&self) -> bool {
        self.started
            && self.secrets.values().all(Tracked::was_asked)
            && self.settle.ends().is_none()
            && self.carriers.values().all(|carrier| !carrier.dirty)
    }

    /// Somebody asked for the end. `run` is done then; an `init` that has not delivered is not.
    fn ended(&self, mode: Mode) -> Ending {
        if mode == Mode::Stay || self.started {
            return Ending::done();
        }
        let report = Report::new(
            Reason::DeadlineOver,
            "ended before anything was delivered",
            "a signal asked for the end",
        );
        Ending::failed(vec![report.hint("start it again")])
    }

    /// The deadline of `init.within` is over: what is missing, and the last that was heard of it.
    fn too_late(&self) -> Ending {
        let missing = self.secrets.iter().filter(|(_, secret)| secret.latest.is_none());
        let names: Vec<String> = missing.clone().map(|(name, _)| format!("`{name}`")).collect();
        let mut reports: Vec<Report> = missing
            .filter_map(|(_, secret)| Some(secret.failure.as_ref()?.report.clone()))
            .collect();
        reports.dedup();
        reports.push(
            Report::new(
                Reason::DeadlineOver,
                format!("not delivered within {} s", self.config.init_within.as_secs_f64()),
                format!("still missing: {}", names.join(", ")),
            )
            .hint("mend what is reported above, or raise `init.within`"),
        );
        Ending::failed(reports)
    }

    /// `when_down: { then: exit }`: a secret is older than the config bears.
    fn too_stale(&self, mode: Mode, now: Timestamp) -> Option<Ending> {
        if mode == Mode::Once || !self.started || self.config.when_down.then != Then::Exit {
            return None;
        }
        let stale = self.secrets.iter().filter(|(_, secret)| self.is_stale(secret, now));
        let names: Vec<String> = stale.map(|(name, _)| format!("`{name}`")).collect();
        if names.is_empty() {
            return None;
        }
        let report = Report::new(
            Reason::Stale,
            "ended, because secrets are too old",
            format!("not confirmed within `serve_stale_for`: {}", names.join(", ")),
        );
        let hint = "mend the store; `then: keep` or `unready` go on instead";
        Some(Ending::failed(vec![report.hint(hint)]))
    }

    /// Whether files are to be put back, and nothing says when.
    fn rolls_back(&self) -> bool {
        let mut groups = self.groups.iter().filter(|group| group.rolling_back);
        groups.any(|group| {
            self.carriers.get(&group.config.volume).is_some_and(|c| c.dirty && c.retry.is_none())
        })
    }

    fn retry_is_due(&self, now: Timestamp) -> bool {
        let mut carriers = self.carriers.values();
        carriers.any(|c| c.dirty && c.retry.is_some_and(|retry| retry <= now))
    }

    /// When the loop has something to do again without being told.
    fn next_wake(&self, begun: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let secrets = self.secrets.values().filter_map(|secret| {
            let slot = self.stores.get(&secret.config.from.store)?;
            if slot.line.is_full() {
                return None;
            }
            Some(secret.due?.max(slot.line.opens().unwrap_or_default()))
        });
        let holds = self.hold_wakes(now).filter_map(|(store, at)| {
            let slot = self.stores.get(store).filter(|slot| !slot.line.is_full())?;
            Some(at.max(slot.line.opens().unwrap_or_default()))
        });
        let ends = self.holds.iter().filter_map(|hold| hold.life.ends());
        let stale = self.secrets.values().filter_map(|secret| self.stale_at(secret));
        let moments = ends.chain(stale).filter(|at| *at > now);
        let free = self.stores.iter().filter(|(_, slot)| !slot.line.is_full());
        let logins = free.filter_map(|(name, slot)| {
            Some(self.login_wakes(name, now)?.max(slot.line.opens().unwrap_or_default()))
        });
        let carriers = self.carriers.values().flat_map(|carrier| {
            [carrier.tidy, carrier.retry.filter(|_| carrier.dirty)].into_iter().flatten()
        });
        let restarts = self.tellers.iter().filter_map(|teller| teller.restart_at);
        let kill = self.runner.as_ref().and_then(Runner::kill_at);
        let deadline = (!self.started).then(|| begun.after(self.config.init_within));
        // A first delivery does not wait for changes to settle.
        let settle = self.settle.ends().filter(|_| self.started);
        let secrets = secrets.chain(holds).chain(logins).chain(moments);
        let all = secrets.chain(carriers).chain(restarts).chain(settle).chain(deadline).chain(kill);
        // Never at once again and again: a timer that is over is looked at in the next round.
        all.min().map(|wake| wake.max(now.after(Duration::from_millis(1))))
    }

    /// Says at start what is weak about a store, though it works.
    fn remark_on_stores(&self) {
        for report in self.stores.values().flat_map(|slot| slot.store.remarks()) {
            say_error(&report);
        }
    }

    /// Looks at start whether hooks could be carried out, so that nobody learns it at the first
    /// rotation.
    async fn probe_hooks(&self) {
        for hook in self.tellers.iter().filter_map(|teller| teller.hook.clone()) {
            for report in hook.probe().await {
                say_error(&report);
            }
        }
    }

    /// Revokes what was made for us, and the logins with which it was.
    async fn give_everything_back(&mut self) {
        for hold in std::mem::take(&mut self.holds) {
            let slot = self.stores.get(&hold.store);
            if let (Some(slot), Some(lease)) = (slot, hold.lease()) {
                // A login of ours takes its leases along.
                if !slot.store.session_is_ours() {
                    let _ = slot.store.revoke(lease).await;
                }
            }
        }
        for slot in self.stores.values().filter(|slot| slot.store.session_is_ours()) {
            slot.store.logout().await;
        }
        let _ = self.keeper.update(|snapshot| {
            snapshot.sessions.clear();
            snapshot.holds.clear();
        });
    }

    /// Ends what is open: a token that we logged in for and that nothing is handed over to.
    async fn leave(&mut self, mode: Mode, ending: &Ending) {
        let done = ending.exit == Exit::Done;
        let expiring = self.holds.iter().any(|hold| hold.lease().is_some());
        let gives_back = match mode {
            // Handed over, or delivered to live to its end by itself (`allow_expiry`).
            Mode::Once => !(self.keeper.hands_over(done) || done && expiring),
            // A command that ended needs nothing more, and nobody takes over.
            Mode::Stay => {
                self.config.revoke.on_exit || (self.runner.is_some() && !self.keeper.keeps())
            }
        };
        if gives_back {
            let _ = tokio::time::timeout(DRAIN, self.give_everything_back()).await;
        }
        self.observe.say(&Event::Ended { exit: ending.exit });
    }
}
