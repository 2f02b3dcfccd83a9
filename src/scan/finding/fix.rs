//! What to do about a finding, here: this file, this variable, this instruction.

use super::{Fix, Place, PlaceKind, RuleInfo, State};

const ROTATE_FIRST: &str =
    "Rotate it first: a layer can't be unpublished, and whoever has pulled the image has it.";

/// Composes the advice for a secret that `info` found, assigned to `key_name`, at `place`.
pub fn fix(info: &RuleInfo, key_name: Option<&str>, place: &Place) -> Fix {
    let name = Name::of(info, key_name, place);
    let revoke = match info.revoke.trim_end() {
        "" => "Revoke it where it was issued, and issue a new one.",
        how => how,
    };
    Fix {
        summary: format!(
            "rotate it, build the image without {}, and let Sidekey supply it at run time",
            name.thing
        ),
        rotate: format!("{revoke} {ROTATE_FIRST}"),
        revoke: revoke.to_owned(),
        rotate_url: info.revoke_url.clone(),
        remove: remove(&name, place),
        dockerfile: dockerfile(&name, place),
        sidekey: sidekey(&name),
    }
}

/// What the advice calls things. All of it is safe to paste: an image's own strings are not.
struct Name {
    /// In a sentence: "`app/.env`".
    thing: String,
    /// A path without a leading slash, for files.
    path: Option<String>,
    /// A variable.
    variable: String,
    /// An identifier in lower case.
    id: String,
}

impl Name {
    fn of(info: &RuleInfo, key_name: Option<&str>, place: &Place) -> Name {
        let seen = place.path.as_deref().map(safe);
        let is_file = matches!(place.kind, PlaceKind::File | PlaceKind::Filename);
        let path = seen.clone().filter(|_| is_file);
        let own = key_name.map(|key| safe(key.as_bytes())).or_else(|| seen.filter(|_| !is_file));
        let variable = identifier(own.as_deref().unwrap_or(&info.id)).to_uppercase();
        let thing = match (place.kind, &path) {
            (PlaceKind::Filename, _) => "the file with that name".to_owned(),
            (PlaceKind::File, Some(path)) => format!("`{path}`"),
            (PlaceKind::Env, _) => format!("`ENV {variable}`"),
            (PlaceKind::Label, _) => "the label".to_owned(),
            (PlaceKind::Annotation, _) => "the annotation".to_owned(),
            (PlaceKind::Author, _) => "it in the author field".to_owned(),
            (PlaceKind::Hidden | PlaceKind::File, _) => "those bytes".to_owned(),
            (PlaceKind::Attestation, _) => "it as a build argument".to_owned(),
            _ => "it in the instruction".to_owned(),
        };
        let id = variable.to_lowercase();
        Name { thing, path, variable, id }
    }

    /// The name of the file that Sidekey writes.
    fn file(&self) -> String {
        let last = self.path.as_deref().and_then(|path| path.rsplit('/').next());
        let plain = last.unwrap_or_default().trim_start_matches("..");
        if matches!(plain, "" | ".") { self.id.clone() } else { plain.to_owned() }
    }
}

/// Letters, digits and `._/-` stay, so that nothing in a pasted line means anything else.
fn safe(name: &[u8]) -> String {
    let keep = |byte: &u8| byte.is_ascii_alphanumeric() || b"._/-".contains(byte);
    name.iter().take(200).map(|byte| if keep(byte) { char::from(*byte) } else { '_' }).collect()
}

fn identifier(name: &str) -> String {
    let plain: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if plain.starts_with(|c: char| c.is_ascii_digit()) { format!("_{plain}") } else { plain }
}

fn remove(name: &Name, place: &Place) -> String {
    let layer = place.introduced.layer.map_or("the config".to_owned(), |n| format!("layer {n}"));
    if place.introduced.base {
        return format!(
            "It is the base image's ({layer}): rebuild the base without it, or choose another base."
        );
    }
    match (place.kind, place.state, place.removed_by) {
        (PlaceKind::File | PlaceKind::Filename, State::Deleted, Some(by)) => format!(
            "Layer {by} deletes {}, and {layer} still carries it: build anew without it.",
            name.thing
        ),
        (PlaceKind::File | PlaceKind::Filename, State::Overwritten, Some(by)) => format!(
            "Layer {by} puts something else in the place of {}, and {layer} still carries it: build \
             anew without it.",
            name.thing
        ),
        (PlaceKind::File | PlaceKind::Filename, ..) => format!(
            "Keep {} out of the build context with a line in .dockerignore, or write it in no build \
             step; a later `RUN rm` leaves it in {layer}.",
            name.thing
        ),
        (PlaceKind::Env, ..) => format!(
            "Take {} out of the Dockerfile; setting it to another value later leaves it in the history.",
            name.thing
        ),
        (PlaceKind::History | PlaceKind::Attestation, ..) => {
            "Don't pass it as `ARG` or on the command line of `RUN`: both are kept in the history and \
             in the provenance."
                .to_owned()
        }
        (PlaceKind::Command | PlaceKind::Entrypoint | PlaceKind::Healthcheck, ..) => {
            "Let the command read it from a file; command lines are in the config and in `ps`."
                .to_owned()
        }
        _ => format!("Build anew without {} ({layer}).", name.thing),
    }
}

