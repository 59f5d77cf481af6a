//! Owns the one configuration every module is compiled with. Two nodes agree on an outcome only if these agree, so
//! they are named by [`CAGE_ABI`] and frozen with it. Refuses anything read from the host: no feature detection, no
//! environment variables, no parallel compilation.

use wasmtime::{Config, Engine as Compiler, OperatorCost, VariableOperatorCost, WasmBacktraceDetails};

/// Name of this set of rules: compiler version, fuel costs and WASI behaviour. Any change to them changes it.
pub const CAGE_ABI: &str = "wasm-p1-p2/wasmtime-48.0.8/2";
/// Number of the rules in witnesses; the last part of [`CAGE_ABI`].
pub(super) const CAGE_ABI_NUMBER: u32 = 2;

/// Stack of the guest, in bytes of native frames. Fixed target and compiler make its depth the same everywhere.
const STACK_BYTES: usize = 1 << 20;
/// Address space of one linear memory: all a 32-bit memory can grow to, so growth never moves or depends on the host.
const MEMORY_RESERVATION_BYTES: u64 = 4 << 30;
/// Fuel for each 64 KiB page asked of `memory.grow`: about what clearing it costs.
const GROW_FUEL_PER_PAGE: u8 = 255;

/// The compiler and runtime of one run.
pub(crate) fn compiler() -> wasmtime::Result<Compiler> {
    let variable =
        VariableOperatorCost { memory_grow_per_page: GROW_FUEL_PER_PAGE, ..VariableOperatorCost::new() };
    let mut config = Config::new();
    config
        // A stated target switches host feature detection off: the same code, hence the same frames, on every x86-64.
        .target("x86_64-unknown-linux-gnu")?
        .consume_fuel(true)
        .operator_cost(OperatorCost { variable, ..OperatorCost::new() })
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .wasm_component_model(true)
        .wasm_memory64(false)
        .wasm_custom_page_sizes(false)
        .wasm_wide_arithmetic(false)
        .max_wasm_stack(STACK_BYTES)
        .memory_reservation(MEMORY_RESERVATION_BYTES)
        .memory_may_move(false)
        // No memfd: the cage's allow-list has no need of it.
        .memory_init_cow(false)
        .wasm_backtrace_details(WasmBacktraceDetails::Disable);
    Compiler::new(&config)
}
