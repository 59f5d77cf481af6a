//! The two ends of a witness: what the run was, and how it ended.
//!
//! The header has a *bound* part, which the witness root covers (everything the program can see), and *notes*
//! (the level asked for, the kernel), which it does not: two nodes that run the same thing on two kernels, or
//! at two levels, must come to the same root.

use std::collections::BTreeMap;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::HEADER_DOMAIN;
use super::bytes::{Cursor, Malformed, put_bytes, put_int, put_uint};
use super::merkle::Hash;
use crate::{Exit, sys};

/// Longest header, in bytes.
pub const MAX_HEADER_BYTES: usize = 1 << 20;
/// Longest outcome, in bytes; only the reason of a failed launch is not of fixed size.
pub(super) const MAX_OUTCOME_BYTES: usize = 64 << 10;

/// Everything needed to run again, given the inputs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RunHeader {
    /// What names the root filesystem: the image's digest as text.
    pub image: String,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// The environment, `NAME=value` each, in the order the program sees.
    pub env: Vec<String>,
    /// Working directory.
    pub cwd: String,
    /// Host name.
    pub hostname: String,
    /// Limits that the program can see, by name.
    pub limits: BTreeMap<String, u64>,
    /// Where its randomness comes from.
    #[serde(serialize_with = "as_hex")]
    pub seed: Hash,
    /// Where its clock starts, milliseconds since the epoch.
    pub epoch_ms: u64,
    /// Version of what the supervisor shows to programs.
    pub cage_abi: u32,
    /// The class of processors on which the run means something.
    pub cpu_class: String,
    /// Note: the level that was asked for.
    pub level: String,
    /// Note: kernel name, release and machine.
    pub kernel: String,
}

/// How the run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// How the program ended.
    pub exit: Exit,
    /// SHA-256 of standard output, in hexadecimal.
    pub stdout_digest: String,
    /// SHA-256 of standard error, in hexadecimal.
    pub stderr_digest: String,
    /// Digest of the output tree, in hexadecimal, when there is one.
    pub output_digest: Option<String>,
    /// How far the logical clock went.
    pub logical_ns: u64,
}

fn as_hex<S: serde::Serializer>(hash: &Hash, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&sys::hex(hash))
}

impl RunHeader {
    /// The bound part.
    fn bound(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_bytes(&mut out, self.image.as_bytes());
        for list in [&self.argv, &self.env] {
            put_uint(&mut out, list.len() as u64);
            list.iter().for_each(|text| put_bytes(&mut out, text.as_bytes()));
        }
        put_bytes(&mut out, self.cwd.as_bytes());
        put_bytes(&mut out, self.hostname.as_bytes());
        put_uint(&mut out, self.limits.len() as u64);
        for (name, value) in &self.limits {
            put_bytes(&mut out, name.as_bytes());
            put_uint(&mut out, *value);
        }
        out.extend_from_slice(&self.seed);
        put_uint(&mut out, self.epoch_ms);
        put_uint(&mut out, u64::from(self.cage_abi));
        put_bytes(&mut out, self.cpu_class.as_bytes());
        out
    }

    /// The digest that the witness root binds.
    pub(super) fn bound_hash(&self) -> Hash {
        Sha256::new_with_prefix(HEADER_DOMAIN).chain_update(self.bound()).finalize().into()
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_bytes(&mut out, &self.bound());
        put_bytes(&mut out, self.level.as_bytes());
        put_bytes(&mut out, self.kernel.as_bytes());
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut whole = Cursor::new(bytes);
        let mut from = Cursor::new(whole.bytes()?);
        let header = Self {
            image: from.text()?.into(),
            argv: texts(&mut from)?,
            env: texts(&mut from)?,
            cwd: from.text()?.into(),
            hostname: from.text()?.into(),
            limits: limits(&mut from)?,
            seed: from.array()?,
            epoch_ms: from.uint()?,
            cage_abi: from.uint32()?,
            cpu_class: from.text()?.into(),
            level: whole.text()?.into(),
            kernel: whole.text()?.into(),
        };
        from.end()?;
        whole.end()?;
        Ok(header)
    }
}

fn texts(from: &mut Cursor<'_>) -> Result<Vec<String>, Malformed> {
    let count = from.uint()?;
    (0..count).map(|_| from.text().map(String::from)).collect()
}

fn limits(from: &mut Cursor<'_>) -> Result<BTreeMap<String, u64>, Malformed> {
    let mut limits = BTreeMap::new();
    for _ in 0..from.uint()? {
        let (name, value) = (from.text()?, from.uint()?);
        if limits.last_key_value().is_some_and(|(last, _): (&String, _)| last.as_str() >= name) {
            return Err("limits that are not sorted by name");
        }
        limits.insert(name.into(), value);
    }
    Ok(limits)
}

impl Outcome {
    /// The bytes; an error names the field that is no digest or too long.
    pub(super) fn encode(&self) -> Result<Vec<u8>, Malformed> {
        let mut out = Vec::new();
        let (tag, value, why) = match &self.exit {
            Exit::Code(code) => (0, i64::from(*code), ""),
            Exit::Signal(signal) => (1, i64::from(*signal), ""),
            Exit::Timeout => (2, 0, ""),
            Exit::Oom => (3, 0, ""),
            Exit::LaunchError(why) => (4, 0, why.as_str()),
            Exit::NoVerdict(why) => (5, 0, why.as_str()),
        };
        out.push(tag);
        put_int(&mut out, value);
        put_bytes(&mut out, why.as_bytes());
        out.extend_from_slice(&digest(&self.stdout_digest)?);
        out.extend_from_slice(&digest(&self.stderr_digest)?);
        out.push(u8::from(self.output_digest.is_some()));
        if let Some(text) = &self.output_digest {
            out.extend_from_slice(&digest(text)?);
        }
        put_uint(&mut out, self.logical_ns);
        if out.len() > MAX_OUTCOME_BYTES { Err("an outcome that is too long") } else { Ok(out) }
    }

    pub(super) fn take(from: &mut Cursor<'_>) -> Result<Self, Malformed> {
        let (tag, value, why) = (from.byte()?, from.int()?, from.text()?);
        let number = i32::try_from(value).map_err(|_| "an exit status above 32 bits")?;
        let exit = match (tag, number, why) {
            (0, code, "") => Exit::Code(code),
            (1, signal, "") => Exit::Signal(signal),
            (2, 0, "") => Exit::Timeout,
            (3, 0, "") => Exit::Oom,
            (4, 0, why) => Exit::LaunchError(why.into()),
            (5, 0, why) => Exit::NoVerdict(why.into()),
            _ => return Err("an exit of no known form"),
        };
        let mut hex = || from.array::<32>().map(|hash| sys::hex(&hash));
        let (stdout_digest, stderr_digest) = (hex()?, hex()?);
        let output_digest = match from.byte()? {
            0 => None,
            1 => Some(sys::hex(&from.array::<32>()?)),
            _ => return Err("a choice that is neither 0 nor 1"),
        };
        Ok(Self { exit, stdout_digest, stderr_digest, output_digest, logical_ns: from.uint()? })
    }
}

/// The 32 bytes behind 64 lower-case hexadecimal digits.
fn digest(text: &str) -> Result<Hash, Malformed> {
    let digits: &[u8; 64] = text.as_bytes().try_into().map_err(|_| "a digest without 64 digits")?;
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err("a digest with other than hexadecimal digits"),
    };
    let mut hash = [0; 32];
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Ok(hash)
}
