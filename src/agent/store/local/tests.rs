//! The store as the pipeline sees it.

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::agent::config::{Parameters, SecretRef};
use crate::secret::{FieldPath, SecretBytes, StoreName};

struct Place {
    dir: tempfile::TempDir,
    recipients: Vec<String>,
}

impl Place {
    fn new() -> Place {
        let dir = tempfile::tempdir().unwrap();
        let (key, recipient) = Key::generate();
        std::fs::write(dir.path().join("key.txt"), key.expose()).unwrap();
        Place { dir, recipients: vec![recipient] }
    }

    fn put(&self, yaml: &str) {
        let sealed = seal(&SecretBytes::copy_of(yaml.as_bytes()), &self.recipients);
        std::fs::write(self.file(), sealed.unwrap()).unwrap();
    }

    fn file(&self) -> std::path::PathBuf {
        self.dir.path().join("secrets.yaml.age")
    }

    fn store(&self) -> LocalStore {
        let config = LocalConfig { file: self.file(), key_file: self.dir.path().join("key.txt") };
        let key = DigestKey::new(SecretBytes::copy_of(&[7; DigestKey::LEN]));
        LocalStore::build(&config, Rc::new(key)).unwrap()
    }
}

fn ask(
    store: &LocalStore,
    path: &str,
    field: FieldPath,
    have: Option<&Version>,
) -> Result<Answer, LocalError> {
    let from = SecretRef {
        store: StoreName::parse("dev").unwrap(),
        path: path.into(),
        field,
        version: None,
    };
    let with = Parameters::default();
    store.fetch(Wanted { have, ..Wanted::plain(&from, &with, Duration::ZERO) })
}

fn moved(result: Result<Answer, LocalError>) -> Secret {
    match result {
        Ok(Answer::Moved(secret)) => secret,
        other => panic!("{other:?}"),
    }
}

fn fault(result: Result<Answer, LocalError>) -> LocalFault {
    *result.unwrap_err().fault
}

#[test]
fn an_entry_is_a_secret_and_its_mapping_the_fields() {
    let place = Place::new();
    place.put("db:\n  user: ada\n  port: 5432\ntoken: t\n");
    let store = place.store();
    let secret = moved(ask(&store, "db", FieldPath::Whole, None));
    assert_eq!(secret.value.field_names(), ["port", "user"]);
    let part = moved(ask(&store, "db", FieldPath::Field("port".into()), None));
    assert_eq!(part.value.to_bytes().unwrap().unwrap().expose(), b"5432");
    assert!(matches!(
        moved(ask(&store, "token", FieldPath::Whole, None)).value,
        SecretValue::Text(_)
    ));
    assert_eq!(store.watch().path(), place.file());
}

#[test]
fn the_version_moves_with_the_value_and_with_nothing_else() {
    let place = Place::new();
    place.put("db: {user: ada, port: 5432}\nother: 1\n");
    let store = place.store();
    let whole = moved(ask(&store, "db", FieldPath::Whole, None)).version;
    let user = moved(ask(&store, "db", FieldPath::Field("user".into()), None)).version;
    place.put("# the same, written otherwise\nother: 2\ndb:\n  port: 5432\n  user: 'ada'\n");
    assert!(matches!(ask(&store, "db", FieldPath::Whole, Some(&whole)), Ok(Answer::Unmoved)));
    place.put("db: {user: ada, port: '5432'}\n");
    assert_ne!(moved(ask(&store, "db", FieldPath::Whole, Some(&whole))).version, whole);
    let same = ask(&store, "db", FieldPath::Field("user".into()), Some(&user));
    assert!(matches!(same, Ok(Answer::Unmoved)));
}

#[test]
fn different_values_never_feed_the_digest_alike() {
    let fed = |yaml: &str| {
        let mut out = Vec::new();
        feed(&yaml::parse(yaml).unwrap().remove("k").unwrap(), &mut out);
        out
    };
    let values = [
        "''",
        "null",
        "true",
        "false",
        "1",
        "'1'",
        "[]",
        "{}",
        "[a, b]",
        "[ab]",
        "['', ab]",
        "[[a], b]",
        "{a: b}",
        "{ab: ''}",
        "{a: [b]}",
        "!!binary /w==",
        "'/w=='",
    ];
    let all: std::collections::BTreeSet<_> =
        values.iter().map(|value| fed(&format!("k: {value}"))).collect();
    assert_eq!(all.len(), values.len());
}

#[test]
fn a_change_of_the_file_or_of_the_key_is_seen_at_the_next_fetch() {
    let place = Place::new();
    let store = place.store();
    let missing = LocalFault::FileUnreadable(std::io::ErrorKind::NotFound);
    assert_eq!(fault(ask(&store, "db", FieldPath::Whole, None)), missing);
    place.put("db: old\n");
    moved(ask(&store, "db", FieldPath::Whole, None));
    let (other, _) = Key::generate();
    std::fs::write(place.dir.path().join("key.txt"), other.expose()).unwrap();
    assert_eq!(fault(ask(&store, "db", FieldPath::Whole, None)), LocalFault::KeyMismatch);
    std::fs::remove_file(place.dir.path().join("key.txt")).unwrap();
    let missing = LocalFault::KeyUnreadable(std::io::ErrorKind::NotFound);
    assert_eq!(fault(ask(&store, "db", FieldPath::Whole, None)), missing);
}

#[test]
fn what_is_not_there_is_named_with_what_is() {
    let place = Place::new();
    place.put("db: {user: ada, gone: null}\nsmtp: x\nempty:\n");
    let store = place.store();
    match fault(ask(&store, "bd", FieldPath::Whole, None)) {
        LocalFault::NotFound { path, there } => {
            assert_eq!(
                (path.as_str(), there),
                ("bd", vec!["db".into(), "empty".into(), "smtp".to_owned()])
            );
        }
        other => panic!("{other:?}"),
    }
    for (path, field) in [("db", "gone"), ("db", "pass"), ("smtp", "x")] {
        let fault = fault(ask(&store, path, FieldPath::Field(field.into()), None));
        assert!(matches!(fault, LocalFault::FieldMissing { .. }), "{fault:?}");
    }
    let whole = fault(ask(&store, "empty", FieldPath::Whole, None));
    assert!(matches!(whole, LocalFault::FieldMissing { .. }));
}

#[test]
fn there_are_no_versions_to_pin() {
    let place = Place::new();
    place.put("db: x\n");
    let from = SecretRef {
        store: StoreName::parse("dev").unwrap(),
        path: "db".into(),
        field: FieldPath::Whole,
        version: Some("3".into()),
    };
    let with = Parameters::default();
    let wanted = Wanted::plain(&from, &with, Duration::ZERO);
    assert_eq!(fault(place.store().fetch(wanted)), LocalFault::NoVersions { path: "db".into() });
}

#[test]
fn a_broken_plaintext_is_a_position_and_never_a_text() {
    let place = Place::new();
    place.put("db:\n  password: \"hunter2\n  user: [hunter2\n");
    let error = ask(&place.store(), "db", FieldPath::Whole, None).unwrap_err();
    let shown = format!("{error:?} {}", error.report());
    assert!(shown.contains("line ") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn a_key_that_everybody_may_read_is_remarked_upon() {
    let place = Place::new();
    let key = place.dir.path().join("key.txt");
    let mode = |mode| {
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
        place.store().remarks().len()
    };
    assert_eq!((mode(0o600), mode(0o640), mode(0o644)), (0, 0, 1));
    assert!(key_remark(Path::new("/nowhere")).is_none());
}
