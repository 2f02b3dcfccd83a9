//! Logging in: once for all secrets of a store, recorded before anything else is asked for, and
//! again only when a token ends or is refused.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use vaultrs::api::auth::approle::requests::LoginWithApproleRequest;
use vaultrs::api::auth::kubernetes::requests::LoginWithKubernetesRequest;
use vaultrs::api::auth::oidc::requests::JWTLoginRequest;
use vaultrs::api::sys::requests::{UnwrapRequest, WrappingLookupRequest};
use vaultrs::api::token::requests::{
    LookupTokenSelfRequest, RenewTokenSelfRequest, RevokeTokenSelfRequest,
};

use super::VaultStore;
use super::answer::Reply;
use super::error::{Fault, Who};
use super::request::Write;
use crate::agent::config;
use crate::agent::identity::{Claims, Proof};
use crate::agent::store::{Granted, Session};
use crate::secret::SecretBytes;

/// At most one new login in this time after refused reads, for the whole store.
const LOGIN_PACE: Duration = Duration::from_mins(1);

/// How long after a login a refusal may mean that a server has not heard of it yet (catalogue
/// row 11; Vault's documentation of eventual consistency).
const LAG: Duration = Duration::from_secs(2);

/// How long to wait before asking again in that case.
const LAG_PAUSE: Duration = Duration::from_millis(300);

/// Time for the revocations at the end of the process (catalogue row 49).
const FAREWELL: Duration = Duration::from_secs(2);

/// A session, and what was learnt under it.
pub(super) struct Live {
    serial: u64,
    token: SecretBytes,
    given: bool,
    first_ttl: Option<Duration>,
    /// What changes when it is renewed.
    term: Cell<Term>,
    /// Probes that were refused; not tried again for the life of the token.
    pub(super) refused_probes: RefCell<BTreeSet<String>>,
}

/// How long a token lives.
#[derive(Clone, Copy)]
struct Term {
    ttl: Option<Duration>,
    renewable: bool,
    obtained: Duration,
}

impl Live {
    fn new(session: Session) -> Rc<Live> {
        let Session { serial, token, first_ttl, ttl, renewable, obtained, given } = session;
        let term = Cell::new(Term { ttl, renewable, obtained });
        Rc::new(Live { serial, token, given, first_ttl, term, refused_probes: RefCell::default() })
    }

    pub(super) fn serial(&self) -> u64 {
        self.serial
    }

    pub(super) fn token(&self) -> &SecretBytes {
        &self.token
    }

    pub(super) fn is_given(&self) -> bool {
        self.given
    }

    fn copy(&self) -> Session {
        let Term { ttl, renewable, obtained } = self.term.get();
        let (serial, given, first_ttl) = (self.serial, self.given, self.first_ttl);
        let token = SecretBytes::copy_of(self.token.expose());
        Session { serial, token, first_ttl, ttl, renewable, obtained, given }
    }

    fn is_over(&self, now: Duration) -> bool {
        let term = self.term.get();
        term.ttl.is_some_and(|ttl| now >= term.obtained.saturating_add(ttl))
    }
}

/// Who we are to the store, over time.
#[derive(Default)]
pub(super) struct Sessions {
    live: RefCell<Option<Rc<Live>>>,
    /// Earlier ones that something may still hang on, the newest first.
    earlier: RefCell<Vec<Rc<Live>>>,
    /// One that was recorded and may not stay.
    trial: RefCell<Option<Rc<Live>>>,
    /// The number of the last login.
    last: Cell<u64>,
    /// Held while somebody logs in, so that the others wait for that login instead of making
    /// their own.
    gate: tokio::sync::Mutex<()>,
    /// The last time a token was replaced though it had not ended.
    replaced: Cell<Option<Duration>>,
    /// The wrapping token that was used, and the secret id that was in it: it can be unwrapped
    /// only once, but a later login needs it again.
    unwrapped: RefCell<Option<Unwrapped>>,
}

struct Unwrapped {
    wrapping: SecretBytes,
    secret_id: SecretBytes,
}

/// What to ask with once more after a refusal.
pub(super) enum Second {
    /// Nothing: the refusal stands.
    None,
    /// A session that is good anyway.
    Other(Rc<Live>),
    /// A new login. If it helps, it takes the place of the one before.
    Trial(Rc<Live>),
}

