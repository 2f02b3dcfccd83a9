//! What an answer that is no success means, the same for every service.

use std::error::Error;
use std::time::SystemTime;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use super::error::{Fault, KeyFault};
use super::wire::{MAX_ANSWER, TooLarge};
use crate::agent::store::net::{Trouble, Unreachable, Wait};

/// How far apart the clocks may be before a signature counts for nothing.
const SKEW: i64 = 4 * 60;

/// What came instead of an answer. What a service says in words stays here.
#[derive(Debug)]
pub(super) enum Refused {
    /// No complete answer came.
    Net(Trouble),
    /// The answer is too large.
    TooLarge,
    /// The answer is none.
    Malformed,
    /// The service said no.
    Said {
        /// Its code.
        code: String,
        /// The status.
        status: u16,
        /// By how many seconds our clock is ahead of the service's, if that is too many.
        skew: Option<i64>,
        /// Whether it is about a key.
        about_a_key: bool,
        /// Whether it is about a deletion.
        about_a_deletion: bool,
        /// Whether it is about a version.
        about_a_version: bool,
    },
}

/// Takes of an error of the SDK what we may keep.
pub(super) fn refused<E>(error: &SdkError<E, HttpResponse>) -> Refused
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match error {
        SdkError::ServiceError(said) => {
            let (status, message) = (said.raw().status().as_u16(), said.err().message());
            let says = |word: &str| message.is_some_and(|text| text.contains(word));
            Refused::Said {
                code: said.err().code().unwrap_or_default().to_owned(),
                status,
                skew: skew(said.raw()),
                about_a_key: says("KMS") || says("customer master key"),
                about_a_deletion: says("marked for deletion") || says("marked deleted"),
                about_a_version: says("staging label") || says("VersionId") || says("version"),
            }
        }
        error => of_the_way(error),
    }
}

fn of_the_way(error: &(dyn Error + 'static)) -> Refused {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(trouble) = error.downcast_ref::<Trouble>() {
            return Refused::Net(*trouble);
        }
        if error.downcast_ref::<TooLarge>().is_some() {
            return Refused::TooLarge;
        }
        cause = error.source();
    }
    Refused::Malformed
}

/// By how many seconds our clock is ahead of the one in an answer's `Date`, if that matters.
fn skew(answer: &HttpResponse) -> Option<i64> {
    let theirs = httpdate::parse_http_date(answer.headers().get("date")?).ok()?;
    let seconds = match SystemTime::now().duration_since(theirs) {
        Ok(ahead) => i64::try_from(ahead.as_secs()).ok()?,
        Err(behind) => -i64::try_from(behind.duration().as_secs()).ok()?,
    };
    (seconds.abs() > SKEW).then_some(seconds)
}

impl Refused {
    /// What that means for a request with credentials.
    pub(super) fn fault(self) -> Fault {
        match self {
            Refused::Net(trouble) => Fault::Net(trouble),
            Refused::TooLarge => Fault::TooLarge { limit: MAX_ANSWER },
            Refused::Malformed => Fault::Malformed,
            Refused::Said {
                code,
                status,
                skew,
                about_a_key,
                about_a_deletion,
                about_a_version,
            } => {
                let marks = Marks { about_a_key, about_a_deletion, about_a_version };
                of_code(&code, status, skew, marks)
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Marks {
    about_a_key: bool,
    about_a_deletion: bool,
    about_a_version: bool,
}

/// The codes of Secrets Manager, Parameter Store and KMS, and those that every service has.
fn of_code(code: &str, status: u16, skew: Option<i64>, marks: Marks) -> Fault {
    match code {
        "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "RequestExpired"
        | "RequestTimeTooSkewed"
        | "IncompleteSignature" => match skew {
            Some(seconds) => Fault::Skewed { seconds },
            None => Fault::CredentialsRefused,
        },
        "ExpiredTokenException"
        | "ExpiredToken"
        | "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidAccessKeyId"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException" => Fault::CredentialsRefused,
        "AccessDeniedException" | "AccessDenied" | "NotAuthorizedException" | "OptInRequired" => {
            Fault::Denied { key: marks.about_a_key }
        }
        "DecryptionFailure" | "KMSAccessDeniedException" => Fault::Denied { key: true },
        "ThrottlingException"
        | "Throttling"
        | "TooManyRequestsException"
        | "TooManyUpdates"
        | "RequestLimitExceeded"
        | "LimitExceededException"
        | "SlowDown"
        | "ProvisionedThroughputExceededException" => Fault::Throttled,
        "InvalidRequestException" if marks.about_a_deletion => Fault::Deleted,
        "ResourceNotFoundException" => Fault::Absent { version: marks.about_a_version },
        "ParameterNotFound" | "ParameterNotFoundException" => Fault::Absent { version: false },
        "ParameterVersionNotFound" | "ParameterVersionLabelLimitExceeded" => {
            Fault::Absent { version: true }
        }
        "InvalidKeyId" | "NotFoundException" => Fault::Key(KeyFault::NotFound),
        "DisabledException" => Fault::Key(KeyFault::Disabled),
        "KMSInvalidStateException" | "KeyUnavailableException" => Fault::Key(KeyFault::State),
        "InvalidKeyUsageException" => Fault::Key(KeyFault::Usage),
        "IncorrectKeyException" => Fault::Key(KeyFault::Other),
        "InvalidCiphertextException" => Fault::CiphertextRefused { context: false },
        _ if status == 429 => Fault::Throttled,
        _ if status >= 500 => Fault::Failed { status },
        _ if status == 403 => Fault::Denied { key: false },
        _ => Fault::Invalid,
    }
}

/// What a request that took too long means.
pub(super) fn slow() -> Fault {
    Fault::Net(Trouble::Unreachable(Unreachable::Slow(Wait::Total)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Marks =
        Marks { about_a_key: false, about_a_deletion: false, about_a_version: false };

    #[test]
    fn a_code_means_the_same_for_every_service() {
        for (code, status, fault) in [
            ("AccessDeniedException", 400, Fault::Denied { key: false }),
            ("DecryptionFailure", 400, Fault::Denied { key: true }),
            ("ThrottlingException", 400, Fault::Throttled),
            ("", 429, Fault::Throttled),
            ("InternalServiceError", 500, Fault::Failed { status: 500 }),
            ("ResourceNotFoundException", 400, Fault::Absent { version: false }),
            ("ParameterVersionNotFound", 400, Fault::Absent { version: true }),
            ("DisabledException", 400, Fault::Key(KeyFault::Disabled)),
            ("ExpiredTokenException", 400, Fault::CredentialsRefused),
            ("", 403, Fault::Denied { key: false }),
            ("ValidationException", 400, Fault::Invalid),
        ] {
            assert_eq!(of_code(code, status, None, NONE), fault, "{code} {status}");
        }
    }

    #[test]
    fn a_bad_signature_is_the_clock_only_if_the_clocks_differ() {
        let code = "InvalidSignatureException";
        assert_eq!(of_code(code, 403, Some(-900), NONE), Fault::Skewed { seconds: -900 });
        assert_eq!(of_code(code, 403, None, NONE), Fault::CredentialsRefused);
    }

    #[test]
    fn words_of_a_service_tell_a_deletion_and_a_key_from_other_refusals() {
        let deleted = Marks { about_a_deletion: true, ..NONE };
        assert_eq!(of_code("InvalidRequestException", 400, None, deleted), Fault::Deleted);
        let key = Marks { about_a_key: true, ..NONE };
        assert_eq!(of_code("AccessDeniedException", 400, None, key), Fault::Denied { key: true });
    }
}
