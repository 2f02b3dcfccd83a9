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
use vaultrs::api::token::requests::RevokeTokenSelfRequest;

use super::VaultStore;
use super::answer::Reply;
use super::error::{Fault, Who};
use crate::agent::config;
use crate::agent::identity::{Claims, Proof};
use crate::agent::store::Session;
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
    pub(super) session: Session,
    /// Probes that were refused; not tried again for the life of the token.
    pub(super) refused_probes: RefCell<BTreeSet<String>>,
}

impl Live {
    fn new(session: Session) -> Rc<Live> {
        Rc::new(Live { session, refused_probes: RefCell::default() })
    }

    /// Whether the token should be replaced soon: at 2/3 of its life.
    fn is_old(&self, now: Duration) -> bool {
        self.session.ttl.is_some_and(|ttl| now >= self.session.obtained + ttl / 3 * 2)
    }

    fn is_over(&self, now: Duration) -> bool {
        self.session.ttl.is_some_and(|ttl| now >= self.session.obtained + ttl)
    }
}

/// Who we are to the store, over time.
#[derive(Default)]
pub(super) struct Sessions {
    live: RefCell<Option<Rc<Live>>>,
    /// Held while somebody logs in, so that the others wait for that login instead of making
    /// their own.
    gate: tokio::sync::Mutex<()>,
    /// The last time a token was replaced though it had not ended.
    replaced: Cell<Option<Duration>>,
    /// Tokens of ours that were replaced, to be revoked at the end.
    superseded: RefCell<Vec<SecretBytes>>,
    /// The wrapping token that was used, and the secret id that was in it: it can be unwrapped
    /// only once, but a later login needs it again.
    unwrapped: RefCell<Option<Unwrapped>>,
}

struct Unwrapped {
    wrapping: SecretBytes,
    secret_id: SecretBytes,
}

impl Sessions {
    pub(super) fn adopt(session: Option<Session>) -> Sessions {
        let live = RefCell::new(session.map(Live::new));
        Sessions { live, ..Sessions::default() }
    }

    pub(super) fn current(&self) -> Option<Rc<Live>> {
        self.live.borrow().clone()
    }

    pub(super) fn forget(&self) {
        self.live.borrow_mut().take();
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

    fn replace(&self, session: Session) -> Rc<Live> {
        /// Replaced tokens that are remembered; older ones end by themselves.
        const MOST: usize = 8;
        let live = Live::new(session);
        let before = self.live.borrow_mut().replace(Rc::clone(&live));
        if let Some(before) = before.filter(|before| !before.session.given) {
            let mut superseded = self.superseded.borrow_mut();
            superseded.truncate(MOST - 1);
            superseded.insert(0, SecretBytes::copy_of(before.session.token.expose()));
        }
        live
    }
}

impl VaultStore {
    /// A session to ask with: the one that is there, or a new one.
    pub(super) async fn session(&self, now: Duration) -> Result<Rc<Live>, Fault> {
        let fresh = |live: &Rc<Live>| !live.is_old(now);
        if let Some(live) = self.sessions.current().filter(fresh) {
            return Ok(live);
        }
        let _gate = self.sessions.gate.lock().await;
        match self.sessions.current() {
            Some(live) if !live.is_old(now) => Ok(live),
            // An old token is still good: one that can't be replaced now is used to its end.
            Some(live) if !live.is_over(now) => {
                let now_or_later = self.sessions.may_replace(now);
                Ok(if now_or_later { self.login(now).await.unwrap_or(live) } else { live })
            }
            _ => self.login(now).await,
        }
    }

    /// What to ask with once more after `denied` was refused; `None`: the refusal stands.
    pub(super) async fn after_denial(
        &self,
        denied: &Rc<Live>,
        now: Duration,
    ) -> Result<Option<Rc<Live>>, Fault> {
        let _gate = self.sessions.gate.lock().await;
        if let Some(live) = self.sessions.current().filter(|live| !Rc::ptr_eq(live, denied)) {
            return Ok(Some(live));
        }
        let session = &denied.session;
        if session.given {
            let fresh = self.given(now)?;
            let same = fresh.token.ct_eq(&session.token);
            return Ok((!same).then(|| self.sessions.replace(fresh)));
        }
        if now.saturating_sub(session.obtained) < LAG {
            tokio::time::sleep(LAG_PAUSE).await;
            return Ok(Some(Rc::clone(denied)));
        }
        if !self.sessions.may_replace(now) {
            return Ok(None);
        }
        self.login(now).await.map(Some)
    }

    /// Revokes every token that we logged in for and still know; gives up after two seconds.
    pub(super) async fn end_sessions(&self) {
        let mut tokens = self.sessions.superseded.take();
        if let Some(live) = self.sessions.live.take()
            && !live.session.given
        {
            tokens.insert(0, SecretBytes::copy_of(live.session.token.expose()));
        }
        let revoke_all = async {
            for token in &tokens {
                // A token that can't be revoked ends by itself; there is nobody left to tell.
                let _ = self.call(RevokeTokenSelfRequest::default(), Some(token)).await;
            }
        };
        let _ = tokio::time::timeout(FAREWELL, revoke_all).await;
    }

    /// Ends the current session and everything that was made under it.
    pub(super) async fn revoke_session(&self, live: &Live) -> bool {
        self.sessions.forget();
        let token = Some(&live.session.token);
        let reply = self.call(RevokeTokenSelfRequest::default(), token).await;
        reply.is_ok_and(|reply| is_success(&reply))
    }

    /// The token that somebody else logged in for, as it is now.
    fn given(&self, now: Duration) -> Result<Session, Fault> {
        match self.identity.proof().map_err(Fault::Identity)? {
            Proof::Token(token) => {
                Ok(Session { token, ttl: None, renewable: false, obtained: now, given: true })
            }
            _ => Err(Fault::Address),
        }
    }

    async fn login(&self, now: Duration) -> Result<Rc<Live>, Fault> {
        if self.identity.is_given() {
            return Ok(self.sessions.replace(self.given(now)?));
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
            Proof::Token(_) => return Ok(self.sessions.replace(self.given(now)?)),
        };
        let login = match reply.status {
            200 => reply.login()?,
            400 | 401 | 403 | 404 => return Err(self.login_refused(&reply, claims)),
            _ => return Err(reply.refusal().unwrap_or(Fault::Failed { status: reply.status })),
        };
        let session = Session {
            token: login.token,
            ttl: login.ttl,
            renewable: login.renewable,
            obtained: now,
            given: false,
        };
        if (self.record)(&self.name, &session).is_err() {
            let _ = self.call(RevokeTokenSelfRequest::default(), Some(&session.token)).await;
            return Err(Fault::NotRecorded);
        }
        Ok(self.sessions.replace(session))
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
