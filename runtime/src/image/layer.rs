//! Owns reading one layer: decompression with bounds, the tar's entries with their long names, and the rules an
//! entry must keep. Refuses devices, FIFOs, sparse files, `..`, oversized headers and streams that inflate past
//! their bound. Invariant: everything is judged while reading, before anything is written; the uncompressed stream
//! is hashed whole.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::rc::Rc;

use tar::EntryType;

use super::oci::Compression;
use super::rootdir::ImagePath;
use crate::digest::{Digest, Hasher};
use crate::limits;

/// What an entry asks for.
#[derive(Debug)]
pub(crate) enum Request {
    Dir,
    File {
        size: u64,
    },
    Symlink {
        target: Vec<u8>,
    },
    HardLink {
        target: ImagePath,
    },
    /// Hide `name` of the layers below.
    Whiteout {
        name: Vec<u8>,
    },
    /// Hide everything the layers below have in this directory.
    Opaque,
}

/// One entry of a layer. For whiteouts, `path` is the directory concerned.
#[derive(Debug)]
pub(crate) struct LayerEntry {
    pub(crate) path: ImagePath,
    pub(crate) mode: u32,
    pub(crate) request: Request,
}

/// What an image has used up so far.
#[derive(Default)]
pub(crate) struct Budget {
    entries: u64,
    bytes: u64,
}

impl Budget {
    fn charge(&mut self, bytes: u64) -> Result<(), String> {
        self.entries += 1;
        if self.entries > limits::ENTRIES_MAX {
            return Err(format!("image has more than {} entries", limits::ENTRIES_MAX));
        }
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > limits::UNPACKED_BYTES_MAX {
            return Err(format!("image unpacks to more than {} bytes", limits::UNPACKED_BYTES_MAX));
        }
        Ok(())
    }
}

/// A reading problem: the entry it happened in (or empty) and the reason.
pub(crate) type Fault = (String, String);

/// Counts and hashes what a decompressor yields, and stops a bomb.
struct Meter<R> {
    inner: R,
    tally: Rc<RefCell<(u64, Hasher)>>,
    bytes_max: u64,
}

impl<R: Read> Read for Meter<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(buffer)?;
        let mut tally = self.tally.borrow_mut();
        tally.0 += got as u64;
        if tally.0 > self.bytes_max {
            return Err(io::Error::other(format!(
                "inflates to more than the {} bytes allowed",
                self.bytes_max
            )));
        }
        tally.1.raw(&buffer[..got]);
        Ok(got)
    }
}

/// Reads the layer in `blob` (of `size` bytes) and shows every entry to `visit`. Returns the digest of the
/// uncompressed stream, trailing bytes included.
pub(crate) fn read_layer(
    blob: File,
    size: u64,
    compression: Compression,
    budget: &mut Budget,
    visit: &mut dyn FnMut(&LayerEntry, &mut dyn Read) -> Result<(), String>,
) -> Result<Digest, Fault> {
    let stream = |error: io::Error| (String::new(), error.to_string());
    let tally = Rc::new(RefCell::new((0, Hasher::default())));
    let inner: Box<dyn Read> = match compression {
        Compression::Plain => Box::new(BufReader::new(blob)),
        Compression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(BufReader::new(blob))),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::new(blob).map_err(stream)?;
            decoder.window_log_max(limits::ZSTD_WINDOW_LOG_MAX).map_err(stream)?;
            Box::new(decoder)
        }
    };
    let bytes_max = size.saturating_mul(limits::INFLATE_RATIO_MAX).max(limits::INFLATE_FREE_BYTES);
    let mut archive = tar::Archive::new(Meter { inner, tally: Rc::clone(&tally), bytes_max });
    let mut extension = Extension::default();
    for entry in archive.entries().map_err(stream)?.raw(true) {
        let mut entry = entry.map_err(stream)?;
        let kind = entry.header().entry_type();
        if extension.absorb(kind, &mut entry).map_err(|reason| (String::new(), reason))? {
            continue;
        }
        let name = extension.path.take().unwrap_or_else(|| entry.path_bytes().into_owned());
        let fault = |reason| (String::from_utf8_lossy(&name).into_owned(), reason);
        let parsed = parse_entry(&entry, &name, std::mem::take(&mut extension)).map_err(fault)?;
        if let Some(parsed) = parsed {
            let bytes = if let Request::File { size } = parsed.request { size } else { 0 };
            budget.charge(bytes).map_err(fault)?;
            visit(&parsed, &mut entry).map_err(fault)?;
        }
    }
    // Padding after the end marker belongs to the stream's digest too.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(stream)?;
    let (_, hasher) = tally.replace(Default::default());
    Ok(hasher.finish())
}

/// Long names and PAX records, which precede the entry they belong to.
#[derive(Default)]
struct Extension {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
}

