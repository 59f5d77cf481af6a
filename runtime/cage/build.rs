//! Links the `metanode-cage` binary statically where the C library can be had that way.
//!
//! Owns one decision: with the archives of the C library and of the unwinder at hand the binary needs no
//! dynamic linker, whose mappings, relocations and page faults are a tenth of the processor time of a start,
//! paid at every native start. It stays position independent. The archives are offered to this one binary in a
//! directory of its own, which is searched before the system's and holds no shared libraries; without one of
//! them the binary is linked as any other. Names of hosts are then looked up in files and by DNS only, unless
//! the libraries of other sources fit this C library. It refuses to touch the library target: whoever links
//! that chooses for himself.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the standard library asks the linker for.
const ARCHIVES: &[&str] = &["libc.a", "libdl.a", "libm.a", "libpthread.a", "librt.a", "libutil.a"];
/// The unwinder under the name of its shared twin, with what it and the C library ask of the compiler.
const UNWINDER: &str = "GROUP ( -lgcc_eh -lgcc -lc )\n";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=CC");
    let wanted = |name: &str| std::env::var(name).unwrap_or_default();
    if wanted("CARGO_CFG_TARGET_ENV") != "gnu" || wanted("TARGET") != wanted("HOST") {
        return; // the compiler below answers for this machine
    }
    let dir = PathBuf::from(wanted("OUT_DIR")).join("archives");
    match offer(&dir) {
        Ok(true) => {
            println!("cargo:rustc-link-arg-bin=metanode-cage=-L{}", dir.display());
            println!("cargo:rustc-link-arg-bin=metanode-cage=-static-pie");
        }
        Ok(false) => {}
        Err(e) => println!("cargo:warning=metanode-cage is linked dynamically: {}: {e}", dir.display()),
    }
}

/// Fills `dir`; false when this compiler lacks one of the archives.
fn offer(dir: &Path) -> io::Result<bool> {
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".into());
    let find = |name: &str| -> io::Result<Option<PathBuf>> {
        let output = Command::new(&compiler).arg(format!("-print-file-name={name}")).output()?;
        let path = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        // A compiler that does not have the file answers with the bare name.
        Ok((path.is_absolute() && path.is_file()).then_some(path))
    };
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => fs::create_dir_all(dir)?,
    }
    for needed in ["rcrt1.o", "libgcc_eh.a", "libgcc.a"] {
        if find(needed)?.is_none() {
            return Ok(false);
        }
    }
    for archive in ARCHIVES {
        let Some(path) = find(archive)? else { return Ok(false) };
        symlink(path, dir.join(archive))?;
    }
    fs::write(dir.join("libgcc_s.a"), UNWINDER)?;
    Ok(true)
}
