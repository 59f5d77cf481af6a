//! The typed client: one method per RPC method, and a stream of events.
//!
//! Owns the translation of every failure into one [`ClientError`] that keeps code and data. Refuses to retry:
//! whether a call may be repeated is the caller's knowledge.

use crate::error::{ErrorData, ErrorKind};
use crate::limits::{MAX_BUNDLE_RESPONSE_BYTES, MAX_REQUEST_BYTES, MAX_WAIT};
use crate::methods::params::*;
use crate::views::*;
use jsonrpsee::core::client::{ClientT, Error as RpcError, Subscription, SubscriptionClientT};
use jsonrpsee::core::traits::ToRpcParams;
use jsonrpsee::core::{JsonRawValue, to_json_raw_value};
use jsonrpsee::http_client::transport::Error as HttpError;
use jsonrpsee::http_client::{HttpClient, HttpClientBuilder};
use jsonrpsee::ws_client::{WsClient, WsClientBuilder};
use metanode_types::ids::{Address, ContentDigest, Digest, Name, TxId};
use metanode_types::receipt::{Subject, Tier};
use metanode_types::tx::SignedTx;
use metanode_types::workload::ImageRef;
use serde::{Serialize, de::DeserializeOwned};
use std::time::Duration;

/// Why a call has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClientError {
    /// Nobody answered.
    #[error("{url} is unavailable: {reason}; {next_step}")]
    Unavailable {
        /// Address asked.
        url: String,
        /// Why.
        reason: String,
        /// What to do about it.
        next_step: String,
    },
    /// The node refused.
    #[error("{}{}", data.reason, data.next_step.as_ref().map(|s| format!("; {s}")).unwrap_or_default())]
    Refused {
        /// JSON-RPC code.
        code: i32,
        /// Data of the error.
        data: ErrorData,
    },
    /// What answered does not speak this interface.
    #[error("{url} answered something else than this interface: {reason}")]
    Foreign {
        /// Address asked.
        url: String,
        /// Why.
        reason: String,
    },
}

impl ClientError {
    /// The kind of a refusal, when the code is known; a node that does not answer is `Unavailable`.
    pub fn kind(&self) -> Option<ErrorKind> {
        match self {
            ClientError::Unavailable { .. } => Some(ErrorKind::Unavailable),
            ClientError::Refused { code, .. } => ErrorKind::from_code(*code),
            ClientError::Foreign { .. } => None,
        }
    }

    /// The transaction that the refusal names.
    pub fn tx(&self) -> Option<TxId> {
        match self {
            ClientError::Refused { data, .. } => data.tx,
            _ => None,
        }
    }
}

/// Parameters by name.
struct Named<P>(P);

impl<P: Serialize> ToRpcParams for Named<P> {
    fn to_rpc_params(self) -> Result<Option<Box<JsonRawValue>>, serde_json::Error> {
        to_json_raw_value(&self.0).map(Some)
    }
}

const UP: &str = "check that the node runs there (`metanode status`) and that --rpc names its RPC port";

/// `http://…` for any spelling of the address.
fn http_url(url: &str) -> String {
    match url.split_once("://") {
        Some(("ws", rest)) => format!("http://{rest}"),
        Some(_) => url.to_owned(),
        None => format!("http://{url}"),
    }
}

fn refused(error: &jsonrpsee::types::ErrorObjectOwned) -> ClientError {
    let code = error.code();
    let data = error.data().and_then(|d| serde_json::from_str(d.get()).ok()).unwrap_or_else(|| ErrorData {
        code_name: ErrorKind::from_code(code).map_or("unknown", ErrorKind::name).to_owned(),
        reason: error.message().to_owned(),
        next_step: None,
        tx: None,
    });
    ClientError::Refused { code, data }
}

/// The innermost reason of an error.
fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

fn client_error(url: &str, error: RpcError) -> ClientError {
    let unavailable =
        |reason: String| ClientError::Unavailable { url: url.into(), reason, next_step: UP.into() };
    match error {
        RpcError::Call(object) => refused(&object),
        RpcError::Transport(e) => match e.downcast_ref::<HttpError>() {
            Some(HttpError::Rejected { status_code: 413 }) => {
                limit("the request is larger than the node takes")
            }
            Some(HttpError::Rejected { status_code: 429 | 503 }) => {
                limit("the node is busy; retry after a second")
            }
            Some(HttpError::Rejected { status_code }) => {
                ClientError::Foreign { url: url.into(), reason: format!("HTTP status {status_code}") }
            }
            _ => unavailable(root_cause(e.as_ref())),
        },
        RpcError::RequestTimeout => unavailable("no answer in time".into()),
        RpcError::RestartNeeded(e) => {
            unavailable(format!("the connection ended: {}", root_cause(e.as_ref())))
        }
        RpcError::ServiceDisconnect => unavailable("the connection ended".into()),
        other => ClientError::Foreign { url: url.into(), reason: other.to_string() },
    }
}

