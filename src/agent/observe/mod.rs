//! What is said about what happens: log, audit, metrics, health. Facts come in as [`Event`]s; nothing
//! here asks any other stage.

mod client;
mod event;
mod log;
mod metrics;
mod server;
mod status;

use std::cell::RefCell;
use std::rc::Rc;

pub use client::{Answer, Question, ask};
pub use event::{Event, FetchResult, HookResult, LeaseStep, RotationResult};
pub use log::{Format, Level, init as init_log, report as log_report};
pub use metrics::Metrics;
pub use server::{Listeners, Server};
pub use status::{Protections, SecretStatus, Status};

/// Where the pipeline puts its facts.
#[derive(Clone)]
pub struct Observe {
    metrics: Rc<Metrics>,
    status: Rc<RefCell<Status>>,
}

impl Observe {
    /// Begins with a status that says *starting*.
    pub fn new() -> Observe {
        Observe {
            metrics: Rc::new(Metrics::new()),
            status: Rc::new(RefCell::new(Status::starting())),
        }
    }

    /// Says one thing: to the log, to the audit, to the metrics, as the event itself decides.
    pub fn say(&self, event: &Event<'_>) {
        log::write(event);
        self.metrics.count(event);
    }

    /// Shows how things stand now.
    pub fn show(&self, status: Status) {
        *self.status.borrow_mut() = status;
    }

    /// How things stand, as shown last.
    pub fn status(&self) -> Rc<RefCell<Status>> {
        Rc::clone(&self.status)
    }

    /// The metrics, for the server.
    pub fn metrics(&self) -> Rc<Metrics> {
        Rc::clone(&self.metrics)
    }
}

impl Default for Observe {
    fn default() -> Observe {
        Observe::new()
    }
}
