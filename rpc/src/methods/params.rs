//! Parameters of the methods, shared by server and client.
//!
//! By name or by position; unknown names are refused. Bytes are hex without prefix.

use crate::schema::params;
use crate::views::{EventCursor, LogStream};
use metanode_types::ids::{Address, ContentDigest, Digest, Name, TxId};
use metanode_types::receipt::{Subject, Tier};

params! {
    /// Nothing.
    NoParams {}
}
params! {
    /// Which block; the newest when neither is given.
    BlockParams {
        /// Height.
        height: Option<u64>,
        /// Id or unique prefix.
        id: Option<String>,
    }
}
params! {
    /// A height, or now.
    HeightParams {
        /// Height; the present when left out.
        height: Option<u64>,
    }
}
params! {
    /// A page of a list.
    PageParams {
        /// `next` of the page before; the beginning when left out.
        cursor: Option<String>,
        /// Entries wanted, at most 1000; 100 when left out.
        limit: Option<u32>,
    }
}
params! {
    /// A signed transaction.
    SubmitParams {
        /// Its bytes in hex.
        tx: String,
    }
}
params! {
    /// A transaction to wait for.
    WaitParams {
        /// Its whole id.
        tx: TxId,
        /// How long to wait, at most 120000; 30000 when left out.
        timeout_ms: Option<u64>,
    }
}
params! {
    /// A transaction.
    TxParams {
        /// Id or unique prefix.
        tx: String,
    }
}
params! {
    /// An account.
    AccountParams {
        /// Its address.
        address: Address,
    }
}
params! {
    /// A name.
    NameParams {
        /// The name.
        name: Name,
    }
}
params! {
    /// A deployment at a height.
    ExplainParams {
        /// Deployment.
        name: Name,
        /// Height whose state is judged; the present when left out.
        height: Option<u64>,
    }
}
params! {
    /// The output of a replica.
    LogsParams {
        /// Deployment.
        name: Name,
        /// Index of the replica.
        replica: u32,
        /// Stream.
        stream: LogStream,
        /// Bytes from the end, at most 1048576; 65536 when left out.
        tail: Option<u32>,
    }
}
params! {
    /// Receipts of a deployment and its replicas.
    DeploymentReceiptsParams {
        /// Deployment.
        name: Name,
        /// `next` of the page before; the beginning when left out.
        cursor: Option<String>,
        /// Entries wanted, at most 1000; 100 when left out.
        limit: Option<u32>,
    }
}
params! {
    /// A receipt.
    ReceiptParams {
        /// Id or unique prefix.
        receipt: String,
    }
}
params! {
    /// A page of receipts.
    ReceiptsParams {
        /// `next` of the page before; the beginning when left out.
        cursor: Option<String>,
        /// Entries wanted, at most 1000; 100 when left out.
        limit: Option<u32>,
        /// Only this tier.
        tier: Option<Tier>,
        /// Only this subject.
        subject: Option<Subject>,
    }
}
params! {
    /// A proof bundle.
    ExportParams {
        /// Receipt: id or unique prefix.
        receipt: String,
        /// True for everything that replay needs.
        full: Option<bool>,
    }
}
params! {
    /// An image to be uploaded.
    ImageHaveParams {
        /// Its descriptor's bytes in hex.
        descriptor: String,
    }
}
params! {
    /// A chunk of an uploaded blob.
    ImagePutParams {
        /// Hash of the image's descriptor.
        descriptor: Digest,
        /// Blob.
        blob: ContentDigest,
        /// Position of the first byte.
        offset: u64,
        /// The bytes in hex, at most 524288 of them.
        bytes: String,
    }
}
params! {
    /// An uploaded image.
    ImageCommitParams {
        /// Hash of its descriptor.
        descriptor: Digest,
    }
}
params! {
    /// Where a subscription starts.
    SubscribeParams {
        /// Last event already seen; the present when left out.
        after: Option<EventCursor>,
    }
}
