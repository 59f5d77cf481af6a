//! Uploads from one store to another, and everything that must not get in.

use super::*;
use metanode_rpc::error::ErrorKind;
use metanode_runtime::image::{ImageKind, RunConfig};
use metanode_types::merkle::{inclusion_path, root, verify_inclusion};
use tempfile::TempDir;

/// A module of several chunks.
fn module() -> String {
    let data = "a".repeat(3 * CHUNK_BYTES + 100);
    format!(
        "(module (memory (export \"memory\") 8) (func (export \"_start\")) (data (i32.const 0) \"{data}\"))"
    )
}

struct Fixture {
    dir: TempDir,
    source: ImageStore,
    descriptor: Descriptor,
    uploads: Uploads,
}

fn fixture() -> Fixture {
    let dir = TempDir::new().unwrap();
    let source = ImageStore::open(&dir.path().join("source")).unwrap();
    let file = dir.path().join("module.wat");
    std::fs::write(&file, module()).unwrap();
    let descriptor = source.import_wasm(&file).unwrap().descriptor;
    let target = ImageStore::open(&dir.path().join("target")).unwrap();
    let uploads = Uploads::open(target, &dir.path().join("uploads")).unwrap();
    Fixture { dir, source, descriptor, uploads }
}

impl Fixture {
    fn bytes(&self) -> Vec<u8> {
        let blob = &self.descriptor.blobs[0];
        let count = blob.size.div_ceil(CHUNK_BYTES as u64) as u32;
        (0..count).flat_map(|i| self.source.read_chunk(&blob.digest, i).unwrap().bytes).collect()
    }
    fn chunk(&self, offset: u64, bytes: &[u8]) -> ImageChunk {
        let (descriptor, blob) = (self.descriptor.id(), self.descriptor.blobs[0].digest);
        ImageChunk { descriptor, blob, offset, bytes: bytes.to_vec() }
    }
    fn have(&self) -> ImageHaveView {
        self.uploads.have(&self.descriptor.encode()).unwrap()
    }
    fn staged(&self) -> usize {
        std::fs::read_dir(self.dir.path().join("uploads")).unwrap().count()
    }
}

#[test]
fn an_image_sent_in_pieces_is_taken_whole() {
    let f = fixture();
    let bytes = f.bytes();
    assert!(bytes.len() > 3 * CHUNK_BYTES);
    let have = f.have();
    assert_eq!((have.complete, have.missing.len(), have.missing[0].size), (false, 1, bytes.len() as u64));
    // Pieces that fit no chunk, with one sent twice and one that overlaps.
    let mut sent = 0;
    for piece in bytes.chunks(70_001) {
        let view = f.uploads.put(&f.chunk(sent, piece)).unwrap();
        sent += piece.len() as u64;
        assert_eq!((view.received, view.complete), (sent, sent == bytes.len() as u64));
        assert_eq!(
            f.uploads.put(&f.chunk(sent - piece.len() as u64, piece)).unwrap(),
            view,
            "a resend changes nothing"
        );
        let overlap = &bytes[sent.saturating_sub(10) as usize..sent as usize];
        assert_eq!(f.uploads.put(&f.chunk(sent - overlap.len() as u64, overlap)).unwrap(), view);
    }
    assert_eq!(f.have().missing, []);
    let image = f.uploads.commit(&f.descriptor.id()).unwrap();
    assert_eq!(image, f.descriptor.image_ref());
    assert_eq!((f.have().complete, f.staged()), (true, 0));
    assert_eq!(f.uploads.commit(&f.descriptor.id()).unwrap(), image, "committing again finds it");
    assert_eq!(f.uploads.images().unwrap()[0].image, image);
    assert_eq!(f.uploads.bytes_held().unwrap(), bytes.len() as u64);
}