impl Sessions {
    /// Takes over what an earlier process logged in for: the newest is the current one.
    pub(super) fn adopt(mut sessions: Vec<Session>) -> Sessions {
        sessions.sort_by_key(|session| std::cmp::Reverse(session.serial));
        let last = Cell::new(sessions.first().map_or(0, |session| session.serial));
        let mut lives = sessions.into_iter().map(Live::new);
        let live = RefCell::new(lives.next());
        Sessions { live, earlier: RefCell::new(lives.collect()), last, ..Sessions::default() }
    }

    pub(super) fn current(&self) -> Option<Rc<Live>> {
        self.live.borrow().clone()
    }

    /// The session with that number, while it is good.
    pub(super) fn of(&self, serial: u64) -> Option<Rc<Live>> {
        let current = self.current();
        let earlier = self.earlier.borrow();
        current.iter().chain(earlier.iter()).find(|live| live.serial == serial).cloned()
    }

    /// The current one, unless its time is over.
    pub(super) fn good(&self, now: Duration) -> Option<Rc<Live>> {
        self.current().filter(|live| !live.is_over(now))
    }

    pub(super) fn trial(&self) -> Option<Session> {
        self.trial.borrow().as_ref().map(|live| live.copy())
    }

    pub(super) fn copies(&self) -> Vec<Session> {
        let earlier = self.earlier.borrow();
        self.current().iter().chain(earlier.iter()).map(|live| live.copy()).collect()
    }

    /// Forgets a session, whichever it is.
    fn forget(&self, serial: u64) {
        self.live.borrow_mut().take_if(|live| live.serial == serial);
        self.earlier.borrow_mut().retain(|live| live.serial != serial);
    }

    fn next_serial(&self) -> u64 {
        self.last.set(self.last.get() + 1);
        self.last.get()
    }

    /// Whether a token may be replaced now though it has not ended; if so, that is the one time.
    fn may_replace(&self, now: Duration) -> bool {
        let last = self.replaced.get();
        let may = last.is_none_or(|last| now.saturating_sub(last) >= LOGIN_PACE);
        if may {
            self.replaced.set(Some(now));
        }
        may
    }

    fn replace(&self, live: Rc<Live>) -> Rc<Live> {
        let before = self.live.borrow_mut().replace(Rc::clone(&live));
        let mut earlier = self.earlier.borrow_mut();
        // A token that was given can come back.
        earlier.retain(|old| old.serial != live.serial);
        earlier.splice(0..0, before.filter(|before| before.serial != live.serial));
        live
    }
}

impl VaultStore {
    /// A session to ask with: the one that is there, or a new one. Who looks after its time is
    /// whoever looks after leases; one that is over is replaced here.
    pub(super) async fn session(&self, now: Duration) -> Result<Rc<Live>, Fault> {
        if let Some(live) = self.sessions.good(now) {
            return Ok(live);
        }
        let _gate = self.sessions.gate.lock().await;
        match self.sessions.good(now) {
            Some(live) => Ok(live),
            None => Ok(self.sessions.replace(self.login(now).await?)),
        }
    }

    /// What to ask with once more after `denied` was refused.
    pub(super) async fn after_denial(
        &self,
        denied: &Rc<Live>,
        now: Duration,
    ) -> Result<Second, Fault> {
        let _gate = self.sessions.gate.lock().await;
        if let Some(live) = self.sessions.current().filter(|live| !Rc::ptr_eq(live, denied)) {
            return Ok(Second::Other(live));
        }
        if denied.given {
            let fresh = self.given(now)?;
            if fresh.token.ct_eq(&denied.token) {
                return Ok(Second::None);
            }
            return Ok(Second::Other(self.sessions.replace(fresh)));
        }
        if now.saturating_sub(denied.term.get().obtained) < LAG {
            tokio::time::sleep(LAG_PAUSE).await;
            return Ok(Second::Other(Rc::clone(denied)));
        }
        if !self.sessions.may_replace(now) {
            return Ok(Second::None);
        }
        let trial = self.login(now).await?;
        *self.sessions.trial.borrow_mut() = Some(Rc::clone(&trial));
        Ok(Second::Trial(trial))
    }

