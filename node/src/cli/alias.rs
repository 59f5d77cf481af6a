//! Other names of this program: `docklock`, `enc-cluster`, `bpci-server`, by link or as the first word.
//!
//! Owns the table from the words of those programs to commands of ours. Refuses the words that have no command behind
//! them, by name, with the command to use instead where there is one.

use super::failure::{Done, Failure};
use std::ffi::OsString;
use std::path::Path;

/// One name and what its words stand for.
struct Alias {
    /// Name of the program.
    name: &'static str,
    /// The same as a first word of `metanode`.
    word: &'static str,
    /// Words of it, and the command of ours; longer beginnings stand before shorter ones.
    words: &'static [(&'static [&'static str], &'static [&'static str])],
    /// What to say when nothing fits.
    instead: &'static str,
}

const ALIASES: &[Alias] = &[
    Alias {
        name: "docklock",
        word: "docklock",
        words: &[
            (&["deploy"], &["deploy"]),
            (&["scale"], &["scale"]),
            (&["stop"], &["stop"]),
            (&["remove"], &["stop"]),
            (&["logs"], &["logs"]),
            (&["list"], &["get", "deployments"]),
            (&["get", "cages"], &["get", "deployments"]),
            (&["get", "services"], &["get", "services"]),
            (&["describe", "cage"], &["describe", "deployment"]),
            (&["status"], &["status"]),
            (&["image"], &["image"]),
            (&["cage", "run"], &["cage", "run"]),
            (&["cage", "list"], &["get", "deployments"]),
            (&["receipt", "verify"], &["proofs", "verify"]),
            (&["export-proof"], &["proofs", "export"]),
            (&["security", "audit"], &["security", "audit"]),
        ],
        instead: "metanode deploy, get, logs, image, cage run, proofs or security audit",
    },
    Alias {
        name: "enc-cluster",
        word: "enc",
        words: &[
            (&["create"], &["cluster", "create"]),
            (&["cluster", "create"], &["cluster", "create"]),
            (&["list"], &["get", "clusters"]),
            (&["scale"], &["scale"]),
            (&["stats"], &["ledger", "stats"]),
        ],
        instead: "metanode cluster create, get clusters, scale or ledger stats",
    },
    Alias {
        name: "bpci-server",
        word: "bpci-server",
        words: &[(&[], &["start"])],
        instead: "metanode start",
    },
];

/// Turns the words of another name into ours; leaves everything else alone.
pub fn translate(mut argv: Vec<OsString>) -> Done<Vec<OsString>> {
    let program =
        argv.first().and_then(|p| Path::new(p).file_name()?.to_str()).unwrap_or("metanode").to_owned();
    let first = argv.get(1).and_then(|w| w.to_str()).unwrap_or("").to_owned();
    let (alias, skip) = match ALIASES.iter().find(|a| a.name == program) {
        Some(alias) => (alias, 1),
        None => match ALIASES.iter().find(|a| a.word == first || a.name == first) {
            Some(alias) => (alias, 2),
            None => return Ok(argv),
        },
    };
    let words: Vec<String> =
        argv[skip.min(argv.len())..].iter().map(|w| w.to_string_lossy().into_owned()).collect();
    if matches!(words.first().map(String::as_str), None | Some("--help" | "-h" | "help"))
        && alias.name != "bpci-server"
    {
        return Err(refused(alias, "a command is needed"));
    }
    let fits =
        |theirs: &[&str]| words.len() >= theirs.len() && theirs.iter().zip(&words).all(|(a, b)| a == b);
    let Some((theirs, ours)) = alias.words.iter().find(|(theirs, _)| fits(theirs)) else {
        let named: Vec<&str> =
            words.iter().map(String::as_str).take_while(|w| !w.starts_with('-')).take(2).collect();
        return Err(refused(alias, &format!("`{}` is not built", named.join(" "))));
    };
    let rest = argv.split_off(skip + theirs.len());
    let mut out = vec![OsString::from("metanode")];
    out.extend(ours.iter().map(OsString::from));
    out.extend(rest);
    Ok(out)
}

fn refused(alias: &Alias, why: &str) -> Failure {
    let known: Vec<String> = alias.words.iter().map(|(theirs, _)| theirs.join(" ")).collect();
    let why = format!("{why}; it knows {}", known.join(", "));
    Failure::usage(format!("understand `{}`", alias.name), why).next(format!("use {}", alias.instead))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours(words: &str) -> Result<String, String> {
        let argv = words.split(' ').map(OsString::from).collect();
        let join = |argv: Vec<OsString>| {
            argv.iter().map(|w| w.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
        };
        translate(argv).map(join).map_err(|f| f.text())
    }

    #[test]
    fn other_names_lead_to_our_commands() {
        assert_eq!(
            ours("/usr/bin/docklock deploy web --image x"),
            Ok("metanode deploy web --image x".into())
        ); // tidy: allow(paths): an argv[0], not a file
        assert_eq!(
            ours("metanode docklock get cages -o json"),
            Ok("metanode get deployments -o json".into())
        );
        assert_eq!(ours("enc-cluster create eu"), Ok("metanode cluster create eu".into()));
        assert_eq!(ours("metanode enc list"), Ok("metanode get clusters".into()));
        assert_eq!(ours("bpci-server --port 8080"), Ok("metanode start --port 8080".into()));
        assert_eq!(ours("metanode deploy web"), Ok("metanode deploy web".into()));
    }

    #[test]
    fn words_without_a_command_are_refused_by_name() {
        let error = ours("docklock cage replay x --witness-log f").expect_err("not built");
        assert!(
            error.contains("`cage replay` is not built") && error.contains("next: use metanode"),
            "{error}"
        );
        assert!(ours("enc-cluster").expect_err("nothing asked").contains("a command is needed"));
    }
}
