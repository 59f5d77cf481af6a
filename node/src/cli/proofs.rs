//! `metanode proofs`: takes proofs of receipts off the ledger, and checks them without it.
//!
//! Verification trusts one thing, the genesis file: what a node says about its own genesis is never used. A file is
//! verified without any network. Every check is printed with what was looked at, then the count and the assumption.

mod execution;

use super::failure::{Doing, Done, Failure};
use super::image::StoreArgs;
use super::output::{line, value};
use super::session::Session;
use super::testnet::registry;
use crate::replay::GenesisReplay;
use execution::Replayed;
use metanode_genesis::Genesis;
use metanode_runtime::image::Reference;
use metanode_types::bundle::Bundle;
use metanode_types::limits::MAX_BUNDLE_BYTES;
use metanode_types::verify::{self, Status, Verification};
use serde_json::json;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Export and verify proofs.
#[derive(clap::Args, Debug)]
pub struct ProofsArgs {
    #[command(subcommand)]
    command: ProofsCommand,
}

#[derive(clap::Subcommand, Debug)]
enum ProofsCommand {
    /// Write the proof bundle of a receipt to a file
    Export(ExportArgs),
    /// Verify a bundle file without a network, or fetch the bundle of a receipt and verify it here
    Verify(VerifyArgs),
}

#[derive(clap::Args, Debug)]
struct ExportArgs {
    /// Receipt, or a unique beginning
    receipt: String,
    /// File to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Add what replay, supply and the check against forks need
    #[arg(long)]
    full: bool,
}

#[derive(clap::Args, Debug)]
struct VerifyArgs {
    /// Bundle file, or receipt
    #[arg(value_name = "FILE|RECEIPT")]
    what: String,
    /// Genesis of the chain, from a source that you trust [default: that of the home or testnet on this machine]
    #[arg(long, value_name = "FILE")]
    genesis: Option<PathBuf>,
    /// With a receipt: fetch the full bundle
    #[arg(long)]
    full: bool,
    /// Run again, here, what the receipt is of, and compare the digests; needs a full bundle and the image
    #[arg(long)]
    replay: bool,
    /// With --replay: image of the run [default: from the image store]
    #[arg(long, value_name = "REF", requires = "replay")]
    image: Option<Reference>,
    #[command(flatten)]
    store: StoreArgs,
}

/// Carries the command out.
pub fn run(session: &Session, args: ProofsArgs) -> Done {
    match args.command {
        ProofsCommand::Export(args) => export(session, args),
        ProofsCommand::Verify(args) => verify(session, args),
    }
}

fn export(session: &Session, args: ExportArgs) -> Done {
    let node = session.node()?;
    let bytes = node.ask("export the proof", node.client().export(&args.receipt, args.full))?;
    let bundle = Bundle::from_bytes(&bytes)
        .map_err(|e| Failure::failed("export the proof", format!("the node sent no bundle: {e}")))?;
    let receipt = bundle.receipts[0].receipt.id();
    if !metanode_types::ids::matches_prefix(&receipt, "rx_", &args.receipt) {
        return Err(Failure::failed("export the proof", format!("the node sent the bundle of {receipt}")));
    }
    std::fs::write(&args.out, &bytes).usage(format!("write {}", args.out.display()))?;
    let answer =
        json!({ "receipt": receipt, "file": args.out, "bytes": bytes.len(), "full": bundle.full.is_some() });
    session.form.emit(&answer, |_| {
        let kind = if args.full { "full" } else { "core" };
        format!("wrote the {kind} bundle of {receipt} to {}, {} bytes", args.out.display(), bytes.len())
    });
    Ok(())
}

