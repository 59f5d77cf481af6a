//! Opening, committing, crashing, proving.

use super::chain::*;
use crate::store::{Batch, Column, Fault, MemStore, Read, RocksStore, Store};
use crate::*;
use metanode_types::ids::ChainId;
use metanode_types::merkle;
use metanode_types::params::ChainParams;
use metanode_types::quantity::Amount;
use metanode_types::receipt::Subject;
use metanode_types::tx::TxBody;
use std::sync::Arc;

fn pay(to: u8) -> TxBody {
    TxBody::Transfer { to: address(to), amount: Amount(5) }
}

fn reopen(store: Arc<dyn Store>) -> Result<Ledger> {
    Ledger::open(store, genesis(ChainParams::default()))
}

#[test]
fn a_ledger_on_disk_survives_reopening_and_equals_its_twin_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let mut twin = Chain::new();
    let mut disk = Chain::on(Arc::new(RocksStore::open(dir.path()).unwrap()), ChainParams::default());
    for chain in [&mut twin, &mut disk] {
        chain.ok(11, register(11));
        chain.ok(1, TxBody::Deploy(service("web", 2)));
        chain.ok(1, pay(2));
    }
    let head = disk.view().head().clone();
    assert_eq!(*twin.view().head(), head, "the same head whatever the store");
    drop(disk);
    let ledger = reopen(Arc::new(RocksStore::open(dir.path()).unwrap())).unwrap();
    assert_eq!(*ledger.view().unwrap().head(), head);
    audit::audit_supply(&ledger.view().unwrap()).unwrap();
}

#[test]
fn a_commit_that_was_not_synced_is_gone_as_a_whole() {
    let store = Arc::new(MemStore::new());
    let mut chain = Chain::on(store.clone(), ChainParams::default());
    chain.ok(1, pay(2));
    let before = chain.view().head().clone();
    let rows = |s: &MemStore| s.scan_all(Column::Txs, &[]).unwrap().len();
    store.inject(Some(Fault::LoseSyncs));
    chain.ok(1, pay(3));
    assert_eq!(rows(&store), 2);
    store.crash();
    let ledger = reopen(store.clone()).unwrap();
    assert_eq!(*ledger.view().unwrap().head(), before);
    assert_eq!(rows(&store), 1);
}

#[test]
fn another_chain_or_edited_values_are_refused() {
    let store = Arc::new(MemStore::new());
    Chain::on(store.clone(), ChainParams::default());
    let other = GenesisState { chain_id: ChainId([6; 32]), ..genesis(ChainParams::default()) };
    assert!(matches!(Ledger::open(store.clone(), other), Err(Error::OtherChain { .. })));
    let mut edited = genesis(ChainParams::default());
    edited.accounts[0].1 = Amount(1);
    let got = Ledger::open(store.clone(), edited).err();
    assert!(matches!(got, Some(Error::Inconsistent { check: "genesis values", .. })), "{got:?}");
    let fresh = || Arc::new(MemStore::new());
    let mut twice = genesis(ChainParams::default());
    twice.accounts.push(twice.accounts[0]);
    assert!(matches!(Ledger::open(fresh(), twice), Err(Error::Genesis(_))));
    let mut much = genesis(ChainParams::default());
    much.accounts[0].1 = Amount(limits::MAX_SUPPLY);
    assert!(matches!(Ledger::open(fresh(), much), Err(Error::Genesis(_))));
}

#[test]
fn opening_names_the_first_stored_value_that_disagrees() {
    let damaged = |damage: &dyn Fn(&MemStore, &Head) -> Batch| {
        let store = Arc::new(MemStore::new());
        let mut chain = Chain::on(store.clone(), ChainParams::default());
        chain.ok(1, pay(2));
        let head = chain.view().head().clone();
        store.commit(&damage(&store, &head)).unwrap();
        reopen(store).err().expect("the damage is noticed")
    };
    let put_head = |head: Head| {
        let mut b = Batch::new();
        b.put(Column::Meta, keys::head().bytes, metanode_types::codec::encode(&head));
        b
    };
    let check = |e: Error| match e {
        Error::Inconsistent { check, .. } => check,
        other => panic!("{other}"),
    };
    assert_eq!(
        check(damaged(&|_, h| {
            let mut h = h.clone();
            h.module_roots.0[0][0] ^= 1;
            put_head(h)
        })),
        "accounts"
    );
    assert_eq!(
        check(damaged(&|_, h| put_head(Head { nonces_digest: [1; 32], ..h.clone() }))),
        "nonces digest"
    );
    assert_eq!(
        check(damaged(&|_, h| put_head(Head { block: Default::default(), ..h.clone() }))),
        "last block"
    );
    assert_eq!(
        check(damaged(&|_, _| {
            let mut b = Batch::new();
            b.put(Column::LogNodes, keys::log_node(1, 0), [0; 32]);
            b
        })),
        "log root"
    );
    let missing = damaged(&|_, h| {
        let mut b = Batch::new();
        b.delete(Column::Blocks, keys::height(h.height));
        b
    });
    assert!(matches!(missing, Error::Corrupt { what: "last block", .. }));
}

