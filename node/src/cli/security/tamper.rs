//! `metanode security tamper-test`: one run with everything that proves it, then one alteration after the other.
//!
//! Owns the demonstration: an image is imported, a program of it runs pinned with a witness, a chain of one validator
//! makes its receipt, and every check passes. Then one bit of an image layer, of the unpacked root, of a witness chunk,
//! of a report, of a receipt and of a block is changed, one at a time, and the check that should notice is made again.
//! Refuses to call an alteration detected for any other reason than that this check failed on it.

use super::town::Town;
use crate::cli::cage::{Scratch, launch};
use crate::cli::failure::{Doing, Done, Failure};
use crate::cli::output::{Form, line, table};
use crate::cli::session::Session;
use crate::replay::GenesisReplay;
use metanode_cage::witness::Witness;
use metanode_cage::{CageSpec, Report};
use metanode_runtime::driver::{Execution, execution, report_of};
use metanode_runtime::image::{Image, ImageStore, PackSpec, Reference, RunConfig, pack};
use metanode_runtime::levels::{differences, names};
use metanode_types::bundle::Bundle;
use metanode_types::receipt::{Action, ReceiptBody};
use metanode_types::verify::verify_with_replay;
use serde::Serialize;
use serde_json::json;
use std::path::{Path, PathBuf};

const WHAT: &str = "demonstrate that changes are detected";
/// What the program prints.
const SAID: &[u8] = b"a run that can be checked\n";
/// Bytes kept of each output stream.
const OUTPUT_BYTES: u64 = 64 << 10;

/// One alteration.
#[derive(Serialize)]
struct Row {
    /// What was changed.
    altered: &'static str,
    /// Which byte of it.
    byte: u64,
    detected: bool,
    /// Which check noticed, and what it said; or that none did.
    check: String,
}

/// Everything that proves one run.
struct Evidence {
    scratch: Scratch,
    layout: PathBuf,
    image: Image,
    store: ImageStore,
    spec: CageSpec,
    witness: PathBuf,
    report: Report,
    town: Town,
    bundle: Vec<u8>,
}

/// Carries the command out.
pub(super) fn run(session: &Session) -> Done {
    let evidence = Evidence::make()?;
    evidence.unaltered()?;
    let rows = vec![
        evidence.layer()?,
        evidence.root()?,
        evidence.chunk()?,
        evidence.report()?,
        evidence.receipt()?,
        evidence.block()?,
    ];
    let missed: Vec<&str> = rows.iter().filter(|row| !row.detected).map(|row| row.altered).collect();
    let answer = json!({ "detected": missed.is_empty(), "alterations": rows });
    let cells = |row: &Row| {
        let state = if row.detected { "DETECTED" } else { "MISSED" };
        vec![row.altered.to_owned(), row.byte.to_string(), state.to_owned(), row.check.clone()]
    };
    let cells: Vec<Vec<String>> = rows.iter().map(cells).collect();
    let text = table(&["ALTERED", "BYTE", "", "BY"], &cells);
    if missed.is_empty() {
        let count = rows.len();
        session.form.emit(&answer, |_| format!("{text}\n{count} of {count} alterations were detected"));
        return Ok(());
    }
    if session.form == Form::Text {
        line(text);
    }
    Err(Failure::failed(WHAT, format!("not detected: {}", missed.join(", "))).details(answer))
}

/// A static x86_64 program that writes [`SAID`] and exits with 0.
fn program() -> Vec<u8> {
    let length = SAID.len() as u8;
    let mut code = vec![0xb8, 1, 0, 0, 0, 0xbf, 1, 0, 0, 0]; // eax = write, edi = standard output
    code.extend([0x48, 0x8d, 0x35, 16, 0, 0, 0]); // rsi = what follows the code, 16 bytes on
    code.extend([0xba, length, 0, 0, 0, 0x0f, 0x05]); // edx = length; call
    code.extend([0x31, 0xff, 0xb8, 60, 0, 0, 0, 0x0f, 0x05]); // edi = 0, eax = exit; call
    code.extend(SAID);
    let (base, head) = (0x40_0000_u64, 64 + 56_u64);
    let size = head + code.len() as u64;
    let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
    elf.resize(16, 0);
    elf.extend([2, 0, 62, 0, 1, 0, 0, 0]); // executable, x86_64
    elf.extend((base + head).to_le_bytes()); // entry
    elf.extend(64_u64.to_le_bytes()); // program headers
    elf.extend(0_u64.to_le_bytes());
    elf.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 64, 0, 0, 0, 0, 0]);
    elf.extend([1, 0, 0, 0, 5, 0, 0, 0]); // load, read and execute
    for value in [0, base, base, size, size, 4096] {
        elf.extend(value.to_le_bytes());
    }
    elf.extend(code);
    elf
}

