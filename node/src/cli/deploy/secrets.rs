//! Environment variables of a workload: their form, and the names that look like secrets.
//!
//! What is on the ledger is public for ever, so a name that looks like a secret is refused unless its author says
//! that it is none. This is a net for accidents and no protection against intent: values are not looked at.

use super::{Done, Failure};
use metanode_types::workload::EnvVar;

/// Anywhere in a name.
const PARTS: &[&str] =
    &["PASSWORD", "PASSWD", "PASSPHRASE", "SECRET", "TOKEN", "CREDENTIAL", "PRIVATE", "APIKEY"];
/// As a whole word of a name.
const WORDS: &[&str] = &["KEY", "KEYS", "PASS", "PW", "PIN", "SEED", "MNEMONIC", "AUTH", "CERT", "COOKIE"];

/// Reads `K=V`.
pub fn parse(text: &str) -> Result<EnvVar, String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => {
            Ok(EnvVar { name: name.to_owned(), value: value.to_owned() })
        }
        _ => Err("expected NAME=VALUE".into()),
    }
}

/// True when the name looks like that of a secret.
pub fn looks_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    PARTS.iter().any(|part| name.contains(part))
        || name.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| WORDS.contains(&word))
}

/// Refuses names that look like secrets, unless they are declared public.
pub fn check(env: &[EnvVar], public: bool) -> Done {
    let secret: Vec<&str> = env.iter().map(|v| v.name.as_str()).filter(|name| looks_secret(name)).collect();
    if secret.is_empty() || public {
        return Ok(());
    }
    let why =
        format!("{} looks like a secret, and what is on the ledger is public for ever", secret.join(", "));
    Err(Failure::usage("put the environment on the ledger", why)
        .next("leave it out, or pass --public-env if it is no secret"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_noticed() {
        for name in
            ["DB_PASSWORD", "password", "API_KEY", "KEY", "GITHUB_TOKEN", "aws-secret-id", "ssh.key", "AUTH"]
        {
            assert!(looks_secret(name), "{name}");
        }
        for name in ["KEYBOARD", "MONKEY", "PORT", "PATH", "LOG_LEVEL", "BYPASS_CACHE", "AUTHOR"] {
            assert!(!looks_secret(name), "{name}");
        }
        let env = [parse("API_KEY=1").expect("a variable")];
        assert!(check(&env, false).expect_err("secret").text().contains("API_KEY"));
        assert!(check(&env, true).is_ok());
        assert!(parse("novalue").is_err() && parse("=x").is_err());
        assert_eq!(parse("A=b=c").expect("a variable").value, "b=c");
    }
}
