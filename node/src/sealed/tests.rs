//! What was sealed opens the same commitment in the next process; damage is told.

use super::*;
use metanode_types::cage_report::ExitStatus;
use metanode_types::ids::ContentDigest;
use metanode_types::level::CageLevel;

fn key(epoch: u64) -> CageKey {
    CageKey { replica: ReplicaId { deployment: "sum".parse().unwrap(), index: 1 }, epoch }
}

fn report(code: i32) -> CageReport {
    CageReport {
        level: CageLevel::Pinned,
        image: ContentDigest([1; 32]),
        inputs: Digest([2; 32]),
        exit: ExitStatus::Code(code),
        stdout: ContentDigest([3; 32]),
        stderr: ContentDigest([4; 32]),
        output: None,
        witness: None,
        usage: Default::default(),
        fuel: Some(5),
        trace: None,
        machine: Default::default(),
    }
}

#[test]
fn a_sealed_report_survives_the_process_and_is_never_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let node = Address([7; 32]);
    let mut first = SealedReports::open(dir.path()).unwrap();
    first.seal(&key(3), report(0), 2).unwrap();
    first.seal(&key(4), report(0), 0).unwrap();
    let committed = first.get(&key(3)).unwrap().commit(&node);
    assert_ne!(first.get(&key(3)).unwrap().salt, first.get(&key(4)).unwrap().salt);
    // The job runs again after a crash and ends otherwise: the commitment is to the first end.
    first.seal(&key(3), report(1), 3).unwrap();
    let mut again = SealedReports::open(dir.path()).unwrap();
    let sealed = again.get(&key(3)).unwrap().clone();
    assert_eq!((sealed.commit(&node), sealed.restarts), (committed.clone(), 2));
    let TxBody::CommitReport { commitment: promised, .. } = committed else { panic!() };
    let TxBody::RevealReport { replica, epoch, report, salt } = sealed.reveal() else { panic!() };
    assert_eq!(commitment(&report, &salt, &node, &replica, epoch), promised);
    again.forget(&key(3)).unwrap();
    again.forget(&key(3)).unwrap();
    assert_eq!(SealedReports::open(dir.path()).unwrap().keys(), [key(4)]);
}

#[test]
fn a_damaged_file_is_named_and_an_unfinished_one_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    SealedReports::open(dir.path()).unwrap().seal(&key(3), report(0), 0).unwrap();
    std::fs::write(dir.path().join("sum.1.9.new"), b"{").unwrap();
    assert_eq!(SealedReports::open(dir.path()).unwrap().keys(), [key(3)]);
    let file = dir.path().join("sum.1.3.json");
    let bytes = std::fs::read(&file).unwrap();
    for cut in [0, 1, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&file, &bytes[..cut]).unwrap();
        let error = SealedReports::open(dir.path()).map(drop).unwrap_err();
        assert!(error.to_string().contains("sum.1.3.json"), "{error}");
    }
}
