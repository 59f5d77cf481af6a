//! Where functions of an ELF file begin and end: the boundaries from which disassembly is certain.
//!
//! Two sources, both written by the compiler or assembler and not derived from the code's bytes: the unwinder's
//! frame descriptions (`.eh_frame`, found through `PT_GNU_EH_FRAME`, which even stripped programs keep), and
//! function symbols (`.symtab`, `.dynsym`). The file is somebody else's: whatever is malformed in it yields no
//! function, never a panic.

use std::cell::OnceCell;
use std::fs::File;
use std::os::unix::fs::FileExt;

use gimli::{BaseAddresses, EhFrame, EhFrameHdr, EndianSlice, LittleEndian, UnwindSection};
use object::LittleEndian as Little;
use object::elf::{
    FileHeader64, PF_X, PT_GNU_EH_FRAME, PT_LOAD, ProgramHeader64, SHT_DYNSYM, SHT_SYMTAB, STT_FUNC,
};
use object::read::elf::{FileHeader, ProgramHeader, Sym};
use object::read::{ReadCacheOps, ReadRef};

/// The largest function that is disassembled; larger ones leave their matches open.
const FUNCTION_BYTES_MAX: u64 = 1 << 20;

/// One function, at its link-time address.
#[derive(Clone, Debug)]
pub(super) struct Function<'a> {
    /// Address of its first byte.
    pub(super) start: u64,
    /// Its bytes.
    pub(super) code: &'a [u8],
    /// Addresses within it that are instruction boundaries.
    pub(super) roots: Vec<u64>,
    /// Whether `code` ends where the function does, rather than at the next known start.
    pub(super) exact_end: bool,
}

impl<'a> Function<'a> {
    /// Whether `address` is one of its bytes.
    pub(super) fn contains(&self, address: u64) -> bool {
        address >= self.start && address - self.start < self.code.len() as u64
    }

    /// Up to `length` bytes at `address`, which it contains.
    pub(super) fn bytes(&self, address: u64, length: usize) -> &'a [u8] {
        let from = (address - self.start) as usize;
        &self.code[from..self.code.len().min(from + length)]
    }
}

/// A function symbol.
struct Symbol {
    address: u64,
    size: u64,
}

/// The boundaries of one file, of which only what is asked for is read.
pub(super) struct Bounds<'a, R: ReadRef<'a>> {
    data: R,
    header: &'a FileHeader64<Little>,
    segments: &'a [ProgramHeader64<Little>],
    /// By address; read when the frame descriptions do not suffice.
    symbols: OnceCell<Vec<Symbol>>,
}

/// A file read by position, which leaves alone the offset that it may share with the program.
pub(super) struct Positioned<'f> {
    file: &'f File,
    at: u64,
}

impl<'f> Positioned<'f> {
    /// Begins at the beginning.
    pub(super) fn new(file: &'f File) -> Self {
        Self { file, at: 0 }
    }
}

impl ReadCacheOps for Positioned<'_> {
    fn len(&mut self) -> Result<u64, ()> {
        self.file.metadata().map(|m| m.len()).map_err(drop)
    }

    fn seek(&mut self, pos: u64) -> Result<u64, ()> {
        self.at = pos;
        Ok(pos)
    }

    fn read(&mut self, buf: &mut [u8]) -> Result<usize, ()> {
        let got = self.file.read_at(buf, self.at).map_err(drop)?;
        self.at += got as u64;
        Ok(got)
    }

    fn read_exact(&mut self, buf: &mut [u8]) -> Result<(), ()> {
        self.file.read_exact_at(buf, self.at).map_err(drop)?;
        self.at += buf.len() as u64;
        Ok(())
    }
}

/// File ranges of the executable segments of an ELF file of which `head` is the beginning.
pub(super) fn executable_ranges(head: &[u8]) -> Option<Vec<std::ops::Range<u64>>> {
    let header = FileHeader64::<Little>::parse(head).ok()?;
    let executable = header.program_headers(Little, head).ok()?.iter().filter(|s| is_code(s));
    Some(
        executable
            .map(|s| s.p_offset(Little)..s.p_offset(Little).saturating_add(s.p_filesz(Little)))
            .collect(),
    )
}

/// Whether a segment is loaded as code.
fn is_code(segment: &ProgramHeader64<Little>) -> bool {
    segment.p_type(Little) == PT_LOAD && segment.p_flags(Little) & PF_X != 0
}