fn limit(reason: &str) -> ClientError {
    let kind = ErrorKind::LimitExceeded;
    let data = ErrorData { code_name: kind.name().into(), reason: reason.into(), next_step: None, tx: None };
    ClientError::Refused { code: kind.code(), data }
}

type Answer<T> = Result<T, ClientError>;

/// A client of one node.
#[derive(Clone)]
pub struct Client {
    url: String,
    http: HttpClient,
}

impl Client {
    /// A client of `url` (`http://host:port`, or `host:port`); nothing is sent yet.
    pub fn new(url: &str) -> Answer<Client> {
        let url = http_url(url);
        let http = HttpClientBuilder::default()
            .max_request_size(MAX_REQUEST_BYTES as u32)
            .max_response_size(MAX_BUNDLE_RESPONSE_BYTES as u32)
            .request_timeout(MAX_WAIT + Duration::from_secs(15))
            .build(&url)
            .map_err(|e| ClientError::Unavailable {
                url: url.clone(),
                reason: format!("not an address: {e}"),
                next_step: "give it as http://host:port".into(),
            })?;
        Ok(Client { url, http })
    }

    /// Address of the node.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Calls any method by name.
    pub async fn call<P: Serialize + Send, R: DeserializeOwned>(&self, method: &str, params: P) -> Answer<R> {
        self.http.request(method, Named(params)).await.map_err(|e| client_error(&self.url, e))
    }

    /// `chain_status`.
    pub async fn status(&self) -> Answer<StatusView> {
        self.call("chain_status", NoParams {}).await
    }
    /// `chain_block`: by height, by id, or the newest.
    pub async fn block(&self, params: BlockParams) -> Answer<BlockView> {
        self.call("chain_block", params).await
    }
    /// `chain_blocks`.
    pub async fn blocks(&self, page: PageParams) -> Answer<PageView<BlockSummary>> {
        self.call("chain_blocks", page).await
    }
    /// `chain_validators`.
    pub async fn validators(&self, height: Option<u64>) -> Answer<ValidatorsView> {
        self.call("chain_validators", HeightParams { height }).await
    }
    /// `chain_genesis`.
    pub async fn genesis(&self) -> Answer<GenesisView> {
        self.call("chain_genesis", NoParams {}).await
    }
    /// `chain_production`.
    pub async fn production(&self) -> Answer<ProductionView> {
        self.call("chain_production", NoParams {}).await
    }
    /// `chain_stats`.
    pub async fn stats(&self) -> Answer<LedgerStats> {
        self.call("chain_stats", NoParams {}).await
    }
    /// `state_account`.
    pub async fn account(&self, address: Address) -> Answer<AccountView> {
        self.call("state_account", AccountParams { address }).await
    }
    /// `state_supply`.
    pub async fn supply(&self) -> Answer<SupplyView> {
        self.call("state_supply", NoParams {}).await
    }
    /// `state_cluster`.
    pub async fn cluster(&self, name: Name) -> Answer<ClusterView> {
        self.call("state_cluster", NameParams { name }).await
    }
    /// `state_clusters`.
    pub async fn clusters(&self, page: PageParams) -> Answer<PageView<ClusterView>> {
        self.call("state_clusters", page).await
    }
    /// `state_nodes`.
    pub async fn nodes(&self, page: PageParams) -> Answer<PageView<NodeView>> {
        self.call("state_nodes", page).await
    }

    /// `tx_submit`.
    pub async fn submit(&self, tx: &SignedTx) -> Answer<TxId> {
        let tx = hex::encode(metanode_types::codec::encode(tx));
        let answer: SubmitView = self.call("tx_submit", SubmitParams { tx }).await?;
        Ok(answer.tx)
    }
    /// `tx_wait`.
    pub async fn wait(&self, tx: TxId, timeout: Duration) -> Answer<TxView> {
        let timeout_ms = u64::try_from(timeout.as_millis()).ok();
        self.call("tx_wait", WaitParams { tx, timeout_ms }).await
    }
    /// `tx_get`: by id or unique prefix.
    pub async fn tx(&self, tx: &str) -> Answer<TxView> {
        self.call("tx_get", TxParams { tx: tx.to_owned() }).await
    }

