//! Look-ups, pages, events and explanations on a committed chain.

use super::story::*;
use crate::backend::{chain, deployments, events, ledger, logs, nodes};
use metanode_rpc::backend::{BlockKey, ReceiptFilter};
use metanode_rpc::error::ErrorKind;
use metanode_rpc::views::*;
use metanode_types::ids::Name;
use metanode_types::quantity::Amount;
use metanode_types::receipt::{Subject, Tier};
use metanode_types::tx::{ReplicaEvent, TxBody};
use metanode_types::workload::{ReplicaId, Resources};
use std::collections::BTreeMap;

#[test]
fn an_id_is_found_by_a_unique_beginning_and_an_ambiguous_one_is_counted() {
    let mut story = Story::new();
    // Two transactions whose ids begin with the same four digits, found by trying nonces.
    let mut seen = BTreeMap::new();
    let (first, second) = loop {
        let tx = story.tx(1, TxBody::Transfer { to: address(2), amount: Amount(1) });
        let short = hex::encode(&tx.id().0[..2]);
        if let Some(other) = seen.insert(short, tx.clone()) {
            break (other, tx);
        }
    };
    let (a, b) = (first.id().to_string(), second.id().to_string());
    story.block(vec![first, second]);
    let view = story.view();
    let both = ledger::final_tx(&view, &prefix(&a[..6])).unwrap_err();
    assert_eq!(both.kind, ErrorKind::InvalidInput);
    assert!(both.reason.starts_with("2 transactions begin with"), "{}", both.reason);
    assert!(both.reason.contains(&a) && both.reason.contains(&b), "{}", both.reason);
    let found = ledger::final_tx(&view, &prefix(&b)).unwrap().unwrap();
    assert_eq!((found.id.to_string(), found.height, found.index), (b, Some(1), Some(1)));
    assert_eq!(found.receipts.len(), 1);
    let unused = (0..=u16::MAX).map(|n| format!("0x{n:04x}")).find(|p| !a.starts_with(p)).unwrap();
    assert_eq!(ledger::final_tx(&view, &prefix(&unused)).unwrap(), None);
    assert_eq!(ledger::receipt(&view, &prefix("rx_0000")).unwrap_err().kind, ErrorKind::NotFound);
}

#[test]
fn a_failed_transaction_says_why_and_what_it_cost() {
    let mut story = Story::new();
    let tx = story.tx(1, TxBody::Stop { deployment: name("nowhere") });
    story.block(vec![tx.clone()]);
    let found = ledger::final_tx(&story.view(), &prefix(&tx.id().to_string())).unwrap().unwrap();
    assert_eq!((found.status, found.code), (TxStatus::Failed, Some(40)));
    assert!(found.reason.unwrap().contains("nowhere"));
    let account = ledger::account(&story.view(), &address(1)).unwrap();
    assert_eq!(account.spent, found.fee);
}

#[test]
fn pages_of_receipts_join_to_the_whole_whatever_the_filter() {
    let story = Story::busy();
    let view = story.view();
    let replica = Subject::Replica(ReplicaId { deployment: name("web"), index: 0 });
    let filters = [
        ReceiptFilter::default(),
        ReceiptFilter { tier: Some(Tier::Economic), ..ReceiptFilter::default() },
        ReceiptFilter { subject: Some(Subject::Account(address(1))), ..ReceiptFilter::default() },
        ReceiptFilter { subject: Some(replica), tier: Some(Tier::Action), ..ReceiptFilter::default() },
        ReceiptFilter { deployment: Some(name("web")), ..ReceiptFilter::default() },
    ];
    for filter in filters {
        let whole = ledger::receipts(&view, &filter, None, 1000).unwrap();
        assert!(whole.next.is_none() && whole.items.len() > 1, "{filter:?}");
        assert!(whole.items.windows(2).all(|two| two[0].log_index < two[1].log_index), "{filter:?}");
        for limit in [1, 2, 3, 7] {
            let (mut joined, mut from) = (Vec::new(), None);
            loop {
                let page = ledger::receipts(&view, &filter, from, limit).unwrap();
                assert!(page.items.len() <= limit);
                joined.extend(page.items);
                match page.next {
                    Some(next) => from = Some(next),
                    None => break,
                }
            }
            assert_eq!(joined, whole.items, "{filter:?} by {limit}");
        }
    }
    let nowhere = ReceiptFilter { deployment: Some(name("nowhere")), ..ReceiptFilter::default() };
    assert_eq!(ledger::receipts(&view, &nowhere, None, 10).unwrap_err().kind, ErrorKind::NotFound);
}

