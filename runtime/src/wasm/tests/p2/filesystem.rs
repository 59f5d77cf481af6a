//! `wasi:filesystem`: files, streams, directories, links, errors.

use super::*;

const READ: i64 = 1;
const WRITE: i64 = 2;
const CREATE: i64 = 1;
const EXCLUSIVE: i64 = 4;
const TRUNCATE: i64 = 8;
/// Where the preopened directory's handle is kept.
const ROOT: i64 = BUFFER;

/// Codes of `error-code`, by their place in the WIT.
const BAD_DESCRIPTOR: u8 = 3;
const EXIST: u8 = 7;
const ILLEGAL_BYTES: u8 = 9;
const INVALID: u8 = 12;
const IS_DIRECTORY: u8 = 14;
const NO_ENTRY: u8 = 20;
const NO_SPACE: u8 = 23;
const NOT_DIRECTORY: u8 = 24;
const NOT_EMPTY: u8 = 25;
const NOT_PERMITTED: u8 = 31;

fn rooted() -> Guest {
    let mut guest = Guest::new();
    guest.call("wasi:filesystem/preopens#get-directories", &[], RET);
    guest.raw(&format!("(i32.store (i32.const {ROOT}) (i32.load (i32.load (i32.const {RET}))))"));
    guest
}

impl Guest {
    /// Opens below the root; the result's bytes are at `out`, the handle four behind.
    fn open_at(&mut self, path: &[u8], open: i64, flags: i64, out: i64) -> &mut Self {
        let [at, length] = self.text(path);
        self.file("open-at", &[At(ROOT), I(1), at, length, I(open), I(flags)], out)
    }

    /// A method that takes the root and a path, and whose result's first bytes are shown: failed or not, and why.
    fn at_root(&mut self, name: &str, path: &[u8]) -> &mut Self {
        let [at, length] = self.text(path);
        self.file(name, &[At(ROOT), at, length], RET).verdict(1)
    }

    /// Shows whether the call at `RET` failed, and its code, which stands at `offset`; 0 when it did not.
    fn verdict(&mut self, offset: i64) -> &mut Self {
        let code = format!("(i32.const {})", RET + offset);
        let failed = format!("(i32.load8_u (i32.const {RET}))");
        self.raw(&format!("(i32.store8 {code} (i32.mul {failed} (i32.load8_u {code})))"));
        self.dump(RET, 1).dump(RET + offset, 1)
    }
}

#[test]
fn files_are_written_read_and_measured() {
    let mut guest = rooted();
    guest.open_at(b"f", CREATE | EXCLUSIVE, READ | WRITE, BUFFER + 16);
    let file = At(BUFFER + 20);
    let [at, length] = guest.text(b"0123456789");
    guest.file("write", &[file, at, length, I(2)], RET).dump(RET, 1).dump(RET + 8, 8);
    guest.file("read", &[file, I(4), I(4)], RET).dump_at(At(RET + 4), At(RET + 8)).dump(RET + 12, 1);
    guest.file("read", &[file, I(40), I(10)], RET).dump_at(At(RET + 4), At(RET + 8)).dump(RET + 12, 1);
    guest.file("set-size", &[file, I(5)], RET).file("stat", &[file], RET).dump(RET, 104);
    guest.file("get-flags", &[file], RET).dump(RET, 2).file("get-type", &[file], RET).dump(RET, 2);
    guest.file("sync", &[file], RET).dump(RET, 1).file("advise", &[file, I(0), I(0), I(5)], RET).dump(RET, 1);
    // Times: now, and a stated one.
    guest.file("set-times", &[file, I(1), I(0), I(0), I(2), I(77), I(5)], RET).dump(RET, 1);
    guest.file("stat", &[file], RET).dump(RET + 56, 12);
    guest.open_at(b"f", TRUNCATE, WRITE, RET).file("stat", &[file], RET).dump(RET + 24, 8);
    let ran = guest.run();
    let out = &ran.stdout;
    assert_eq!((out[0], u64_at(out, 1)), (0, 10));
    assert_eq!((&out[9..13], out[13]), (&b"2345"[..], 0), "not at the end");
    assert_eq!((&out[14..16], out[16]), (&b"89"[..], 1), "at the end");
    let stat = &out[17..121];
    assert_eq!((stat[0], stat[8], u64_at(stat, 16), u64_at(stat, 24)), (0, 6, 1, 5));
    assert_eq!((stat[32], u64_at(stat, 40)), (1, 0), "a constant time");
    assert_eq!(&out[121..127], [0, 3, 0, 6, 0, 0]);
    assert_eq!((out[127], out.len()), (0, 128 + 12 + 8));
    assert_eq!(u64_at(out, 140), 0, "emptied by the other handle");
}