    /// `deployment_list`.
    pub async fn deployments(&self, page: PageParams) -> Answer<PageView<DeploymentView>> {
        self.call("deployment_list", page).await
    }
    /// `deployment_get`.
    pub async fn deployment(&self, name: Name) -> Answer<DeploymentView> {
        self.call("deployment_get", NameParams { name }).await
    }
    /// `deployment_explain`.
    pub async fn explain(&self, name: Name, height: Option<u64>) -> Answer<ExplainView> {
        self.call("deployment_explain", ExplainParams { name, height }).await
    }
    /// `deployment_logs`.
    pub async fn logs(&self, params: LogsParams) -> Answer<LogsView> {
        self.call("deployment_logs", params).await
    }
    /// `deployment_receipts`.
    pub async fn deployment_receipts(&self, name: Name, page: PageParams) -> Answer<PageView<ReceiptView>> {
        let params = DeploymentReceiptsParams { name, cursor: page.cursor, limit: page.limit };
        self.call("deployment_receipts", params).await
    }

    /// `receipt_get`: by id or unique prefix.
    pub async fn receipt(&self, receipt: &str) -> Answer<ReceiptView> {
        self.call("receipt_get", ReceiptParams { receipt: receipt.to_owned() }).await
    }
    /// `receipt_list`.
    pub async fn receipts(
        &self,
        page: PageParams,
        tier: Option<Tier>,
        subject: Option<Subject>,
    ) -> Answer<PageView<ReceiptView>> {
        self.call("receipt_list", ReceiptsParams { cursor: page.cursor, limit: page.limit, tier, subject })
            .await
    }
    /// `proof_export`: the bundle's bytes.
    pub async fn export(&self, receipt: &str, full: bool) -> Answer<Vec<u8>> {
        let params = ExportParams { receipt: receipt.to_owned(), full: Some(full) };
        let view: BundleView = self.call("proof_export", params).await?;
        hex::decode(&view.bundle).map_err(|e| ClientError::Foreign {
            url: self.url.clone(),
            reason: format!("the bundle is not hex: {e}"),
        })
    }

    /// `node_status`.
    pub async fn node_status(&self) -> Answer<NodeStatusView> {
        self.call("node_status", NoParams {}).await
    }
    /// `node_peers`.
    pub async fn peers(&self) -> Answer<Vec<PeerView>> {
        self.call("node_peers", NoParams {}).await
    }
    /// `node_images`.
    pub async fn images(&self) -> Answer<Vec<ImageView>> {
        self.call("node_images", NoParams {}).await
    }
    /// `node_image_have`.
    pub async fn image_have(&self, descriptor: &[u8]) -> Answer<ImageHaveView> {
        self.call("node_image_have", ImageHaveParams { descriptor: hex::encode(descriptor) }).await
    }
    /// `node_image_put`.
    pub async fn image_put(
        &self,
        descriptor: Digest,
        blob: ContentDigest,
        offset: u64,
        bytes: &[u8],
    ) -> Answer<ImagePutView> {
        let params = ImagePutParams { descriptor, blob, offset, bytes: hex::encode(bytes) };
        self.call("node_image_put", params).await
    }
    /// `node_image_commit`.
    pub async fn image_commit(&self, descriptor: Digest) -> Answer<ImageRef> {
        self.call("node_image_commit", ImageCommitParams { descriptor }).await
    }
    /// `rpc.discover`.
    pub async fn discover(&self) -> Answer<serde_json::Value> {
        self.call("rpc.discover", NoParams {}).await
    }

    /// `events_subscribe` over a WebSocket of its own.
    pub async fn events(&self, after: Option<EventCursor>) -> Answer<EventStream> {
        let url = self.url.replacen("http", "ws", 1);
        let ws = WsClientBuilder::default()
            .max_request_size(MAX_REQUEST_BYTES as u32)
            .connection_timeout(Duration::from_secs(10))
            .build(&url)
            .await
            .map_err(|e| match client_error(&url, e) {
                ClientError::Foreign { url, reason } => {
                    ClientError::Unavailable { url, reason, next_step: UP.into() }
                }
                other => other,
            })?;
        let params = Named(SubscribeParams { after });
        let subscription = ws
            .subscribe(crate::events::SUBSCRIBE, params, crate::events::UNSUBSCRIBE)
            .await
            .map_err(|e| client_error(&url, e))?;
        Ok(EventStream { url, subscription, _ws: ws })
    }
}

/// A running subscription; it ends when this is dropped.
pub struct EventStream {
    url: String,
    subscription: Subscription<EventView>,
    _ws: WsClient,
}

impl EventStream {
    /// The next event; `None` when the node or the connection ended the stream. Resume with the cursor of the
    /// last event.
    pub async fn next(&mut self) -> Option<Answer<EventView>> {
        let next = self.subscription.next().await?;
        Some(next.map_err(|e| ClientError::Foreign { url: self.url.clone(), reason: e.to_string() }))
    }
}
