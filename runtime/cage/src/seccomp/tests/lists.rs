//! Is every call in the table that anybody's list knows; is every named test there; is the page current?

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::{lookup, syscalls, syscalls_page, table};
use super::named;

#[test]
fn names_are_unique_and_a_row_is_found_by_its_number() {
    let mut names = BTreeSet::new();
    for row in table() {
        assert!(names.insert(row.name), "two rows named {}", row.name);
        assert_eq!(lookup(row.number).map(|found| found.name), Some(row.name));
    }
    assert!(names.len() > 370, "only {} rows", names.len());
    for number in [-1, i64::MIN, i64::MAX, 334 + 3, 511, 512, 0x4000_0000] {
        assert!(lookup(number).is_none(), "{number} has a row");
    }
}

/// Names and numbers in a C header or in Rust source: `#define __NR_x 1`, `pub const SYS_x: c_long = 1;`.
fn calls(text: &str) -> Vec<(String, i64)> {
    let mut found = Vec::new();
    for line in text.lines() {
        let (rest, end) = if let Some(rest) = line.strip_prefix("#define __NR_") {
            (rest, "")
        } else if let Some(rest) =
            line.strip_prefix("pub const SYS_").or(line.strip_prefix("pub const __NR_"))
        {
            (rest, ";")
        } else {
            continue;
        };
        let name: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        if name.chars().any(|c| c.is_ascii_uppercase()) {
            continue; // SYS_SECCOMP is a code of siginfo
        }
        let number =
            rest.trim_end().trim_end_matches(end).rsplit([' ', '\t']).next().and_then(|n| n.parse().ok());
        found.extend(number.map(|number| (name, number)));
    }
    found
}

fn compare(list: &Path) -> usize {
    let text = std::fs::read_to_string(list).unwrap_or_else(|e| panic!("{}: {e}", list.display()));
    let known = calls(&text);
    assert!(known.len() > 300, "{} was not understood: {} calls", list.display(), known.len());
    for (name, number) in &known {
        let row =
            lookup(*number).unwrap_or_else(|| panic!("no row for {name} ({number}) of {}", list.display()));
        assert_eq!(row.name, name, "{number} of {}", list.display());
    }
    known.len()
}

#[test]
fn every_call_of_the_installed_headers_has_a_row() {
    let mut lists: Vec<PathBuf> = Vec::new();
    lists.extend(
        ["/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm/unistd_64.h"].map(PathBuf::from),
    );
    for (dir, below) in [
        ("/usr/src", "arch/x86/include/generated/uapi/asm/unistd_64.h"),
        ("/lib/modules", "build/arch/x86/include/generated/uapi/asm/unistd_64.h"),
    ] {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        lists.extend(entries.map(|entry| entry.path().join(below)));
    }
    lists.retain(|list| list.is_file());
    if lists.is_empty() {
        eprintln!("skipped: no kernel headers are installed");
    }
    for list in lists {
        let seen = compare(&list);
        eprintln!("{}: {seen} calls", list.display());
    }
}

/// The sources of the crates this one was built with: libc's list, and the newer one of linux-raw-sys.
#[test]
fn every_call_that_the_libc_and_kernel_crates_know_has_a_row() {
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--offline", "--format-version=1", "--filter-platform=x86_64-unknown-linux-gnu"])
        .args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")])
        .output();
    let Some(metadata) = metadata.ok().filter(|output| output.status.success()) else {
        eprintln!("skipped: the sources that this was built from are not at hand");
        return;
    };
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout).expect("cargo speaks JSON");
    let mut newest = 0;
    for (package, list) in [
        ("libc", "src/unix/linux_like/linux/gnu/b64/x86_64/not_x32.rs"),
        ("linux-raw-sys", "src/x86_64/general.rs"),
    ] {
        let packages = metadata["packages"].as_array().expect("packages");
        let mut seen = 0;
        for found in packages.iter().filter(|found| found["name"] == package) {
            let manifest = Path::new(found["manifest_path"].as_str().expect("a path"));
            let list = manifest.with_file_name(list);
            if list.is_file() {
                seen += compare(&list);
                let text = std::fs::read_to_string(&list).expect("read");
                newest = newest.max(calls(&text).into_iter().map(|(_, number)| number).max().unwrap_or(0));
            }
        }
        assert!(seen > 300, "{package} no longer keeps its list at {list}");
    }
    assert!(newest >= 469, "the newest call known is {newest}");
}

