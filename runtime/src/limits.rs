//! Owns every bound of this crate, with its reason. Refuses to hold anything that is not a bound. Invariant: an
//! input past its bound is refused with the bound's value in the message, before memory is taken for it.

/// An OCI manifest or index document: the ceiling registries use.
pub const MANIFEST_BYTES_MAX: u64 = 4 << 20;
/// An OCI image configuration: history entries make it larger than a manifest is.
pub const CONFIG_BYTES_MAX: u64 = 4 << 20;
/// Index documents within index documents.
pub const INDEX_DEPTH_MAX: usize = 4;
/// Descriptors in one index document.
pub const INDEX_ENTRIES_MAX: usize = 1024;
/// Layers of one image: overlayfs and other runtimes stop at 127 as well.
pub const LAYERS_MAX: usize = 127;
/// One blob as stored, compressed or not.
pub const BLOB_BYTES_MAX: u64 = metanode_types::limits::MAX_BLOB_BYTES;
/// File contents of one unpacked image, all layers added up (also what later layers hide).
pub const UNPACKED_BYTES_MAX: u64 = 16 << 30;
/// Entries of all layers of one image.
pub const ENTRIES_MAX: u64 = 1 << 20;
/// A path inside an image.
pub const PATH_BYTES_MAX: usize = 4095;
/// One component of a path.
pub const NAME_BYTES_MAX: usize = 255;
/// Components of a path: bounds the depth of every walk over an unpacked tree.
pub const PATH_DEPTH_MAX: usize = 256;
/// Extended tar headers of one entry (long names, PAX records, ignored extended attributes).
pub const TAR_EXTENSION_BYTES_MAX: u64 = 1 << 20;
/// How many bytes one compressed byte may become...
pub const INFLATE_RATIO_MAX: u64 = 256;
/// ...once a layer is past this size (a short run of zeros is no bomb).
pub const INFLATE_FREE_BYTES: u64 = 64 << 20;
/// The window a zstd layer may ask for, as a power of two (128 MiB; what `zstd -d` allows by itself).
pub const ZSTD_WINDOW_LOG_MAX: u32 = 27;
/// Files in a tar of an OCI layout.
pub const LAYOUT_FILES_MAX: usize = 65_536;
/// A WASM module in binary or text form.
pub const MODULE_BYTES_MAX: u64 = 64 << 20;
/// Strings of an image configuration (entrypoint, command and environment together).
pub const CONFIG_STRINGS_MAX: usize = 4096;
/// Bytes of one of those strings.
pub const CONFIG_STRING_BYTES_MAX: usize = 64 << 10;
/// An encoded image descriptor.
pub const DESCRIPTOR_BYTES_MAX: usize = 1 << 20;
/// Bytes of one chunk of a blob: the unit of transfer and of proof.
pub const CHUNK_BYTES: usize = metanode_types::limits::BLOB_CHUNK_BYTES;

const _: () = assert!(BLOB_BYTES_MAX <= UNPACKED_BYTES_MAX);
const _: () = assert!(NAME_BYTES_MAX < PATH_BYTES_MAX);
const _: () = assert!(BLOB_BYTES_MAX / (CHUNK_BYTES as u64) < u32::MAX as u64);