#[test]
fn streams_on_files_move_on_and_fail_when_the_disk_is_full() {
    let mut guest = rooted();
    guest.open_at(b"f", CREATE, READ | WRITE, BUFFER + 16);
    let file = At(BUFFER + 20);
    let [at, length] = guest.text(b"abcdef");
    guest.file("write-via-stream", &[file, I(0)], BUFFER + 24);
    for _ in 0..2 {
        guest.stream("output-stream.blocking-write-and-flush", &[At(BUFFER + 28), at, length], RET);
    }
    guest.file("append-via-stream", &[file], BUFFER + 32);
    guest.stream("output-stream.blocking-write-zeroes-and-flush", &[At(BUFFER + 36), I(1)], RET);
    guest.file("read-via-stream", &[file, I(4)], BUFFER + 40);
    // The stream outlives its descriptor.
    guest.call("wasi:filesystem/types#[resource-drop]descriptor", &[file], RET);
    guest.at_root("unlink-file-at", b"f");
    for _ in 0..2 {
        guest.stream("input-stream.read", &[At(BUFFER + 44), I(6)], RET).dump_at(At(RET + 4), At(RET + 8));
    }
    guest.stream("output-stream.check-write", &[At(BUFFER + 36)], RET);
    guest
        .stream("output-stream.write-zeroes", &[At(BUFFER + 36), I(60_000)], RET)
        .dump(RET, 1)
        .dump(RET + 4, 1);
    guest
        .call("wasi:filesystem/types#filesystem-error-code", &[At(RET + 8)], BUFFER + 48)
        .dump(BUFFER + 48, 2);
    guest.call("wasi:io/error#[method]error.to-debug-string", &[At(RET + 8)], BUFFER + 48);
    guest.dump_at(At(BUFFER + 48), At(BUFFER + 52));
    guest.stream("output-stream.check-write", &[At(BUFFER + 36)], RET).dump(RET, 1).dump(RET + 8, 1);
    let mut run = Run::of(guest.component(OK));
    run.spec.limits.files_bytes = 50_000;
    let ran = run.go();
    assert_eq!(&ran.stdout[2..11], b"efabcdef\0");
    assert_eq!(&ran.stdout[11..15], [1, 0, 1, NO_SPACE], "failed, with a code");
    assert_eq!(&ran.stdout[15..], b"Nospc\x01\x01", "and the stream has ended");
}

#[test]
fn directories_are_listed_sorted_and_changed_by_name() {
    let mut guest = rooted();
    for name in [&b"zeta"[..], b"alpha"] {
        guest.open_at(name, CREATE, WRITE, RET);
    }
    guest.at_root("create-directory-at", b"mid").at_root("create-directory-at", b"mid");
    guest.file("read-directory", &[At(ROOT)], BUFFER + 16);
    for _ in 0..4 {
        guest.call(
            "wasi:filesystem/types#[method]directory-entry-stream.read-directory-entry",
            &[At(BUFFER + 20)],
            RET,
        );
        guest.dump(RET + 4, 1).dump(RET + 8, 1).dump_at(At(RET + 12), At(RET + 16)).store(RET + 16, I(0));
    }
    guest.call("wasi:filesystem/types#[resource-drop]directory-entry-stream", &[At(BUFFER + 20)], RET);
    let ran = guest.run();
    assert_eq!(&ran.stdout[..4], [0, 0, 1, EXIST]);
    assert_eq!(&ran.stdout[4..23], b"\x01\x06alpha\x01\x03mid\x01\x06zeta\0", "sorted, and then the end");
}