#[test]
fn a_block_that_was_not_executed_here_is_not_committed() {
    let mut chain = Chain::new();
    let tx = chain.tx(1, pay(2));
    let other = chain.tx(1, pay(3));
    let view = chain.view();
    let run =
        |tx: &_| execute(&view, &chain.context(1000), std::slice::from_ref(tx), Signatures::Verify).unwrap();
    let (executed, wrong) = (run(&tx), run(&other));
    let block = executed.block(&view, vec![tx], None);
    let certificate = metanode_types::certificate::Certificate {
        height: 1,
        round: 0,
        block: block.id(),
        signers: Default::default(),
        signature: metanode_types::bls::BlsSecret::from_seed(&[77; 32]).sign(b"-"),
    };
    let got = chain.ledger.commit(wrong, &block, &certificate, &[]);
    assert!(matches!(got, Err(Error::OtherExecution { height: 1, .. })), "{got:?}");
    chain.ledger.commit(executed.clone(), &block, &certificate, &[address(3), address(3)]).unwrap();
    assert!(matches!(chain.ledger.commit(executed, &block, &certificate, &[]), Err(Error::NotNext { .. })));
    let view = chain.ledger.view().unwrap();
    assert_eq!(view.production(&address(200)).unwrap().taken, 1);
    assert_eq!(view.production(&address(3)).unwrap().missed, 2);
}

#[test]
fn lookups_by_prefix_and_pages_agree_with_full_ids() {
    let mut chain = Chain::new();
    let txs: Vec<_> = (0..40).map(|_| chain.tx(1, pay(2))).collect();
    let ids: Vec<_> = txs.iter().map(|t| t.id()).collect();
    chain.block(txs);
    let view = chain.view();
    for (index, id) in ids.iter().enumerate() {
        let hex = id.to_string();
        let record = view.tx(id).unwrap().unwrap();
        assert_eq!((record.height, record.index as usize), (1, index));
        assert_eq!(view.tx_by_prefix(&hex[2..]).unwrap(), query::Found::One((*id, record.clone())));
        for digits in [1, 4, 5] {
            let alike = ids.iter().filter(|i| i.to_string()[2..].starts_with(&hex[2..2 + digits])).count();
            match view.tx_by_prefix(&hex[2..2 + digits]).unwrap() {
                query::Found::One((found, _)) => assert_eq!((alike, found), (1, *id)),
                query::Found::Many => assert!(alike > 1),
                query::Found::None => panic!("{hex} has this prefix"),
            }
        }
        let receipt = view.receipt_at(record.first_receipt).unwrap().unwrap();
        assert_eq!(receipt.receipt.tx, Some(*id));
        assert_eq!(view.receipt(&receipt.receipt.id()).unwrap(), Some(receipt));
    }
    assert_eq!(view.tx_by_prefix("zz").unwrap(), query::Found::None);
    let mut from = 1;
    let mut seen = 0;
    loop {
        let page = view.receipts_from(from, 7).unwrap();
        seen += page.items.len();
        let Some(last) = page.next else { break };
        from = last + 1;
    }
    assert_eq!(seen, 40);
    let own = view.receipts_of_subject(&Subject::Account(address(1)), 0, 100).unwrap();
    assert_eq!(own.len(), 40);
    assert_eq!(view.receipts_of_subject(&Subject::Account(address(1)), 38, 100).unwrap()[..], own[38..]);
}

#[test]
fn receipts_and_entries_are_proven_under_the_certified_header() {
    let mut chain = Chain::with_nodes(2);
    chain.ok(1, TxBody::Deploy(service("web", 2)));
    let (old_size, old_root) = (chain.view().head().log.size(), chain.view().head().log.root());
    chain.ok(1, pay(2));
    let view = chain.view();
    let header = view.block(view.head().height).unwrap().unwrap().header;
    for index in 1..header.receipts_size {
        let receipt = view.receipt_at(index).unwrap().unwrap().receipt;
        let path = view.inclusion_path(index, header.receipts_size).unwrap().unwrap();
        merkle::verify_inclusion(&receipt.leaf(), index, header.receipts_size, &path, &header.receipts_root)
            .unwrap();
    }
    let path = view.consistency_path(old_size, header.receipts_size).unwrap().unwrap();
    merkle::verify_consistency(old_size, header.receipts_size, &path, &old_root, &header.receipts_root)
        .unwrap();
    assert_eq!(view.inclusion_path(0, header.receipts_size + 1).unwrap(), None, "not beyond the head");
    for key in [keys::account(&address(1)), keys::account(&address(99)), keys::deployment(&name("web"))] {
        let proof = view.prove(&key).unwrap();
        assert_eq!(proof.value.is_some(), view.raw(&key).unwrap().is_some());
        proof.verify(&header.module_roots.0[proof.module as usize]).unwrap();
    }
    let height = view.height_of(&view.head().block).unwrap();
    assert_eq!(height, Some(view.head().height));
    assert_eq!(view.certificate(view.head().height).unwrap().unwrap().block, view.head().block);
}

