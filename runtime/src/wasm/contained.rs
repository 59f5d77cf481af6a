//! placeholder
/// job
pub struct WasmJob;
/// run
pub fn run_contained(_job: &WasmJob) {}