fn verify(session: &Session, args: VerifyArgs) -> Done {
    let path = Path::new(&args.what);
    // What cannot be an id is a file, there or not.
    let is_file = path.exists() || args.what.contains(['/', '.']);
    let genesis = trusted(session, args.genesis.as_deref())?;
    let trust = genesis.trust_root();
    let bytes = if is_file {
        read_bundle(path)?
    } else {
        let node = session.node()?;
        node.ask("fetch the proof", node.client().export(&args.what, args.full || args.replay))?
    };
    let what = format!("verify {}", args.what);
    // Bytes that are no bundle prove nothing: that is the first check, and it failed.
    let bundle = Bundle::from_bytes(&bytes).map_err(|e| {
        let details = json!({ "verified": false, "failed": ["format"] });
        Failure::failed(&*what, e)
            .details(details)
            .next("get the bundle again; one flipped byte makes it worthless")
    })?;
    let replay = GenesisReplay { genesis: crate::start::genesis_state(&genesis) };
    let verification = verify::verify_with_replay(&bundle, &trust, Some(&replay));
    if !is_file && !metanode_types::ids::matches_prefix(&verification.receipt, "rx_", &args.what) {
        return Err(Failure::failed(what, format!("the node sent the bundle of {}", verification.receipt)));
    }
    // Only what is proven is worth a run.
    let replayed = match args.replay && verification.verified() {
        true => Some(execution::again(&bundle, args.image.as_ref(), &args.store)?),
        false => None,
    };
    conclude(session, what, &verification, replayed.as_ref())
}

fn conclude(
    session: &Session,
    what: String,
    verification: &Verification,
    replayed: Option<&Replayed>,
) -> Done {
    let (passed, made) = verification.score();
    let mut answer = value(verification);
    answer["verified"] = json!(verification.verified());
    answer["passed"] = json!(passed);
    answer["made"] = json!(made);
    answer["failed"] = json!(verification.failed());
    let mut text = text(verification);
    if let Some(replayed) = replayed {
        answer["replay"] = value(replayed);
        text.push_str(&format!("\n{}", replayed.text()));
    }
    if verification.verified() && !matches!(replayed, Some(Replayed::Differs(_) | Replayed::Unavailable(_))) {
        session.form.emit(&answer, |_| text);
        return Ok(());
    }
    if session.form == super::output::Form::Text {
        line(text);
    }
    match replayed {
        Some(Replayed::Differs(fields)) => {
            let why = format!("a run here gave another {}", fields.join(", "));
            return Err(Failure::failed(what, why).next("do not rely on it").details(answer));
        }
        Some(Replayed::Unavailable(why)) => {
            let failure = Failure::unavailable(what, format!("the run cannot be made again here: {why}"));
            return Err(failure.next("the receipt itself is valid").details(answer));
        }
        Some(Replayed::Same(_)) | None => {}
    }
    let why = match verification.failed().as_slice() {
        [] => "a check that carries the proof could not be made".to_owned(),
        failed => format!("these checks failed: {}", failed.join(", ")),
    };
    Err(Failure::failed(what, why).next("do not rely on it").details(answer))
}

/// Every check with its evidence, the count, the assumption.
fn text(verification: &Verification) -> String {
    let mut out = format!("receipt {}", verification.receipt);
    let width = verification.checks.iter().map(|c| c.name.len()).max().unwrap_or(0);
    for check in &verification.checks {
        let (mark, detail) = match &check.status {
            Status::Passed(detail) => ("VALID         ", detail),
            Status::Failed(detail) => ("INVALID       ", detail),
            Status::NotApplicable(detail) => ("not applicable", detail),
            Status::Unavailable(detail) => ("unavailable   ", detail),
        };
        out.push_str(&format!(
            "\n  {mark}  {:width$}  {}\n  {:14}  {:width$}  {detail}",
            check.name, check.title, "", ""
        ));
    }
    let (passed, made) = verification.score();
    let verdict = if verification.verified() { "verified" } else { "NOT verified" };
    format!("{out}\n{passed} of {made} checks passed: {verdict}\nassumption: {}", verification.assumption)
}

fn read_bundle(path: &Path) -> Done<Vec<u8>> {
    let what = format!("read {}", path.display());
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).usage(&*what)?;
    file.take(MAX_BUNDLE_BYTES as u64 + 1).read_to_end(&mut bytes).usage(what)?;
    Ok(bytes)
}

/// What is trusted: the genesis given, else that of the testnet asked or of the home directory.
fn trusted(session: &Session, given: Option<&Path>) -> Done<Genesis> {
    let file = match given {
        Some(file) => file.to_owned(),
        None => match registry::find(session.url()) {
            Some(testnet) => testnet.genesis,
            None => {
                let file = session.home()?.genesis_file();
                if !file.exists() {
                    let failure = Failure::usage("verify the proof", "no genesis is known on this machine");
                    return Err(failure.next("pass --genesis FILE, from a source that you trust"));
                }
                file
            }
        },
    };
    let genesis = Genesis::load(&file).usage("read the genesis")?;
    Ok(genesis)
}