#[test]
fn names_are_linked_renamed_and_removed() {
    let mut guest = rooted();
    guest.open_at(b"f", CREATE, WRITE, RET).at_root("create-directory-at", b"d");
    let ([old, old_length], [new, new_length]) = (guest.text(b"f"), guest.text(b"d/g"));
    let arguments = [At(ROOT), I(0), old, old_length, At(ROOT), new, new_length];
    guest.file("link-at", &arguments, RET).verdict(1).file("link-at", &arguments, RET).verdict(1);
    let [to, to_length] = guest.text(b"d/s");
    guest.file("symlink-at", &[At(ROOT), I(0), I(0), to, to_length], RET).verdict(1);
    let [target, target_length] = guest.text(b"g");
    guest.file("symlink-at", &[At(ROOT), target, target_length, to, to_length], RET).verdict(1);
    guest.file("readlink-at", &[At(ROOT), to, to_length], RET).dump_at(At(RET + 4), At(RET + 8));
    let stat = |guest: &mut Guest, follow: i64| {
        guest.file("stat-at", &[At(ROOT), I(follow), to, to_length], RET).dump(RET + 8, 1).dump(RET + 16, 1);
    };
    stat(&mut guest, 0);
    stat(&mut guest, 1);
    guest.file("rename-at", &[At(ROOT), old, old_length, At(ROOT), to, to_length], RET).verdict(1);
    guest
        .at_root("remove-directory-at", b"d")
        .at_root("unlink-file-at", b"d")
        .at_root("unlink-file-at", b"f");
    let (root, file) = (At(ROOT), At(BUFFER + 20));
    guest.open_at(b"d/g", 0, READ, BUFFER + 16).open_at(b"d/s", 0, READ, BUFFER + 24);
    guest.file("is-same-object", &[file, At(BUFFER + 28)], RET).dump(RET, 1);
    guest.file("is-same-object", &[file, root], RET).dump(RET, 1);
    guest.file("metadata-hash", &[file], BUFFER + 64);
    guest.file("metadata-hash-at", &[root, I(0), to, to_length], RET).dump(RET, 24).dump(BUFFER + 64, 24);
    let ran = guest.run();
    assert_eq!(&ran.stdout[2..6], [0, 0, 1, EXIST]);
    assert_eq!((ran.stdout[6], ran.stdout[7]), (1, NO_ENTRY), "a link to nowhere has no target");
    assert_eq!(&ran.stdout[8..15], [0, 0, b'g', 5, 1, 6, 2], "a link by itself, and what it leads to");
    assert_eq!((ran.stdout[15], ran.stdout[17], ran.stdout[18]), (0, 1, NOT_EMPTY));
    assert_eq!((ran.stdout[19], ran.stdout[20]), (1, IS_DIRECTORY));
    assert_eq!((ran.stdout[21], ran.stdout[22]), (1, NO_ENTRY), "it was renamed");
    assert_eq!(&ran.stdout[23..25], [1, 0]);
    assert_eq!((ran.stdout[25], ran.stdout[49]), (0, 0));
    assert_eq!(ran.stdout[33..49], ran.stdout[57..73], "one object, one hash");
}

#[test]
fn what_is_not_allowed_has_its_code() {
    let mut guest = rooted();
    guest.open_at(b"f", CREATE, WRITE, BUFFER + 16).open_at(b"r", CREATE, 0, BUFFER + 24);
    for (path, open, flags) in [
        (&b"../x"[..], CREATE, WRITE),
        (b"/x", CREATE, WRITE),
        (b"none", 0, READ),
        (b"f/x", CREATE, WRITE),
        (b"f", CREATE | EXCLUSIVE, WRITE),
        (b"f", 2, READ),
        (b".", 0, WRITE),
        (b"a\0b", CREATE, WRITE),
        (b"f", 0, READ | 32),
        (b"g", CREATE | 2, READ),
    ] {
        guest.open_at(path, open, flags, RET).verdict(4);
    }
    let [at, length] = guest.text(b"x");
    guest.file("read", &[At(BUFFER + 20), I(1), I(0)], RET).verdict(4);
    guest.file("write", &[At(BUFFER + 28), at, length, I(0)], RET).verdict(8);
    guest.file("set-size", &[At(BUFFER + 28), I(1)], RET).verdict(1);
    guest.file("read", &[At(ROOT), I(1), I(0)], RET).verdict(4);
    guest.file("set-times", &[At(ROOT), I(2), I(0), I(2_000_000_000), I(0), I(0), I(0)], RET).verdict(1);
    let codes: Vec<u8> = guest.run().stdout.chunks(2).map(|pair| pair[0] * pair[1]).collect();
    let expected = [
        NOT_PERMITTED,
        NOT_PERMITTED,
        NO_ENTRY,
        NOT_DIRECTORY,
        EXIST,
        NOT_DIRECTORY,
        IS_DIRECTORY,
        ILLEGAL_BYTES,
        INVALID,
        INVALID,
        BAD_DESCRIPTOR,
        BAD_DESCRIPTOR,
        BAD_DESCRIPTOR,
        IS_DIRECTORY,
        INVALID,
    ];
    assert_eq!(codes, expected);
}
