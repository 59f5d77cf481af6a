//! What a cage is given on the command line: where its files come from, its standard input, seed and hosts.
//!
//! Owns the spellings. Refuses a seed that is not hexadecimal and a network that is neither none nor recorded.

use super::RunArgs;
use super::launcher::Scratch;
use crate::cli::failure::{Doing, Done, Failure};
use crate::cli::image::{self, StoreArgs};
use metanode_runtime::image::{Image, Reference};
use metanode_runtime::levels::Stdin;
use metanode_types::level::CageLevel;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Where programs are looked for inside a cage when its environment does not say.
// tidy: allow(paths): inside of a cage
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What is to run.
pub(super) enum Source {
    Module(PathBuf),
    Root(CageParts),
}

/// A program and its root.
pub(super) struct CageParts {
    pub root: PathBuf,
    /// Digest of the image; empty for a directory.
    pub image: String,
    pub argv: Vec<String>,
    pub env: Vec<String>,
    pub cwd: String,
}

pub(super) fn source(args: &RunArgs) -> Done<Source> {
    let what = "prepare the cage";
    if let Some(file) = &args.wasm {
        let store = image::open(&args.store)?;
        return Ok(Source::Module(image::import(&store, &Reference::Wasm { path: file.clone() })?.path));
    }
    if let Some(reference) = &args.image {
        let image = find(&args.store, reference, args.level > CageLevel::Contained)?;
        if image.rootfs_digest.is_none() {
            return Ok(Source::Module(image.path));
        }
        let config = image.descriptor.config;
        let argv = config.argv(&args.args);
        if argv.is_empty() {
            return Err(Failure::usage(what, "the image names no program").next("give one after --"));
        }
        let root = image.path.canonicalize().unavailable(what)?;
        let image = image.descriptor.digest.to_string();
        return Ok(Source::Root(CageParts { root, image, argv, env: config.env, cwd: config.workdir }));
    }
    let dir = args.rootfs.as_ref().expect("clap requires one of the three");
    if args.args.is_empty() {
        return Err(Failure::usage(what, "no program is named").next("give one after --"));
    }
    let (root, argv) = (directory(dir)?, args.args.clone());
    Ok(Source::Root(CageParts { root, image: String::new(), argv, env: Vec::new(), cwd: "/".into() }))
}

/// A directory that becomes a root.
pub(super) fn directory(dir: &Path) -> Done<PathBuf> {
    dir.canonicalize().usage(format!("use {} as the root", dir.display()))
}

/// An image of the store, hashed again when something is to be claimed about it.
pub(super) fn find(store: &StoreArgs, reference: &Reference, hashed: bool) -> Done<Image> {
    let store = image::open(store)?;
    let image = image::import(&store, reference)?;
    if hashed {
        store.verify(&image).map_err(|e| {
            Failure::failed("check the image", e).next("remove it from the store and import it again")
        })?;
    }
    Ok(image)
}

/// The environment of the image, then that of the command line, and a search path when neither has one.
pub(super) fn environment(image: Vec<String>, args: &RunArgs) -> Vec<String> {
    let mut env: Vec<String> = image;
    for var in &args.env {
        env.retain(|old| old.split_once('=').is_none_or(|(name, _)| name != var.name));
        env.push(format!("{}={}", var.name, var.value));
    }
    if !env.iter().any(|var| var.starts_with("PATH=")) {
        env.push(PATH.to_owned());
    }
    env
}

/// A copy of standard input that nobody else can change, and its digest: read once, whatever it is read from.
/// At most `bound` bytes, the cage's memory.
pub(super) fn stdin(file: &Path, bound: u64, scratch: &Scratch) -> Done<(PathBuf, Stdin)> {
    let what = format!("read {}", file.display());
    let mut bytes = Vec::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().take(bound + 1).read_to_end(&mut bytes)
    } else {
        let file = std::fs::File::open(file).usage(&*what)?;
        file.take(bound + 1).read_to_end(&mut bytes)
    };
    read.usage(&*what)?;
    if bytes.len() as u64 > bound {
        return Err(Failure::usage(
            what,
            format!("it is longer than the {bound} bytes of memory that it must fit in"),
        ));
    }
    let copy = scratch.path().join("stdin");
    std::fs::write(&copy, &bytes).unavailable("keep standard input")?;
    Ok((copy, Stdin::of(&bytes)))
}

/// A seed: up to 64 hexadecimal digits, a number.
pub(super) fn parse_seed(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > 64 || !text.bytes().all(|c| c.is_ascii_hexdigit()) {
        return Err("expected 1 to 64 hexadecimal digits".to_owned());
    }
    Ok(format!("{:0>64}", text.to_ascii_lowercase()))
}

/// Hosts that may be reached: `none`, or `record:HOST:PORT,…`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Net(pub Vec<String>);

pub(super) fn parse_net(text: &str) -> Result<Net, String> {
    if text == "none" {
        return Ok(Net::default());
    }
    let wrong = || "expected none or record:HOST:PORT,…".to_owned();
    let list = text.strip_prefix("record:").ok_or_else(wrong)?;
    let mut hosts = Vec::new();
    for entry in list.split(',') {
        let entry = entry.strip_prefix("record:").unwrap_or(entry);
        let (host, port) = entry.rsplit_once(':').ok_or_else(wrong)?;
        if host.is_empty() || port.parse::<u16>().is_err() {
            return Err(wrong());
        }
        hosts.push(entry.to_owned());
    }
    Ok(Net(hosts))
}

/// A file that will be written, as the cage's own process must name it.
pub(super) fn absolute(file: &Path) -> Done<PathBuf> {
    std::path::absolute(file).usage(format!("use {}", file.display()))
}