impl Evidence {
    fn make() -> Done<Evidence> {
        let scratch = Scratch::create()?;
        let at = |name: &str| scratch.path().join(name);
        let (root, layout, witness) = (at("root"), at("layout"), at("witness"));
        std::fs::create_dir(&root).unavailable(WHAT)?;
        std::fs::write(root.join("program"), program()).unavailable(WHAT)?;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(root.join("program"), mode).unavailable(WHAT)?;
        let config =
            RunConfig { entrypoint: vec!["/program".into()], workdir: "/".into(), ..RunConfig::default() };
        pack(&PackSpec { source: root, config }, &layout).unavailable(WHAT)?;
        let store = ImageStore::open(&at("images")).unavailable(WHAT)?;
        let image = store.resolve(&oci(&layout)).unavailable(WHAT)?;

        let mut town = Town::found().unavailable(WHAT)?;
        let assignment = town.deploy(&image).unavailable(WHAT)?;
        let Execution::Native(spec) = execution(&assignment, &image, scratch.state_dir(), OUTPUT_BYTES)
        else {
            return Err(Failure::unavailable(WHAT, "the image is not of a native program"));
        };
        let spec = CageSpec { witness: Some(witness.clone()), ..*spec };
        let report = launch(&spec, &scratch, &[])?;
        let measured = report_of(&assignment, &scratch.state_dir()).unavailable(WHAT)?;
        if !measured.exit.success() || report.trace_hash.is_none() {
            let why = format!("no pinned run succeeds here: {}", measured.exit);
            return Err(Failure::unavailable(WHAT, why).next("metanode security audit"));
        }
        let bundle = town.prove(&assignment, measured).unavailable(WHAT)?;
        Ok(Evidence { scratch, layout, image, store, spec, witness, report, town, bundle })
    }

    /// The control: unaltered, every check passes.
    fn unaltered(&self) -> Done {
        let refused = |check: &str, why: String| Failure::failed(WHAT, format!("unaltered, {check}: {why}"));
        self.import("control").map_err(|why| refused("the layer", why))?;
        self.store.verify(&self.image).map_err(|e| refused("the root", e.to_string()))?;
        Witness::open(&self.witness).map_err(|e| refused("the witness", e.to_string()))?;
        let differ = differences(&self.report, &self.run_again()?);
        if !differ.is_empty() {
            return Err(refused("the report", format!("{} differ", names(&differ))));
        }
        match self.failed_checks(&self.bundle) {
            failed if failed.is_empty() => Ok(()),
            failed => Err(refused("the bundle", failed)),
        }
    }

    /// Imports the layout into a store that has never seen it.
    fn import(&self, name: &str) -> Result<(), String> {
        let store = ImageStore::open(&self.scratch.path().join(name)).map_err(|e| e.to_string())?;
        store.resolve(&oci(&self.layout)).map(drop).map_err(|e| e.to_string())
    }

    fn run_again(&self) -> Done<Report> {
        let state_dir = self.scratch.path().join("again");
        launch(&CageSpec { state_dir, witness: None, ..self.spec.clone() }, &self.scratch, &[])
    }

    /// What of a bundle fails; nothing when it is verified.
    fn failed_checks(&self, bytes: &[u8]) -> String {
        let bundle = match Bundle::from_bytes(bytes) {
            Ok(bundle) => bundle,
            Err(error) => return format!("format: {error}"),
        };
        let replay = GenesisReplay { genesis: crate::start::genesis_state(&self.town.genesis) };
        let verdict = verify_with_replay(&bundle, &self.town.genesis.trust_root(), Some(&replay));
        match verdict.failed() {
            failed if failed.is_empty() && verdict.verified() => String::new(),
            failed => failed.join(", "),
        }
    }

    fn layer(&self) -> Done<Row> {
        let digest = self.image.descriptor.blobs.last().map(|blob| blob.digest.to_string());
        let digest = digest.unwrap_or_default();
        let path = self.layout.join("blobs/sha256").join(digest.trim_start_matches("sha256:"));
        let flipped = Flipped::middle(&path)?;
        let found = self.import("altered").err();
        flipped.restore()?;
        Ok(row("image layer", flipped.at, found.map(|why| format!("import: {why}"))))
    }