impl Extension {
    /// Takes an extension header in; false when the entry is not one.
    fn absorb(&mut self, kind: EntryType, entry: &mut impl Read) -> Result<bool, String> {
        if !(kind.is_gnu_longname()
            || kind.is_gnu_longlink()
            || kind.is_pax_local_extensions()
            || kind.is_pax_global_extensions())
        {
            return Ok(false);
        }
        let mut bytes = Vec::new();
        let mut bounded = entry.take(limits::TAR_EXTENSION_BYTES_MAX + 1);
        bounded.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        if bytes.len() as u64 > limits::TAR_EXTENSION_BYTES_MAX {
            return Err(format!("extended header is larger than {} bytes", limits::TAR_EXTENSION_BYTES_MAX));
        }
        if kind.is_gnu_longname() || kind.is_gnu_longlink() {
            while bytes.last() == Some(&0) {
                bytes.pop();
            }
            *if kind.is_gnu_longname() { &mut self.path } else { &mut self.link } = Some(bytes);
        } else if kind.is_pax_local_extensions() {
            self.absorb_pax(&bytes)?;
        }
        Ok(true)
    }

    /// PAX records are `LENGTH KEY=VALUE\n`, the length counting all of it.
    fn absorb_pax(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        while !bytes.is_empty() {
            let malformed = || "malformed PAX record".to_owned();
            let space = bytes.iter().take(20).position(|byte| *byte == b' ').ok_or_else(malformed)?;
            let length =
                std::str::from_utf8(&bytes[..space]).ok().and_then(|text| text.parse::<usize>().ok());
            let length = length.filter(|n| (space + 2..=bytes.len()).contains(n)).ok_or_else(malformed)?;
            let record = bytes[space + 1..length].strip_suffix(b"\n").ok_or_else(malformed)?;
            let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(malformed)?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            match key {
                b"path" => self.path = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"size" => {
                    let size = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                    self.size = Some(size.ok_or_else(malformed)?);
                }
                _ if key.starts_with(b"GNU.sparse.") => {
                    return Err("sparse files are not accepted".to_owned());
                }
                // Times, owners and extended attributes: none of them survives normalisation.
                _ => {}
            }
            bytes = &bytes[length..];
        }
        Ok(())
    }
}

/// Judges one entry. None for metadata of old union filesystems, which carries nothing.
fn parse_entry<R: Read>(
    entry: &tar::Entry<'_, R>,
    name: &[u8],
    extension: Extension,
) -> Result<Option<LayerEntry>, String> {
    let header = entry.header();
    let size = header.entry_size().map_err(|error| error.to_string())?;
    if extension.size.is_some_and(|stated| stated != size) {
        return Err("PAX size differs from the header's".to_owned());
    }
    let mode = header.mode().map_err(|error| error.to_string())?;
    let path = ImagePath::parse(name)?;
    if let Some(hidden) = whiteout(&path)? {
        return Ok(hidden.map(|(path, request)| LayerEntry { path, mode, request }));
    }
    let link = || extension.link.or_else(|| entry.link_name_bytes().map(|link| link.into_owned()));
    let request = match header.entry_type() {
        EntryType::Regular if name.ends_with(b"/") && size == 0 => Request::Dir,
        EntryType::Regular | EntryType::Continuous => Request::File { size },
        EntryType::Directory => Request::Dir,
        EntryType::Symlink => {
            let target = link().filter(|target| !target.is_empty()).ok_or("symlink without a target")?;
            if target.len() > limits::PATH_BYTES_MAX || target.contains(&0) {
                return Err("symlink target is too long or has a NUL in it".to_owned());
            }
            Request::Symlink { target }
        }
        EntryType::Link => {
            let target = link().ok_or("hard link without a target")?;
            Request::HardLink {
                target: ImagePath::parse(&target).map_err(|why| format!("hard link target: {why}"))?,
            }
        }
        EntryType::Char | EntryType::Block => return Err("device nodes are not accepted".to_owned()),
        EntryType::Fifo => return Err("FIFOs are not accepted".to_owned()),
        EntryType::GNUSparse => return Err("sparse files are not accepted".to_owned()),
        other => return Err(format!("entry type {:?} is not accepted", char::from(other.as_byte()))),
    };
    if size != 0 && !matches!(request, Request::File { .. }) {
        return Err("an entry that is not a file has contents".to_owned());
    }
    Ok(Some(LayerEntry { path, mode, request }))
}

type Hidden = Option<(ImagePath, Request)>;

/// Whether the path is a whiteout, and of what. `Some(None)`: a marker without meaning here.
fn whiteout(path: &ImagePath) -> Result<Option<Hidden>, String> {
    if path.parents_have_prefix(b".wh.") {
        return if path.parents_have_prefix(b".wh..wh.") {
            Ok(Some(None))
        } else {
            Err("a whiteout is used as a directory".to_owned())
        };
    }
    let Some((parent, name)) = path.split() else { return Ok(None) };
    let name = name.as_encoded_bytes();
    if name == b".wh..wh..opq" {
        return Ok(Some(Some((parent, Request::Opaque))));
    }
    if name.starts_with(b".wh..wh.") {
        return Ok(Some(None));
    }
    match name.strip_prefix(b".wh.") {
        None => Ok(None),
        Some(b"" | b"." | b"..") => Err("a whiteout of no name".to_owned()),
        Some(name) => Ok(Some(Some((parent, Request::Whiteout { name: name.to_vec() })))),
    }
}
