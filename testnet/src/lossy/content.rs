//! The bytes of one file: what a reader sees, what survives a crash, and the changes between the two.
//!
//! Owns the volatile and the durable image and the ordered list of unsynced changes. Invariant: the durable image
//! with all pending changes applied is the volatile image.

use super::Crash;
use nix::errno::Errno;

/// Bytes of one file at most; beyond, a write fails as on a file system with such a limit.
const MAX_FILE_BYTES: u64 = 256 << 20;

/// A small seeded stream of numbers (splitmix64): a crash must be repeatable from its seed.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Dice {
        Dice(seed)
    }
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    /// A number from 0 to `most`, both possible.
    pub(super) fn up_to(&mut self, most: usize) -> usize {
        (self.next() % (most as u64 + 1)) as usize
    }
}

/// One unsynced change.
#[derive(Clone, Debug)]
enum Change {
    Write { at: usize, bytes: Box<[u8]> },
    Resize(usize),
}

impl Change {
    fn apply(&self, image: &mut Vec<u8>) {
        match self {
            Change::Resize(len) => image.resize(*len, 0),
            Change::Write { at, bytes } => write_at(image, *at, bytes),
        }
    }

    /// Applies what the medium took of it: a write up to some byte, a change of length whole or not.
    fn apply_torn(&self, image: &mut Vec<u8>, dice: &mut Dice) {
        match self {
            Change::Write { at, bytes } => write_at(image, *at, &bytes[..dice.up_to(bytes.len())]),
            Change::Resize(_) if dice.up_to(1) == 1 => self.apply(image),
            Change::Resize(_) => {}
        }
    }
}

fn write_at(image: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    let end = at + bytes.len();
    if image.len() < end {
        image.resize(end, 0);
    }
    image[at..end].copy_from_slice(bytes);
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    volatile: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

impl Content {
    /// A file that is durable from the start.
    pub(super) fn durable(bytes: Vec<u8>) -> Content {
        Content { volatile: bytes.clone(), durable: bytes, pending: Vec::new() }
    }

    pub(super) fn len(&self) -> u64 {
        self.volatile.len() as u64
    }

    pub(super) fn read(&self, at: u64, size: u32) -> &[u8] {
        let len = self.volatile.len();
        let at = usize::try_from(at).unwrap_or(len).min(len);
        &self.volatile[at..len.min(at + size as usize)]
    }

    pub(super) fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), Errno> {
        let end = at.checked_add(bytes.len() as u64).filter(|end| *end <= MAX_FILE_BYTES);
        end.ok_or(Errno::EFBIG)?;
        self.change(Change::Write { at: at as usize, bytes: bytes.into() });
        Ok(())
    }

    pub(super) fn resize(&mut self, len: u64) -> Result<(), Errno> {
        if len > MAX_FILE_BYTES {
            return Err(Errno::EFBIG);
        }
        if len != self.len() {
            self.change(Change::Resize(len as usize));
        }
        Ok(())
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.volatile);
        self.pending.push(change);
    }

    /// What `fsync` promises: everything up to now survives.
    pub(super) fn sync(&mut self) {
        for change in self.pending.drain(..) {
            change.apply(&mut self.durable);
        }
    }

    /// Loses what was not synced, except what `how` keeps; answers how many changes there were, and how many
    /// of them were kept whole or in part.
    pub(super) fn crash(&mut self, how: Crash, dice: &mut Dice) -> (u64, u64) {
        let pending = std::mem::take(&mut self.pending);
        let kept = match how {
            Crash::Lose => 0,
            Crash::Torn(_) => {
                let whole = dice.up_to(pending.len());
                pending[..whole].iter().for_each(|c| c.apply(&mut self.durable));
                if let Some(last) = pending.get(whole) {
                    last.apply_torn(&mut self.durable, dice);
                }
                pending.len().min(whole + 1)
            }
            Crash::Scattered(_) => self.scatter(&pending, dice),
        };
        self.volatile.clone_from(&self.durable);
        (pending.len() as u64, kept as u64)
    }

    /// Applies any subset of the changes. Lengths are kept in order, as by a journalled file system: after a change of
    /// length that was lost nothing is kept, because what was written then went to blocks that the file never got.
    fn scatter(&mut self, pending: &[Change], dice: &mut Dice) -> usize {
        let mut kept = 0;
        for change in pending {
            let keep = dice.up_to(1) == 1;
            match (change, keep) {
                (Change::Write { .. }, true) => change.apply_torn(&mut self.durable, dice),
                (Change::Resize(_), true) => change.apply(&mut self.durable),
                (Change::Write { .. }, false) => continue,
                (Change::Resize(_), false) => break,
            }
            kept += 1;
        }
        kept
    }
}
