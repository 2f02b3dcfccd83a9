//! Recognisers that are more than a pattern.

use serde::Deserialize;

use super::credible::Promise;
use super::matcher::{Found, Scene, View};
use super::rule::Rule;

/// Which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Special {
    /// A value assigned to a name that ends in one of the keys, as people choose them.
    Password,
    /// The same, as machines make them.
    Key,
    /// A password in a URL.
    Url,
    /// A password among the arguments of a call or command: what the pattern captures.
    Login,
    /// A private key in armour.
    Pem,
    /// A private key in DER.
    Der,
    /// A store of keys, PKCS #12 or Java's.
    KeyStore,
    /// A JSON Web Token.
    Jwt,
    /// The same, of a Kubernetes service account.
    KubernetesJwt,
}

impl Scene<'_> {
    pub(super) fn special(
        &self,
        view: &View<'_>,
        rule: &Rule,
        number: u16,
        at: usize,
        special: Special,
    ) -> Option<Found> {
        match special {
            Special::Password => self.generic(view, rule, number, at, Promise::Password),
            Special::Key => self.generic(view, rule, number, at, Promise::Key),
            Special::Url => self.url(view, rule, number, at),
            Special::Login => self.login(view, rule, number, at),
            Special::Pem => self.pem(view, rule, number, at),
            Special::Der => Scene::der(view, rule, number, at),
            Special::KeyStore => self.key_store(view, rule, number, at),
            Special::Jwt => self.jwt(view, rule, number, at, false),
            Special::KubernetesJwt => self.jwt(view, rule, number, at, true),
        }
    }
}
