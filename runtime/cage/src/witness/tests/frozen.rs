//! Files and digests that must not change. They were made by a second implementation, written from
//! `docs/formats/witness.md` alone; a change here is a change of the format.

use std::io::{Read, Seek, SeekFrom};

use sha2::{Digest, Sha256};

use super::recording::{header, record};
use crate::sys;
use crate::witness::Witness;

/// Events, bytes of the second input, length of the file, its SHA-256, trace hash, witness root.
const FROZEN: [(u64, usize, u64, &str, &str, &str); 3] = [
    (
        0,
        0,
        479,
        "7529eaf656375a077145f90357b3b6d27fcdc7ce6b6031cfd8cfbc506257ad87",
        "262b82a0ebdfa7bdc847ab1b9209bb8e545d44170864deb3516ae7e52c664569",
        "3a0003934ea207cbe31eed9fc1bb1eeca6208f88ed3220703eb30df110a91140",
    ),
    (
        9,
        40,
        997,
        "b093a847f94e02479c9338e44ce2aa52354c85de935bab22e340f9c2e8e3fe34",
        "a4a77a5f282f4dcbb4a7af3a95955456f313b340c385c6dd78e89dff880aff62",
        "127ee24eddcd6e456121876c5a455e84e5d4f4e844517052ccb15d57a5cb7b85",
    ),
    (
        5000,
        300_000,
        543_858,
        "6a40f1ff71c67d21e62caafc723d4c5ff1b3b7e3d2aec1b3cf01038a3806ff93",
        "e3f3efe8c427803501999229c540a773089aa8523adeb2952c21479aee0b6ec6",
        "8b92837e4c5630c38adfd6213cb2322fb7305abda804e23a2f834deb4577b882",
    ),
];

/// The second of them, byte for byte.
const FROZEN_FILE: &str = include_str!("frozen.hex");

#[test]
fn the_format_is_frozen() {
    for (events, bulk, length, file_digest, trace_hash, witness_root) in FROZEN {
        let mut file = tempfile::tempfile().unwrap();
        let recorded = record(Some(file.try_clone().unwrap()), 1 << 24, &header(), events, bulk, b"x");
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(0)).unwrap();
        file.read_to_end(&mut bytes).unwrap();
        assert_eq!(recorded.trace_hash, trace_hash, "{events} events");
        assert_eq!(recorded.witness_root, witness_root, "{events} events");
        if events == 9 {
            assert_eq!(sys::hex(&bytes), FROZEN_FILE.lines().collect::<String>());
        }
        assert_eq!((recorded.bytes, sys::hex(&Sha256::digest(&bytes)).as_str()), (length, file_digest));
        file.seek(SeekFrom::Start(0)).unwrap();
        let witness = Witness::read(file).unwrap();
        assert_eq!((witness.trace_hash(), witness.witness_root()), (trace_hash.into(), witness_root.into()));
    }
}
