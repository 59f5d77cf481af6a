//! What only a full bundle can show: replay, supply and one unforked history.

use super::{Check, Outcome, Replay, Status, TrustRoot, check, ensure};
use crate::block::Header;
use crate::bundle::{Bundle, FullPart};
use crate::ids::BlockId;
use crate::merkle::{self, Frontier};
use crate::receipt::{ReceiptBody, genesis_leaf};

const NON_FORK: &str = "one history: headers link from height 1 to the certified header";
const SUPPLY: &str = "supply: the block's postings sum to zero, burns included";
const REPLAY: &str = "replay: executing the block again gives the same receipts";

/// The three checks, `unavailable` without the full part.
pub(super) fn checks(bundle: &Bundle, trust: &TrustRoot, replay: Option<&dyn Replay>) -> Vec<Check> {
    let Some(full) = &bundle.full else {
        let missing = |name, title| Check {
            name,
            title,
            status: Status::Unavailable("needs a full bundle (`metanode proofs export --full`)".into()),
        };
        return vec![missing("non-fork", NON_FORK), missing("supply", SUPPLY), missing("replay", REPLAY)];
    };
    let replayed = match replay {
        None => Check {
            name: "replay",
            title: REPLAY,
            status: Status::Unavailable("this verifier has no state machine".into()),
        },
        Some(machine) => check("replay", REPLAY, replays(bundle, full, trust, machine)),
    };
    vec![
        check("non-fork", NON_FORK, non_fork(bundle, full, trust)),
        check("supply", SUPPLY, supply(bundle, full)),
        replayed,
    ]
}

/// Headers of all heights, the certified one last.
fn all_headers<'a>(bundle: &'a Bundle, full: &'a FullPart) -> impl Iterator<Item = &'a Header> {
    full.headers.iter().chain(std::iter::once(&bundle.header))
}

fn non_fork(bundle: &Bundle, full: &FullPart, trust: &TrustRoot) -> Outcome {
    let mut parent = BlockId::default();
    let mut size = 1;
    for (i, h) in all_headers(bundle, full).enumerate() {
        let want = i as u64 + 1;
        ensure(h.height == want, || format!("height {} where {want} is expected", h.height))?;
        ensure(h.chain_id == trust.chain_id, || format!("height {want} is from another chain"))?;
        ensure(h.parent == parent, || format!("height {want} does not follow height {}", want - 1))?;
        ensure(h.receipts_size >= size, || format!("the log shrank at height {want}"))?;
        (parent, size) = (h.id(), h.receipts_size);
    }
    let at = bundle.receipts[0].receipt.height;
    let header =
        all_headers(bundle, full).find(|h| h.height == at).ok_or("the receipt's height is missing")?;
    ensure(full.block.header == *header, || format!("the block is not the one at height {at}"))?;
    full.block.check_shape().map_err(|e| e.to_string())?;
    log_extends(bundle, full, trust, at)?;
    Ok(format!("{} headers from height 1, each naming its parent; the log only grew", bundle.header.height))
}

/// The log before the receipt's block is a prefix of the certified log.
fn log_extends(bundle: &Bundle, full: &FullPart, trust: &TrustRoot, at: u64) -> Result<(), String> {
    let (old_size, old_root) = match all_headers(bundle, full).find(|h| h.height + 1 == at) {
        Some(h) => (h.receipts_size, h.receipts_root),
        None => (1, genesis_leaf(&trust.chain_id)),
    };
    let (size, root) = (bundle.header.receipts_size, &bundle.header.receipts_root);
    merkle::verify_consistency(old_size, size, &full.consistency, &old_root, root)
        .map_err(|e| format!("the log before height {at} is no prefix of the certified log: {e}"))
}

fn supply(bundle: &Bundle, full: &FullPart) -> Outcome {
    let block = &full.block.header;
    ensure(!full.receipts.is_empty(), || "the block's receipts are missing".into())?;
    let subject = bundle.receipts[0].receipt.id();
    ensure(full.receipts.iter().any(|r| r.id() == subject), || {
        "the receipt is not among its block's".into()
    })?;
    let mut burned = 0u128;
    let mut postings = 0;
    for r in &full.receipts {
        ensure(r.height == block.height, || "a receipt is from another height".into())?;
        if let ReceiptBody::Economic(e) = &r.body {
            ensure(e.is_balanced(), || format!("the postings of {} do not sum to zero", r.id().short()))?;
            postings += e.postings.len();
            let burns = e.postings.iter().filter(|p| p.holder == crate::receipt::Holder::Burned);
            burned += burns.map(|p| p.delta.unsigned_abs()).sum::<u128>();
        }
    }
    Ok(format!(
        "{postings} postings of {} receipts sum to zero, {} burned",
        full.receipts.len(),
        crate::quantity::Amount(burned)
    ))
}

fn replays(bundle: &Bundle, full: &FullPart, trust: &TrustRoot, machine: &dyn Replay) -> Outcome {
    let made = machine.replay(bundle, trust)?;
    ensure(made == full.receipts, || "executing the block again gives other receipts".into())?;
    // A block at height 1 starts from the genesis leaf alone, so its whole log can be rebuilt here.
    if full.block.header.height == 1 {
        let mut log = Frontier::default();
        log.append(genesis_leaf(&trust.chain_id));
        made.iter().for_each(|r| log.append(r.leaf()));
        ensure(log.root() == full.block.header.receipts_root, || "the rebuilt log has another root".into())?;
    }
    Ok(format!("{} transactions executed again, {} receipts equal", full.block.txs.len(), made.len()))
}
