//! What a signed token says of itself, read without checking the signature: only to explain why a
//! store refused it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use crate::secret::SecretBytes;

/// The claims that decide most refusals. None of them is secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// For whom the token was made (`aud`).
    pub audience: Vec<String>,
    /// When it ends (`exp`), in seconds since 1970.
    pub expires: Option<u64>,
}

#[derive(Deserialize)]
struct Payload {
    #[serde(default)]
    aud: Audience,
    exp: Option<f64>,
}

/// RFC 7519 section 4.1.3: one name or a list.
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Default for Audience {
    fn default() -> Audience {
        Audience::Many(Vec::new())
    }
}

impl Claims {
    /// The claims of `token`; `None` if it is not a JSON web token.
    pub fn of(token: &SecretBytes) -> Option<Claims> {
        let mut parts = token.expose().split(|&b| b == b'.');
        let (_header, payload, _signature) = (parts.next()?, parts.next()?, parts.next()?);
        let payload = SecretBytes::from(URL_SAFE_NO_PAD.decode(payload).ok()?);
        let payload: Payload = serde_json::from_slice(payload.expose()).ok()?;
        let audience = match payload.aud {
            Audience::One(name) => vec![name],
            Audience::Many(names) => names,
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
        let expires = payload.exp.map(|seconds| seconds as u64);
        Some(Claims { audience, expires })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(payload: &str) -> SecretBytes {
        SecretBytes::from(format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(payload)))
    }

    #[test]
    fn audience_and_end_are_read_whatever_their_form() {
        for (payload, audience, expires) in [
            (r#"{"aud":"vault","exp":17}"#, vec!["vault"], Some(17)),
            (r#"{"aud":["a","b"],"exp":17.5}"#, vec!["a", "b"], Some(17)),
            (r#"{"exp":-1}"#, vec![], Some(0)),
            ("{}", vec![], None),
        ] {
            let claims = Claims::of(&token(payload)).unwrap();
            assert_eq!((claims.audience, claims.expires), (strings(&audience), expires));
        }
    }

    #[test]
    fn what_is_no_web_token_has_no_claims() {
        for text in ["s.token", "a.b.c", "", "e30.!.x"] {
            assert_eq!(Claims::of(&SecretBytes::from(text.to_owned())), None);
        }
    }

    fn strings(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }
}