    /// Decides which of two sessions goes on. The new one, unless it was refused like the one before
    /// and that one is still good: then nothing is wrong with it, and what was made under it can
    /// stay.
    pub(super) async fn end_trial(&self, before: &Live, trial: Rc<Live>, refused: bool) {
        if refused && self.is_good(before, &trial).await {
            self.revoke_token(&trial).await;
            self.sessions.trial.take();
        } else {
            self.sessions.trial.take();
            self.sessions.replace(trial);
        }
    }

    /// Whether the store still knows a token, as far as it says. One that may not even ask that is
    /// taken as good, and so is every one while the store does not answer: `fresh`, which certainly
    /// is good, shows whether it may.
    async fn is_good(&self, live: &Live, fresh: &Live) -> bool {
        self.is_known(live).await != Some(false) || self.is_known(fresh).await != Some(true)
    }

    async fn is_known(&self, live: &Live) -> Option<bool> {
        let reply = self.call(LookupTokenSelfRequest::default(), Some(&live.token)).await.ok()?;
        match reply.status {
            200..300 => Some(true),
            401 | 403 => Some(false),
            _ => None,
        }
    }

    /// A new login in the place of the current one.
    pub(super) async fn replace_session(&self, now: Duration) -> Result<(), Fault> {
        self.renew_trust(now)?;
        let before = self.sessions.current();
        let _gate = self.sessions.gate.lock().await;
        let replaced = match (self.sessions.current(), before) {
            (Some(live), Some(before)) => !Rc::ptr_eq(&live, &before),
            (live, _) => live.is_some(),
        };
        if !replaced {
            self.sessions.replace(self.login(now).await?);
        }
        Ok(())
    }

    /// More time for a token.
    pub(super) async fn renew_token(&self, serial: u64, now: Duration) -> Result<Granted, Fault> {
        let denied = || Fault::Denied { who: self.who(), status: 403, meant: None };
        self.renew_trust(now)?;
        let live = self.sessions.of(serial).ok_or_else(denied)?;
        let reply = self.call(RenewTokenSelfRequest::default(), Some(&live.token)).await?;
        if !is_success(&reply) {
            return Err(reply.refusal().unwrap_or_else(denied));
        }
        let granted = reply.granted(true)?;
        live.term.set(Term { ttl: granted.span, renewable: granted.renewable, obtained: now });
        Ok(granted)
    }

    /// Revokes a token of ours, and forgets it. One that was given is only forgotten.
    pub(super) async fn end_session(&self, serial: u64) -> Result<(), Fault> {
        let Some(live) = self.sessions.of(serial) else { return Ok(()) };
        if !live.given {
            let reply = self.call(RevokeTokenSelfRequest::default(), Some(&live.token)).await?;
            // A token that the store does not know any more is where it should be.
            if !is_success(&reply) && !matches!(reply.status, 400..=404) {
                return Err(reply.refusal().unwrap_or(Fault::Failed { status: reply.status }));
            }
        }
        self.sessions.forget(serial);
        Ok(())
    }

    /// Revokes every token that we logged in for and still know; gives up after two seconds.
    pub(super) async fn end_sessions(&self) {
        let earlier = self.sessions.earlier.take();
        let current = self.sessions.live.take();
        let trial = self.sessions.trial.take();
        let revoke_all = async {
            let all = current.iter().chain(&earlier).chain(&trial);
            for live in all.filter(|live| !live.given) {
                self.revoke_token(live).await;
            }
        };
        let _ = tokio::time::timeout(FAREWELL, revoke_all).await;
    }

    /// A token that can't be revoked ends by itself; there is nobody left to tell.
    async fn revoke_token(&self, live: &Live) {
        let _ = self.call(RevokeTokenSelfRequest::default(), Some(&live.token)).await;
    }

    /// Ends a session and everything that was made under it.
    pub(super) async fn revoke_session(&self, live: &Live) -> bool {
        self.sessions.forget(live.serial);
        let token = Some(&live.token);
        let reply = self.call(RevokeTokenSelfRequest::default(), token).await;
        reply.is_ok_and(|reply| is_success(&reply))
    }

