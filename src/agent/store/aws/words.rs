//! The words for every fault: what, why, and what to do about it.

use super::error::{AwsError, CiphertextFault, Fault, KeyFault, Login, NoFields, Origin, Refusal};
use crate::agent::identity::Claims;
use crate::agent::store::error::field_missing;
use crate::agent::store::net::Trouble;

/// What, why, hint.
type Words = (String, String, String);

pub(super) fn of(error: &AwsError) -> Words {
    let AwsError { store, action, resource, fault, .. } = error;
    let unable = format!("store `{store}` can't be used");
    let read = format!("store `{store}` did not give `{resource}`");
    let unusable = format!("what store `{store}` gave for `{resource}` can't be used");
    let action_name = action.name();
    match &**fault {
        Fault::NoRegion => say(
            unable,
            "nothing says which region is meant: not the config, $AWS_REGION, the profile or the instance",
            "add `region: eu-west-1` (yours) to the store, or set AWS_REGION",
        ),
        Fault::File { file, kind } => say(
            format!("store `{store}` can't use `{}`", file.display()),
            kind.to_string(),
            "mount the file there, readable for this user",
        ),
        Fault::Pem { file } => say(
            format!("store `{store}` can't use `{}`", file.display()),
            "it holds no certificate in PEM form",
            "put it there as text that begins with `-----BEGIN`",
        ),
        Fault::NoRoots => say(
            unable,
            "this system has no certificates to trust",
            "set `ca_file` to the CAs that sign AWS's certificates",
        ),
        Fault::Login(login) => login_words(store.as_str(), login),
        Fault::Net(Trouble::Unreachable(why)) => {
            let (why, hint) = why.words();
            say(format!("store `{store}` is unreachable"), format!("{action_name}: {why}"), hint)
        }
        Fault::Net(Trouble::Tls(why)) => {
            let (why, hint) = why.words();
            let why = format!("{action_name}: {why}");
            say(
                format!("store `{store}` can't be trusted"),
                why,
                hint.replace("`address`", "`endpoint`"),
            )
        }
        Fault::Throttled => say(
            format!("store `{store}` asks for fewer requests"),
            format!("{action_name} is over its quota for this account and region"),
            "`refresh` less often, or ask AWS for a higher quota",
        ),
        Fault::Failed { status } => say(
            read,
            format!("{action_name} answered {status}"),
            "it is AWS's own error and is asked again; its health page may say more",
        ),
        Fault::CredentialsRefused => say(
            format!("store `{store}` refused the credentials"),
            format!("{action_name}: they have ended, were deleted, or belong to another partition"),
            "look at the role or the access key that the pod is given; new ones are fetched by themselves",
        ),
        Fault::Skewed { seconds } => say(
            format!("store `{store}` refused the signature"),
            format!(
                "this machine's clock is {} s {} AWS's, and a request counts for five minutes",
                seconds.abs(),
                if *seconds > 0 { "ahead of" } else { "behind" },
            ),
            "set the clock of the node (chrony, NTP)",
        ),
        fault => answer(error, fault, (read, unusable)),
    }
}

