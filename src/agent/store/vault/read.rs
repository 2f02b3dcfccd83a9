//! Reading one secret: which requests, in which order, and what their answers add up to.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use vaultrs::api::kv2::requests::ReadSecretMetadataRequest;

use super::VaultStore;
use super::answer::{Found, Reply};
use super::error::{Absence, Fault, Malformed};
use super::request::{Read, Write};
use super::session::{Live, Second, is_success};
use crate::agent::config::{Engine, Parameters, SecretRef};
use crate::agent::store::{Answer, Fetched, Rhythm, Wanted};
use crate::secret::{FieldPath, Lease, Secret, SecretBytes, SecretValue, Version};

/// Waits between tries while a server is behind (catalogue row 11): ten times, 3.7 s together.
const CATCH_UP: [u64; 10] = [50, 100, 200, 350, 500, 500, 500, 500, 500, 500];

/// Engines whose reads only show what is there.
const SHOWING: [&str; 8] =
    ["kv", "generic", "cubbyhole", "pki", "transit", "ssh", "identity", "system"];

/// What a read needs to know.
struct Ask<'a> {
    path: &'a str,
    field: &'a FieldPath,
    engine: Option<Engine>,
    pinned: Option<u64>,
    have: Option<&'a Version>,
    with: &'a Parameters,
    files: &'a BTreeMap<String, SecretBytes>,
    leases: bool,
}

impl VaultStore {
    /// The steps of a fetch:
    ///
    /// 1. What can be answered without asking is: a pinned version that is here already, a path
    ///    that can't be asked for, one that answered with a lease before.
    /// 2. A store that was sealed is asked for its health first.
    /// 3. Log in, unless there is a session.
    /// 4. Read. After a refusal, one new login and one more read. A login that did not help is given
    ///    back, because nothing is wrong with the one before.
    pub(super) async fn steps(&self, wanted: Wanted<'_>) -> Result<Fetched, Fault> {
        let ask = Ask::new(&wanted)?;
        if let (Some(pinned), Some(Version::Number(have))) = (ask.pinned, ask.have)
            && pinned == *have
        {
            return Ok(Answer::Unmoved.into());
        }
        if let Some(&revoked) = self.leased.borrow().get(ask.path) {
            return Err(Fault::LeaseUnexpected { revoked });
        }
        self.renew_trust(wanted.now)?;
        if self.sealed.get() {
            self.health().await?;
        }
        let live = self.session(wanted.now).await?;
        let mut outcome = self.read(&ask, &live).await;
        if let Err(Fault::Denied { .. }) = outcome {
            match self.after_denial(&live, wanted.now).await? {
                Second::None => {}
                Second::Other(live) => outcome = self.read(&ask, &live).await,
                Second::Trial(trial) => {
                    outcome = self.read(&ask, &trial).await;
                    let refused = matches!(outcome, Err(Fault::Denied { .. }));
                    self.end_trial(&live, trial, refused).await;
                }
            }
        }
        match outcome {
            Err(Fault::Denied { who, status, .. }) => {
                let live = self.sessions.current().unwrap_or(live);
                let meant = self.meant(ask.path, &live).await;
                Err(Fault::Denied { who, status, meant })
            }
            outcome => outcome,
        }
    }

    async fn read(&self, ask: &Ask<'_>, live: &Rc<Live>) -> Result<Fetched, Fault> {
        if let Some(have) = ask.counted()
            && self.newest(ask.path, live).await? == Some(have)
        {
            return Ok(Answer::Unmoved.into());
        }
        let reply = if ask.with.is_empty() {
            self.get(ask.path, ask.pinned, live).await?
        } else {
            self.call(Write { path: ask.path.to_owned(), body: ask.body()? }, Some(live.token()))
                .await?
        };
        let found = match reply.status {
            204 => return Err(Fault::Absent(Absence::Never)),
            _ if is_success(&reply) => reply.found(ask.engine)?,
            _ => return Err(self.refusal(&reply, ask.path, live).await),
        };
        let lease = found.lease.as_ref().map(|id| Lease {
            id: SecretBytes::copy_of(id.expose()),
            duration: found.granted.span,
            renewable: found.granted.renewable,
            under: live.serial(),
        });
        match lease {
            Some(lease) if !ask.leases => Err(self.refuse_lease(ask.path, &lease.id, live).await),
            Some(lease) => match self.answer(ask, found, true) {
                Ok((Answer::Moved(secret), rhythm)) => {
                    let answer = Answer::Moved(Secret { lease: Some(lease), ..secret });
                    Ok(Fetched { answer, rhythm })
                }
                Ok((answer, rhythm)) => Ok(Fetched { answer, rhythm }),
                // Nobody will ever use it, so nobody would give it back.
                Err(fault) => {
                    let _ = self.revoke_by_name(&lease.id, live.token()).await;
                    Err(fault)
                }
            },
            None => {
                let (answer, rhythm) = self.answer(ask, found, false)?;
                Ok(Fetched { answer, rhythm })
            }
        }
    }

