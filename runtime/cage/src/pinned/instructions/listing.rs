//! What the scan of one file found, for people: the same judgement that `pinned` acts on.

use std::fs::File;
use std::io;
use std::path::Path;

use serde::Serialize;

use super::scan::{FileScan, Finding, Verdict};

/// Untrappable instructions (and what looks like them) in the executable parts of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FoundInstructions {
    /// How many bytes were scanned.
    pub scanned_bytes: u64,
    /// The places, by offset.
    pub sites: Vec<FoundInstruction>,
}

/// One place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FoundInstruction {
    /// Offset in the file.
    pub offset: u64,
    /// Bytes of the instruction there, hexadecimal.
    pub bytes: String,
    /// `rdrand`, `rdseed` or `rdpid`; nothing when the bytes only look like one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instruction: Option<String>,
    /// `confirmed`: it will be patched. `cleared`: part of another instruction. `unconfirmed`: it will be watched by a
    /// debug register, of which there are four.
    pub verdict: &'static str,
}

/// Scans the executable segments of the ELF file `path`; another kind of file is scanned from end to end.
pub fn find_instructions(path: &Path) -> io::Result<FoundInstructions> {
    let file = File::open(path)?;
    let mut scan = FileScan::new(&file, 0..0)?;
    if scan.bytes() == 0 {
        scan = FileScan::new(&file, 0..u64::MAX)?;
    }
    let site = |finding: &Finding| {
        let (verdict, opcode) = match finding.verdict {
            Verdict::Confirmed(opcode) => ("confirmed", Some(opcode)),
            Verdict::Cleared => ("cleared", None),
            Verdict::Unconfirmed(opcode) => ("unconfirmed", Some(opcode)),
        };
        let instruction = opcode.map(|o| o.to_string());
        FoundInstruction {
            offset: finding.at,
            bytes: crate::sys::hex(finding.code.bytes()),
            instruction,
            verdict,
        }
    };
    Ok(FoundInstructions {
        scanned_bytes: scan.bytes(),
        sites: scan.findings(0..u64::MAX).map(site).collect(),
    })
}
