//! Finds the compiler's static unwinder for the `metanode-cage` binary.
//!
//! Owns one decision: with `libgcc_eh.a` at hand the binary loads one shared library less, which is a sixth of its
//! time from exec to main, paid at every native start. Without it the binary is linked as any other. It refuses to
//! touch the library target: whoever links that keeps the unwinder of its own choice.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=CC");
    println!("cargo:rustc-check-cfg=cfg(static_unwinder)");
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".into());
    let Ok(output) = Command::new(compiler).arg("-print-file-name=libgcc_eh.a").output() else { return };
    let answer = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    // A compiler that does not have the file answers with the bare name.
    if let Some(dir) =
        Path::new(&answer).parent().filter(|dir| dir.is_absolute() && Path::new(&answer).is_file())
    {
        println!("cargo:rustc-link-search=native={}", dir.display());
        println!("cargo:rustc-cfg=static_unwinder");
    }
}