    /// What an answer means. One with a lease is always new, also if it reads the same.
    fn answer(&self, ask: &Ask<'_>, found: Found, leased: bool) -> Result<(Answer, Rhythm), Fault> {
        // Only what was made for a request has the dates of its making.
        let rhythm = match found.rhythm {
            Rhythm::Dated { .. } if ask.with.is_empty() => Rhythm::Unknown,
            rhythm => rhythm,
        };
        match (ask.pinned, found.version) {
            (Some(_), None) => return Err(Fault::VersionUnknown),
            (Some(pinned), Some(version)) if pinned != version => {
                return Err(Fault::Malformed(Malformed::OtherVersion));
            }
            _ => {}
        }
        let there = found.value.field_names().into_iter().map(str::to_owned).collect();
        let value = found
            .value
            .into_part(ask.field)
            .ok_or_else(|| Fault::FieldMissing { field: ask.field.clone(), there })?;
        let version = match found.version {
            Some(version) => Version::Number(version),
            None => Version::Digest(self.digest(&value)?),
        };
        if ask.have == Some(&version) && !leased {
            return Ok((Answer::Unmoved, rhythm));
        }
        Ok((Answer::Moved(Secret { value, version, lease: None }), rhythm))
    }

    fn digest(&self, value: &SecretValue) -> Result<[u8; crate::secret::DIGEST_LEN], Fault> {
        // A certificate list in DER is not text and has no JSON: its bytes stand for themselves.
        let canonical = match value {
            SecretValue::Text(bytes) => return Ok(self.digest_key.digest(bytes.expose())),
            value => value.to_json(),
        };
        let canonical = canonical.map_err(|error| Fault::Malformed(Malformed::Json(error)))?;
        Ok(self.digest_key.digest(canonical.expose()))
    }

    /// The newest version of a KV 2 secret by its metadata. `None`: the full read decides, because
    /// the probe is refused, unclear, or the mount can't be told from the path.
    async fn newest(&self, path: &str, live: &Live) -> Result<Option<u64>, Fault> {
        let Some((mount, rest)) = split_kv2(path) else { return Ok(None) };
        if live.refused_probes.borrow().contains(path) {
            return Ok(None);
        }
        let probe = ReadSecretMetadataRequest { mount: mount.into(), path: rest.into() };
        let reply = self.call(probe, Some(live.token())).await?;
        match reply.status {
            200 => Ok(reply.current_version()),
            401 | 403 => {
                live.refused_probes.borrow_mut().insert(path.to_owned());
                Ok(None)
            }
            404 => Ok(None),
            status => Err(reply.refusal().unwrap_or(Fault::Failed { status })),
        }
    }

