//! A backend in memory. Heights, transactions and receipts are made from small numbers, so that a test can
//! compute what it expects; uploads and submissions are kept.

mod samples;

use metanode_rpc::backend::{Answer, Backend, BlockKey, IdPrefix, ImageChunk, Readiness, ReceiptFilter};
use metanode_rpc::error::BackendError;
use metanode_rpc::metrics::Sample;
use metanode_rpc::views::*;
use metanode_types::account::AccountSecret;
use metanode_types::block::{Header, LastCommit, ModuleRoots};
use metanode_types::bls::{BlsPublic, BlsSignature};
use metanode_types::cage_report::ExitStatus;
use metanode_types::certificate::{Bitmap, Certificate};
use metanode_types::hash::sha256;
use metanode_types::ids::*;
use metanode_types::level::{CageLevel, SecurityLevel};
use metanode_types::quantity::Amount;
use metanode_types::receipt::{Action, Receipt, ReceiptBody, Subject};
use metanode_types::tx::{PlacementPolicy, ShortText, SignedTx, TxBody};
use metanode_types::workload::*;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::watch;

pub use samples::*;

pub const START: u64 = 3;

pub fn signed(nonce: u64) -> SignedTx {
    let body = TxBody::Transfer { to: address(), amount: Amount(5) };
    SignedTx::sign(&AccountSecret::from_seed([9; 32]), chain(), nonce, 1_000_000, Amount(10), body)
}
pub fn image() -> ImageRef {
    ImageRef { kind: ImageKind::Wasm, digest: ContentDigest([4; 32]), descriptor: Digest([5; 32]) }
}
pub fn workload() -> Workload {
    Workload {
        image: image(),
        args: vec!["serve".into()],
        env: vec![EnvVar { name: "A".into(), value: "b".into() }],
        resources: resources(),
        kind: WorkloadKind::Job { timeout_ms: 1000 },
        cage_level: CageLevel::Contained,
        security: SecurityLevel::Standard,
        verify: 0,
    }
}

/// The one receipt of a height; its reason makes it large, so that a slow reader shows.
pub fn receipt(height: u64) -> ReceiptView {
    let subject = Subject::Replica(ReplicaId { deployment: name("web"), index: 0 });
    let body = ReceiptBody::Action(Action::Failed {
        kind: ShortText::new("deploy"),
        code: 7,
        reason: ShortText::new("x".repeat(512)),
    });
    let receipt = Receipt {
        subject: subject.clone(),
        seq: height,
        previous: None,
        height,
        tx_index: Some(0),
        tx: Some(TxId([height as u8; 32])),
        before: Digest::default(),
        after: Digest::default(),
        body,
    };
    ReceiptView {
        id: receipt.id(),
        tier: receipt.tier(),
        height,
        log_index: height,
        subject,
        seq: height,
        receipt,
    }
}

pub fn summary(height: u64) -> BlockSummary {
    let id = BlockId(sha256(&height.to_be_bytes()));
    BlockSummary {
        height,
        id,
        time_ms: height * 1000,
        proposer: address(),
        txs: 1,
        receipts_size: height + 1,
    }
}

pub struct Fake {
    heights: watch::Sender<u64>,
    pub txs: Mutex<BTreeMap<TxId, TxView>>,
    pub ready: Mutex<bool>,
    pub uploads: Mutex<Vec<ImageChunk>>,
    /// How long each status takes; lets a test fill the budgets.
    pub delay: Mutex<Duration>,
    /// Events at or below this height are pruned.
    pub pruned: Mutex<u64>,
    /// When asked for what comes behind this cursor, the chain first grows to this height, once.
    pub grows_at: Mutex<Option<(EventCursor, u64)>>,
}

impl Fake {
    pub fn new() -> Fake {
        Fake {
            heights: watch::Sender::new(START),
            txs: Mutex::default(),
            ready: Mutex::new(true),
            uploads: Mutex::default(),
            delay: Mutex::default(),
            pruned: Mutex::default(),
            grows_at: Mutex::default(),
        }
    }

    pub fn head(&self) -> u64 {
        *self.heights.borrow()
    }

    pub fn grow_to(&self, height: u64) {
        self.heights.send_replace(height);
    }

    /// Makes everything submitted final in a new block.
    pub fn commit(&self) {
        let height = self.head() + 1;
        for view in self.txs.lock().unwrap().values_mut().filter(|v| v.status == TxStatus::Pending) {
            view.status = TxStatus::Final;
            (view.height, view.index, view.fee) = (Some(height), Some(0), Some(Amount(1)));
            view.receipts = vec![receipt(height).id];
        }
        self.grow_to(height);
    }

