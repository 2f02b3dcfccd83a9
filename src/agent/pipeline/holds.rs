//! What was made for us and is still good: leases and other values that each asking would make
//! anew. Each one lives until nothing shows it any more, whoever was to be told has confirmed its
//! successor, and the grace is over (promise 4).

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use crate::agent::rotate::{Backoff, Kind, Life, Roll, Step, Timestamp};
use crate::agent::state::Held;
use crate::secret::{Lease, Secret, SecretName, StoreName};

/// Something that was made for us.
pub(super) struct Hold {
    /// Which one: its place in the order of making.
    pub id: u64,
    /// Whose value it is.
    pub secret: SecretName,
    /// Where it was made.
    pub store: StoreName,
    /// The value, and the lease if it has one.
    pub value: Rc<Secret>,
    /// How long its lease lives.
    pub life: Life,
    /// When it is renewed; `None`: it is not.
    pub renew_at: Option<Timestamp>,
    /// When something new is asked for in its place; `None`: not as long as it grows.
    pub replace_at: Option<Timestamp>,
    /// Whether a request about it is out.
    pub asked: bool,
    /// How long to wait after a failure.
    pub backoff: Backoff,
    /// That nothing needs it any more.
    pub leaving: Option<Leaving>,
}

/// The way out of something that nothing shows any more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Leaving {
    /// Hooks that have not confirmed its successor.
    pub owed: BTreeSet<usize>,
    /// When it is given back, once they have.
    pub at: Option<Timestamp>,
}

impl Hold {
    /// Something that was made at `now`.
    pub fn new(
        id: u64,
        secret: SecretName,
        store: StoreName,
        value: Rc<Secret>,
        now: Timestamp,
    ) -> Hold {
        let lease = value.lease.as_ref();
        let life =
            Life::new(lease.and_then(|l| l.duration), lease.is_some_and(|l| l.renewable), now);
        Hold {
            id,
            secret,
            store,
            value,
            life,
            renew_at: None,
            replace_at: None,
            asked: false,
            backoff: Backoff::default(),
            leaving: None,
        }
    }

    /// Something that an earlier process left.
    pub fn adopt(id: u64, held: &Held) -> Hold {
        let (secret, store, value) =
            (held.secret.clone(), held.store.clone(), Rc::clone(&held.value));
        let at = Timestamp(held.at);
        let mut adopted = Hold::new(id, secret, store, value, at);
        adopted.life = Life::resumed(held.first, held.last, held.renewable, at);
        adopted.replace_at = held.replace_at.map(Timestamp);
        adopted.leaving =
            held.leaving.map(|at| Leaving { at: at.map(Timestamp), ..Leaving::default() });
        adopted
    }

    /// What a restart needs of it.
    pub fn held(&self, newest: bool) -> Held {
        let (first, last, at) = self.life.grants();
        Held {
            secret: self.secret.clone(),
            store: self.store.clone(),
            value: Rc::clone(&self.value),
            first,
            last,
            at: at.0,
            renewable: self.life.is_renewable(),
            replace_at: self.replace_at.map(|at| at.0),
            newest,
            leaving: self.leaving.as_ref().map(|leaving| leaving.at.map(|at| at.0)),
        }
    }

    /// Its lease.
    pub fn lease(&self) -> Option<&Lease> {
        self.value.lease.as_ref()
    }

    /// Whether it was made under that login of that store.
    pub fn is_under(&self, store: &StoreName, serial: u64) -> bool {
        self.store == *store && self.lease().is_some_and(|lease| lease.under == serial)
    }

    /// Decides when it is renewed and when it is replaced.
    ///
    /// `idle` is how often a lease without a known end is renewed.
    pub fn plan(&mut self, idle: Duration, roll: Roll) {
        if self.lease().is_none() {
            return;
        }
        (self.renew_at, self.replace_at) = match self.life.next(Kind::Lease, Some(idle), roll) {
            Some((at, Step::Renew)) => (Some(at), self.life.last_call()),
            Some((at, Step::Replace)) => (None, Some(at)),
            None => (None, None),
        };
    }

    /// Whether it is to be given back now.
    pub fn must_go(&self, now: Timestamp) -> bool {
        self.leaving.as_ref().and_then(|leaving| leaving.at).is_some_and(|at| at <= now)
    }
}
