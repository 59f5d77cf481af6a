//! Owns the OCI documents: which fields of an index, a manifest and a configuration we read, and what they must say.
//! Refuses I/O and refuses other platforms than linux/amd64. Unknown fields are ignored, as the OCI specification
//! demands of readers; every field that *is* read is checked and bounded.

use serde::Deserialize;

use super::descriptor::RunConfig;
use crate::digest::Digest;
use crate::limits;

pub(crate) const INDEX_TYPES: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];
pub(crate) const MANIFEST_TYPES: [&str; 2] =
    ["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"];
const CONFIG_TYPES: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];

/// How a layer's tar is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    Plain,
    Gzip,
    Zstd,
}

impl Compression {
    pub(crate) fn of_media_type(media_type: &str) -> Option<Self> {
        Some(match media_type {
            "application/vnd.oci.image.layer.v1.tar"
            | "application/vnd.oci.image.layer.nondistributable.v1.tar"
            | "application/vnd.docker.image.rootfs.diff.tar" => Self::Plain,
            "application/vnd.oci.image.layer.v1.tar+gzip"
            | "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
            | "application/vnd.docker.image.rootfs.diff.tar.gzip" => Self::Gzip,
            "application/vnd.oci.image.layer.v1.tar+zstd"
            | "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd" => Self::Zstd,
            _ => return None,
        })
    }
}

/// A reference from one document to a blob.
#[derive(Deserialize, Clone, Debug)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Link {
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    platform: Option<Platform>,
}

#[derive(Deserialize, Clone, Debug)]
struct Platform {
    architecture: String,
    os: String,
    variant: Option<String>,
}

impl Link {
    pub(crate) fn is_index(&self) -> bool {
        INDEX_TYPES.contains(&self.media_type.as_str())
    }

    pub(crate) fn is_manifest(&self) -> bool {
        MANIFEST_TYPES.contains(&self.media_type.as_str())
    }

    /// Whether this may lead to a linux/amd64 image. No platform says nothing, so the configuration decides.
    pub(crate) fn may_be_ours(&self) -> bool {
        self.platform.as_ref().is_none_or(|platform| {
            platform.os == "linux"
                && platform.architecture == "amd64"
                && platform.variant.as_deref().is_none_or(|variant| matches!(variant, "" | "v1"))
        })
    }
}

/// `index.json`, or an index blob.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Index {
    schema_version: u32,
    pub(crate) manifests: Vec<Link>,
}

impl Index {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let index: Self = json(bytes, "index")?;
        if index.schema_version != 2 {
            return Err(format!("index schemaVersion is {}, expected 2", index.schema_version));
        }
        if index.manifests.len() > limits::INDEX_ENTRIES_MAX {
            return Err(format!("index has more than {} entries", limits::INDEX_ENTRIES_MAX));
        }
        Ok(index)
    }
}

/// An image manifest.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    schema_version: u32,
    media_type: Option<String>,
    artifact_type: Option<String>,
    pub(crate) config: Link,
    pub(crate) layers: Vec<Link>,
}

impl Manifest {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let manifest: Self = json(bytes, "manifest")?;
        if manifest.schema_version != 2 {
            return Err(format!("manifest schemaVersion is {}, expected 2", manifest.schema_version));
        }
        if let Some(other) = manifest.media_type.as_deref().filter(|media| !MANIFEST_TYPES.contains(media)) {
            return Err(format!("manifest says it is a {other:?}"));
        }
        if let Some(artifact) = manifest.artifact_type.as_deref().filter(|artifact| !artifact.is_empty()) {
            return Err(format!("manifest is of an artifact ({artifact:?}), not of an image"));
        }
        if !CONFIG_TYPES.contains(&manifest.config.media_type.as_str()) {
            return Err(format!(
                "config has media type {:?}, not that of an image",
                manifest.config.media_type
            ));
        }
        if manifest.config.size > limits::CONFIG_BYTES_MAX {
            return Err(format!("config is larger than {} bytes", limits::CONFIG_BYTES_MAX));
        }
        if manifest.layers.len() > limits::LAYERS_MAX {
            return Err(format!("manifest has more than {} layers", limits::LAYERS_MAX));
        }
        for layer in &manifest.layers {
            if Compression::of_media_type(&layer.media_type).is_none() {
                return Err(format!("layer {} has unknown media type {:?}", layer.digest, layer.media_type));
            }
            if layer.size > limits::BLOB_BYTES_MAX {
                return Err(format!(
                    "layer {} is larger than {} bytes",
                    layer.digest,
                    limits::BLOB_BYTES_MAX
                ));
            }
        }
        Ok(manifest)
    }
}

#[derive(Deserialize)]
struct RawConfig {
    architecture: String,
    os: String,
    #[serde(default)]
    config: Option<RawRunConfig>,
    rootfs: RawRootfs,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct RawRunConfig {
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    env: Option<Vec<String>>,
    working_dir: Option<String>,
}

#[derive(Deserialize)]
struct RawRootfs {
    #[serde(rename = "type")]
    kind: String,
    diff_ids: Vec<Digest>,
}

/// What an image configuration says that we use.
#[derive(Debug)]
pub(crate) struct ImageConfig {
    pub(crate) run: RunConfig,
    /// Digests of the layers' tars, uncompressed, in order.
    pub(crate) diff_ids: Vec<Digest>,
}

impl ImageConfig {
    pub(crate) fn parse(bytes: &[u8], layers: usize) -> Result<Self, String> {
        let raw: RawConfig = json(bytes, "config")?;
        if raw.os != "linux" || raw.architecture != "amd64" {
            return Err(format!(
                "image is for {}/{}, this network runs linux/amd64",
                raw.os, raw.architecture
            ));
        }
        if raw.rootfs.kind != "layers" {
            return Err(format!("rootfs type is {:?}, expected \"layers\"", raw.rootfs.kind));
        }
        if raw.rootfs.diff_ids.len() != layers {
            return Err(format!("config has {} diff ids for {layers} layers", raw.rootfs.diff_ids.len()));
        }
        let run = raw.config.unwrap_or_default();
        let workdir = run.working_dir.filter(|dir| !dir.is_empty()).unwrap_or_else(|| "/".to_owned());
        let run = RunConfig {
            entrypoint: run.entrypoint.unwrap_or_default(),
            cmd: run.cmd.unwrap_or_default(),
            env: run.env.unwrap_or_default(),
            workdir,
        };
        run.check()?;
        Ok(Self { run, diff_ids: raw.rootfs.diff_ids })
    }
}

fn json<'a, T: Deserialize<'a>>(bytes: &'a [u8], what: &str) -> Result<T, String> {
    // serde_json refuses nesting deeper than 128 by itself; the size was bounded before this was called.
    serde_json::from_slice(bytes).map_err(|error| format!("{what} is not valid: {error}"))
}