fn answer(error: &AwsError, fault: &Fault, (read, unusable): (String, String)) -> Words {
    let AwsError { store, action, resource, .. } = error;
    let action_name = action.name();
    match fault {
        Fault::Denied { key: false } => say(
            format!("store `{store}` refused to give `{resource}`"),
            format!("{action_name} is not allowed on it"),
            format!(
                "allow `{action_name}` on `{resource}` in the policy of the role, and look at the resource's own policy"
            ),
        ),
        Fault::Denied { key: true } => say(
            format!("store `{store}` refused to give `{resource}`"),
            format!("{action_name} is allowed, and the key that encrypts it may not be used"),
            "allow `kms:Decrypt` on that key in the policy of the role and in the key's own policy",
        ),
        Fault::Absent { version: false } => say(
            format!("`{resource}` is not in store `{store}`"),
            format!("{action_name} found nothing of that name"),
            "check the name, the region and the account; another account's is named by its ARN",
        ),
        Fault::Absent { version: true } => say(
            format!("`{resource}` is not in store `{store}`"),
            format!("{action_name} found the name and no such version or label"),
            "check what stands behind the `@`, or leave it out",
        ),
        Fault::Deleted => say(
            format!("`{resource}` was deleted in store `{store}`"),
            "it is scheduled for deletion",
            "restore it (`aws secretsmanager restore-secret`); the last good file stays",
        ),
        Fault::Key(why) => key_words(read, *why),
        Fault::CiphertextRefused { context } => say(
            read,
            if *context {
                "KMS does not accept the ciphertext with this context"
            } else {
                "KMS does not accept the ciphertext without a context"
            },
            "write the `context` that it was encrypted with, to the letter; if that is right, the ciphertext was changed",
        ),
        Fault::Ciphertext(why) => ciphertext_words(error, *why),
        Fault::NoFields { field, why } => say(
            unusable,
            match why {
                NoFields::Binary => {
                    format!("field `{field}` was asked for, and it is bytes, not text")
                }
                NoFields::NotJson(error) => {
                    format!("field `{field}` was asked for, and it is no JSON: {error}")
                }
                NoFields::NotObject => {
                    format!("field `{field}` was asked for, and it is JSON without fields")
                }
            },
            "leave the field out to have all of it, or store an object such as {\"key\": \"value\"}",
        ),
        Fault::FieldMissing { field, there } => {
            let (why, hint) = field_missing(field, there);
            say(unusable, why, hint)
        }
        Fault::Invalid => say(
            read,
            format!("{action_name} does not take a request like this"),
            "check the name: letters, digits and `/_+=.@-` for a secret, `/_.-` for a parameter",
        ),
        Fault::TooLarge { limit } => {
            say(unusable, format!("it is larger than {limit} bytes"), "split it into several")
        }
        Fault::Path => say(
            read,
            "the path begins with the service: `secretsmanager/`, `ssm/` or `kms/`",
            "write `secretsmanager/NAME`, `ssm//path/name`, `ssm//path/*` or `kms/decrypt`",
        ),
        _ => say(
            unusable,
            format!("{action_name} answered something else than its API promises"),
            "look at what stands between here and AWS, and at `endpoint`",
        ),
    }
}

fn key_words(read: String, why: KeyFault) -> Words {
    let (why, hint) = match why {
        KeyFault::Disabled => {
            ("the key is disabled", "enable it (`aws kms enable-key`), or encrypt with another one")
        }
        KeyFault::State => (
            "the key is about to be deleted, or has no key material",
            "cancel its deletion (`aws kms cancel-key-deletion`), or encrypt with another one",
        ),
        KeyFault::NotFound => (
            "the key is not there, or in another account or region",
            "check `region`, and `key_id` if it is given",
        ),
        KeyFault::Usage => {
            ("the key is not one for encryption", "encrypt with a symmetric key for encryption")
        }
        KeyFault::Other => (
            "it was encrypted with another key than `key_id`",
            "name the right key in `key_id`, or leave it out",
        ),
    };
    say(read, why, hint)
}

fn ciphertext_words(error: &AwsError, why: CiphertextFault) -> Words {
    let (why, hint) = match why {
        CiphertextFault::Missing => (
            "there is no ciphertext",
            "add `with: { ciphertext_file: PATH }`, or put it into the file",
        ),
        CiphertextFault::NotBase64 => {
            ("`ciphertext` is not base64", "write what `sidekey seal` or `aws kms encrypt` printed")
        }
        CiphertextFault::CutShort => (
            "the ciphertext is cut short",
            "copy all of it: the end is missing, or an editor broke it",
        ),
        CiphertextFault::TooLong => (
            "it is longer than the 6144 bytes of a ciphertext of KMS, and no envelope",
            "seal what is longer than 4 KiB with `sidekey seal`",
        ),
        CiphertextFault::Edition => {
            ("the envelope is of an edition that this Sidekey does not know", "use a newer Sidekey")
        }
        CiphertextFault::Changed => (
            "the envelope was changed: its own check fails",
            "take it from where it was made, or seal the value anew",
        ),
        CiphertextFault::Context => (
            "`context` is not a mapping of texts",
            "write `context: { app: orders }`, numbers in quotes",
        ),
    };
    let what = format!("store `{}` can't decrypt what `{}` names", error.store, error.resource);
    say(what, why, hint)
}

fn login_words(store: &str, login: &Login) -> Words {
    let none = format!("store `{store}` has no credentials");
    match login {
        Login::Nothing => say(
            none,
            "there are none in the environment, a profile, a web identity token, the container's or the instance's endpoint",
            "give the service account a role (EKS Pod Identity or IRSA), or set AWS_PROFILE on a laptop",
        ),
        Login::HopLimit => say(
            none,
            "the instance's metadata service does not answer from here: its answers die one network hop before this pod",
            "use EKS Pod Identity or IRSA; or raise the instance's hop limit to 2 (`aws ec2 modify-instance-metadata-options --http-put-response-hop-limit 2`)",
        ),
        Login::Token(error) => {
            let report = error.report();
            (report.what, report.why, report.hint.unwrap_or_default())
        }
        Login::Broken { origin } => {
            say(none, format!("{} can't be used", name(*origin)), repair(*origin))
        }
        Login::Unreachable { origin, trouble } => {
            let hint = match trouble {
                Trouble::Unreachable(why) => why.words().1,
                Trouble::Tls(why) => why.words().1,
            };
            say(none, format!("{}: {trouble}", name(*origin)), hint)
        }
        Login::Busy { origin, status } => say(
            none,
            format!("{} answered {status}", name(*origin)),
            "it is asked again by itself; many pods that start together may be over its quota",
        ),
        Login::Refused { origin, role, why, claims } => {
            refused(store, *origin, role, *why, claims.as_ref())
        }
    }
}

