//! Packing, and importing what was packed.

use super::*;

#[test]
fn packing_is_deterministic_and_its_image_imports() {
    let fixture = Fixture::new();
    let source = fixture.dir.path().join("source");
    fs::create_dir_all(source.join("bin")).expect("dir");
    fs::write(source.join("bin/app"), "#!").expect("file");
    fs::set_permissions(source.join("bin/app"), fs::Permissions::from_mode(0o4700)).expect("mode");
    symlink("bin/app", source.join("link")).expect("symlink");
    let long = "n".repeat(180);
    fs::write(source.join(&long), "long").expect("file");
    let config = RunConfig { entrypoint: vec!["/bin/app".into()], ..RunConfig::default() };
    let spec = PackSpec { source: source.clone(), config };
    let one = pack(&spec, &fixture.dir.path().join("one")).expect("pack");
    fs::write(source.join("bin/app"), "#!").expect("a new time");
    let two = pack(&spec, &fixture.dir.path().join("two")).expect("pack");
    assert_eq!(one, two);
    let image = fixture.store.import_oci(&fixture.dir.path().join("one"), None).expect("import");
    assert_eq!(image.descriptor.digest, one);
    assert_eq!(read(&image, &long), "long");
    assert_eq!(fs::read_link(image.path.join("link")).expect("link"), Path::new("bin/app"));
    assert_eq!(fs::metadata(image.path.join("bin/app")).expect("file").permissions().mode() & 0o7777, 0o755);
    let refused = |source: &Path| {
        let spec = PackSpec { source: source.to_path_buf(), config: RunConfig::default() };
        pack(&spec, &tempfile::tempdir_in(fixture.dir.path()).expect("dir").keep().join("out"))
            .expect_err("refused")
    };
    assert!(refused(Path::new("/bin/sh")).to_string().contains("dynamically linked"));
    assert!(refused(&source.join("bin/app")).to_string().contains("ELF"));
    nix::unistd::mkfifo(&source.join("fifo"), nix::sys::stat::Mode::S_IRWXU).expect("fifo");
    assert!(refused(&source).to_string().contains("FIFO"));
}

/// The smallest ELF header that has no loader.
fn static_elf() -> Vec<u8> {
    let mut bytes = vec![0; 64];
    bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
    bytes[18] = 62;
    bytes
}

#[test]
fn a_static_binary_becomes_an_image_that_runs_it() {
    let fixture = Fixture::new();
    let source = fixture.dir.path().join("server");
    fs::write(&source, static_elf()).expect("file");
    let spec = PackSpec { source, config: RunConfig::default() };
    let layout = fixture.dir.path().join("layout");
    pack(&spec, &layout).expect("pack");
    let image = fixture.store.import_oci(&layout, None).expect("import");
    assert_eq!(image.descriptor.config.argv(&[]), ["/server"]);
    assert!(image.path.join("server").exists());
}
