//! The class of the processor: what programs can find out about it and may choose their code by.
//!
//! Owns the digest that two runs must share to be comparable. It refuses to cover what differs between
//! identical processors (APIC ids, current clock, hypervisor name).

use sha2::{Digest, Sha256};

use crate::sys;

/// CPUID leaves (leaf, subleaf) that describe features; in virtual machines each costs an exit, so only those
/// that matter.
const LEAVES: &[(u32, u32)] = &[
    (0, 0),
    (1, 0),
    (7, 0),
    (7, 1),
    (0xd, 0),
    (0xd, 1),
    (0x8000_0001, 0),
    (0x8000_0008, 0),
    (0x8000_0021, 0),
];

/// Digest of the feature leaves, the enabled vector state and the kernel's hardware capabilities.
#[cfg(target_arch = "x86_64")]
pub fn class() -> String {
    use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};
    let mut hash = Sha256::new();
    hash.update(b"metanode.cage.cpu-class.v1\0");
    let (basic, extended) = (__cpuid(0).eax, __cpuid(0x8000_0000).eax);
    let mut vector_state = false;
    for (leaf, sub) in LEAVES {
        let last = if *leaf >= 0x8000_0000 { extended } else { basic };
        if *leaf > last {
            continue;
        }
        let mut r = __cpuid_count(*leaf, *sub);
        match leaf {
            1 => {
                vector_state = r.ecx & (1 << 27) != 0; // OSXSAVE
                r.ebx &= 0x0000_ff00; // the rest: APIC id, logical processors, brand index
            }
            0xd => r.ebx = 0, // size for the state enabled right now; XCR0 says which that is
            0x8000_0008 => r.ecx = 0, // number of cores
            _ => {}
        }
        for word in [*leaf, *sub, r.eax, r.ebx, r.ecx, r.edx] {
            hash.update(word.to_le_bytes());
        }
    }
    if vector_state {
        hash.update(enabled_state().to_le_bytes());
    }
    for kind in [libc::AT_HWCAP, libc::AT_HWCAP2, libc::AT_MINSIGSTKSZ] {
        hash.update(sys::auxiliary(kind).to_le_bytes());
    }
    return sys::hex(&hash.finalize());

    #[target_feature(enable = "xsave")]
    fn read_xcr0() -> u64 {
        // SAFETY: XCR0 always exists where XGETBV does, and the caller checked OSXSAVE.
        unsafe { _xgetbv(0) }
    }
    fn enabled_state() -> u64 {
        // SAFETY: called only when CPUID says OSXSAVE, which implies the xsave feature.
        unsafe { read_xcr0() }
    }
}
