//! Key files read back, and damaged, open or mixed-up ones are refused.

use super::*;
use std::os::unix::fs::PermissionsExt;

const ALL: [KeyType; 3] = [KeyType::Account, KeyType::Validator, KeyType::Node];

#[test]
fn every_type_reads_back_and_is_private() {
    let dir = tempfile::tempdir().expect("a directory");
    for kind in ALL {
        let path = dir.path().join(format!("{kind}.json"));
        let key = SecretKey::generate(kind).expect("entropy");
        key.save(&path).expect("written");
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        let back = SecretKey::load(&path).expect("read");
        assert_eq!(back.public(), key.public());
        assert_eq!(*back.text(), *key.text());
        assert!(matches!(key.save(&path), Err(KeyError::Access { intent: "write", .. })), "never replaced");
        assert!(!format!("{key:?}").contains(key.secret().as_str()), "a secret is never printed");
    }
    let path = dir.path().join("account.json");
    assert!(load_account(&path).is_ok());
    assert!(matches!(load_validator(&path), Err(KeyError::Type { got: KeyType::Account, .. })));
}

#[test]
fn an_open_file_is_refused_with_the_command_that_closes_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("k.json");
    SecretKey::generate(KeyType::Account).and_then(|k| k.save(&path)).expect("written");
    for mode in [0o640, 0o604, 0o660] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("set");
        let error = SecretKey::load(&path).expect_err("open to others").to_string();
        assert!(error.ends_with(&format!("chmod 600 {}", path.display())), "{error}");
    }
}

#[test]
fn edited_files_are_refused() {
    let key = SecretKey::generate(KeyType::Account).expect("entropy");
    let other = SecretKey::generate(KeyType::Account).expect("entropy");
    let text = key.text();
    let mixed = text.replace(&key.public().public, &other.public().public);
    let moved =
        text.replace(&key.public().address.expect("has one"), &other.public().address.expect("has one"));
    let extra = text.replacen('{', "{\"note\": 1,", 1);
    let short = &text[..text.len() / 2];
    for bad in [mixed.as_str(), &moved, &extra, short, "", "[]"] {
        assert!(SecretKey::parse(bad.as_bytes()).is_err(), "{bad}");
    }
    let zero = format!(r#"{{"type":"validator","public":"","secret":"{}"}}"#, "0".repeat(64));
    assert!(SecretKey::parse(zero.as_bytes()).expect_err("zero scalar").contains("scalar"));
}
