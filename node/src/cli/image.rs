//! `metanode image`: the image store of this user, from which `deploy` hands images to nodes.
//!
//! Owns where that store is. Nothing here asks a node. Refuses names and tags: an image is known by its digest.

use super::failure::{Doing, Done, Failure};
use super::output::{pairs, table};
use super::session::Session;
use metanode_runtime::image::{Image, ImageStore, PackSpec, Reference, RunConfig, pack};
use metanode_types::quantity::format_bytes;
use metanode_types::workload::{ImageKind, ImageRef};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Environment variable that names the store.
const STORE_VARIABLE: &str = "METANODE_IMAGE_STORE";

/// Look after images.
#[derive(clap::Args, Debug)]
pub struct ImageArgs {
    #[command(subcommand)]
    command: ImageCommand,
}

#[derive(clap::Subcommand, Debug)]
enum ImageCommand {
    /// Import an OCI image layout (directory or tar), or a WASM module (binary or text)
    Import(ImportArgs),
    /// Make an OCI image of a directory or of one static binary, and import it
    Pack(PackArgs),
    /// List the images of the store
    List(StoreArgs),
}

/// Where the store is.
#[derive(clap::Args, Debug, Default)]
pub struct StoreArgs {
    /// Image store [default: a cache directory of this user]
    #[arg(long, value_name = "DIR", env = STORE_VARIABLE, hide_env_values = true)]
    pub store: Option<PathBuf>,
}

#[derive(clap::Args, Debug)]
struct ImportArgs {
    /// PATH, oci:PATH[@sha256:…] or wasm:PATH
    path: String,
    #[command(flatten)]
    store: StoreArgs,
}

#[derive(clap::Args, Debug)]
struct PackArgs {
    /// Directory that becomes the root, or a static binary
    path: PathBuf,
    /// Program that runs, and its first arguments; may be repeated [default for a binary: the binary]
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    entrypoint: Vec<String>,
    /// Arguments when a deployment gives none; may be repeated
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    cmd: Vec<String>,
    /// Environment of the image; may be repeated
    #[arg(long, value_name = "K=V")]
    env: Vec<String>,
    /// Working directory
    #[arg(long, value_name = "PATH", default_value = "/")]
    workdir: String,
    /// Keep the OCI image layout in this directory, which must not exist
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    store: StoreArgs,
}

/// An image of the store.
#[derive(Serialize)]
struct Stored {
    #[serde(flatten)]
    image: ImageRef,
    /// What `--image` takes.
    reference: String,
    bytes: u64,
    entrypoint: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    layout: Option<PathBuf>,
}

impl Stored {
    fn of(image: &Image) -> Stored {
        let d = &image.descriptor;
        let bytes = d.blobs.iter().map(|blob| blob.size).sum();
        let entrypoint = d.config.argv(&[]);
        Stored { image: d.image_ref(), reference: d.digest.to_string(), bytes, entrypoint, layout: None }
    }

    fn text(&self) -> String {
        let mut rows = vec![
            ("image", self.reference.clone()),
            ("kind", kind(self.image.kind).to_owned()),
            ("size", format_bytes(self.bytes)),
        ];
        if !self.entrypoint.is_empty() {
            rows.push(("runs", self.entrypoint.join(" ")));
        }
        rows.extend(self.layout.iter().map(|path| ("layout", path.display().to_string())));
        pairs(&rows)
    }
}

/// The kind of an image in one word.
pub fn kind(kind: ImageKind) -> &'static str {
    match kind {
        ImageKind::Oci => "oci",
        ImageKind::Wasm => "wasm",
    }
}

/// Carries the command out.
pub fn run(session: &Session, args: ImageArgs) -> Done {
    match args.command {
        ImageCommand::Import(args) => {
            let image = import(&open(&args.store)?, &guessed(&args.path)?)?;
            session.form.emit(&Stored::of(&image), Stored::text);
            Ok(())
        }
        ImageCommand::Pack(args) => pack_one(session, args),
        ImageCommand::List(args) => list(session, &args),
    }
}

/// Opens the store that is meant.
pub fn open(args: &StoreArgs) -> Done<ImageStore> {
    let path = match &args.store {
        Some(path) => path.clone(),
        None => cache_dir()?.join("images"),
    };
    std::fs::create_dir_all(&path).unavailable(format!("open the image store {}", path.display()))?;
    ImageStore::open(&path).unavailable("open the image store")
}

fn cache_dir() -> Done<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let base = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    let missing = || Failure::usage("find the image store", "neither XDG_CACHE_HOME nor HOME is set");
    base.map(|dir| dir.join("metanode")).ok_or_else(|| missing().next("pass --store DIR"))
}

/// A reference, or a path whose form tells what it is.
fn guessed(text: &str) -> Done<Reference> {
    if ["oci:", "wasm:", "sha256:"].iter().any(|scheme| text.starts_with(scheme)) {
        return text.parse().usage("read the image reference");
    }
    let path = Path::new(text);
    let extension = path.extension().and_then(|e| e.to_str());
    Ok(match extension {
        Some("wasm" | "wat") if path.is_file() => Reference::Wasm { path: path.to_owned() },
        _ => Reference::Oci { path: path.to_owned(), select: None },
    })
}

/// Makes what a reference names available in the store.
pub fn import(store: &ImageStore, reference: &Reference) -> Done<Image> {
    store.resolve(reference).usage("import the image")
}

fn pack_one(session: &Session, args: PackArgs) -> Done {
    let what = "pack the image";
    let store = open(&args.store)?;
    let config =
        RunConfig { entrypoint: args.entrypoint, cmd: args.cmd, env: args.env, workdir: args.workdir };
    let spec = PackSpec { source: args.path, config };
    // Without --out the layout is only a step on the way into the store.
    let scratch = std::env::temp_dir()
        .join(format!("metanode-pack-{:016x}", crate::keys::random_u64().unavailable(what)?));
    let layout = args.out.clone().unwrap_or_else(|| scratch.clone());
    let packed = pack(&spec, &layout).usage(what);
    let imported =
        packed.and_then(|_| import(&store, &Reference::Oci { path: layout.clone(), select: None }));
    let _ = std::fs::remove_dir_all(&scratch);
    let stored = Stored { layout: args.out, ..Stored::of(&imported?) };
    session.form.emit(&stored, Stored::text);
    Ok(())
}

fn list(session: &Session, args: &StoreArgs) -> Done {
    let images = open(args)?.list().unavailable("list the images")?;
    let stored: Vec<Stored> = images.iter().map(Stored::of).collect();
    session.form.emit(&stored, |all| {
        let row = |s: &Stored| {
            vec![
                s.reference.clone(),
                kind(s.image.kind).to_owned(),
                format_bytes(s.bytes),
                s.entrypoint.join(" "),
            ]
        };
        table(&["IMAGE", "KIND", "SIZE", "RUNS"], &all.iter().map(row).collect::<Vec<_>>())
    });
    Ok(())
}
