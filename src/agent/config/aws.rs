//! What a path of an AWS store names: `secretsmanager/…`, `ssm/…` or `kms/decrypt`.

use super::model::SecretRef;

/// Whether the version of a reference means one value for ever.
pub fn is_pinned(from: &SecretRef, in_aws: bool) -> bool {
    let Some(version) = &from.version else { return false };
    let path = in_aws.then(|| AwsPath::parse(&from.path)).flatten();
    path.is_none_or(|path| path.version(version).is_some_and(AwsVersion::is_fixed))
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AwsPath<'a> {
    /// A secret of Secrets Manager, by name or ARN.
    Secret(&'a str),
    /// A parameter of Parameter Store, by name or ARN.
    Parameter(&'a str),
    /// Every parameter beneath a path, which ends with its slash.
    Subtree(&'a str),
    /// The plaintext of a ciphertext that the parameters carry.
    Decrypt,
}

/// One edition of what a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AwsVersion<'a> {
    /// A version id of Secrets Manager.
    Id(&'a str),
    /// A staging label of Secrets Manager.
    Stage(&'a str),
    /// A version of a parameter.
    Number(u64),
    /// A label of a parameter.
    Label(&'a str),
}

impl AwsVersion<'_> {
    /// Whether it means one value for ever; a label can be moved.
    pub fn is_fixed(self) -> bool {
        matches!(self, AwsVersion::Id(_) | AwsVersion::Number(_))
    }
}

impl<'a> AwsPath<'a> {
    /// Reads a path; `None` if it names nothing of AWS.
    pub fn parse(path: &'a str) -> Option<AwsPath<'a>> {
        match path.split_once('/')? {
            ("secretsmanager", name) => Some(AwsPath::Secret(name)),
            ("ssm", name) => match name.strip_suffix('*') {
                Some(path) if path.starts_with('/') && path.ends_with('/') => {
                    Some(AwsPath::Subtree(path))
                }
                Some(_) => None,
                None => Some(AwsPath::Parameter(name)),
            },
            ("kms", "decrypt") => Some(AwsPath::Decrypt),
            _ => None,
        }
    }

    /// Reads what stands behind the `@`; `None` if this has no such versions.
    ///
    /// Version ids of Secrets Manager have 32 to 64 letters, digits and dashes; what is shorter is
    /// a staging label.
    pub fn version(self, text: &'a str) -> Option<AwsVersion<'a>> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        match self {
            AwsPath::Secret(_) if (32..=64).contains(&text.len()) && text.bytes().all(plain) => {
                Some(AwsVersion::Id(text))
            }
            AwsPath::Secret(_) => Some(AwsVersion::Stage(text)),
            AwsPath::Parameter(_) => Some(match text.parse() {
                Ok(number) => AwsVersion::Number(number),
                Err(_) => AwsVersion::Label(text),
            }),
            AwsPath::Subtree(_) | AwsPath::Decrypt => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_a_service_and_what_is_there() {
        let arn =
            "secretsmanager/arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/smtp-AbCdEf";
        for (text, path) in [
            ("secretsmanager/prod/smtp", Some(AwsPath::Secret("prod/smtp"))),
            ("secretsmanager//prod/smtp", Some(AwsPath::Secret("/prod/smtp"))),
            (arn, Some(AwsPath::Secret(&arn[15..]))),
            ("ssm//app/prod/key", Some(AwsPath::Parameter("/app/prod/key"))),
            ("ssm/key", Some(AwsPath::Parameter("key"))),
            ("ssm//app/prod/*", Some(AwsPath::Subtree("/app/prod/"))),
            ("ssm//*", Some(AwsPath::Subtree("/"))),
            ("ssm/app/*", None),
            ("ssm//app/pro*", None),
            ("kms/decrypt", Some(AwsPath::Decrypt)),
            ("kms/encrypt", None),
            ("s3/bucket", None),
            ("secretsmanager", None),
        ] {
            assert_eq!(AwsPath::parse(text), path, "{text}");
        }
    }

    #[test]
    fn what_can_be_moved_is_no_fixed_version() {
        let (secret, parameter) = (AwsPath::Secret("s"), AwsPath::Parameter("/p"));
        let fixed = |path: AwsPath<'_>, text: &str| path.version(text).unwrap().is_fixed();
        assert!(fixed(secret, "d5c3a1e0-0000-4000-8000-000000000001"));
        assert!(!fixed(secret, "AWSPENDING"));
        assert!(!fixed(secret, "green"));
        assert!(fixed(parameter, "3"));
        assert!(!fixed(parameter, "stable"));
        assert_eq!(AwsPath::Subtree("/").version("3"), None);
    }
}
