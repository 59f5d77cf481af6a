//! Where functions of an ELF file begin and end: the boundaries from which disassembly is certain.
//!
//! Two sources, both written by the compiler or assembler and not derived from the code's bytes: the unwinder's
//! frame descriptions (`.eh_frame`, found through `PT_GNU_EH_FRAME`, which even stripped programs keep), and
//! function symbols (`.symtab`, `.dynsym`). The file is somebody else's: whatever is malformed in it yields no
//! function, never a panic.

use gimli::{BaseAddresses, EhFrame, EhFrameHdr, EndianSlice, LittleEndian, UnwindSection};
use object::LittleEndian as Little;
use object::elf::{
    FileHeader64, PF_X, PT_GNU_EH_FRAME, PT_LOAD, ProgramHeader64, SHT_DYNSYM, SHT_SYMTAB, STT_FUNC,
};
use object::read::elf::{FileHeader, ProgramHeader, Sym};

/// The largest function that is disassembled; larger ones leave their matches open.
const FUNCTION_BYTES_MAX: u64 = 4 << 20;

/// One function, at its link-time address.
#[derive(Debug)]
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

impl Function<'_> {
    /// Whether `address` is one of its bytes.
    pub(super) fn contains(&self, address: u64) -> bool {
        address >= self.start && address - self.start < self.code.len() as u64
    }

    /// Up to `length` bytes at `address`, which it contains.
    pub(super) fn bytes(&self, address: u64, length: usize) -> &[u8] {
        let from = (address - self.start) as usize;
        &self.code[from..self.code.len().min(from + length)]
    }
}

/// A function symbol.
struct Symbol {
    address: u64,
    size: u64,
}

/// The boundaries of one file.
pub(super) struct Bounds<'a> {
    data: &'a [u8],
    segments: &'a [ProgramHeader64<Little>],
    /// By address.
    symbols: Vec<Symbol>,
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

impl<'a> Bounds<'a> {
    /// Reads the headers and symbols of a whole file.
    pub(super) fn parse(data: &'a [u8]) -> Option<Self> {
        let header = FileHeader64::<Little>::parse(data).ok()?;
        let segments = header.program_headers(Little, data).ok()?;
        let mut symbols = Vec::new();
        if let Ok(sections) = header.sections(Little, data) {
            for kind in [SHT_SYMTAB, SHT_DYNSYM] {
                let Ok(table) = sections.symbols(Little, data, kind) else { continue };
                let functions = table.iter().filter(|s| s.st_type() == STT_FUNC && !s.is_undefined(Little));
                symbols.extend(
                    functions.map(|s| Symbol { address: s.st_value(Little), size: s.st_size(Little) }),
                );
            }
        }
        symbols.sort_by_key(|s| s.address);
        Some(Self { data, segments, symbols })
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

    /// The function that holds the byte at `address`.
    pub(super) fn function(&self, address: u64) -> Option<Function<'a>> {
        let (start, end, exact_end) = self.described(address).or_else(|| self.named(address))?;
        if end.checked_sub(start)? > FUNCTION_BYTES_MAX {
            return None;
        }
        let from = usize::try_from(self.offset_of(start)?).ok()?;
        let code = self.data.get(from..from.checked_add((end - start) as usize)?)?;
        let inner = self.symbols.partition_point(|s| s.address < start);
        let inner = self.symbols[inner..].iter().map(|s| s.address).take_while(|a| *a < end);
        let mut roots: Vec<u64> = std::iter::once(start).chain(inner).collect();
        roots.dedup();
        Some(Function { start, code, roots, exact_end })
    }

    /// From the frame descriptions: start, end, and that the end is exact.
    fn described(&self, address: u64) -> Option<(u64, u64, bool)> {
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
        Some((fde.initial_address(), fde.end_address(), true))
    }

    /// From symbols: one with a size that covers the address, else the nearest before it, up to the next.
    fn named(&self, address: u64) -> Option<(u64, u64, bool)> {
        let after = self.symbols.partition_point(|s| s.address <= address);
        let nearest = self.symbols[..after].last()?;
        let same = self.symbols[..after].iter().rev().take_while(|s| s.address == nearest.address);
        if let Some(size) = same.map(|s| s.size).max().filter(|size| *size > 0) {
            let end = nearest.address.checked_add(size)?;
            return (address < end).then_some((nearest.address, end, true));
        }
        Some((nearest.address, self.symbols.get(after)?.address, false))
    }

    /// The bytes of the file that are loaded at `address`, to the end of their segment.
    fn loaded_from(&self, address: u64) -> Option<&'a [u8]> {
        self.segments.iter().filter(|s| s.p_type(Little) == PT_LOAD).find_map(|s| {
            let within = usize::try_from(address.checked_sub(s.p_vaddr(Little))?).ok()?;
            s.data(Little, self.data).ok()?.get(within..)
        })
    }
}
