//! Laws of the tree, and a cross-check against an independent implementation (`ct-merkle`).

use super::*;
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use proptest::prelude::*;

fn leaves(n: usize) -> Vec<Vec<u8>> {
    (0..n).map(|i| format!("leaf {i}").into_bytes()).collect()
}

proptest! {
    #[test]
    fn inclusion_holds_for_every_leaf_and_fails_for_others(n in 1usize..200, i in 0usize..200, j in 0usize..200) {
        let hashes: Vec<Hash> = leaves(n).iter().map(|l| leaf_hash(l)).collect();
        let (i, j) = (i % n, j % n);
        let r = root(&hashes);
        let path = inclusion_path(&hashes, i).unwrap();
        prop_assert!(verify_inclusion(&hashes[i], i as u64, n as u64, &path, &r).is_ok());
        if i != j {
            prop_assert!(verify_inclusion(&hashes[j], i as u64, n as u64, &path, &r).is_err());
            prop_assert!(verify_inclusion(&hashes[i], j as u64, n as u64, &path, &r).is_err());
        }
        let mut longer = path.clone();
        longer.push([0; 32]);
        prop_assert!(verify_inclusion(&hashes[i], i as u64, n as u64, &longer, &r).is_err());
    }

    #[test]
    fn consistency_holds_and_a_rewrite_is_found(n in 2usize..150, m in 1usize..150) {
        let hashes: Vec<Hash> = leaves(n).iter().map(|l| leaf_hash(l)).collect();
        let m = 1 + m % n;
        let (old, new) = (root(&hashes[..m]), root(&hashes));
        let path = consistency_path(&hashes, m).unwrap();
        prop_assert!(verify_consistency(m as u64, n as u64, &path, &old, &new).is_ok());
        let mut rewritten = hashes.clone();
        rewritten[0] = leaf_hash(b"rewritten");
        prop_assert!(verify_consistency(m as u64, n as u64, &path, &old, &root(&rewritten)).is_err());
        prop_assert!(verify_consistency(m as u64, n as u64, &path, &root(&rewritten[..m]), &new).is_err());
    }

    #[test]
    fn frontier_agrees_with_the_whole_tree(n in 0usize..300) {
        let hashes: Vec<Hash> = leaves(n).iter().map(|l| leaf_hash(l)).collect();
        let mut f = Frontier::default();
        for h in &hashes { f.append(*h); }
        prop_assert_eq!(f.size(), n as u64);
        prop_assert_eq!(f.root(), root(&hashes));
        let back: Frontier = crate::codec::decode("frontier", &crate::codec::encode(&f), 4096).unwrap();
        prop_assert_eq!(back, f);
    }
}

#[test]
fn agrees_with_ct_merkle_on_roots_inclusion_and_consistency() {
    for n in 1..70usize {
        let data = leaves(n);
        let hashes: Vec<Hash> = data.iter().map(|l| leaf_hash(l)).collect();
        let mut other: MemoryBackedTree<sha2_next::Sha256, Vec<u8>> = MemoryBackedTree::new();
        let mut sizes = Vec::new();
        for d in &data {
            other.push(d.clone());
            sizes.push(other.root());
        }
        assert_eq!(root(&hashes).as_slice(), other.root().as_bytes().as_slice());
        for i in 0..n {
            let theirs = other.prove_inclusion(i);
            let flat: Vec<u8> = inclusion_path(&hashes, i).unwrap().concat();
            assert_eq!(theirs.as_bytes(), flat, "inclusion path of {i} in {n}");
        }
        for m in 1..n {
            let theirs = other.prove_consistency(n - m);
            let flat: Vec<u8> = consistency_path(&hashes, m).unwrap().concat();
            assert_eq!(theirs.as_bytes(), flat, "consistency path {m} -> {n}");
            assert!(other.root().verify_consistency(&sizes[m - 1], &theirs).is_ok());
        }
    }
}

#[test]
fn second_preimage_through_an_inner_node_is_refused() {
    let hashes: Vec<Hash> = leaves(4).iter().map(|l| leaf_hash(l)).collect();
    let r = root(&hashes);
    let inner = node_hash(&hashes[0], &hashes[1]);
    let right = node_hash(&hashes[2], &hashes[3]);
    // An inner node claimed as leaf 0 of a two-leaf tree reaches the root, so the size must be certified;
    // with the certified size of four the path is too short.
    assert_eq!(verify_inclusion(&inner, 0, 4, &[right], &r), Err(ProofError::WrongLength { got: 1 }));
    let mut forged = [0u8; 64];
    forged[..32].copy_from_slice(&hashes[0]);
    forged[32..].copy_from_slice(&hashes[1]);
    assert_ne!(leaf_hash(&forged), inner, "leaf and node hashes live in different domains");
}