fn refused(
    store: &str,
    origin: Origin,
    role: &str,
    why: Refusal,
    claims: Option<&Claims>,
) -> Words {
    let action = match origin {
        Origin::WebIdentity => "sts:AssumeRoleWithWebIdentity",
        _ => "sts:AssumeRole",
    };
    let audience = match claims {
        Some(claims) if !claims.audience.is_empty() => {
            format!("its audience is `{}`", claims.audience.join("`, `"))
        }
        Some(_) => "it has no audience".into(),
        None => "the file holds no JSON web token".into(),
    };
    let (why, hint) = match why {
        Refusal::Expired => (
            "the web identity token has ended".to_owned(),
            "let it be renewed where it is mounted: the kubelet does so by itself for a projected token".to_owned(),
        ),
        Refusal::Token => (
            format!("nobody vouches for the web identity token, or not for this audience: {audience}"),
            "project it with the audience `sts.amazonaws.com`, and make the cluster's issuer an identity provider of the account".to_owned(),
        ),
        Refusal::Trust => (
            format!("`{action}` on it is not allowed"),
            match origin {
                Origin::WebIdentity => "name this service account and audience in the role's trust policy".to_owned(),
                _ => format!("allow `{action}` on `{role}` to what the pod runs as, and name that in the role's trust policy (with its `external_id`, if it wants one)"),
            },
        ),
        Refusal::Clock => (
            "this machine's clock is more than five minutes off".to_owned(),
            "set the clock of the node (chrony, NTP)".to_owned(),
        ),
    };
    say(format!("store `{store}` may not assume the role `{role}`"), why, hint)
}

fn name(origin: Origin) -> &'static str {
    match origin {
        Origin::Environment => "what the environment holds ($AWS_ACCESS_KEY_ID)",
        Origin::Profile => "the profile",
        Origin::WebIdentity => "the token service (STS)",
        Origin::Container => "the container's endpoint (EKS Pod Identity, ECS)",
        Origin::Instance => "the instance's metadata service",
        Origin::Role => "the token service (STS)",
    }
}

fn repair(origin: Origin) -> &'static str {
    match origin {
        Origin::Environment => "set both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or neither",
        Origin::Profile => {
            "look at ~/.aws/config and AWS_PROFILE; single sign-on and `credential_process` are not built in"
        }
        Origin::WebIdentity | Origin::Role => {
            "look at AWS_ROLE_ARN and AWS_WEB_IDENTITY_TOKEN_FILE"
        }
        Origin::Container => {
            "look at the pod identity association of the service account, and at the agent on the node"
        }
        Origin::Instance => "give the instance a profile with a role that it may assume",
    }
}