    /// The token that somebody else logged in for, as it is now.
    fn given(&self, now: Duration) -> Result<Rc<Live>, Fault> {
        match self.identity.proof().map_err(Fault::Identity)? {
            Proof::Token(token) => Ok(Live::new(Session {
                serial: self.serial_of(&token),
                token,
                first_ttl: None,
                ttl: None,
                renewable: false,
                obtained: now,
                given: true,
            })),
            _ => Err(Fault::Address),
        }
    }

    /// Takes the token that somebody else logged in for as it is now, if it is there. Says whether
    /// it is another one.
    pub(super) fn take_given(&self, now: Duration) -> bool {
        if !self.identity.is_given() {
            return false;
        }
        let before = self.sessions.current().map(|live| live.serial);
        let Ok(fresh) = self.given(now) else { return false };
        let is_another = before != Some(fresh.serial);
        if is_another {
            self.sessions.replace(fresh);
        }
        is_another
    }

    /// A number for a token that was given: the same after a restart, another for another token.
    fn serial_of(&self, token: &SecretBytes) -> u64 {
        let digest = self.digest_key.digest(token.expose());
        digest.iter().take(8).fold(0, |serial, byte| serial << 8 | u64::from(*byte))
    }

    /// Logs in, and records it. The caller decides what becomes of the session before.
    async fn login(&self, now: Duration) -> Result<Rc<Live>, Fault> {
        if self.identity.is_given() {
            return self.given(now);
        }
        let (reply, claims) = match self.identity.proof().map_err(Fault::Identity)? {
            Proof::Jwt { method, mount, role, jwt } => {
                let claims = Claims::of(&jwt);
                (self.login_with_jwt(method, mount, role, &jwt).await?, claims)
            }
            Proof::AppRole { mount, role_id, secret_id } => {
                let secret_id = self.secret_id(&mount, secret_id).await?;
                let (role_id, secret_id) = (text(&role_id), text(&secret_id));
                let request = LoginWithApproleRequest { mount, role_id, secret_id };
                (self.call(request, None).await?, None)
            }
            Proof::Certificate { mount, role } => {
                (self.call(Write::certificate_login(&mount, role.as_deref()), None).await?, None)
            }
            Proof::Aws { mount, role } => (self.login_with_aws(&mount, role, now).await?, None),
            Proof::Token(_) => return self.given(now),
        };
        let login = match reply.status {
            200 => reply.login()?,
            400 | 401 | 403 | 404 => return Err(self.login_refused(&reply, claims)),
            _ => return Err(reply.refusal().unwrap_or(Fault::Failed { status: reply.status })),
        };
        let session = Session {
            serial: self.sessions.next_serial(),
            token: login.token,
            first_ttl: login.ttl,
            ttl: login.ttl,
            renewable: login.renewable,
            obtained: now,
            given: false,
        };
        if (self.record)(&self.name, &session).is_err() {
            let _ = self.call(RevokeTokenSelfRequest::default(), Some(&session.token)).await;
            return Err(Fault::NotRecorded);
        }
        Ok(Live::new(session))
    }

    /// Shows who AWS says we are: a request to STS that we sign and the store sends.
    #[cfg(feature = "aws")]
    async fn login_with_aws(
        &self,
        mount: &str,
        role: Option<String>,
        now: Duration,
    ) -> Result<Reply, Fault> {
        let caller = self.caller.as_ref().ok_or(Fault::Address)?;
        let signed = caller.login(now).await.map_err(|error| Fault::Aws(Box::new(error)))?;
        let reply = self.call(Write::aws_login(mount, role, signed), None).await?;
        if !is_success(&reply) {
            // What was signed with may have been replaced where it comes from.
            caller.forget();
        }
        Ok(reply)
    }

    #[cfg(not(feature = "aws"))]
    #[expect(clippy::unused_async, reason = "with AWS it waits")]
    async fn login_with_aws(
        &self,
        _: &str,
        _: Option<String>,
        _: Duration,
    ) -> Result<Reply, Fault> {
        Err(Fault::Address)
    }