    pub fn status_view(&self) -> StatusView {
        StatusView {
            chain_id: chain(),
            chain_name: "test".into(),
            node: "n1".into(),
            address: address(),
            role: Role::Validator,
            height: self.head(),
            block: Some(summary(self.head()).id),
            block_time_ms: self.head() * 1000,
            app_root: Digest([3; 32]),
            catching_up: false,
            peers: 3,
            mempool: MempoolView { txs: 1, bytes: 300 },
            version: "0.1.0".into(),
            disk_bytes: None,
            started_ms: 17,
            last_block_age_ms: Some(5),
        }
    }

    pub fn deployment_view(&self) -> DeploymentView {
        let replica = ReplicaView {
            index: 0,
            node: Some(name("n1")),
            address: Some(address()),
            state: ReplicaState::Failed,
            epoch: 2,
            restarts: 1,
            healthy: None,
            exit: Some(ExitStatus::Timeout),
            verification: None,
        };
        let done = ReplicaView {
            index: 1,
            exit: Some(ExitStatus::Code(0)),
            state: ReplicaState::Finished,
            ..replica.clone()
        };
        DeploymentView {
            name: name("web"),
            owner: address(),
            cluster: name("default"),
            status: DeploymentState::Active,
            workload: workload(),
            replicas: vec![replica, done],
            escrow: Amount(1_500_000),
            generation: 1,
            tx: TxId([6; 32]),
            height: 2,
        }
    }
}

fn only<T>(ok: bool, value: T, what: &str) -> Answer<T> {
    if ok { Ok(value) } else { Err(BackendError::not_found(format!("there is no {what}"))) }
}

