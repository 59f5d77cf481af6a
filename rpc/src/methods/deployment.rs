//! `deployment_*`: what runs where, and why.

use super::params::*;
use super::{Cost, Method, ask, cursor, page_limit};
use crate::backend::{Answer, Backend, ReceiptFilter};
use crate::error::{BackendError, ErrorKind};
use crate::limits::{DEFAULT_LOG_TAIL_BYTES, MAX_LOG_TAIL_BYTES};
use crate::views::*;

const FIND: &[ErrorKind] = &[ErrorKind::InvalidInput, ErrorKind::NotFound];
const LOGS: &[ErrorKind] = &[ErrorKind::InvalidInput, ErrorKind::NotFound, ErrorKind::Unavailable];

pub(super) fn methods() -> Vec<Method> {
    use Cost::Store;
    vec![
        ask("deployment_list", "Deployments by name.", Store, &[ErrorKind::InvalidInput], list),
        ask("deployment_get", "One deployment with its replicas.", Store, FIND, |b, p: NameParams| {
            b.deployment(&p.name)
        }),
        ask(
            "deployment_explain",
            "Why each replica is where it is: every node, every rule.",
            Store,
            LOGS,
            |b, p: ExplainParams| b.explain(&p.name, p.height),
        ),
        ask(
            "deployment_logs",
            "The end of a replica's output, from the node that holds it; others name that node.",
            Store,
            LOGS,
            logs,
        ),
        ask(
            "deployment_receipts",
            "Receipts of a deployment and its replicas, in the order of the log.",
            Store,
            FIND,
            receipts,
        ),
    ]
}

fn list(backend: &dyn Backend, params: PageParams) -> Answer<PageView<DeploymentView>> {
    Ok(backend.deployments(cursor(params.cursor)?, page_limit(params.limit)?)?.into())
}

fn logs(backend: &dyn Backend, params: LogsParams) -> Answer<LogsView> {
    let tail = params.tail.map_or(DEFAULT_LOG_TAIL_BYTES, |t| t as usize);
    if tail > MAX_LOG_TAIL_BYTES {
        return Err(BackendError::limit(format!("a tail of {tail} bytes exceeds {MAX_LOG_TAIL_BYTES}")));
    }
    backend.logs(&params.name, params.replica, params.stream, tail)
}

fn receipts(backend: &dyn Backend, params: DeploymentReceiptsParams) -> Answer<PageView<ReceiptView>> {
    let filter = ReceiptFilter { deployment: Some(params.name), ..ReceiptFilter::default() };
    Ok(backend.receipts(&filter, cursor(params.cursor)?, page_limit(params.limit)?)?.into())
}
