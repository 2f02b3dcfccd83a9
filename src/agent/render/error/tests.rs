//! Every error says what, why and what to do, and names what it is about.

use super::FormatFailure as F;
use super::words::Span;
use super::*;
use crate::agent::render::testing::path;

fn every_error() -> Vec<(RenderError, &'static [&'static str])> {
    let file = path();
    let secret = SecretName::parse("db").unwrap();
    let field = FieldPath::Field("password".to_owned());
    let mut all = vec![
        (RenderError::SecretMissing { file: file.clone(), secret: secret.clone() }, &["`db`"][..]),
        (
            RenderError::FieldMissing {
                file: file.clone(),
                line: Some(3),
                secret: secret.clone(),
                field: field.clone(),
                have: vec!["user".to_owned(), "pass\n".to_owned()],
            },
            &["line 3", "`db.password`", "`user`", "`pass\\n`"],
        ),
        (
            RenderError::FieldMissing {
                file: file.clone(),
                line: None,
                secret: secret.clone(),
                field: field.clone(),
                have: (0..20).map(|i| format!("f{i}")).collect(),
            },
            &["`db.password`", "`f11` and 8 more"],
        ),
        (
            RenderError::ValueEmpty {
                file: file.clone(),
                secret: secret.clone(),
                field: field.clone(),
            },
            &["`db.password` is empty"],
        ),
        (RenderError::FileEmpty { file: file.clone() }, &["empty"]),
        (
            RenderError::NotBase64 {
                file: file.clone(),
                secret: secret.clone(),
                field: field.clone(),
            },
            &["`db.password`", "base64"],
        ),
        (RenderError::DecodedTemplate { file: file.clone() }, &["b64decode"]),
        (RenderError::RawEntries { file: file.clone() }, &["format"]),
        (
            RenderError::TemplateSyntax { file: file.clone(), line: 2, detail: "odd".to_owned() },
            &["line 2: odd"],
        ),
        (
            RenderError::TemplateBinary { file: file.clone(), secret, field },
            &["`db.password`", "b64encode"],
        ),
    ];
    for fault in TemplateFault::ALL {
        all.push((RenderError::Template { file: file.clone(), line: 7, fault }, &["line 7"]));
    }
    for why in [
        F::KeyNotName,
        F::KeyEmpty,
        F::Nul,
        F::NotText,
        F::CarriageReturn,
        F::Quotes,
        F::Substitution,
        F::NoFields,
        F::NoKey,
        F::SeveralKeys,
        F::NoCertificate,
        F::PasswordNotText,
    ] {
        let (format, key) = (Format::Dotenv, "KEY".to_owned());
        let names = match why {
            F::KeyEmpty | F::NoFields => &["dotenv"][..],
            F::NoKey | F::SeveralKeys => &["private key"],
            F::NoCertificate => &["certificate"],
            _ => &["`KEY`"],
        };
        all.push((RenderError::Refused { file: file.clone(), format, key, why }, names));
    }
    let pem = |fault| CheckFailure::Pem { line: 9, fault };
    for failure in [
        CheckFailure::Json { line: 9, column: 1 },
        CheckFailure::Yaml { line: 9 },
        pem(PemFault::NoEnd),
        pem(PemFault::NotBase64),
        pem(PemFault::Empty),
        CheckFailure::Certificate { line: 9 },
        CheckFailure::Key { line: 9 },
        CheckFailure::NotSigned { line: 9 },
        CheckFailure::Expired { line: 9, ago: 200_000 },
        CheckFailure::NotYetValid { line: 9, ahead: 60 },
    ] {
        all.push((RenderError::Check { file: file.clone(), failure }, &["line 9"]));
    }
    let certificate = FilePath::parse("tls.crt").unwrap();
    let failure = CheckFailure::Mismatch { certificate };
    all.push((RenderError::Check { file, failure }, &["`tls.crt`"]));
    all
}

#[test]
fn every_error_says_what_why_and_what_to_do() {
    for (error, names) in every_error() {
        let report = error.report();
        let shown = report.to_string();
        assert!(report.what.contains("`app.conf`"), "{shown}");
        assert!(!report.why.is_empty() && report.hint.as_ref().is_some_and(|h| !h.is_empty()));
        assert!(names.iter().all(|name| shown.contains(name)), "{names:?} in {shown}");
        for text in [&report.what, &report.why, report.hint.as_ref().unwrap()] {
            assert!(!text.ends_with('.'), "{text}");
            assert!(
                !text.starts_with(|c: char| c.is_ascii_uppercase() && !text.starts_with("YAML"))
            );
        }
    }
}

#[test]
fn spans_are_said_as_people_do() {
    for (seconds, said) in
        [(1, "1 s"), (119, "119 s"), (600, "10 min"), (7_200, "2 h"), (259_200, "3 days")]
    {
        assert_eq!(Span(seconds).to_string(), said);
    }
}