impl Backend for Fake {
    fn heights(&self) -> watch::Receiver<u64> {
        self.heights.subscribe()
    }
    fn status(&self) -> Answer<StatusView> {
        Ok(self.status_view())
    }
    fn readiness(&self) -> Readiness {
        let ready = *self.ready.lock().unwrap();
        let reason = if ready { "serving" } else { "catching up" };
        Readiness { ready, reason: reason.into(), lag: Some(if ready { 0 } else { 12 }) }
    }
    fn metrics(&self) -> Vec<Sample> {
        vec![Sample::gauge("metanode_consensus_height", "Height.", self.head() as f64)]
    }
    fn block(&self, key: &BlockKey) -> Answer<BlockView> {
        let found = match key {
            BlockKey::Latest => Some(self.head()),
            BlockKey::Height(h) => (1..=self.head()).contains(h).then_some(*h),
            BlockKey::Id(prefix) => (1..=self.head()).find(|h| prefix.matches(&summary(*h).id.0)),
        };
        let height = found.ok_or_else(|| BackendError::not_found("there is no such block"))?;
        let header = Header {
            version: 1,
            chain_id: chain(),
            height,
            time_ms: height * 1000,
            parent: summary(height - 1).id,
            last_commit: LastCommit::default(),
            txs_root: [1; 32],
            nonces_digest: [1; 32],
            receipts_size: height,
            receipts_root: [1; 32],
            module_roots: ModuleRoots([[1; 32]; 5]),
            app_root: [1; 32],
            evidence_root: [1; 32],
            validators_hash: [1; 32],
            next_validators_hash: [1; 32],
            params_hash: [1; 32],
            proposer: address(),
        };
        let id = summary(height).id;
        let certificate = Certificate {
            height,
            round: 0,
            block: id,
            signers: Bitmap::new(),
            signature: BlsSignature([7; 96]),
        };
        let txs =
            vec![BlockTxView { id: TxId([height as u8; 32]), kind: "transfer".into(), sender: address() }];
        Ok(BlockView { id, header, certificate, txs, bytes: 400 })
    }
    fn blocks(&self, before: Option<u64>, limit: usize) -> Answer<Page<BlockSummary, u64>> {
        let top = before.map_or(self.head(), |b| b.saturating_sub(1).min(self.head()));
        let items: Vec<_> = (1..=top).rev().take(limit).map(summary).collect();
        let next = items.last().map(|b| b.height).filter(|h| *h > 1);
        Ok(Page { items, next })
    }
    fn validators(&self, height: Option<u64>) -> Answer<ValidatorsView> {
        let v =
            ValidatorView { address: address(), name: Some("n1".into()), bls: BlsPublic([8; 48]), power: 10 };
        Ok(ValidatorsView { height: height.unwrap_or(self.head() + 1), total_power: 10, validators: vec![v] })
    }
    fn genesis(&self) -> Answer<GenesisView> {
        Ok(GenesisView { chain_id: chain(), genesis: serde_json::json!({"name": "test"}) })
    }
    fn production(&self) -> Answer<ProductionView> {
        let one = ProducerView {
            address: address(),
            name: None,
            power: 10,
            turns_taken: 3,
            turns_missed: 1,
            blocks: 3,
        };
        Ok(ProductionView {
            from_height: 1,
            to_height: self.head(),
            role: Role::Validator,
            validators: vec![one],
            pending_txs: 0,
            receipts_awaiting: 0,
        })
    }
    fn stats(&self) -> Answer<LedgerStats> {
        let block_interval = Some(IntervalView { count: 2, mean_ms: 1000, min_ms: 900, max_ms: 1100 });
        let (supply, burned) = (Amount(1_000_000), Amount(1));
        Ok(LedgerStats {
            height: self.head(),
            txs: 3,
            receipts: 3,
            accounts: 2,
            supply,
            burned,
            block_interval,
        })
    }
    fn submit(&self, tx: SignedTx) -> Answer<TxId> {
        let id = tx.id();
        if let Err(e) = tx.check(&chain()) {
            return Err(BackendError::rejected(id, e.to_string()).next("sign it for this chain"));
        }
        let view = TxView {
            id,
            status: TxStatus::Pending,
            kind: tx.body.kind().into(),
            sender: tx.envelope.sender,
            height: None,
            index: None,
            code: None,
            reason: None,
            receipts: vec![],
            fee: None,
        };
        self.txs.lock().unwrap().entry(id).or_insert(view);
        Ok(id)
    }
    fn tx(&self, id: &IdPrefix) -> Answer<TxView> {
        let txs = self.txs.lock().unwrap();
        let mut found = txs.range(TxId(id.low())..=TxId(id.high())).map(|(_, v)| v.clone());
        match (found.next(), found.next()) {
            (Some(_), Some(_)) => {
                Err(BackendError::invalid("the prefix is not unique").next("give more digits"))
            }
            (first, _) => first.ok_or_else(|| BackendError::not_found("there is no such transaction")),
        }
    }
    fn account(&self, address: &Address) -> Answer<AccountView> {
        Ok(AccountView { address: *address, balance: Amount(42), spent: None, height: self.head() })
    }
    fn supply(&self) -> Answer<SupplyView> {
        std::thread::sleep(*self.delay.lock().unwrap());
        Ok(SupplyView {
            supply: Amount(9),
            burned: Amount(1),
            escrow: Amount(2),
            bonded: Amount(3),
            height: self.head(),
        })
    }
    fn cluster(&self, wanted: &Name) -> Answer<ClusterView> {
        let view = ClusterView {
            name: name("default"),
            owner: None,
            security: SecurityLevel::Standard,
            placement: PlacementPolicy::Spread,
            nodes: vec![address()],
            max_replica: resources(),
            deployments: 1,
        };
        only(*wanted == view.name, view, "cluster of this name")
    }
    fn clusters(&self, after: Option<Name>, _: usize) -> Answer<Page<ClusterView, Name>> {
        let items = if after.is_none() { vec![self.cluster(&name("default"))?] } else { vec![] };
        Ok(Page { items, next: None })
    }
    fn nodes(&self, after: Option<Address>, _: usize) -> Answer<Page<NodeView, Address>> {
        let node = NodeView {
            name: name("n1"),
            address: address(),
            state: NodeState::Ready,
            validator: true,
            capacity: resources(),
            free: resources(),
            replicas: 0,
            cage_level: CageLevel::Pinned,
            runs_oci: true,
            wasm_level: CageLevel::Pinned,
            cpu_class: Digest([1; 32]),
            kernel: "6.1".into(),
            peer_id: "0a".into(),
            boot_id: 77,
            last_seen_height: 2,
            last_seen_ms: 2000,
        };
        Ok(if after.is_none() {
            Page { items: vec![node], next: Some(address()) }
        } else {
            Page { items: vec![], next: None }
        })
    }
    fn deployments(&self, _: Option<Name>, _: usize) -> Answer<Page<DeploymentView, Name>> {
        Ok(Page { items: vec![self.deployment_view()], next: Some(name("web")) })
    }
    fn deployment(&self, wanted: &Name) -> Answer<DeploymentView> {
        only(wanted.as_str() == "web", self.deployment_view(), "deployment of this name")
    }
    fn explain(&self, deployment: &Name, height: Option<u64>) -> Answer<ExplainView> {
        let rule = RuleView { rule: "memory".into(), ok: false, detail: "asks 4Gi, 1Gi is free".into() };
        let node = NodeFitView { node: name("n1"), fits: false, rules: vec![rule], score: None };
        let state = ReplicaState::Pending;
        let replica =
            ExplainReplicaView { index: 0, state, reason: "no node fits".into(), nodes: vec![node] };
        let height = height.unwrap_or(self.head());
        only(
            deployment.as_str() == "web",
            ExplainView { deployment: deployment.clone(), height, replicas: vec![replica] },
            "deployment",
        )
    }
    fn logs(&self, deployment: &Name, replica: u32, stream: LogStream, tail: usize) -> Answer<LogsView> {
        if replica == 1 {
            let next = "metanode --rpc http://127.0.0.1:9 logs web";
            return Err(BackendError::unavailable("node n2 holds the output of web/1").next(next));
        }
        let (node, text) = (name("n1"), "x".repeat(tail.min(10)));
        Ok(LogsView { deployment: deployment.clone(), replica, stream, node, offset: 0, dropped: None, text })
    }
    fn receipt(&self, id: &IdPrefix) -> Answer<ReceiptView> {
        let found = (1..=self.head()).map(receipt).find(|r| id.matches(&r.id.0));
        found.ok_or_else(|| BackendError::not_found("there is no such receipt"))
    }
    fn receipts(
        &self,
        filter: &ReceiptFilter,
        from: Option<u64>,
        limit: usize,
    ) -> Answer<Page<ReceiptView, u64>> {
        let all = (from.unwrap_or(1)..=self.head()).map(receipt);
        let wanted = |r: &ReceiptView| {
            filter.tier.is_none_or(|t| t == r.tier)
                && filter.subject.as_ref().is_none_or(|s| *s == r.subject)
                && filter.deployment.as_ref().is_none_or(|d| d.as_str() == "web")
        };
        let items: Vec<_> = all.filter(wanted).take(limit).collect();
        let next = items.last().map(|r| r.log_index + 1).filter(|n| *n <= self.head());
        Ok(Page { items, next })
    }
    fn bundle(&self, id: &IdPrefix, full: bool) -> Answer<(ReceiptId, Vec<u8>)> {
        Ok((self.receipt(id)?.id, if full { vec![7; 12 << 20] } else { vec![7, 8] }))
    }
    fn node_status(&self) -> Answer<NodeStatusView> {
        Ok(NodeStatusView {
            name: "n1".into(),
            address: address(),
            peer_id: "12D3".into(),
            listen: vec!["/ip4/127.0.0.1/tcp/1".into()],
            cage_level: CageLevel::Contained,
            runs_oci: false,
            cages: 2,
            image_bytes: 9,
            missing: vec!["user namespaces".into()],
        })
    }
    fn peers(&self) -> Answer<Vec<PeerView>> {
        let (peer, remote) = ("12D4".into(), "/ip4/127.0.0.1/udp/2/quic-v1".into());
        Ok(vec![PeerView {
            peer,
            name: None,
            address: Some(address()),
            remote,
            outbound: true,
            height: Some(3),
        }])
    }
    fn images(&self) -> Answer<Vec<ImageView>> {
        Ok(vec![ImageView { image: image(), bytes: 100, name: None }])
    }
    fn image_have(&self, descriptor: &[u8]) -> Answer<ImageHaveView> {
        let need = BlobNeedView { blob: ContentDigest(sha256(b"blob")), size: 4, received: 0 };
        Ok(ImageHaveView { descriptor: Digest(sha256(descriptor)), complete: false, missing: vec![need] })
    }
    fn image_put(&self, chunk: ImageChunk) -> Answer<ImagePutView> {
        let received = chunk.offset + chunk.bytes.len() as u64;
        let view = ImagePutView { blob: chunk.blob, received, complete: chunk.bytes == b"blob" };
        self.uploads.lock().unwrap().push(chunk);
        Ok(view)
    }
    fn image_commit(&self, descriptor: &Digest) -> Answer<ImageRef> {
        only(
            !self.uploads.lock().unwrap().is_empty(),
            ImageRef { descriptor: *descriptor, ..image() },
            "such upload",
        )
    }
    fn events(&self, after: EventCursor, limit: usize) -> Answer<Vec<EventView>> {
        if let Some((_, head)) = self.grows_at.lock().unwrap().take_if(|(at, _)| *at == after) {
            self.grow_to(head);
        }
        let pruned = *self.pruned.lock().unwrap();
        let mut out = Vec::new();
        if after.height < pruned {
            let to = EventCursor { height: pruned, index: u32::MAX };
            out.push(EventView::Gap { from: after, to });
        }
        for height in after.height.max(pruned + 1).max(1)..=self.head() {
            let at = |index| EventCursor { height, index };
            let receipt = Box::new(receipt(height));
            let events = [
                EventView::Block { cursor: at(0), block: summary(height) },
                EventView::Receipt { cursor: at(1), receipt },
            ];
            out.extend(events.into_iter().filter(|e| e.cursor() > after));
            if out.len() >= limit {
                break;
            }
        }
        out.truncate(limit);
        Ok(out)
    }
}
