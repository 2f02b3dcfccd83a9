//! Secrets Manager: what is known of a secret first, and its value only when that moved.

use super::ahead::Piece;
use super::answer::refused;
use super::error::{Action, Fault};
use super::value::part;
use super::{AwsStore, Clients, Failed};
use crate::agent::config::{AwsPath, AwsService, AwsVersion};
use crate::agent::store::{Answer, Wanted};
use crate::secret::{SecretBytes, Version};

/// Secrets that one request may name.
const BATCH: usize = 20;

/// The stage that readers get unless they name another.
const CURRENT: &str = "AWSCURRENT";

impl AwsStore {
    pub(super) async fn secret(
        &self,
        clients: &Clients,
        id: &str,
        wanted: &Wanted<'_>,
    ) -> Result<Answer, Failed> {
        if wanted.have.is_none()
            && wanted.from.version.is_none()
            && let Some(piece) = self.among_others(clients, id, wanted).await?
        {
            let fail = |fault| Failed(Action::BatchGetSecretValue, fault);
            let piece = piece.map_err(fail)?;
            let value = part(piece.bytes, &wanted.from.field).map_err(fail)?;
            return Ok(Self::moved(value, Version::Id(piece.version), wanted));
        }
        let version = wanted.from.version.as_deref();
        let version = version.and_then(|text| AwsPath::Secret(id).version(text));
        if let Some(Version::Id(have)) = wanted.have
            && self.is_still(clients, id, version, have).await?
        {
            return Ok(Answer::Unmoved);
        }
        let (by_id, by_stage) = match version {
            Some(AwsVersion::Id(id)) => (Some(id.to_owned()), None),
            Some(AwsVersion::Stage(stage)) => (None, Some(stage.to_owned())),
            _ => (None, Some(CURRENT.to_owned())),
        };
        let request = clients.secrets.get_secret_value().secret_id(id);
        let request = request.set_version_id(by_id).set_version_stage(by_stage);
        let action = Action::GetSecretValue;
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => {
                let fault = self.explained(clients, id, refused(&error).fault()).await;
                return Err(Failed(action, fault));
            }
        };
        let fail = |fault| Failed(action, fault);
        let bytes = match (answer.secret_string, answer.secret_binary) {
            (Some(text), _) => SecretBytes::from(text),
            (None, Some(blob)) => SecretBytes::from(blob.into_inner()),
            (None, None) => return Err(fail(Fault::Malformed)),
        };
        let version = Version::Id(answer.version_id.ok_or_else(|| fail(Fault::Malformed))?);
        let value = part(bytes, &wanted.from.field).map_err(fail)?;
        Ok(Self::moved(value, version, wanted))
    }

    /// The first value of a secret, asked for with up to nineteen others. `None`: it has to be asked
    /// for alone, because there are no others, or this one was not among what came.
    async fn among_others(
        &self,
        clients: &Clients,
        id: &str,
        wanted: &Wanted<'_>,
    ) -> Result<Option<Result<Piece, Fault>>, Failed> {
        let (action, service) = (Action::BatchGetSecretValue, AwsService::SecretsManager);
        let _gate = self.ahead.gate.lock().await;
        if let Some(piece) = self.ahead.take(service, id, wanted) {
            return Ok(Some(piece));
        }
        let others = self.ahead.others(service, id, wanted, BATCH - 1);
        if others.is_empty() || self.is_refused(action, "") {
            return Ok(None);
        }
        let names = others.iter().cloned().chain([id.to_owned()]).collect();
        let request = clients.secrets.batch_get_secret_value().set_secret_id_list(Some(names));
        let answer = match request.send().await.map_err(|error| refused(&error).fault()) {
            Ok(answer) => answer,
            Err(fault @ (Fault::Net(_) | Fault::CredentialsRefused | Fault::Skewed { .. })) => {
                return Err(Failed(action, fault));
            }
            // Batches have a quota of their own, and a far lower one than single reads.
            Err(_) => {
                self.note_refused(action, "");
                return Ok(None);
            }
        };
        let mut found = None;
        for entry in answer.secret_values.unwrap_or_default() {
            let bytes = match (entry.secret_string, entry.secret_binary) {
                (Some(text), _) => SecretBytes::from(text),
                (None, Some(blob)) => SecretBytes::from(blob.into_inner()),
                (None, None) => continue,
            };
            let Some(version) = entry.version_id else { continue };
            let name = [entry.name, entry.arn].into_iter().flatten();
            let Some(name) = name.into_iter().find(|name| name == id || others.contains(name))
            else {
                continue;
            };
            let piece = Piece { bytes, version, is_list: false };
            if name == id {
                found = Some(Ok(piece));
            } else {
                self.ahead.put(service, name, Ok(piece), wanted);
            }
        }
        Ok(found)
    }

    /// Whether the version that is here is still the one that is asked for. A refused look is
    /// remembered, and the value is read instead.
    async fn is_still(
        &self,
        clients: &Clients,
        id: &str,
        version: Option<AwsVersion<'_>>,
        have: &str,
    ) -> Result<bool, Failed> {
        let action = Action::DescribeSecret;
        if self.is_refused(action, id) {
            return Ok(false);
        }
        match clients.secrets.describe_secret().secret_id(id).send().await {
            Ok(known) if known.deleted_date.is_some() => Err(Failed(action, Fault::Deleted)),
            Ok(known) => {
                let stages = known.version_ids_to_stages.unwrap_or_default();
                let stages = stages.get(have).map(Vec::as_slice).unwrap_or_default();
                Ok(match version {
                    Some(AwsVersion::Id(wanted)) => wanted == have,
                    Some(AwsVersion::Stage(stage)) => stages.iter().any(|known| known == stage),
                    _ => stages.iter().any(|known| known == CURRENT),
                })
            }
            Err(error) => match refused(&error).fault() {
                Fault::Denied { .. } => {
                    self.note_refused(action, id);
                    Ok(false)
                }
                fault => Err(Failed(action, fault)),
            },
        }
    }

    /// A read of what is scheduled for deletion is refused like any request that does not fit; what
    /// is known of the secret tells them apart.
    async fn explained(&self, clients: &Clients, id: &str, fault: Fault) -> Fault {
        if fault != Fault::Invalid || self.is_refused(Action::DescribeSecret, id) {
            return fault;
        }
        match clients.secrets.describe_secret().secret_id(id).send().await {
            Ok(known) if known.deleted_date.is_some() => Fault::Deleted,
            _ => fault,
        }
    }
}