    fn root(&self) -> Done<Row> {
        let flipped = Flipped::middle(&self.image.path.join("program"))?;
        let found = self.store.verify(&self.image).err();
        flipped.restore()?;
        Ok(row("unpacked root", flipped.at, found.map(|why| format!("image store: {why}"))))
    }

    fn chunk(&self) -> Done<Row> {
        let bytes = std::fs::read(&self.witness).unavailable(WHAT)?;
        // What the program wrote is in a trapped call's data, in a chunk of the trace.
        let at = bytes.windows(SAID.len()).position(|window| window == SAID);
        let at = at.ok_or_else(|| Failure::failed(WHAT, "the witness does not hold what was written"))?;
        let flipped = Flipped::at(&self.witness, at as u64)?;
        let found = Witness::open(&self.witness).err();
        flipped.restore()?;
        Ok(row("witness chunk", flipped.at, found.map(|why| format!("witness: {why}"))))
    }

    fn report(&self) -> Done<Row> {
        let text = serde_json::to_string(&self.report).expect("a report has only string keys");
        let digest = &self.report.stdout_digest;
        let at = text.find(digest.as_str()).unwrap_or_default();
        let other = if digest.starts_with('0') { "1" } else { "0" };
        let altered = format!("{}{other}{}", &text[..at], &text[at + 1..]);
        let altered: Report = serde_json::from_str(&altered).unavailable(WHAT)?;
        let differ = differences(&altered, &self.run_again()?);
        let found = (!differ.is_empty()).then(|| format!("re-execution: {} differ", names(&differ)));
        Ok(row("report", at as u64, found))
    }

    fn receipt(&self) -> Done<Row> {
        self.in_bundle("receipt", |bundle| {
            if let ReceiptBody::Action(Action::Exited { report, .. }) = &mut bundle.receipts[0].receipt.body {
                report.stdout.0[0] ^= 1;
            }
        })
    }

    fn block(&self) -> Done<Row> {
        self.in_bundle("block", |bundle| {
            if let Some(full) = &mut bundle.full {
                full.block.header.time_ms ^= 1;
            }
        })
    }

    /// Changes the content of a bundle and gives it a fresh checksum, as a forger would.
    fn in_bundle(&self, altered: &'static str, change: impl FnOnce(&mut Bundle)) -> Done<Row> {
        let mut bundle = Bundle::from_bytes(&self.bundle).unavailable(WHAT)?;
        change(&mut bundle);
        let bytes = bundle.to_bytes();
        let at = bytes.iter().zip(&self.bundle).position(|(one, two)| one != two);
        let Some(at) = at else {
            return Err(Failure::failed(WHAT, format!("the {altered} was not altered")));
        };
        let failed = self.failed_checks(&bytes);
        Ok(row(altered, at as u64, (!failed.is_empty()).then(|| format!("proof: {failed}"))))
    }
}

fn row(altered: &'static str, byte: u64, found: Option<String>) -> Row {
    let detected = found.is_some();
    Row { altered, byte, detected, check: found.unwrap_or_else(|| "no check noticed".to_owned()) }
}

fn oci(layout: &Path) -> Reference {
    Reference::Oci { path: layout.to_owned(), select: None }
}

/// A file with one bit changed.
struct Flipped {
    path: PathBuf,
    before: Vec<u8>,
    at: u64,
}

impl Flipped {
    fn middle(path: &Path) -> Done<Flipped> {
        let length = std::fs::metadata(path).unavailable(WHAT)?.len();
        Flipped::at(path, length / 2)
    }

    fn at(path: &Path, at: u64) -> Done<Flipped> {
        let before = std::fs::read(path).unavailable(WHAT)?;
        let mut bytes = before.clone();
        bytes[at as usize] ^= 1;
        write(path, &bytes)?;
        Ok(Flipped { path: path.to_owned(), before, at })
    }

    fn restore(&self) -> Done {
        write(&self.path, &self.before)
    }
}

/// Replaces a file's content, whatever its mode.
fn write(path: &Path, bytes: &[u8]) -> Done {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(path).unavailable(WHAT)?.permissions();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o700)).unavailable(WHAT)?;
    std::fs::write(path, bytes).unavailable(WHAT)?;
    std::fs::set_permissions(path, mode).unavailable(WHAT)
}
