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
        }
    }
}
