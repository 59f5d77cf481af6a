//! Values that every answer of the fake shares.

use metanode_types::ids::*;
use metanode_types::workload::Resources;

pub fn chain() -> ChainId {
    ChainId([1; 32])
}
pub fn name(text: &str) -> Name {
    text.parse().unwrap()
}
pub fn address() -> Address {
    Address([2; 32])
}
pub fn resources() -> Resources {
    Resources { cpu_milli: 500, memory_bytes: 1 << 28, disk_bytes: 1 << 20, pids: 64 }
}
