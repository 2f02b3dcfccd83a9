//! `login:` of a Vault: how we prove who we are.

use std::path::PathBuf;

use super::super::decode::At;
use super::super::mistake::{Mistake, Span};
use super::super::model::{AwsConfig, Login, TokenSource};
use super::super::raw::{RawAppRole, RawAwsLogin, RawCertLogin, RawLogin, RawRoleLogin, RawToken};
use super::super::substitute::is_variable;
use super::{Context, not_a_variable};

/// Where a projected token is mounted unless the config says otherwise.
const TOKEN_FILE: &str = "/var/run/secrets/tokens/vault";

impl Context<'_> {
    pub(super) fn login(&mut self, name: &At<String>, login: &At<RawLogin>) -> Option<Login> {
        let raw = &login.value;
        let given: Vec<(&str, &Span)> = [
            ("kubernetes", raw.kubernetes.as_ref().map(|given| &given.span)),
            ("jwt", raw.jwt.as_ref().map(|given| &given.span)),
            ("approle", raw.approle.as_ref().map(|given| &given.span)),
            ("cert", raw.cert.as_ref().map(|given| &given.span)),
            ("token", raw.token.as_ref().map(|given| &given.span)),
            ("aws", raw.aws.as_ref().map(|given| &given.span)),
        ]
        .into_iter()
        .filter_map(|(name, span)| Some((name, span?)))
        .collect();
        let names: Vec<&str> = given.iter().map(|(name, _)| *name).collect();
        let hint = "name exactly one of kubernetes, jwt, approle, cert, aws, token";
        match names.len() {
            0 if !raw.wrong.is_empty() => return None,
            0 => {
                let what = format!("the login of store `{}` names no method", name.shown);
                let why = "nothing says how";
                self.mistakes.push(Mistake::new(&login.span, what, why, hint));
                return None;
            }
            1 => {}
            count => {
                let what = format!("store `{}` has {count} logins", name.shown);
                self.mistakes.push(Mistake::new(&login.span, what, names.join(" and "), hint));
            }
        }
        if let Some(aws) = &raw.aws
            && cfg!(not(feature = "aws"))
        {
            self.mistakes.push(Mistake::new(
                &aws.span,
                "this build of Sidekey has no login `aws`",
                "it was built without AWS",
                "build it with the feature `aws`, or use another login",
            ));
        }
        // Each that is given is checked, so that its mistakes are not found one try later.
        let kubernetes = raw.kubernetes.as_ref().and_then(|given| {
            let (role, mount, token_file) =
                self.role_login(name, "kubernetes", given, Some(TOKEN_FILE))?;
            Some(Login::Kubernetes { role, mount, token_file })
        });
        let jwt = raw.jwt.as_ref().and_then(|given| {
            let (role, mount, token_file) = self.role_login(name, "jwt", given, None)?;
            Some(Login::Jwt { role, mount, token_file })
        });
        let approle = raw.approle.as_ref().and_then(|given| self.approle(given));
        let token = raw.token.as_ref().and_then(|given| self.token(name, given));
        let cert = raw.cert.as_ref().and_then(|given| self.cert_login(&given.value));
        let aws = raw.aws.as_ref().and_then(|given| self.aws_login(&given.value, &given.span));
        kubernetes.or(jwt).or(approle).or(cert).or(aws).or(token)
    }

    fn aws_login(&mut self, raw: &RawAwsLogin, span: &Span) -> Option<Login> {
        let mount = self.mount(raw.mount.as_ref(), "aws")?;
        let given = raw.region.clone();
        let region = given.or_else(|| self.variable(&["AWS_REGION", "AWS_DEFAULT_REGION"], span));
        if let Some(region) = &region {
            self.is_region(region);
        }
        let region = region.map_or_else(|| "us-east-1".to_owned(), |region| region.value);
        let aws = Box::new(AwsConfig {
            region: Some(region.clone()),
            endpoints: self.endpoints_of_environment(span),
            ..AwsConfig::default()
        });
        let text = |value: &Option<At<String>>| value.as_ref().map(|value| value.value.clone());
        let (role, server_id) = (text(&raw.role), text(&raw.server_id_header));
        Some(Login::Aws { role, mount, region, server_id, aws })
    }

    fn cert_login(&mut self, raw: &RawCertLogin) -> Option<Login> {
        let mount = self.mount(raw.mount.as_ref(), "cert")?;
        Some(Login::Cert { role: raw.role.as_ref().map(|role| role.value.clone()), mount })
    }

    fn approle(&mut self, given: &At<RawAppRole>) -> Option<Login> {
        let raw = &given.value;
        let of = At { value: String::new(), span: given.span.clone(), shown: "approle".into() };
        let role = self.needed(&of, "role_id_file", raw.role_id_file.as_ref(), &raw.wrong);
        let secret = self.needed(&of, "secret_id_file", raw.secret_id_file.as_ref(), &raw.wrong);
        let mount = self.mount(raw.mount.as_ref(), "approle");
        Some(Login::AppRole { mount: mount?, role_id_file: role?, secret_id_file: secret? })
    }

    fn token(&mut self, name: &At<String>, given: &At<RawToken>) -> Option<Login> {
        let raw = &given.value;
        match (&raw.file, &raw.env) {
            (Some(file), None) => self.path(file).map(TokenSource::File).map(Login::Token),
            (None, Some(env)) if is_variable(&env.value) => {
                Some(Login::Token(TokenSource::Env(env.value.clone())))
            }
            (None, Some(env)) => {
                self.mistakes.push(not_a_variable(env));
                None
            }
            (None, None) if !raw.wrong.is_empty() => None,
            _ => {
                self.mistakes.push(Mistake::new(
                    &given.span,
                    format!("the token of store `{}` has no single place", name.shown),
                    "it is in a file or in a variable",
                    "write `token: { file: PATH }` or `token: { env: NAME }`",
                ));
                None
            }
        }
    }

    fn role_login(
        &mut self,
        name: &At<String>,
        method: &str,
        given: &At<RawRoleLogin>,
        default_file: Option<&str>,
    ) -> Option<(String, String, PathBuf)> {
        let raw = &given.value;
        let role = raw.role.as_ref().map(|role| role.value.clone()).filter(|role| !role.is_empty());
        if role.is_none() && !raw.wrong.contains(&"role") {
            self.mistakes.push(Mistake::new(
                &given.span,
                format!("the {method} login of store `{}` has no `role`", name.shown),
                "the role says what the login may read",
                "add `role: NAME`, the role that the store's operator made for you",
            ));
        }
        let mount = self.mount(raw.mount.as_ref(), method);
        let file = match (&raw.token_file, default_file) {
            (None, Some(default)) => Some(PathBuf::from(default)),
            (file, _) => {
                let of =
                    At { value: String::new(), span: given.span.clone(), shown: method.into() };
                self.needed(&of, "token_file", file.as_ref(), &raw.wrong)
            }
        };
        Some((role?, mount?, file?))
    }

    fn mount(&mut self, given: Option<&At<String>>, default: &str) -> Option<String> {
        let Some(given) = given else { return Some(default.to_owned()) };
        let mount = given.value.trim_matches('/');
        let bad = |part: &str| matches!(part, "" | "." | "..");
        if mount.starts_with("auth/") || mount.split('/').any(bad) {
            self.mistakes.push(Mistake::new(
                &given.span,
                format!("`{}` is not where a login is mounted", given.shown),
                "it is the path that `auth/` stands in front of",
                format!("write the mount alone, as in `mount: {default}`"),
            ));
            return None;
        }
        Some(mount.to_owned())
    }

    /// Without a login: the token of the environment, as the store's own command line finds it.
    pub(super) fn token_of_environment(&mut self, name: &At<String>) -> Option<Login> {
        for variable in ["BAO_TOKEN", "VAULT_TOKEN"] {
            if self.variable(&[variable], &name.span).is_some() {
                return Some(Login::Token(TokenSource::Env(variable.to_owned())));
            }
        }
        if let Some(home) = self.variable(&["HOME"], &name.span) {
            let file = PathBuf::from(home.value).join(".vault-token");
            return Some(Login::Token(TokenSource::File(file)));
        }
        self.mistakes.push(Mistake::new(
            &name.span,
            format!("store `{}` has no login", name.shown),
            "there is no `login`, no $BAO_TOKEN, no $VAULT_TOKEN and no home with a .vault-token",
            "add `login: { kubernetes: { role: NAME } }`, or set BAO_TOKEN",
        ));
        None
    }
}