    /// Reads a path, and again while the server is behind another one that we have read from.
    async fn get(&self, path: &str, version: Option<u64>, live: &Live) -> Result<Reply, Fault> {
        let token = Some(live.token());
        for pause in CATCH_UP {
            let reply = self.call(Read { path, version }, token).await?;
            if reply.status != 412 {
                return Ok(reply);
            }
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        self.call(Read { path, version }, token).await
    }

    async fn refusal(&self, reply: &Reply, path: &str, live: &Live) -> Fault {
        match reply.refusal() {
            None => Fault::Denied { who: self.who(), status: reply.status, meant: None },
            Some(Fault::Absent(Absence::NeedsData { .. })) => {
                Fault::Absent(Absence::NeedsData { meant: self.meant(path, live).await })
            }
            Some(fault) => fault,
        }
    }

    /// The path that was probably meant, if this one lacks the `data/` of a KV 2 mount. Policies
    /// for KV 2 name `MOUNT/data/…`, so the mistake mostly looks like a refusal.
    async fn meant(&self, path: &str, live: &Live) -> Option<String> {
        if path.split('/').any(|part| part == "data" || part == "metadata") {
            return None;
        }
        let probe = format!("sys/internal/ui/mounts/{path}");
        let probe = Read { path: &probe, version: None };
        let reply = self.call(probe, Some(live.token())).await.ok()?;
        let mount = reply.kv2_mount().filter(|_| reply.status == 200)?;
        path.strip_prefix(&mount).map(|rest| format!("{mount}data/{rest}"))
    }

    /// Nobody looks after this lease, so it is given back at once: by its name, else by ending the
    /// session that it hangs on, if that is ours.
    async fn refuse_lease(&self, path: &str, lease: &SecretBytes, live: &Live) -> Fault {
        let by_name = self.revoke_by_name(lease, live.token()).await.is_ok();
        let revoked = by_name || (!live.is_given() && self.revoke_session(live).await);
        self.leased.borrow_mut().insert(path.to_owned(), revoked);
        Fault::LeaseUnexpected { revoked }
    }

    /// Whether a read may make something, by the engine at the path. Where the store does not say,
    /// it may not.
    pub(super) async fn makes_at(&self, path: &str, now: Duration) -> Result<bool, Fault> {
        self.renew_trust(now)?;
        let live = self.session(now).await?;
        let probe = format!("sys/internal/ui/mounts/{path}");
        let reply = self.call(Read { path: &probe, version: None }, Some(live.token())).await?;
        let kind = reply.engine_kind().filter(|_| reply.status == 200);
        let shows = path.split('/').any(|part| part.starts_with("static-"));
        Ok(!shows && kind.is_some_and(|kind| !SHOWING.contains(&kind.as_str())))
    }

    /// Asks for our capabilities on a path instead of using them.
    pub(super) async fn allows(
        &self,
        path: &str,
        writes: bool,
        now: Duration,
    ) -> Result<(), Fault> {
        self.renew_trust(now)?;
        let live = self.session(now).await?;
        let reply = self.call(Write::capabilities(path), Some(live.token())).await?;
        if !is_success(&reply) {
            return match reply.refusal() {
                None => Ok(()),
                Some(fault) => Err(fault),
            };
        }
        let needed: &[&str] =
            if writes { &["update", "create", "root"] } else { &["read", "root"] };
        let allowed = reply.capabilities()?;
        if allowed.iter().any(|capability| needed.contains(&capability.as_str())) {
            return Ok(());
        }
        Err(Fault::Denied { who: self.who(), status: 403, meant: None })
    }

    /// Asks for our capabilities on several paths.
    pub(super) async fn allows_on(
        &self,
        paths: &[String],
        now: Duration,
    ) -> Result<BTreeMap<String, Vec<String>>, Fault> {
        self.renew_trust(now)?;
        let live = self.session(now).await?;
        let reply = self.call(Write::all_capabilities(paths), Some(live.token())).await?;
        if is_success(&reply) {
            return reply.all_capabilities();
        }
        let denied = Fault::Denied { who: self.who(), status: reply.status, meant: None };
        Err(reply.refusal().unwrap_or(denied))
    }

    /// Asks a store that was sealed whether it still is, with one cheap request and no token.
    async fn health(&self) -> Result<(), Fault> {
        let reply = self.call(Read { path: "sys/health", version: None }, None).await?;
        match reply.status {
            503 => Err(Fault::Sealed),
            501 => Err(Fault::NotActive { status: 501 }),
            // Here 429, 472 and 473 are states of a standby, not refusals (catalogue row 9).
            _ => {
                self.sealed.set(false);
                Ok(())
            }
        }
    }
}

impl<'a> Ask<'a> {
    fn new(wanted: &Wanted<'a>) -> Result<Ask<'a>, Fault> {
        let SecretRef { path, field, version, .. } = wanted.from;
        let bad = |part: &str| matches!(part, "" | "." | "..") || part.contains(char::is_control);
        if path.split('/').any(bad) {
            return Err(Fault::Path);
        }
        let pinned = match version.as_deref().map(str::parse) {
            None => None,
            Some(Ok(number)) if number > 0 => Some(number),
            Some(_) => return Err(Fault::VersionNotNumber),
        };
        let Wanted { engine, have, with, files, leases, .. } = *wanted;
        Ok(Ask { path, field, engine, pinned, have, with, files, leases })
    }

    /// The body of a request with parameters.
    fn body(&self) -> Result<serde_json::Value, Fault> {
        let mut body: serde_json::Map<_, _> = self.with.values.clone().into_iter().collect();
        for (name, content) in self.files {
            let text = std::str::from_utf8(content.expose());
            let text = text.map_err(|_| Fault::ParameterNotText { name: name.clone() })?;
            body.insert(name.clone(), text.trim_end_matches(['\n', '\r']).into());
        }
        Ok(body.into())
    }

    /// The version that is here, if its engine counts versions and the newest is wanted.
    fn counted(&self) -> Option<u64> {
        match (self.engine, self.pinned, self.have) {
            (None | Some(Engine::Kv2), None, Some(Version::Number(have))) => Some(*have),
            _ => None,
        }
    }
}

/// Mount and name of `MOUNT/data/NAME`; `None` if `data` is not there exactly once, because then
/// only the store knows where the mount ends.
fn split_kv2(path: &str) -> Option<(&str, &str)> {
    let mut cuts = path.match_indices("/data/");
    match (cuts.next(), cuts.next()) {
        (Some((cut, data)), None) => Some((&path[..cut], &path[cut + data.len()..])),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::split_kv2;

    #[test]
    fn a_kv2_path_is_split_only_where_there_is_one_way_to() {
        for (path, split) in [
            ("secret/data/a/b", Some(("secret", "a/b"))),
            ("team/kv/data/x", Some(("team/kv", "x"))),
            ("secret/data/a/data/b", None),
            ("secret/data/data/data/b", None),
            ("secret/a", None),
            ("data/a", None),
            ("secret/data", None),
        ] {
            assert_eq!(split_kv2(path), split, "{path}");
        }
    }
}