fn say(what: String, why: impl Into<String>, hint: impl Into<String>) -> Words {
    (what, why.into(), hint.into())
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::path::PathBuf;

    use super::*;
    use crate::agent::identity::IdentityError;
    use crate::agent::reason::Exit;
    use crate::agent::store::aws::Action;
    use crate::agent::store::net::{TlsFault, Unreachable};
    use crate::secret::{FieldPath, JsonError, StoreName};

    fn refused(why: Refusal) -> Fault {
        let role = "arn:aws:iam::1:role/r".to_owned();
        Fault::Login(Login::Refused { origin: Origin::WebIdentity, role, why, claims: None })
    }

    fn no_fields(why: NoFields) -> Fault {
        Fault::NoFields { field: FieldPath::Field("key".into()), why }
    }

    #[test]
    fn every_fault_says_what_why_and_how_to_mend_it_and_has_its_exit_code() {
        let file = PathBuf::from("/run/ca.pem");
        let trouble = Trouble::Unreachable(Unreachable::Refused);
        let tls = Trouble::Tls(TlsFault::UnknownIssuer);
        let origin = Origin::Container;
        let missing =
            Fault::FieldMissing { field: FieldPath::Field("key".into()), there: vec!["a".into()] };
        let token = IdentityError::Read { file: file.clone(), kind: ErrorKind::NotFound };
        for (fault, word, exit) in [
            (Fault::NoRegion, "which region", Exit::Config),
            (Fault::Path, "secretsmanager/", Exit::Config),
            (
                Fault::File { file: file.clone(), kind: ErrorKind::NotFound },
                "ca.pem",
                Exit::Refused,
            ),
            (Fault::Pem { file }, "PEM", Exit::Refused),
            (Fault::NoRoots, "ca_file", Exit::Refused),
            (Fault::Login(Login::Nothing), "Pod Identity", Exit::TryAgain),
            (Fault::Login(Login::HopLimit), "hop", Exit::TryAgain),
            (Fault::Login(Login::Token(token)), "ca.pem", Exit::TryAgain),
            (Fault::Login(Login::Broken { origin }), "association", Exit::TryAgain),
            (Fault::Login(Login::Unreachable { origin, trouble }), "refused", Exit::TryAgain),
            (Fault::Login(Login::Busy { origin, status: 503 }), "503", Exit::TryAgain),
            (refused(Refusal::Expired), "has ended", Exit::Refused),
            (refused(Refusal::Token), "sts.amazonaws.com", Exit::Refused),
            (refused(Refusal::Trust), "trust policy", Exit::Refused),
            (refused(Refusal::Clock), "clock", Exit::Refused),
            (Fault::Net(trouble), "connection was refused", Exit::TryAgain),
            (Fault::Net(tls), "ca_file", Exit::Refused),
            (Fault::Throttled, "quota", Exit::TryAgain),
            (Fault::Failed { status: 500 }, "500", Exit::TryAgain),
            (Fault::CredentialsRefused, "credentials", Exit::Refused),
            (Fault::Skewed { seconds: -400 }, "400 s behind", Exit::Refused),
            (Fault::Denied { key: false }, "allow `kms:Decrypt` on `p`", Exit::Refused),
            (Fault::Denied { key: true }, "that key", Exit::Refused),
            (Fault::Absent { version: false }, "the region", Exit::NotThere),
            (Fault::Absent { version: true }, "label", Exit::NotThere),
            (Fault::Deleted, "restore-secret", Exit::NotThere),
            (Fault::Key(KeyFault::Disabled), "enable", Exit::Refused),
            (Fault::Key(KeyFault::State), "deletion", Exit::Refused),
            (Fault::Key(KeyFault::NotFound), "another account", Exit::Refused),
            (Fault::Key(KeyFault::Usage), "symmetric", Exit::Refused),
            (Fault::Key(KeyFault::Other), "key_id", Exit::Refused),
            (Fault::CiphertextRefused { context: true }, "with this context", Exit::Refused),
            (Fault::CiphertextRefused { context: false }, "without a context", Exit::Refused),
            (Fault::Ciphertext(CiphertextFault::Missing), "ciphertext_file", Exit::Unusable),
            (Fault::Ciphertext(CiphertextFault::NotBase64), "base64", Exit::Unusable),
            (Fault::Ciphertext(CiphertextFault::CutShort), "cut short", Exit::Unusable),
            (Fault::Ciphertext(CiphertextFault::TooLong), "sidekey seal", Exit::Unusable),
            (Fault::Ciphertext(CiphertextFault::Edition), "newer Sidekey", Exit::Unusable),
            (Fault::Ciphertext(CiphertextFault::Changed), "was changed", Exit::Unusable),
            (Fault::Ciphertext(CiphertextFault::Context), "numbers in quotes", Exit::Unusable),
            (no_fields(NoFields::Binary), "bytes", Exit::Unusable),
            (no_fields(NoFields::NotJson(JsonError::TooDeep)), "no JSON", Exit::Unusable),
            (no_fields(NoFields::NotObject), "without fields", Exit::Unusable),
            (missing, "it has: a", Exit::Unusable),
            (Fault::Invalid, "letters", Exit::Unusable),
            (Fault::TooLarge { limit: 7 }, "7 bytes", Exit::Unusable),
            (Fault::Malformed, "endpoint", Exit::Unusable),
        ] {
            let (store, action) = (StoreName::parse("prod").unwrap(), Action::Decrypt);
            let (resource, fault) = ("p".to_owned(), Box::new(fault));
            let error = AwsError { store, action, resource, fault, elsewhere: false };
            let report = error.report();
            let text = report.to_string();
            assert!(text.contains(word), "{word}: {text}");
            assert_eq!(report.reason.exit(), exit, "{text}");
            assert!(report.hint.is_some_and(|hint| !hint.is_empty()), "{text}");
        }
    }
}