#[test]
fn wrong_bytes_are_found_by_their_digest_and_the_blob_starts_over() {
    let f = fixture();
    let mut bytes = f.bytes();
    f.have();
    bytes[CHUNK_BYTES] ^= 1;
    let refused = f.uploads.put(&f.chunk(0, &bytes)).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::InvalidInput);
    assert!(refused.reason.contains("digest"), "{}", refused.reason);
    assert_eq!(f.have().missing[0].received, 0);
    assert_eq!(f.uploads.commit(&f.descriptor.id()).unwrap_err().kind, ErrorKind::InvalidInput);
    f.uploads.put(&f.chunk(0, &f.bytes())).unwrap();
    assert!(f.uploads.commit(&f.descriptor.id()).is_ok());
}

#[test]
fn bytes_out_of_place_are_refused() {
    let f = fixture();
    let unknown = f.uploads.put(&f.chunk(0, b"x")).unwrap_err();
    assert_eq!(unknown.kind, ErrorKind::NotFound, "nothing was announced");
    assert_eq!(f.uploads.commit(&f.descriptor.id()).unwrap_err().kind, ErrorKind::NotFound);
    f.have();
    let gap = f.uploads.put(&f.chunk(5, b"x")).unwrap_err();
    assert_eq!(gap.next_step.as_deref(), Some("continue at offset 0"));
    let size = f.descriptor.blobs[0].size;
    for offset in [size, u64::MAX] {
        assert_eq!(f.uploads.put(&f.chunk(offset, b"x")).unwrap_err().kind, ErrorKind::InvalidInput);
    }
    let foreign = ImageChunk { blob: ContentDigest([9; 32]), ..f.chunk(0, b"x") };
    assert_eq!(f.uploads.put(&foreign).unwrap_err().kind, ErrorKind::InvalidInput);
    assert_eq!(f.uploads.have(b"no descriptor").unwrap_err().kind, ErrorKind::InvalidInput);
    assert_eq!(f.have().missing[0].received, 0);
}

fn made_up(n: u8, size: u64) -> Descriptor {
    let digest = ContentDigest([n; 32]);
    let config = RunConfig { workdir: "/".into(), ..RunConfig::default() };
    let blobs = [(n, digest), (255, ContentDigest([255; 32]))];
    let blobs = blobs.map(|(root, digest)| BlobRef { digest, size, chunk_root: [root; 32] });
    Descriptor { kind: ImageKind::Oci, digest, blobs: blobs.into(), config }
}

#[test]
fn uploads_are_bounded_and_what_a_crash_left_is_removed() {
    let f = fixture();
    for n in 0..MAX_UPLOADS as u8 {
        f.uploads.have(&made_up(n, 10).encode()).unwrap();
    }
    let one_more = f.uploads.have(&made_up(100, 10).encode()).unwrap_err();
    assert_eq!(one_more.kind, ErrorKind::LimitExceeded);
    assert!(f.uploads.have(&made_up(0, 10).encode()).is_ok(), "one that is under way goes on");
    assert_eq!(f.staged(), MAX_UPLOADS);
    let store = ImageStore::open(&f.dir.path().join("target")).unwrap();
    // As after a kill: the directory is there, the memory of it is not.
    let dir = f.dir.path().join("uploads");
    let again = Uploads::open(store, &dir).unwrap();
    assert_eq!(f.staged(), 0);
    let large = metanode_runtime::limits::BLOB_BYTES_MAX;
    for n in 0..(MAX_STAGED_BYTES / (2 * large)) as u8 {
        again.have(&made_up(n, large).encode()).unwrap();
    }
    assert_eq!(again.have(&made_up(100, large).encode()).unwrap_err().kind, ErrorKind::LimitExceeded);
}

#[test]
fn proofs_of_a_whole_tree_are_those_of_the_log() {
    for count in 1..=33_usize {
        let leaves: Vec<Hash> = (0..count).map(|i| leaf_hash(&[i as u8])).collect();
        let levels = Levels::above(leaves.clone());
        for (index, leaf) in leaves.iter().enumerate() {
            let path = levels.path(index);
            assert_eq!(Some(path.clone()), inclusion_path(&leaves, index), "{index} of {count}");
            verify_inclusion(leaf, index as u64, count as u64, &path, &root(&leaves)).unwrap();
        }
    }
}