    async fn login_with_jwt(
        &self,
        method: &str,
        mount: String,
        role: String,
        jwt: &SecretBytes,
    ) -> Result<Reply, Fault> {
        let jwt = text(jwt);
        if method == "kubernetes" {
            self.call(LoginWithKubernetesRequest { mount, role, jwt }, None).await
        } else {
            self.call(JWTLoginRequest { mount, jwt, role: Some(role) }, None).await
        }
    }

    fn login_refused(&self, reply: &Reply, claims: Option<Claims>) -> Fault {
        if let Some(Fault::Tls(fault)) = reply.refusal() {
            return Fault::Tls(fault);
        }
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let end = claims.as_ref().and_then(|claims| claims.expires);
        let expired = end.is_some_and(|end| end <= now.as_secs());
        Fault::LoginRefused { who: self.who(), status: reply.status, claims, expired }
    }

    /// As whom we ask, for messages.
    pub(super) fn who(&self) -> Who {
        match &self.login {
            config::Login::Kubernetes { role, mount, .. } => {
                Who::Login { method: "kubernetes", mount: mount.clone(), role: Some(role.clone()) }
            }
            config::Login::Jwt { role, mount, .. } => {
                Who::Login { method: "jwt", mount: mount.clone(), role: Some(role.clone()) }
            }
            config::Login::AppRole { mount, .. } => {
                Who::Login { method: "approle", mount: mount.clone(), role: None }
            }
            config::Login::Cert { role, mount } => {
                Who::Login { method: "cert", mount: mount.clone(), role: role.clone() }
            }
            config::Login::Aws { role, mount, .. } => {
                Who::Login { method: "aws", mount: mount.clone(), role: role.clone() }
            }
            config::Login::Token(_) => Who::Token,
        }
    }

    /// The secret id itself, which `found` may be a wrapping token of.
    ///
    /// 1. A wrapping token that we used already: what was in it then.
    /// 2. Look where it was made. One made anywhere else than at this mount was put there by
    ///    somebody who took the real one.
    /// 3. Unwrap it. One that was used already, somebody else has used.
    async fn secret_id(&self, mount: &str, found: SecretBytes) -> Result<SecretBytes, Fault> {
        if !looks_wrapped(&found) {
            return Ok(found);
        }
        if let Some(known) = &*self.sessions.unwrapped.borrow()
            && known.wrapping.ct_eq(&found)
        {
            return Ok(SecretBytes::copy_of(known.secret_id.expose()));
        }
        let lookup = WrappingLookupRequest { token: text(&found) };
        let reply = self.call(lookup, None).await?;
        let made = unwrapping(&reply)?.text("creation_path")?;
        let ours = format!("auth/{mount}/role/");
        if !made.expose().starts_with(ours.as_bytes()) || !made.expose().ends_with(b"secret-id") {
            return Err(Fault::WrappingForeign);
        }
        let reply = self.call(UnwrapRequest { token: None }, Some(&found)).await?;
        let secret_id = unwrapping(&reply)?.text("secret_id")?;
        let kept = SecretBytes::copy_of(secret_id.expose());
        *self.sessions.unwrapped.borrow_mut() =
            Some(Unwrapped { wrapping: found, secret_id: kept });
        Ok(secret_id)
    }
}

fn unwrapping(reply: &Reply) -> Result<&Reply, Fault> {
    match reply.status {
        200 => Ok(reply),
        400 | 401 | 403 | 404 => Err(Fault::WrappingUsed),
        _ => Err(reply.refusal().unwrap_or(Fault::WrappingUsed)),
    }
}

/// Whether this is a token of the store and not a secret id. Secret ids that the store makes are
/// UUIDs; tokens begin with their kind: `s.` (OpenBao), `hvs.` and others (Vault), or are JSON web
/// tokens.
fn looks_wrapped(secret_id: &SecretBytes) -> bool {
    const KINDS: [&[u8]; 7] = [b"s.", b"b.", b"r.", b"hvs.", b"hvb.", b"hvr.", b"eyJ"];
    KINDS.iter().any(|kind| secret_id.expose().starts_with(kind))
}

/// The requests of `vaultrs` hold plain strings; they live until the request is sent.
fn text(secret: &SecretBytes) -> String {
    String::from_utf8_lossy(secret.expose()).into_owned()
}

pub(super) fn is_success(reply: &Reply) -> bool {
    (200..300).contains(&reply.status)
}
