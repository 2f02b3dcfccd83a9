//! Every error says what, why and what to do.

use super::*;

#[test]
fn every_error_says_what_why_and_what_to_do() {
    use LocalFault as F;
    let path = || "db".to_owned();
    let there = || vec!["smtp".to_owned(), "dbx".to_owned()];
    let at = (3, 4);
    let yaml = [
        YamlFault::Syntax(at),
        YamlFault::DuplicateKey(at),
        YamlFault::KeyNotText(at),
        YamlFault::NotMapping(at),
        YamlFault::Second(at),
        YamlFault::Tag(at),
        YamlFault::NotBase64(at),
        YamlFault::Alias(at),
        YamlFault::TooDeep(at),
    ];
    let field = FieldPath::Field("user".to_owned());
    let mut table = vec![
        (F::FileUnreadable(io::ErrorKind::NotFound), 75, "sidekey local set"),
        (F::FileUnreadable(io::ErrorKind::PermissionDenied), 75, "permission denied"),
        (F::FileUnreadable(io::ErrorKind::FileTooLarge), 75, "too large"),
        (F::KeyUnreadable(io::ErrorKind::NotFound), 75, "key.txt"),
        (F::KeyUnreadable(io::ErrorKind::InvalidInput), 75, "not a file"),
        (F::KeyEmpty, 77, "sidekey local keygen"),
        (F::KeyLine { line: 7 }, 77, "line 7"),
        (F::KeyMismatch, 77, "key.txt"),
        (F::Passphrase, 77, "passphrase"),
        (F::FileEmpty, 65, "empty"),
        (F::NotAge, 65, "age"),
        (F::Damaged, 65, "cut off"),
        (F::Recipient { number: 2 }, 78, "recipient 2"),
        (F::RecipientsUnknown { sealed_for: 3, known: 1 }, 78, "3 keys"),
        (F::Changed, 75, "meantime"),
        (F::Unwritable(io::ErrorKind::StorageFull), 73, "storage"),
        (F::NotText, 65, "UTF-8"),
        (F::NotFound { path: path(), there: there() }, 66, "did you mean `dbx`?"),
        (F::NotFound { path: "other".into(), there: there() }, 66, "its entries: `smtp`, `dbx`"),
        (F::FieldMissing { path: path(), field, there: there() }, 65, "`user` of `db`"),
        (F::NoVersions { path: path() }, 66, "newest"),
    ];
    table.extend(yaml.map(|fault| (F::Yaml(fault), 65, "line 3, column 4")));
    for (fault, exit, names) in table {
        let (file, key_file) = (PathBuf::from("s.age"), PathBuf::from("key.txt"));
        let report = LocalError { file, key_file, fault: Box::new(fault) }.report();
        let shown = report.to_string();
        assert_eq!(report.reason.exit().code(), exit, "{shown}");
        assert!(shown.contains(names), "{shown}");
        assert!(shown.contains("s.age") || shown.contains("`db`"), "{shown}");
        assert!(report.hint.is_some_and(|hint| !hint.is_empty() && !hint.ends_with('.')));
    }
}
