//! Images from tar bytes made here, entry by entry, so that each rule is met by an archive that breaks it.

mod pack;
mod travel;

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::digest::{Digest, digest_of, hex_of};
use crate::error::Error;

/// One tar entry: type, path, link target or contents, mode.
type Entry<'a> = (tar::EntryType, &'a str, &'a [u8], u32);

const FILE: tar::EntryType = tar::EntryType::Regular;
const DIR: tar::EntryType = tar::EntryType::Directory;
const LINK: tar::EntryType = tar::EntryType::Symlink;
const HARD: tar::EntryType = tar::EntryType::Link;

fn tar_of(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (kind, path, data, mode) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(*mode);
        header.set_uid(1234);
        header.set_mtime(1_700_000_000);
        let is_link = matches!(*kind, LINK | HARD);
        header.set_size(if is_link { 0 } else { data.len() as u64 });
        // Written raw: the builder would refuse the paths that these tests are about.
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        if is_link {
            header.as_mut_bytes()[157..157 + data.len()].copy_from_slice(data);
        }
        header.set_cksum();
        builder.append(&header, if is_link { &[][..] } else { data }).expect("tar");
    }
    builder.into_inner().expect("tar")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).expect("gzip");
    encoder.finish().expect("gzip")
}

struct Fixture {
    dir: TempDir,
    store: ImageStore,
}

impl Fixture {
    fn new() -> Self {
        let dir = TempDir::new().expect("temp dir");
        let store = ImageStore::open(&dir.path().join("store")).expect("store");
        Self { dir, store }
    }