impl<'a, R: ReadRef<'a>> Bounds<'a, R> {
    /// Reads the headers of a file.
    pub(super) fn parse(data: R) -> Option<Self> {
        let header = FileHeader64::<Little>::parse(data).ok()?;
        let segments = header.program_headers(Little, data).ok()?;
        Some(Self { data, header, segments, symbols: OnceCell::new() })
    }

    fn symbols(&self) -> &[Symbol] {
        self.symbols.get_or_init(|| {
            let mut symbols = Vec::new();
            let Ok(sections) = self.header.sections(Little, self.data) else { return symbols };
            for kind in [SHT_SYMTAB, SHT_DYNSYM] {
                let Ok(table) = sections.symbols(Little, self.data, kind) else { continue };
                let functions = table.iter().filter(|s| s.st_type() == STT_FUNC && !s.is_undefined(Little));
                symbols.extend(
                    functions.map(|s| Symbol { address: s.st_value(Little), size: s.st_size(Little) }),
                );
            }
            symbols.sort_by_key(|s| s.address);
            symbols
        })
    }

    /// The link-time address of the byte of code at `offset` in the file.
    pub(super) fn address_of(&self, offset: u64) -> Option<u64> {
        self.segments.iter().filter(|s| is_code(s)).find_map(|s| {
            let within = offset.checked_sub(s.p_offset(Little))?;
            (within < s.p_filesz(Little)).then(|| s.p_vaddr(Little).wrapping_add(within))
        })
    }

    /// The offset in the file of the byte of code at `address`.
    pub(super) fn offset_of(&self, address: u64) -> Option<u64> {
        self.segments.iter().filter(|s| is_code(s)).find_map(|s| {
            let within = address.checked_sub(s.p_vaddr(Little))?;
            (within < s.p_filesz(Little)).then(|| s.p_offset(Little).wrapping_add(within))
        })
    }

    /// The function that holds the byte at `address`, with the boundaries in it that frame descriptions tell.
    pub(super) fn described(&self, address: u64) -> Option<Function<'a>> {
        let (start, end) = self.frame(address)?;
        self.load(start, end, vec![start], true)
    }

    /// The function that holds the byte at `address`, with the boundaries in it that symbols tell as well.
    pub(super) fn named(&self, address: u64) -> Option<Function<'a>> {
        let framed = self.frame(address).map(|(start, end)| (start, end, true));
        let (start, end, exact_end) = framed.or_else(|| self.symbol(address))?;
        let inner = self.symbols().partition_point(|s| s.address < start);
        let inner = self.symbols()[inner..].iter().map(|s| s.address).take_while(|a| *a < end);
        let mut roots: Vec<u64> = std::iter::once(start).chain(inner).collect();
        roots.dedup();
        self.load(start, end, roots, exact_end)
    }

    fn load(&self, start: u64, end: u64, roots: Vec<u64>, exact_end: bool) -> Option<Function<'a>> {
        let length = end.checked_sub(start).filter(|length| *length <= FUNCTION_BYTES_MAX)?;
        let code = self.data.read_bytes_at(self.offset_of(start)?, length).ok()?;
        Some(Function { start, code, roots, exact_end })
    }

    /// From the frame descriptions: start and end of the function around `address`.
    fn frame(&self, address: u64) -> Option<(u64, u64)> {
        let segment = self.segments.iter().find(|s| s.p_type(Little) == PT_GNU_EH_FRAME)?;
        let at = segment.p_vaddr(Little);
        let table = EhFrameHdr::new(segment.data(Little, self.data).ok()?, LittleEndian);
        let bases = BaseAddresses::default().set_eh_frame_hdr(at);
        let parsed = table.parse(&bases, 8).ok()?;
        let gimli::Pointer::Direct(frames_at) = parsed.eh_frame_ptr() else { return None };
        let bases = bases.set_eh_frame(frames_at);
        let frames = EhFrame::new(self.loaded_from(frames_at)?, LittleEndian);
        let sorted = parsed.table()?;
        let fde = sorted
            .fde_for_address(&frames, &bases, address, |s: &EhFrame<EndianSlice<'_, _>>, b, o| {
                s.cie_from_offset(b, o)
            })
            .ok()?;
        Some((fde.initial_address(), fde.end_address()))
    }

    /// From symbols: one with a size that covers the address, else the nearest before it, up to the next; and
    /// whether that end is exact.
    fn symbol(&self, address: u64) -> Option<(u64, u64, bool)> {
        let symbols = self.symbols();
        let after = symbols.partition_point(|s| s.address <= address);
        let nearest = symbols[..after].last()?;
        let same = symbols[..after].iter().rev().take_while(|s| s.address == nearest.address);
        if let Some(size) = same.map(|s| s.size).max().filter(|size| *size > 0) {
            let end = nearest.address.checked_add(size)?;
            return (address < end).then_some((nearest.address, end, true));
        }
        Some((nearest.address, symbols.get(after)?.address, false))
    }

    /// The bytes of the file that are loaded at `address`, to the end of their segment.
    fn loaded_from(&self, address: u64) -> Option<&'a [u8]> {
        self.segments.iter().filter(|s| s.p_type(Little) == PT_LOAD).find_map(|s| {
            let within = address.checked_sub(s.p_vaddr(Little))?;
            let left = s.p_filesz(Little).checked_sub(within)?;
            self.data.read_bytes_at(s.p_offset(Little).checked_add(within)?, left).ok()
        })
    }
}
