//! Templates: minijinja without anything that could read or reach the world outside.
//!
//! - A secret is a name in the template, its fields are its attributes; `db["a.b"]` for a field
//!   with a dot. A secret without fields is the value itself.
//! - Undefined is an error wherever it is used, except by `default` and `is defined`.
//! - Steps and bytes are bounded by fuel, the output by [`MAX_OUTPUT`].
//! - A newline at the end of the template is kept.
//! - Lists and maps of secrets are written as everywhere (lines, compact JSON); those that the
//!   template makes want `join` or `tojson`.
//! - minijinja's builtin filters are there but for `pprint`, `chain`, `zip` and `sum`; besides
//!   them `urlencode`, `b64encode`, `b64decode` and `tojson`.
//!
//! The engine's error texts may quote values. None is passed on: an error here is a kind and a
//! line.

mod filters;
mod values;

use std::collections::BTreeSet;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Value, ValueKind};
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior};

use super::buffer::Buffer;
use super::{RenderError, Secrets, TemplateFault};
use crate::secret::{FieldPath, FilePath, SecretBytes, SecretName};
use values::{Place, Trace};

/// Bytes that a template may put out: as many as a volume has by default.
const MAX_OUTPUT: usize = 4 << 20;

/// Steps of a render; one step also pays for 64 bytes of data on the way, so that this bounds the
/// memory too, to 64 MB.
const FUEL: u64 = 1_000_000;

/// The detail of the error that we make of `none`.
const NONE: &str = "none";

/// Every template of a config, compiled.
pub(super) struct Templates(Environment<'static>);

impl Default for Templates {
    fn default() -> Templates {
        let mut engine = Environment::new();
        engine.set_undefined_behavior(UndefinedBehavior::Strict);
        engine.set_auto_escape_callback(|_| AutoEscape::None);
        engine.set_fuel(Some(FUEL));
        if let Ok(syntax) = SyntaxConfig::builder().keep_trailing_newline(true).build() {
            engine.set_syntax(syntax);
        }
        engine.set_formatter(|out, _, value| match filters::there(value)?.kind() {
            ValueKind::Bool => Ok(out.write_str(if value.is_true() { "true" } else { "false" })?),
            ValueKind::Seq | ValueKind::Map | ValueKind::Iterable if !values::is_ours(value) => {
                Err(ErrorKind::InvalidOperation.into())
            }
            _ => Ok(write!(out, "{value}")?),
        });
        // They would put everything the template knows into the file.
        engine.remove_global("debug");
        engine.remove_filter("pprint");
        filters::add_to(&mut engine);
        Templates(engine)
    }
}

impl Templates {
    /// Compiles the template of `file`.
    pub(super) fn add(&mut self, file: &FilePath, source: &str) -> Result<(), RenderError> {
        self.0.add_template_owned(file.to_string(), source.to_owned()).map_err(|error| {
            RenderError::TemplateSyntax {
                file: file.clone(),
                line: error.line().unwrap_or_default(),
                // No secret has been seen yet: the text can quote only the template.
                detail: error.detail().unwrap_or("syntax error").to_owned(),
            }
        })
    }

    /// Renders the template of `file` with the secrets that it names.
    pub(super) fn render(
        &self,
        file: &FilePath,
        names: &BTreeSet<SecretName>,
        secrets: &Secrets<'_>,
    ) -> Result<SecretBytes, RenderError> {
        let template = self.0.get_template(file.as_str());
        let template = template.map_err(|error| failure(file, &error, None, secrets))?;
        let trace = Trace::of(template.source());
        let context = values::context(names, secrets, &trace);
        let mut out = Buffer::up_to(MAX_OUTPUT);
        let result = template.render_captured_to(context, &mut out).map(drop);
        if let Some(place) = trace.binary() {
            return Err(RenderError::TemplateBinary {
                file: file.clone(),
                secret: place.secret,
                field: place.field,
            });
        }
        match result {
            Ok(()) => Ok(out.finish()),
            Err(error) => Err(failure(file, &error, trace.missing(), secrets)),
        }
    }
}

fn failure(
    file: &FilePath,
    error: &minijinja::Error,
    missing: Option<Place>,
    secrets: &Secrets<'_>,
) -> RenderError {
    let line = error.line().unwrap_or_default();
    let fault = match error.kind() {
        ErrorKind::UndefinedError => match missing {
            Some(place) => return not_there(file, line, place, secrets),
            None => TemplateFault::Undefined,
        },
        ErrorKind::InvalidOperation if error.detail() == Some(NONE) => TemplateFault::None,
        ErrorKind::UnknownFilter
        | ErrorKind::UnknownTest
        | ErrorKind::UnknownFunction
        | ErrorKind::UnknownMethod => TemplateFault::Unknown,
        ErrorKind::OutOfFuel => TemplateFault::Fuel,
        ErrorKind::WriteFailure => TemplateFault::TooLong,
        ErrorKind::NonPrimitive
        | ErrorKind::NonKey
        | ErrorKind::InvalidOperation
        | ErrorKind::TooManyArguments
        | ErrorKind::MissingArgument
        | ErrorKind::CannotUnpack
        | ErrorKind::BadSerialization => TemplateFault::Operation,
        _ => TemplateFault::Other,
    };
    RenderError::Template { file: file.clone(), line, fault }
}

fn not_there(file: &FilePath, line: usize, place: Place, secrets: &Secrets<'_>) -> RenderError {
    let file = file.clone();
    let Place { secret, field } = place;
    match secrets.get(&secret) {
        Some(found) if field != FieldPath::Whole => RenderError::FieldMissing {
            file,
            line: Some(line),
            have: found.value.field_names().into_iter().map(str::to_owned).collect(),
            secret,
            field,
        },
        _ => RenderError::SecretMissing { file, secret },
    }
}

/// What a template sees of a value that is there.
fn is_there(value: &Value) -> bool {
    !matches!(value.kind(), ValueKind::Undefined | ValueKind::None)
}

#[cfg(test)]
mod tests;
