//! Leases: more time for them, and their end.

use super::VaultStore;
use super::error::Fault;
use super::request::Write;
use super::session::is_success;
use crate::agent::store::Granted;
use crate::secret::{Lease, SecretBytes};

impl VaultStore {
    /// More time for a lease: the duration that is granted, which may be shorter than it was.
    pub(super) async fn renew_by_name(&self, lease: &Lease) -> Result<Granted, Fault> {
        let live = self.sessions.of(lease.under).or_else(|| self.sessions.current());
        let live = live.ok_or_else(|| self.denied(403))?;
        let reply = self.call(Write::renewal(name(&lease.id)?), Some(live.token())).await?;
        if is_success(&reply) {
            return reply.granted(false);
        }
        Err(reply.refusal().unwrap_or_else(|| self.denied(reply.status)))
    }

    /// The end of a lease, with the login that it was made under; else, and if that one may not any
    /// more, with the current one.
    pub(super) async fn end_lease(&self, lease: &Lease) -> Result<(), Fault> {
        let own = self.sessions.of(lease.under);
        let current = self.sessions.current().filter(|live| live.serial() != lease.under);
        let mut outcome = Err(self.denied(403));
        for live in own.iter().chain(&current) {
            outcome = self.revoke_by_name(&lease.id, live.token()).await;
            if !matches!(outcome, Err(Fault::Denied { .. })) {
                break;
            }
        }
        outcome
    }

    /// The end of a lease; one that is over already is fine.
    pub(super) async fn revoke_by_name(
        &self,
        lease: &SecretBytes,
        token: &SecretBytes,
    ) -> Result<(), Fault> {
        let reply = self.call(Write::revocation(name(lease)?), Some(token)).await?;
        if is_success(&reply) {
            return Ok(());
        }
        Err(reply.refusal().unwrap_or_else(|| self.denied(reply.status)))
    }

    fn denied(&self, status: u16) -> Fault {
        Fault::Denied { who: self.who(), status, meant: None }
    }
}

fn name(lease: &SecretBytes) -> Result<&str, Fault> {
    std::str::from_utf8(lease.expose()).map_err(|_| Fault::Path)
}
