//! Keys, and files that open or do not.

use super::*;

fn plain() -> SecretBytes {
    SecretBytes::copy_of(b"db:\n  password: hunter2\n")
}

fn pair() -> (Key, Vec<String>) {
    let (text, recipient) = Key::generate();
    (Key::parse(text.expose()).unwrap(), vec![recipient])
}

fn binary(recipients: &[String]) -> Vec<u8> {
    let mut bytes = Vec::new();
    ArmoredReader::new(&seal(&plain(), recipients).unwrap()[..]).read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn what_is_sealed_for_a_key_opens_with_it_armored_or_not() {
    let (key, recipients) = pair();
    let sealed = seal(&plain(), &recipients).unwrap();
    assert!(sealed.starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----\n"));
    assert_eq!(key.open(&sealed).unwrap().expose(), plain().expose());
    assert_eq!(key.open(&binary(&recipients)).unwrap().expose(), plain().expose());
    assert_eq!(key.recipients(), recipients);
}

#[test]
fn every_recipient_can_open_and_all_are_counted() {
    let ((one, mut recipients), (two, second)) = (pair(), pair());
    recipients.extend(second);
    let sealed = seal(&plain(), &recipients).unwrap();
    assert!(one.open(&sealed).is_ok() && two.open(&sealed).is_ok());
    assert_eq!(count_recipients(&sealed), 2);
    assert_eq!(count_recipients(&binary(&recipients)), 2);
}

#[test]
fn a_key_file_has_keys_comments_and_empty_lines() {
    let (text, _) = Key::generate();
    let text = std::str::from_utf8(text.expose()).unwrap().to_owned();
    assert!(text.starts_with("# public key: age1"));
    let two = format!("# mine\r\n\r\n{text}\n  {}  \n", text.lines().nth(1).unwrap());
    assert_eq!(Key::parse(two.as_bytes()).unwrap().recipients().len(), 2);
    let fault = |text: &[u8]| Key::parse(text).map(drop).unwrap_err();
    assert_eq!(fault(b""), LocalFault::KeyEmpty);
    assert_eq!(fault(b"# only\n"), LocalFault::KeyEmpty);
    assert_eq!(fault(b"\n\nssh-ed25519 AAAA"), LocalFault::KeyLine { line: 3 });
    assert_eq!(fault(b"\xff"), LocalFault::KeyLine { line: 1 });
    let (_, recipient) = Key::generate();
    assert_eq!(fault(recipient.as_bytes()), LocalFault::KeyLine { line: 1 });
}

#[test]
fn what_does_not_open_says_why() {
    let (key, recipients) = pair();
    let (_, others) = pair();
    let sealed = seal(&plain(), &recipients).unwrap();
    let fault = |bytes: &[u8]| key.open(bytes).map(drop).unwrap_err();
    assert_eq!(fault(&seal(&plain(), &others).unwrap()), LocalFault::KeyMismatch);
    assert_eq!(fault(b""), LocalFault::FileEmpty);
    assert_eq!(fault(b" \n"), LocalFault::FileEmpty);
    assert_eq!(fault(b"db:\n  password: hunter2\n"), LocalFault::NotAge);
    assert_eq!(fault(b"age-encryption.org/v2\nsomething longer"), LocalFault::NotAge);
    assert_eq!(fault(&[0xff; 100]), LocalFault::NotAge);
    let encryptor = Encryptor::with_user_passphrase("pass".to_owned().into());
    let mut bytes = Vec::new();
    encryptor.wrap_output(&mut bytes).unwrap().finish().unwrap();
    assert_eq!(fault(&bytes), LocalFault::Passphrase);
    for bytes in [sealed, binary(&recipients)] {
        for cut in 1..bytes.len() - 1 {
            assert_eq!(fault(&bytes[..cut]), LocalFault::Damaged, "cut at {cut}");
        }
    }
    let mut changed = binary(&recipients);
    *changed.last_mut().unwrap() ^= 1;
    assert_eq!(fault(&changed), LocalFault::Damaged);
}

#[test]
fn a_recipient_that_is_none_is_refused_by_its_number() {
    let (_, mut recipients) = pair();
    recipients.push("age1nonsense".to_owned());
    assert_eq!(seal(&plain(), &recipients).unwrap_err(), LocalFault::Recipient { number: 2 });
}