#[test]
fn blocks_are_listed_from_the_newest_and_found_by_height_and_id() {
    let story = Story::busy();
    let (view, head) = (story.view(), story.height());
    let (mut heights, mut before) = (Vec::new(), None);
    loop {
        let page = chain::list(&view, before, 3).unwrap();
        heights.extend(page.items.iter().map(|b| b.height));
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(heights, (1..=head).rev().collect::<Vec<_>>());
    let newest = chain::one(&view, &BlockKey::Latest).unwrap();
    assert_eq!((newest.header.height, newest.certificate.block), (head, newest.id));
    let by_id = chain::one(&view, &BlockKey::Id(prefix(&newest.id.to_string()[..14]))).unwrap();
    assert_eq!(by_id, newest);
    for height in [0, head + 1] {
        assert_eq!(chain::one(&view, &BlockKey::Height(height)).unwrap_err().kind, ErrorKind::NotFound);
    }
    assert_eq!(chain::one(&Story::new().view(), &BlockKey::Latest).unwrap_err().kind, ErrorKind::NotFound);
    let stats = chain::stats(&view).unwrap();
    // Twenty in the genesis and the proposer, who earned fees.
    assert_eq!((stats.txs, stats.accounts, stats.height), (view.head().txs, 21, head));
    let interval = stats.block_interval.unwrap();
    assert_eq!((interval.count, interval.min_ms, interval.max_ms), (head - 1, 1000, 1000));
    let production = chain::production(&view, &story.genesis, Role::Validator, 0).unwrap();
    assert_eq!(production.validators[0].turns_taken, head);
    assert_eq!(production.validators[0].name.as_deref(), Some("mayor"));
    assert_eq!(chain::validators(&view, &story.genesis, None).unwrap().height, head + 1);
    assert_eq!(
        chain::validators(&view, &story.genesis, Some(head + 2)).unwrap_err().kind,
        ErrorKind::NotFound
    );
}

#[test]
fn events_resume_behind_every_cursor() {
    let story = Story::busy();
    let view = story.view();
    let start = EventCursor { height: 0, index: 0 };
    let all = events::behind(&view, start, 1000).unwrap();
    let blocks = all.iter().filter(|e| matches!(e, EventView::Block { .. })).count() as u64;
    assert_eq!((blocks, all.len() as u64), (story.height(), story.height() + view.head().log.size() - 1));
    assert!(all.windows(2).all(|two| two[0].cursor() < two[1].cursor()));
    for (seen, event) in all.iter().enumerate() {
        for limit in [1, 2, 5, 1000] {
            let want: Vec<EventView> = all[seen + 1..].iter().take(limit).cloned().collect();
            assert_eq!(
                events::behind(&view, event.cursor(), limit).unwrap(),
                want,
                "behind {}",
                event.cursor()
            );
        }
    }
    let end_of_first = EventCursor { height: 1, index: u32::MAX };
    let next = events::behind(&view, end_of_first, 1).unwrap();
    assert_eq!(next[0].cursor(), EventCursor { height: 2, index: 0 });
    let future = EventCursor { height: story.height() + 1, index: 0 };
    assert_eq!(events::behind(&view, future, 10).unwrap(), []);
}

#[test]
fn deployments_show_their_replicas_and_finished_ones_their_end() {
    let story = Story::busy();
    let view = story.view();
    let web = deployments::one(&view, &name("web")).unwrap();
    assert_eq!((web.status, web.replicas.len()), (DeploymentState::Active, 2));
    assert_eq!((web.replicas[0].state, web.replicas[0].healthy), (ReplicaState::Running, Some(true)));
    assert_eq!(web.replicas[1].state, ReplicaState::Assigned);
    assert_eq!(web.replicas[0].epoch, web.height, "placed by the block that deployed it");
    let sum = deployments::one(&view, &name("sum")).unwrap();
    assert_eq!((sum.status, sum.replicas[0].state), (DeploymentState::Finished, ReplicaState::Finished));
    assert_eq!(sum.replicas[0].epoch, sum.height, "the epoch is that of the run");
    assert!(sum.replicas[0].node.is_some() && sum.replicas[0].exit.is_some());
    let names =
        |page: &Page<DeploymentView, Name>| page.items.iter().map(|d| d.name.clone()).collect::<Vec<_>>();
    let first = deployments::list(&view, None, 1).unwrap();
    assert_eq!(names(&first), [name("sum")]);
    assert_eq!(names(&deployments::list(&view, first.next.as_ref(), 1).unwrap()), [name("web")]);
    assert_eq!(deployments::one(&view, &name("nowhere")).unwrap_err().kind, ErrorKind::NotFound);
    let cluster = nodes::cluster(&view, &name("default")).unwrap();
    assert_eq!((cluster.owner, cluster.deployments), (None, 1));
}

#[test]
fn a_past_height_is_explained_by_executing_the_chain_again() {
    let mut story = Story::new();
    story.ok(1, TxBody::Deploy(service("web", 1)));
    let waiting = story.height();
    story.ok(11, register(11));
    let view = story.view();
    let now = deployments::explain(&view, &name("web")).unwrap();
    assert_eq!(now.replicas[0].state, ReplicaState::Assigned);
    assert!(now.replicas[0].reason.contains("node-11"), "{}", now.replicas[0].reason);
    let past = deployments::replayed(&view, waiting).unwrap();
    let then = deployments::explain(&past.view().unwrap(), &name("web")).unwrap();
    assert_eq!((then.height, then.replicas[0].state), (waiting, ReplicaState::Pending));
    assert!(then.replicas[0].reason.ends_with("no node is registered"), "{}", then.replicas[0].reason);
    let far = deployments::replayed(&view, deployments::MAX_REPLAYED_BLOCKS + 1);
    assert_eq!(far.err().map(|e| e.kind), Some(ErrorKind::Unsupported));
}

#[test]
fn a_nodes_last_sign_of_life_is_found_by_its_block() {
    let mut story = Story::new();
    story.ok(11, register(11));
    (0..9).for_each(|_| drop(story.block(vec![])));
    let beat = TxBody::Heartbeat { boot_id: 1, free: Resources::default() };
    for quiet in [0, 1, 2, 6] {
        story.ok(11, beat.clone());
        let heard = story.height();
        (0..quiet).for_each(|_| drop(story.block(vec![])));
        let page = nodes::nodes(&story.view(), None, 10).unwrap();
        let node = &page.items[0];
        assert_eq!((node.last_seen_height, node.last_seen_ms), (heard, START_MS + heard * 1000));
        assert_eq!((node.state, node.validator, node.free), (NodeState::Ready, false, node.capacity));
    }
}

#[test]
fn a_node_must_run_what_it_holds_and_was_not_told_to_stop() {
    let mut story = Story::new();
    story.ok(11, register(11));
    story.ok(1, TxBody::Deploy(service("web", 1)));
    let deployed_ms = START_MS + story.height() * 1000;
    let held = story.reader.assignments_of(&address(11)).unwrap();
    assert_eq!((held.len(), held[0].epoch, held[0].epoch_ns), (1, story.height(), deployed_ms * 1_000_000));
    assert_eq!(held[0].workload, service("web", 1).workload);
    assert_eq!(story.reader.node_spec(&address(11)).unwrap(), Some(node_spec(11)));
    assert_eq!(story.reader.node_spec(&address(12)).unwrap(), None);
    story.report("web", 0, ReplicaEvent::Started);
    assert_eq!(story.reader.assignments_of(&address(11)).unwrap().len(), 1);
    let stop = story.tx(1, TxBody::Stop { deployment: name("web") });
    assert_eq!(story.reader.is_final(&stop.id()), Ok(false));
    story.block(vec![stop.clone()]);
    assert_eq!(story.reader.is_final(&stop.id()), Ok(true));
    assert_eq!(story.reader.assignments_of(&address(11)).unwrap(), []);
}

#[test]
fn logs_are_refused_with_the_name_of_the_node_that_holds_them() {
    let story = Story::busy();
    let view = story.view();
    let web = deployments::one(&view, &name("web")).unwrap();
    let holder = web.replicas[0].address.unwrap();
    let ask = |deployment: &Name, index, me| {
        let wanted = logs::Wanted { deployment, index, stream: LogStream::Stdout, tail: 100, kept: 1000 };
        logs::tail(&view, None, (&me, &node_spec(99)), &wanted).unwrap_err()
    };
    let elsewhere = ask(&name("web"), 0, address(3));
    assert_eq!(elsewhere.kind, ErrorKind::Unavailable);
    assert!(
        elsewhere.reason.contains(web.replicas[0].node.as_ref().unwrap().as_str()),
        "{}",
        elsewhere.reason
    );
    assert!(ask(&name("web"), 0, holder).reason.contains("runs no workloads"));
    assert_eq!(ask(&name("web"), 9, holder).kind, ErrorKind::NotFound);
    assert_eq!(ask(&name("nowhere"), 0, holder).kind, ErrorKind::NotFound);
}
