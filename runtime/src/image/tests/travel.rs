//! Modules, chunks on their way between stores, and stages that were left behind.

use super::*;

#[test]
fn modules_are_images_in_either_form() {
    let fixture = Fixture::new();
    let text = fixture.dir.path().join("m.wat");
    fs::write(&text, "(module (func (export \"_start\")))").expect("file");
    let image = fixture.store.import_wasm(&text).expect("import");
    let module = fs::read(&image.path).expect("module");
    assert_eq!(digest_of(&module), image.descriptor.digest);
    let binary = fixture.dir.path().join("m.wasm");
    fs::write(&binary, &module).expect("file");
    assert_eq!(fixture.store.import_wasm(&binary).expect("import"), image);
    let cut = b"\0asm\x0d\0\x01\0\xff"; // a component, which would do, and a byte too many
    for bad in [&b"(module"[..], b"\0asm", b"\0asm\x01\0\0\0\xff", cut, b"\xff\xfe"] {
        fs::write(&binary, bad).expect("file");
        assert!(
            matches!(fixture.store.import_wasm(&binary), Err(Error::ImportModule { .. })),
            "{bad:?} was accepted"
        );
    }
    let shared = "(module (memory 1 2 shared))";
    fs::write(&text, shared).expect("file");
    assert!(fixture.store.import_wasm(&text).is_err(), "threads must be off");
    assert_eq!(fixture.store.list().expect("list").len(), 1);
    fixture.store.remove(&image.descriptor.digest).expect("remove");
    fixture.assert_untouched();
}

#[test]
fn an_image_travels_chunk_by_chunk_and_forged_chunks_do_not() {
    let fixture = Fixture::new();
    let body: Vec<u8> = (0..200_000_u32).map(|i| (i % 251) as u8).collect();
    let source = fixture.import(&[&[(FILE, "f", &body, 0o644)]]).expect("import");
    let other = ImageStore::open(&fixture.dir.path().join("other")).expect("store");
    let descriptor = Descriptor::decode(&source.descriptor.encode()).expect("decode");
    assert_eq!(descriptor.id(), source.descriptor.id());
    assert_eq!(other.missing_blobs(&descriptor).len(), 3);
    let mut fetch = other.fetch(descriptor.clone()).expect("fetch");
    let missing = fetch.missing(1000);
    assert!(missing.len() > 5);
    for (blob, index) in missing {
        let chunk = fixture.store.read_chunk(&blob, index).expect("chunk");
        let mut forged = chunk.clone();
        forged.bytes[0] ^= 1;
        assert!(fetch.accept(&blob, index, &forged).is_err());
        assert!(fetch.accept(&blob, index + 1, &chunk).is_err());
        fetch.accept(&blob, index, &chunk).expect("a true chunk");
    }
    assert_eq!(fetch.finish().expect("finish").rootfs_digest, source.rootfs_digest);
    assert!(other.missing_blobs(&descriptor).is_empty());
    assert!(matches!(fixture.store.read_chunk(&descriptor.blobs[0].digest, 1), Err(Error::FindImage { .. })));
    let mut lying = descriptor;
    lying.config.entrypoint = vec!["/evil".into()];
    let third = ImageStore::open(&fixture.dir.path().join("third")).expect("store");
    let mut fetch = third.fetch(lying).expect("fetch");
    assert!(fetch.missing(1000).len() > 5);
    for (blob, index) in fetch.missing(1000) {
        fetch.accept(&blob, index, &fixture.store.read_chunk(&blob, index).expect("chunk")).expect("chunk");
    }
    assert!(matches!(fetch.finish(), Err(Error::DecodeDescriptor { .. })));
    assert!(third.list().expect("list").is_empty());
}

#[test]
fn abandoned_stages_are_swept_and_live_ones_are_not() {
    let fixture = Fixture::new();
    let live = fixture.store.stage().expect("stage");
    let abandoned = fixture.dir.path().join("store/stage/image-dead");
    fs::create_dir_all(abandoned.join("blobs")).expect("dir");
    ImageStore::open(&fixture.dir.path().join("store")).expect("reopen");
    assert!(!abandoned.exists());
    assert!(live.path().exists());
}

/// Frozen: what a descriptor's bytes are, and what its id is. Ledgers hold such ids.
#[test]
fn the_encoding_of_a_descriptor_is_frozen() {
    let blob = BlobRef { digest: Digest([1; 32]), size: 70_000, chunk_root: [2; 32] };
    let config = RunConfig { workdir: "/".into(), env: vec!["A=b".into()], ..RunConfig::default() };
    let descriptor = Descriptor { kind: ImageKind::Wasm, digest: Digest([1; 32]), blobs: vec![blob], config };
    let expected = format!(
        "01{}01000000{}7011010000000000{}000000000000000001000000{}{}",
        "01".repeat(32),
        "01".repeat(32),
        "02".repeat(32),
        "03000000413d62",
        "010000002f"
    );
    assert_eq!(hex::encode(descriptor.encode()), expected);
    let id = "0xaef8752b11a4271577da4b0a69d7bb2a6cb7e8532b9f68566b1881bfabde33d8";
    assert_eq!(descriptor.id().to_string(), id);
}