/// A core bundle of the receipt at a leaf, under the head's certificate.
fn bundle(view: &View<'_>, index: u64) -> metanode_types::bundle::Bundle {
    use metanode_types::bundle::{Bundle, Cause};
    use metanode_types::receipt::ReceiptBody;
    let height = view.head().height;
    let header = view.block(height).unwrap().unwrap().header;
    let receipt = view.receipt_at(index).unwrap().unwrap();
    let mut wanted = vec![receipt.receipt.previous];
    if let ReceiptBody::Action(a) = &receipt.receipt.body {
        wanted.push(a.assignment());
    }
    let mut all = vec![receipt.clone()];
    for id in wanted.into_iter().flatten() {
        if all.iter().all(|r| r.receipt.id() != id) {
            all.push(view.receipt(&id).unwrap().expect("receipts name receipts that exist"));
        }
    }
    let path = |i| view.inclusion_path(i, header.receipts_size).unwrap().unwrap();
    let items = all.into_iter().map(|r| (r.index, r.receipt, path(r.index))).collect();
    let (receipts, hashes) = Bundle::share_paths(items).unwrap();
    let cause = receipt.receipt.tx_index.map(|at| {
        let block = view.block(receipt.receipt.height).unwrap().unwrap();
        Cause::of(&block.txs[at as usize])
    });
    let certificate = view.certificate(height).unwrap().unwrap();
    Bundle { chain_id: view.chain_id(), header, certificate, receipts, hashes, cause, full: None }
}

#[test]
fn every_receipt_of_a_rich_history_passes_the_offline_verifier() {
    use metanode_types::cage_report::ExitStatus;
    use metanode_types::params::Usage;
    use metanode_types::tx::{DeploySpec, ReplicaEvent, ShortText};
    use metanode_types::verify::{TrustRoot, verify};
    let mut chain = Chain::with_nodes(2);
    chain.ok(1, TxBody::Deploy(service("web", 2)));
    chain.ok(1, TxBody::Deploy(job("j", 2)));
    chain.send(2, TxBody::Deploy(DeploySpec { deposit: Amount(1), ..service("poor", 1) }));
    chain.send(2, TxBody::Transfer { to: address(1), amount: Amount(RICH) });
    for i in 0..2 {
        let (who, body) = (chain.holder("web", i), chain.report("web", i, ReplicaEvent::Started));
        chain.ok(who, body);
        let (who, body) =
            (chain.holder("web", i), chain.report("web", i, ReplicaEvent::Health { healthy: true }));
        chain.ok(who, body);
    }
    let (who, usage) = (chain.holder("web", 0), Usage { cpu_ms: 999, memory_mib_s: 77 });
    let body = chain.report("web", 0, ReplicaEvent::Metered { usage });
    chain.ok(who, body);
    let (who, body) = (chain.holder("j", 0), chain.exited("j", 0, ExitStatus::Code(0), usage));
    chain.ok(who, body);
    let refused = ReplicaEvent::Refused { reason: ShortText::new("no image") };
    let (who, body) = (chain.holder("j", 1), chain.report("j", 1, refused));
    chain.ok(who, body);
    let (who, body) = (chain.holder("j", 1), chain.exited("j", 1, ExitStatus::Code(1), usage));
    chain.ok(who, body);
    chain.ok(1, TxBody::Scale { deployment: name("web"), replicas: 1, deposit: Amount(7) });
    chain.ok(1, TxBody::Stop { deployment: name("web") });
    for _ in 0..5 {
        chain.block_after(5000, vec![]);
    }
    chain.ok(11, register(11));

    let genesis = chain.ledger.genesis().clone();
    let trust = TrustRoot {
        chain_id: genesis.chain_id,
        supply: Amount(genesis.accounts.iter().map(|a| a.1.0).sum()),
        validators: genesis.validators,
        params: genesis.params,
    };
    let view = chain.view();
    let mut names = std::collections::BTreeSet::new();
    for index in 1..view.head().log.size() {
        let bundle = bundle(&view, index);
        let receipt = &bundle.receipts[0].receipt;
        let verification = verify(&bundle, &trust);
        assert!(verification.verified(), "{receipt:?}\n{:?}", verification.checks);
        assert!(bundle.to_bytes().len() <= metanode_types::limits::CORE_BUNDLE_BYTES, "{receipt:?}");
        names.insert(match &receipt.body {
            metanode_types::receipt::ReceiptBody::Action(a) => a.name().to_string(),
            _ => receipt.tier().to_string(),
        });
    }
    for kind in ["exited", "started", "health", "refused", "assigned", "unassigned", "node-lost", "failed"] {
        assert!(names.contains(kind), "the history has a receipt {kind}: {names:?}");
    }
    for tier in ["pipeline", "agreement", "economic", "finished", "scaled", "stop-ordered", "deployed"] {
        assert!(names.contains(tier), "the history has a receipt {tier}: {names:?}");
    }
}