    /// Writes a layout whose layers are `(media suffix, stored bytes, tar bytes)`.
    fn layout(&self, layers: &[(&str, Vec<u8>, Vec<u8>)]) -> PathBuf {
        let path = tempfile::tempdir_in(self.dir.path()).expect("dir").keep();
        let blobs = path.join("blobs/sha256");
        fs::create_dir_all(&blobs).expect("dir");
        let blob = |bytes: &[u8]| {
            let digest = digest_of(bytes);
            fs::write(blobs.join(hex_of(&digest)), bytes).expect("blob");
            json!({ "digest": digest, "size": bytes.len() })
        };
        let diff_ids: Vec<_> = layers.iter().map(|(_, _, tar)| digest_of(tar)).collect();
        let config = json!({
            "architecture": "amd64", "os": "linux",
            "config": { "Entrypoint": ["/bin/app"], "Cmd": ["x"], "Env": ["A=b"], "WorkingDir": "/srv" },
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let mut config = blob(config.to_string().as_bytes());
        config["mediaType"] = json!("application/vnd.oci.image.config.v1+json");
        let layers = layers.iter().map(|(suffix, stored, _)| {
            let mut link = blob(stored);
            link["mediaType"] = json!(format!("application/vnd.oci.image.layer.v1.tar{suffix}"));
            link
        });
        let manifest = json!({ "schemaVersion": 2, "config": config, "layers": layers.collect::<Vec<_>>() });
        let mut manifest = blob(manifest.to_string().as_bytes());
        manifest["mediaType"] = json!("application/vnd.oci.image.manifest.v1+json");
        let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
        fs::write(path.join("index.json"), index.to_string()).expect("index");
        fs::write(path.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("marker");
        path
    }

    fn plain(&self, layers: &[&[Entry<'_>]]) -> PathBuf {
        let layers: Vec<_> = layers.iter().map(|entries| ("", tar_of(entries), tar_of(entries))).collect();
        self.layout(&layers)
    }

    fn import(&self, layers: &[&[Entry<'_>]]) -> crate::Result<Image> {
        self.store.import_oci(&self.plain(layers), None)
    }

    /// Nothing of a failed import may remain.
    fn assert_untouched(&self) {
        for name in ["images", "blobs", "leaves", "stage"] {
            let left = fs::read_dir(self.dir.path().join("store").join(name)).expect("store").count();
            assert_eq!(left, 0, "{name} holds something after a failed import");
        }
    }

    fn refuse(&self, layers: &[&[Entry<'_>]], why: &str) {
        let error = self.import(layers).expect_err("must be refused").to_string();
        assert!(error.contains(why), "{error:?} does not say {why:?}");
        self.assert_untouched();
    }
}

fn read(image: &Image, path: &str) -> String {
    fs::read_to_string(image.path.join(path)).expect("file of the image")
}

#[test]
fn an_image_is_unpacked_with_whiteouts_links_and_normal_metadata() {
    let fixture = Fixture::new();
    let image = fixture
        .import(&[
            &[
                (DIR, "bin/", b"", 0o700),
                (FILE, "bin/app", b"one", 0o4711),
                (FILE, "etc/gone", b"x", 0o644),
                (FILE, "etc/stays", b"y", 0o600),
                (FILE, "opt/a/b", b"z", 0o644),
                (FILE, "dir/old", b"old", 0o644),
                (LINK, "sbin", b"bin", 0o777),
            ],
            &[
                (FILE, "dir/new", b"new", 0o1666),
                (FILE, "dir/.wh..wh..opq", b"", 0),
                (FILE, "etc/.wh.gone", b"", 0),
                (FILE, ".wh.opt", b"", 0),
                (FILE, "sbin/tool", b"through a symlink", 0o755),
                (HARD, "bin/again", b"bin/app", 0),
            ],
        ])
        .expect("import");
    assert_eq!(read(&image, "bin/app"), "one");
    assert_eq!(read(&image, "bin/tool"), "through a symlink");
    assert_eq!(read(&image, "bin/again"), "one");
    assert_eq!(read(&image, "dir/new"), "new");
    for gone in ["dir/old", "etc/gone", "opt", "dir/.wh..wh..opq"] {
        assert!(!image.path.join(gone).exists(), "{gone} is still there");
    }
    let mode = |path: &str| fs::metadata(image.path.join(path)).expect("file").permissions().mode() & 0o7777;
    assert_eq!(mode("bin"), 0o755);
    assert_eq!(mode("bin/app"), 0o755, "set-id goes, and what the owner could do the caged user can");
    assert_eq!(mode("etc/stays"), 0o644);
    assert_eq!(mode("dir/new"), 0o666, "sticky goes, stated write permission stays");
    let metadata = fs::metadata(image.path.join("bin/app")).expect("file");
    let own = fs::metadata(fixture.dir.path()).expect("dir");
    assert_eq!((metadata.mtime(), metadata.uid()), (0, own.uid()));
    assert_eq!(fs::metadata(&image.path).expect("root").mtime(), 0);
    assert_eq!(image.descriptor.config.argv(&[]), ["/bin/app", "x"]);
    assert_eq!(image.descriptor.config.argv(&["y".into()]), ["/bin/app", "y"]);
    assert_eq!(image.descriptor.config.workdir, "/srv");
    fixture.store.verify(&image).expect("unchanged");
    assert_eq!(fixture.store.list().expect("list"), std::slice::from_ref(&image));
    fs::write(image.path.join("etc/stays"), "Y").expect("write");
    assert!(matches!(fixture.store.verify(&image), Err(Error::VerifyRootfs { .. })));
}

#[test]
fn the_root_does_not_depend_on_the_order_or_the_compression_of_entries() {
    let fixture = Fixture::new();
    let entries: &[Entry<'_>] = &[
        (DIR, "a", b"", 0o755),
        (FILE, "a/x", b"1", 0o644),
        (FILE, "a/.wh..wh..opq", b"", 0),
        (LINK, "b", b"a/x", 0o777),
    ];
    let mut reversed = entries.to_vec();
    reversed.reverse();
    let below: &[Entry<'_>] = &[(FILE, "a/y", b"hidden", 0o644)];
    let one = fixture.import(&[below, entries]).expect("import");
    let two = fixture.import(&[below, &reversed]).expect("import");
    assert_ne!(one.descriptor.digest, two.descriptor.digest);
    assert_eq!(one.rootfs_digest, two.rootfs_digest);
    let (below, above) = (tar_of(below), tar_of(entries));
    let zstd = zstd::stream::encode_all(above.as_slice(), 3).expect("zstd");
    let packed = fixture.layout(&[("+gzip", gzip(&below), below.clone()), ("+zstd", zstd, above)]);
    let three = fixture.store.import_oci(&packed, None).expect("import");
    assert_eq!(one.rootfs_digest, three.rootfs_digest);
}

#[test]
fn symlinks_and_hard_links_stay_inside_the_root() {
    let fixture = Fixture::new();
    let outside = fixture.dir.path().join("outside");
    fs::create_dir(&outside).expect("dir");
    fs::write(outside.join("secret"), "secret").expect("file");
    let target = outside.to_str().expect("utf-8").as_bytes();
    let up = format!("../../../../../../../..{}", outside.display());
    let image = fixture
        .import(&[&[
            (LINK, "abs", target, 0o777),
            (LINK, "up", up.as_bytes(), 0o777),
            (DIR, &outside.to_str().expect("utf-8")[1..], b"", 0o755),
            (FILE, "abs/planted", b"p", 0o644),
            (FILE, "up/planted2", b"p", 0o644),
            (FILE, "/etc/absolute", b"in the image", 0o644),
        ]])
        .expect("import");
    assert_eq!(fs::read_dir(&outside).expect("dir").count(), 1, "something was written outside of the root");
    assert_eq!(read(&image, "etc/absolute"), "in the image");
    assert!(image.path.join(&outside.to_str().expect("utf-8")[1..]).join("planted").exists());
    let fixture = Fixture::new();
    let secret = format!("{}/secret", outside.display());
    let mut link: Vec<Entry<'_>> = vec![(HARD, "stolen", secret.as_bytes(), 0o644)];
    fixture.refuse(&[&link], "hard link target");
    link.insert(0, (LINK, "abs", target, 0o777));
    link[1] = (HARD, "stolen", b"abs/secret", 0o644);
    fixture.refuse(&[&link], "hard link target");
}

#[test]
fn entries_against_the_rules_are_refused_by_name_and_leave_nothing() {
    let fixture = Fixture::new();
    let long = "x".repeat(99);
    let cases: &[(Entry<'_>, &str)] = &[
        ((FILE, "../escape", b"x", 0o644), "path has a .."),
        ((FILE, "a/../../escape", b"x", 0o644), "path has a .."),
        ((HARD, "h", b"../../etc/passwd", 0o644), "hard link target: path has a .."),
        ((HARD, "h", b"nowhere", 0o644), "hard link target"),
        ((LINK, "l", b"", 0o777), "symlink without a target"),
        ((tar::EntryType::Char, "dev/null", b"", 0o666), "device nodes"),
        ((tar::EntryType::Block, "dev/sda", b"", 0o666), "device nodes"),
        ((tar::EntryType::Fifo, "pipe", b"", 0o666), "FIFOs"),
        ((tar::EntryType::GNUSparse, "sparse", b"", 0o666), "sparse"),
        ((tar::EntryType::new(b'V'), "volume", b"", 0o666), "entry type 'V'"),
        ((FILE, ".wh.", b"", 0), "a whiteout of no name"),
        ((FILE, ".wh...", b"", 0), "a whiteout of no name"),
        ((FILE, ".wh.dir/file", b"", 0), "a whiteout is used as a directory"),
        ((DIR, &long, b"contents", 0o755), "has contents"),
    ];
    for (entry, why) in cases {
        fixture.refuse(&[&[(FILE, "good", b"g", 0o644), *entry]], why);
    }
}

#[test]
fn long_names_come_from_extended_headers_and_bad_extensions_are_refused() {
    let fixture = Fixture::new();
    let mut builder = tar::Builder::new(Vec::new());
    let long = format!("{}/{}", "d".repeat(200), "f".repeat(200));
    let mut header = tar::Header::new_gnu();
    header.set_size(2);
    header.set_mode(0o644);
    builder.append_data(&mut header, &long, &b"ok"[..]).expect("tar");
    builder
        .append_pax_extensions([("path", b"from-pax".as_slice()), ("SCHILY.xattr.user.x", b"1")])
        .expect("pax");
    let mut header = tar::Header::new_ustar();
    header.set_path("short").expect("path");
    header.set_size(3);
    header.set_mode(0o644);
    header.set_cksum();
    builder.append(&header, &b"pax"[..]).expect("tar");
    let tar = builder.into_inner().expect("tar");
    let image = fixture.store.import_oci(&fixture.layout(&[("", tar.clone(), tar)]), None).expect("import");
    assert_eq!(read(&image, &long), "ok");
    assert_eq!(read(&image, "from-pax"), "pax");
    for record in
        [&b"9 size=1\n"[..], b"99 path=x\n", b"path=x\n", b"12 path=../x\n", b"x path=x\n", b"7 path\n"]
    {
        let fixture = Fixture::new();
        let entry = (tar::EntryType::XHeader, "pax", record, 0o644);
        assert!(fixture.import(&[&[entry, (FILE, "f", b"four", 0o644)]]).is_err(), "{record:?} was accepted");
        fixture.assert_untouched();
    }
}

#[test]
fn corrupt_truncated_and_missing_blobs_are_named_and_leave_nothing() {
    let entries: &[Entry<'_>] = &[(FILE, "f", b"contents", 0o644)];
    let blob_names = |layout: &Path| -> Vec<PathBuf> {
        fs::read_dir(layout.join("blobs/sha256"))
            .expect("dir")
            .map(|entry| entry.expect("entry").path())
            .collect()
    };
    let fixture = Fixture::new();
    for index in 0..3 {
        for damage in 0..4 {
            let layout = fixture.plain(&[entries]);
            let mut names = blob_names(&layout);
            names.sort();
            let path = &names[index];
            let mut bytes = fs::read(path).expect("blob");
            match damage {
                0 => bytes[20] ^= 1,
                1 => bytes.truncate(bytes.len() / 2),
                2 => bytes.push(b' '),
                _ => bytes.clear(),
            }
            fs::remove_file(path).expect("remove");
            if damage < 3 {
                fs::write(path, bytes).expect("write");
            }
            let error = fixture.store.import_oci(&layout, None).expect_err("damaged").to_string();
            let name = path.file_name().expect("name").to_str().expect("hex");
            assert!(error.contains(name), "{error} does not name blob {name} (damage {damage})");
            fixture.assert_untouched();
        }
    }
}

#[test]
fn a_layer_that_is_not_its_diff_id_and_a_bomb_are_refused() {
    let fixture = Fixture::new();
    let (one, other) = (tar_of(&[(FILE, "f", b"1", 0o644)]), tar_of(&[(FILE, "f", b"2", 0o644)]));
    let layout = fixture.layout(&[("+gzip", gzip(&one), other)]);
    let error = fixture.store.import_oci(&layout, None).expect_err("wrong diff id").to_string();
    assert!(error.contains("the config says"), "{error}");
    fixture.assert_untouched();
    let cut = gzip(&one)[..40].to_vec();
    assert!(fixture.store.import_oci(&fixture.layout(&[("+gzip", cut, one)]), None).is_err());
    // 200 MiB of zeros in about 200 KiB: past the free allowance and past the ratio.
    let zeros = vec![0; 200 << 20];
    let bomb = gzip(&zeros);
    assert!((zeros.len() / bomb.len()) as u64 > crate::limits::INFLATE_RATIO_MAX);
    let error = fixture.store.import_oci(&fixture.layout(&[("+gzip", bomb, zeros)]), None);
    // Zeros are an empty archive: what must stop them is the meter, while the rest is drained.
    let error = error.expect_err("a bomb").to_string();
    assert!(error.contains("inflates to more than"), "{error}");
    fixture.assert_untouched();
}

#[test]
fn documents_that_mislead_are_refused() {
    let fixture = Fixture::new();
    let good = fixture.plain(&[&[(FILE, "f", b"1", 0o644)]]);
    let index = fs::read_to_string(good.join("index.json")).expect("index");
    for (from, to, why) in [
        ("\"schemaVersion\":2", "\"schemaVersion\":1", "schemaVersion"),
        ("image.manifest.v1", "image.other.v1", "no linux/amd64 image"),
        ("\"sha256:", "\"sha512:", "not a content digest"),
        ("\"manifests\":[", "\"manifests\":[{},", "missing field"),
        (
            "\"size\":",
            "\"platform\":{\"os\":\"linux\",\"architecture\":\"arm64\"},\"size\":",
            "no linux/amd64 image",
        ),
    ] {
        assert!(index.contains(from), "{from} is not in the index");
        fs::write(good.join("index.json"), index.replacen(from, to, 1)).expect("index");
        let error = fixture.store.import_oci(&good, None).expect_err("misleading").to_string();
        assert!(error.contains(why), "{error:?} does not say {why:?}");
    }
    fs::write(good.join("index.json"), "[".repeat(100_000)).expect("index");
    assert!(fixture.store.import_oci(&good, None).is_err());
    fixture.assert_untouched();
}

#[test]
fn nested_indexes_selection_and_archives_of_layouts_work() {
    let fixture = Fixture::new();
    let (a, b) =
        (fixture.plain(&[&[(FILE, "a", b"1", 0o644)]]), fixture.plain(&[&[(FILE, "b", b"2", 0o644)]]));
    for blob in fs::read_dir(b.join("blobs/sha256")).expect("dir") {
        let blob = blob.expect("entry");
        fs::copy(blob.path(), a.join("blobs/sha256").join(blob.file_name())).expect("copy");
    }
    let nested = fs::read(b.join("index.json")).expect("index");
    let digest = digest_of(&nested);
    fs::write(a.join("blobs/sha256").join(hex_of(&digest)), &nested).expect("blob");
    let mut index: serde_json::Value =
        serde_json::from_slice(&fs::read(a.join("index.json")).expect("index")).expect("json");
    let first: Digest = index["manifests"][0]["digest"].as_str().expect("digest").parse().expect("digest");
    let mut link = json!({ "digest": digest, "size": nested.len() });
    link["mediaType"] = json!("application/vnd.oci.image.index.v1+json");
    index["manifests"].as_array_mut().expect("list").push(link);
    fs::write(a.join("index.json"), index.to_string()).expect("index");
    let error = fixture.store.import_oci(&a, None).expect_err("ambiguous").to_string();
    assert!(error.contains("several images"), "{error}");
    let archive = fixture.dir.path().join("layout.tar");
    let mut builder = tar::Builder::new(fs::File::create(&archive).expect("file"));
    builder.append_dir_all(".", &a).expect("tar");
    builder.finish().expect("tar");
    assert_eq!(fixture.store.import_oci(&archive, Some(first)).expect("import").descriptor.digest, first);
    let nested = fixture.store.import_oci(&archive, Some(digest)).expect("import");
    assert_eq!(read(&nested, "b"), "2");
    let squeezed = fixture.dir.path().join("layout.tgz");
    fs::write(&squeezed, gzip(&fs::read(&archive).expect("tar"))).expect("file");
    assert!(
        fixture
            .store
            .import_oci(&squeezed, None)
            .expect_err("gz")
            .to_string()
            .contains("decompress it first")
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// No bytes in place of a layer make the importer panic or leave anything, and none lands outside.
    #[test]
    fn mangled_layers_never_panic(flips in prop::collection::vec((0..3072_usize, any::<u8>()), 1..12)) {
        let fixture = Fixture::new();
        let mut tar = tar_of(&[(FILE, "a", b"1", 0o644), (LINK, "b", b"a", 0o777)]);
        for (at, value) in flips {
            let at = at % tar.len();
            tar[at] = value;
        }
        let layout = fixture.layout(&[("", tar.clone(), tar)]);
        if fixture.store.import_oci(&layout, None).is_err() {
            fixture.assert_untouched();
        }
    }

    #[test]
    fn descriptors_decode_only_from_their_own_encoding(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(descriptor) = Descriptor::decode(&bytes) {
            prop_assert_eq!(descriptor.encode(), bytes);
        }
    }
}