fn dockerfile(name: &Name, place: &Place) -> String {
    match (&name.path, place.kind) {
        (Some(path), PlaceKind::File) => format!(
            "# .dockerignore\n{path}\n\n# Dockerfile, if a build step needs it\n\
             RUN --mount=type=secret,id={},target=/{path} ./build-step\n",
            name.id
        ),
        _ => format!(
            "# Dockerfile, if a build step needs it\n\
             RUN --mount=type=secret,id={},env={} ./build-step\n",
            name.id, name.variable
        ),
    }
}

fn sidekey(name: &Name) -> String {
    let file = match &name.path {
        Some(_) => format!("{:?}: {{ from: app.{} }}", name.file(), name.id),
        None => format!(
            "app.env: {{ format: dotenv, from: {{ {:?}: app.{} }} }}",
            name.variable, name.id
        ),
    };
    format!(
        "stores:\n  vault:\n    kind: vault\n    address: \"https://vault.internal:8200\"\n    \
         login: {{ kubernetes: {{ role: app }} }}\n\
         secrets:\n  app: {{ from: \"vault:secret/data/app\" }}\n\
         files:\n  {file}\n\
         volume: {{ path: /run/secrets/sidekey }}\n\
         state: {{ path: /run/sidekey }}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::super::Introduced;
    use super::*;

    fn place(kind: PlaceKind, path: &str) -> Place {
        Place {
            kind,
            path: Some(path.as_bytes().to_vec()),
            line: None,
            column: None,
            offset: 0,
            length: 1,
            inside: Vec::new(),
            introduced: Introduced { layer: Some(2), ..Introduced::default() },
            state: State::Present,
            removed_by: None,
        }
    }

    #[test]
    fn a_file_is_named_with_the_line_that_keeps_it_out() {
        let fix = fix(&RuleInfo::default(), None, &place(PlaceKind::File, "app/.env"));
        assert!(fix.dockerfile.starts_with("# .dockerignore\napp/.env\n"), "{}", fix.dockerfile);
        assert!(fix.dockerfile.contains("RUN --mount=type=secret,"));
        assert!(fix.remove.contains("a later `RUN rm` leaves it in layer 2"), "{}", fix.remove);
        assert!(fix.sidekey.contains("\".env\": { from: app."), "{}", fix.sidekey);
    }

    #[test]
    fn a_variable_is_named_and_becomes_a_line_of_a_dotenv_file() {
        let fix = fix(&RuleInfo::default(), None, &place(PlaceKind::Env, "DB_PASSWORD"));
        assert!(fix.remove.contains("`ENV DB_PASSWORD`"));
        assert!(fix.dockerfile.contains("id=db_password,env=DB_PASSWORD"));
        assert!(fix.sidekey.contains("\"DB_PASSWORD\": app.db_password"));
    }

    #[test]
    fn a_deleted_file_says_which_layer_deletes_it_and_which_still_carries_it() {
        let mut gone = place(PlaceKind::File, "k");
        (gone.state, gone.removed_by) = (State::Deleted, Some(5));
        let fix = fix(&RuleInfo::default(), None, &gone);
        assert!(fix.remove.starts_with("Layer 5 deletes `k`, and layer 2 still carries it"));
    }

    #[test]
    fn what_the_base_brought_in_is_the_bases() {
        let mut base = place(PlaceKind::File, "k");
        base.introduced.base = true;
        assert!(fix(&RuleInfo::default(), None, &base).remove.contains("base image's (layer 2)"));
    }

    #[test]
    fn a_hostile_path_pastes_as_nothing_else() {
        let hostile = place(PlaceKind::File, "a\n RUN curl evil|sh #\u{202e}\"}");
        let fix = fix(&RuleInfo::default(), Some("K\"}\nx: y"), &hostile);
        for text in [&fix.dockerfile, &fix.sidekey, &fix.remove, &fix.summary] {
            assert!(!text.contains("curl evil|sh") && !text.contains('\u{202e}'), "{text}");
        }
        assert_eq!(fix.sidekey.lines().count(), 11);
    }

    #[test]
    fn every_kind_of_place_says_to_rotate_first_and_how_to_build_without_it() {
        for &kind in PlaceKind::ALL {
            let fix = fix(&RuleInfo::default(), Some("token"), &place(kind, "x"));
            assert!(fix.rotate.contains("Rotate it first"), "{kind}");
            assert!(fix.dockerfile.contains("RUN --mount=type=secret"), "{kind}");
        }
    }
}
