//! Parameter Store: single parameters in batches of ten, and subtrees.

use std::collections::BTreeMap;

use aws_sdk_ssm::types::{Parameter, ParameterType};

use super::ahead::Piece;
use super::answer::refused;
use super::error::{Action, Fault};
use super::value::{digest, part, part_of};
use super::{AwsStore, Clients, Failed};
use crate::agent::config::AwsService;
use crate::agent::store::{Answer, Wanted};
use crate::secret::{SecretBytes, SecretValue, Version};

/// Parameters that one request may name.
const BATCH: usize = 10;

/// Answers that a subtree may have: a thousand parameters.
const MAX_PAGES: usize = 100;

impl AwsStore {
    pub(super) async fn parameter(
        &self,
        clients: &Clients,
        name: &str,
        wanted: &Wanted<'_>,
    ) -> Result<Answer, Failed> {
        let fail = |fault| Failed(Action::GetParameter, fault);
        let piece = match &wanted.from.version {
            Some(version) => self.one(clients, &format!("{name}:{version}")).await?,
            None => {
                let _gate = self.ahead.gate.lock().await;
                match self.ahead.take(AwsService::Ssm, name, wanted) {
                    Some(piece) => piece.map_err(fail)?,
                    None => self.with_others(clients, name, wanted).await?,
                }
            }
        };
        let version = Version::Id(piece.version);
        let value = if piece.is_list {
            part_of(list(&piece.bytes), &wanted.from.field)
        } else {
            part(piece.bytes, &wanted.from.field)
        };
        Ok(Self::moved(value.map_err(fail)?, version, wanted))
    }

    async fn one(&self, clients: &Clients, selector: &str) -> Result<Piece, Failed> {
        let fail = |fault| Failed(Action::GetParameter, fault);
        let request = clients.ssm.get_parameter().name(selector).with_decryption(true);
        let answer = request.send().await.map_err(|error| fail(refused(&error).fault()))?;
        let parameter = answer.parameter.ok_or_else(|| fail(Fault::Malformed))?;
        self.piece(parameter).map_err(fail)
    }

    /// Asks for a parameter and for up to nine others that are about to be asked for. One that may
    /// not be read refuses all of them, so they are asked for one by one then.
    async fn with_others(
        &self,
        clients: &Clients,
        name: &str,
        wanted: &Wanted<'_>,
    ) -> Result<Piece, Failed> {
        let action = Action::GetParameters;
        let others = self.ahead.others(AwsService::Ssm, name, wanted, BATCH - 1);
        if others.is_empty() || self.is_refused(action, "") {
            return self.one(clients, name).await;
        }
        let fail = |fault| Failed(action, fault);
        let names = others.iter().cloned().chain([name.to_owned()]).collect();
        let request = clients.ssm.get_parameters().set_names(Some(names)).with_decryption(true);
        let answer = match request.send().await.map_err(|error| refused(&error).fault()) {
            Ok(answer) => answer,
            Err(Fault::Denied { .. } | Fault::Invalid | Fault::Key(_)) => {
                self.note_refused(action, "");
                return self.one(clients, name).await;
            }
            Err(fault) => return Err(fail(fault)),
        };
        let mut found = None;
        for parameter in answer.parameters.unwrap_or_default() {
            let of = parameter.name().unwrap_or_default().to_owned();
            let piece = self.piece(parameter).map_err(fail)?;
            if of == name {
                found = Some(piece);
            } else {
                self.ahead.put(AwsService::Ssm, of, Ok(piece), wanted);
            }
        }
        for other in answer.invalid_parameters.unwrap_or_default() {
            let absent = Err(Fault::Absent { version: false });
            self.ahead.put(AwsService::Ssm, other, absent, wanted);
        }
        found.ok_or_else(|| fail(Fault::Absent { version: false }))
    }

    /// Everything beneath a path, as one secret of many fields.
    pub(super) async fn subtree(
        &self,
        clients: &Clients,
        path: &str,
        wanted: &Wanted<'_>,
    ) -> Result<Answer, Failed> {
        let fail = |fault| Failed(Action::GetParametersByPath, fault);
        let (mut fields, mut versions) = (BTreeMap::new(), BTreeMap::new());
        let mut next = None;
        for page in 0.. {
            if page == MAX_PAGES {
                return Err(fail(Fault::TooLarge { limit: MAX_PAGES * BATCH * 8 * 1024 }));
            }
            let request = clients.ssm.get_parameters_by_path().path(path).recursive(true);
            let request = request.with_decryption(true).set_next_token(next.take());
            let answer = request.send().await.map_err(|error| fail(refused(&error).fault()))?;
            for parameter in answer.parameters.unwrap_or_default() {
                let name = parameter.name().unwrap_or_default();
                let Some(field) = name.strip_prefix(path).map(str::to_owned) else { continue };
                let piece = self.piece(parameter).map_err(fail)?;
                versions.insert(field.clone(), piece.version.clone());
                let value =
                    if piece.is_list { list(&piece.bytes) } else { SecretValue::Text(piece.bytes) };
                fields.insert(field, value);
            }
            next = answer.next_token.filter(|token| !token.is_empty());
            if next.is_none() {
                break;
            }
        }
        if fields.is_empty() {
            return Err(fail(Fault::Absent { version: false }));
        }
        let versions = versions.iter().flat_map(|(name, version)| [name, version]);
        let version = digest(&self.digest_key, versions.map(|text| text.as_bytes()));
        let value = part_of(SecretValue::Map(fields), &wanted.from.field).map_err(fail)?;
        Ok(Self::moved(value, Version::Digest(version), wanted))
    }

    /// A parameter's value, and a version that also differs when the parameter was deleted and made
    /// anew, which begins the store's own count again.
    fn piece(&self, parameter: Parameter) -> Result<Piece, Fault> {
        let is_list = parameter.r#type() == Some(&ParameterType::StringList);
        let number = parameter.version();
        let bytes = SecretBytes::from(parameter.value.ok_or(Fault::Malformed)?);
        let mark = Version::Digest(digest(&self.digest_key, [bytes.expose()]));
        Ok(Piece { bytes, version: format!("{number}.{mark}"), is_list })
    }
}

/// The items of a `StringList`.
fn list(bytes: &SecretBytes) -> SecretValue {
    let items = bytes.expose().split(|&b| b == b',');
    SecretValue::List(items.map(|item| SecretValue::Text(SecretBytes::copy_of(item))).collect())
}
