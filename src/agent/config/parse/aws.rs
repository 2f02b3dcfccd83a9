//! Stores of kind `aws`, and what can be asked of them.

use std::collections::BTreeMap;

use super::super::aws::AwsPath;
use super::super::decode::At;
use super::super::mistake::{Mistake, Span};
use super::super::model::{AssumedRole, AwsConfig, AwsService, SecretRef};
use super::super::raw::{RawSecret, RawStore};
use super::Context;
use super::vault::is_host;

const PATHS: &str = "write `secretsmanager/NAME`, `ssm//path/name`, `ssm//path/*` or `kms/decrypt`";

impl Context<'_> {
    pub(super) fn aws(&mut self, name: &At<String>, raw: &RawStore) -> Option<AwsConfig> {
        let before = self.mistakes.len();
        let region = match &raw.region {
            Some(region) => Some(region.clone()),
            None => self.variable(&["AWS_REGION", "AWS_DEFAULT_REGION"], &name.span),
        };
        if let Some(region) = &region {
            self.is_region(region);
        }
        let endpoint = raw.endpoint.as_ref().and_then(|url| self.endpoint(url));
        let single = raw.endpoints.as_ref().map(|endpoints| &endpoints.value);
        let single = single.into_iter().flat_map(|endpoints| {
            [
                (AwsService::SecretsManager, &endpoints.secretsmanager),
                (AwsService::Ssm, &endpoints.ssm),
                (AwsService::Kms, &endpoints.kms),
                (AwsService::Sts, &endpoints.sts),
            ]
        });
        let mut endpoints: BTreeMap<_, _> = single
            .filter_map(|(service, url)| Some((service, self.endpoint(url.as_ref()?)?)))
            .collect();
        if endpoint.is_none() {
            for (service, url) in self.endpoints_of_environment(&name.span) {
                endpoints.entry(service).or_insert(url);
            }
        }
        let config = AwsConfig {
            region: region.map(|region| region.value),
            endpoint,
            endpoints,
            fips: raw.fips.as_ref().is_some_and(|fips| fips.value),
            dual_stack: raw.dual_stack.as_ref().is_some_and(|both| both.value),
            ca_file: raw.ca_file.as_ref().and_then(|file| self.path(file)),
            role: self.assumed_role(raw),
        };
        (self.mistakes.len() == before).then_some(config)
    }

    /// The endpoints that the SDK's own variables name.
    pub(super) fn endpoints_of_environment(&mut self, span: &Span) -> BTreeMap<AwsService, String> {
        let services = [
            (AwsService::SecretsManager, "AWS_ENDPOINT_URL_SECRETS_MANAGER"),
            (AwsService::Ssm, "AWS_ENDPOINT_URL_SSM"),
            (AwsService::Kms, "AWS_ENDPOINT_URL_KMS"),
            (AwsService::Sts, "AWS_ENDPOINT_URL_STS"),
        ];
        let found = services.into_iter().filter_map(|(service, variable)| {
            let url = self.variable(&[variable, "AWS_ENDPOINT_URL"], span)?;
            Some((service, self.endpoint(&url)?))
        });
        found.collect()
    }

    pub(super) fn is_region(&mut self, region: &At<String>) {
        let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if region.value.is_empty() || !region.value.bytes().all(good) {
            self.mistakes.push(Mistake::new(
                &region.span,
                format!("`{}` is not a region", region.shown),
                "it becomes a part of the name of the host that is asked",
                "write for example `region: eu-west-1`",
            ));
        }
    }

    fn endpoint(&mut self, url: &At<String>) -> Option<String> {
        let text = url.value.trim_end_matches('/');
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        if !rest.is_some_and(|rest| is_host(rest.split('/').next().unwrap_or_default())) {
            self.mistakes.push(Mistake::new(
                &url.span,
                format!("`{}` is not an endpoint", url.shown),
                "an endpoint is `http://` or `https://`, a host, and perhaps a port",
                "write for example `https://vpce-1a2b3c.ssm.eu-west-1.vpce.amazonaws.com`, or leave it out",
            ));
            return None;
        }
        Some(text.to_owned())
    }

    fn assumed_role(&mut self, raw: &RawStore) -> Option<AssumedRole> {
        let Some(arn) = &raw.role_arn else {
            if let Some(id) = &raw.external_id {
                self.mistakes.push(Mistake::new(
                    &id.span,
                    "`external_id` has no meaning without `role_arn`",
                    "it is shown when a role is assumed",
                    "add `role_arn`, or remove it",
                ));
            }
            return None;
        };
        if !arn.value.starts_with("arn:") || !arn.value.contains(":role/") {
            self.mistakes.push(Mistake::new(
                &arn.span,
                format!("`{}` is not the ARN of a role", arn.shown),
                "a role is named by its account and its name",
                "write `role_arn: arn:aws:iam::ACCOUNT:role/NAME`",
            ));
        }
        let external_id = raw.external_id.as_ref().map(|id| id.value.clone());
        Some(AssumedRole { arn: arn.value.clone(), external_id })
    }

    /// What a secret of an AWS store can't be.
    pub(super) fn fits_aws(&mut self, from: &SecretRef, span: &Span, raw: &RawSecret) {
        let mut note = |span: &Span, what: String, why: &str, hint: &str| {
            self.mistakes.push(Mistake::new(span, what, why, hint));
        };
        for (key, span) in [
            ("engine", raw.engine.as_ref().map(|engine| &engine.span)),
            ("lease", raw.lease.as_ref().map(|lease| &lease.span)),
        ] {
            if let Some(span) = span {
                let what = format!("`{key}` has no meaning for a store of kind `aws`");
                note(span, what, "only a Vault has engines and leases", "remove it");
            }
        }
        let Some(path) = AwsPath::parse(&from.path) else {
            let what = format!("`{}` is nothing that an AWS store has", from.path);
            let why = "the path begins with the service: `secretsmanager/`, `ssm/` or `kms/`";
            return note(span, what, why, PATHS);
        };
        if from.version.as_ref().is_some_and(|version| path.version(version).is_none()) {
            let what = format!("`{}` has no versions", from.path);
            note(
                span,
                what,
                "a secret or a single parameter has",
                "remove the `@` and what follows",
            );
        }
        if path == AwsPath::Decrypt {
            self.fits_decrypt(from, span, raw);
        } else if let Some(with) = &raw.with {
            let what = "`with` has no meaning here".to_owned();
            note(&with.span, what, "only `kms/decrypt` takes parameters", "remove it");
        }
    }

    fn fits_decrypt(&mut self, from: &SecretRef, span: &Span, raw: &RawSecret) {
        const KNOWN: [&str; 4] = ["ciphertext", "ciphertext_file", "context", "key_id"];
        let entries = raw.with.iter().flat_map(|with| &with.value.entries);
        let given: Vec<&At<String>> = entries.map(|(name, _)| name).collect();
        for name in given.iter().filter(|name| !KNOWN.contains(&name.value.as_str())) {
            self.mistakes.push(Mistake::new(
                &name.span,
                format!("`kms/decrypt` has no parameter `{}`", name.shown),
                "it takes a ciphertext and what it was encrypted with",
                "write `ciphertext` or `ciphertext_file`, and perhaps `context` and `key_id`",
            ));
        }
        if !given.iter().any(|name| name.value.starts_with("ciphertext")) {
            self.mistakes.push(Mistake::new(
                span,
                format!("`{from}` has nothing to decrypt"),
                "the ciphertext stands in the config or in a file",
                "add `with: { ciphertext_file: PATH }`, or `with: { ciphertext: BASE64 }`",
            ));
        }
    }
}