/// Entry points that the running kernel has for other ABIs: 32-bit, older, other names of calls in the table.
const OTHER_ABIS: &str = "ipc llseek mmap_pgoff newfstat newlstat newstat newuname ni_syscall nice old_getrlimit
    old_msgctl old_readdir old_semctl old_shmctl oldumount olduname pciconfig_iobase pciconfig_read pciconfig_write
    recv rtas s390_ipc s390_pci_mmio_read s390_pci_mmio_write send sendfile64 sgetmask signal sigpending sigprocmask
    sigsuspend socketcall spu_create spu_run ssetmask statfs64 fstatfs64 fadvise64_64 gethostname stime subpage_prot
    sync_file_range2 umount vm86 vm86old waitpid timer_gettime32 timer_settime32 timerfd_gettime32 timerfd_settime32
    clock_adjtime32 clock_gettime32 clock_settime32 time32 utime32 utimes_time32 stime32";

/// The running kernel is often newer than the headers and names its entry points.
#[test]
fn every_call_of_the_running_kernel_has_a_row() {
    let symbols = std::fs::read_to_string("/proc/kallsyms").unwrap_or_default();
    let calls: BTreeSet<&str> = symbols
        .lines()
        .filter_map(|line| line.split_whitespace().nth(2)?.strip_prefix("__x64_sys_"))
        .map(|name| name.trim_end_matches(".cold"))
        .filter(|name| !name.ends_with("16") && !name.ends_with("_time32") && !name.starts_with("ia32_"))
        .collect();
    if calls.is_empty() {
        eprintln!("skipped: this kernel does not show its symbols");
        return;
    }
    assert!(calls.len() > 300, "the symbols were not understood: {}", calls.len());
    let names: BTreeSet<&str> = table().map(|row| row.name).chain(OTHER_ABIS.split_whitespace()).collect();
    let unknown: Vec<_> = calls.difference(&names).collect();
    assert!(unknown.is_empty(), "no row for {unknown:?}");
}

/// Where tests of this crate are: beside the code and in `tests/`.
fn sources() -> Vec<String> {
    fn below(dir: &Path, texts: &mut Vec<String>) {
        for entry in
            std::fs::read_dir(dir).expect("a source directory").map(|entry| entry.expect("entry").path())
        {
            if entry.is_dir() {
                below(&entry, texts);
            } else if entry.extension().is_some_and(|extension| extension == "rs") {
                texts.push(std::fs::read_to_string(&entry).expect("a source file"));
            }
        }
    }
    let mut texts = Vec::new();
    for dir in ["src", "tests"] {
        below(&Path::new(env!("CARGO_MANIFEST_DIR")).join(dir), &mut texts);
    }
    texts
}

/// The text of a test: the function, or its line in the list of barriers.
fn text_of<'a>(texts: &'a [String], test: &str) -> Option<&'a str> {
    let function = format!("\nfn {test}() {{");
    let barrier = format!("\n    {test}: \"");
    texts.iter().find_map(|text| {
        if let Some(at) = text.find(&function) {
            let rest = &text[at + 1..];
            return Some(&rest[..rest.find("\n}").unwrap_or(rest.len())]);
        }
        let rest = &text[text.find(&barrier)? + 1..];
        rest.lines().next()
    })
}

#[test]
fn the_test_of_every_row_is_there_and_speaks_of_the_call() {
    let texts = sources();
    let words = |text: &str| -> BTreeSet<String> {
        text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').map(String::from).collect()
    };
    for row in table() {
        let text = text_of(&texts, row.test).unwrap_or_else(|| panic!("{}: no test {}", row.name, row.test));
        let words = words(text);
        let spoken =
            [row.name.to_owned(), format!("SYS_{}", row.name)].iter().any(|name| words.contains(name));
        assert!(spoken || text.contains(": \""), "{} does not speak of {}", row.test, row.name);
    }
    assert!(text_of(&texts, "no_such_test_anywhere").is_none());
}

#[test]
fn the_page_is_what_the_table_prints() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/syscalls.md");
    let page = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(page == syscalls_page(), "docs/syscalls.md is stale: metanode-cage syscalls > docs/syscalls.md");
    let nameless =
        page.match_indices("errno ").any(|(at, word)| page[at + word.len()..].starts_with(char::is_numeric));
    assert!(!nameless, "an errno without its name");
    assert_eq!(page.lines().filter(|line| line.starts_with("| ")).count(), syscalls().len() + 1);
    let broken =
        page.lines().filter(|line| line.starts_with("| ")).find(|line| line.matches('|').count() != 8);
    assert_eq!(broken, None, "a cell holds a bar");
    assert!(page.contains(&format!("| {} | `clone3` | `ENOSYS` | `ENOSYS` |", named("clone3").number)));
}
