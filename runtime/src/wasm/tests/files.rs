//! The virtual filesystem.

use super::*;

#[test]
fn files_are_created_written_sought_and_read() {
    let mut script = Script::new();
    script.path_call("path_create_directory", b"d").path_call("path_create_directory", b"d");
    script.open(b"d/f", CREAT | EXCL).dump(OUT, 4).open(b"d/f", CREAT | EXCL);
    script.write(4, b"0123456789").call("fd_seek", &[4, -7, 2, OUT]).dump(OUT, 8);
    script.read(4, 4).dump(OUT, 4).dump(BUFFER, 4).call("fd_tell", &[4, OUT]).dump(OUT, 8);
    script.iovec(BUFFER, 8).call("fd_pread", &[4, IOVEC, 1, 8, OUT]).dump(OUT, 4).dump(BUFFER, 2);
    let (at, length) = script.text(b"XY");
    script.iovec(at, length).call("fd_pwrite", &[4, IOVEC, 1, 12, OUT]);
    script.call("fd_filestat_get", &[4, BUFFER]).dump(BUFFER, 64);
    script.call("fd_filestat_set_size", &[4, 3]).call("fd_seek", &[4, -1, 0, OUT]);
    script.call("fd_seek", &[4, 0, 9, OUT]).call("fd_advise", &[4, 0, 0, 6]).call("fd_allocate", &[4, 0, 5]);
    script.open(b"d/f", TRUNC).call("fd_filestat_get", &[5, BUFFER]).dump(BUFFER + 32, 8);
    script
        .call("fd_close", &[4])
        .call("fd_close", &[4])
        .call("fd_renumber", &[5, 1])
        .write(1, b"into the file");
    let ran = script.run();
    assert_eq!(u32_at(&ran.stdout, 0), 4, "the lowest free number");
    assert_eq!(u64_at(&ran.stdout, 4), 3);
    assert_eq!((u32_at(&ran.stdout, 12), &ran.stdout[16..20]), (4, &b"3456"[..]));
    assert_eq!(u64_at(&ran.stdout, 20), 7);
    assert_eq!((u32_at(&ran.stdout, 28), &ran.stdout[32..34]), (2, &b"89"[..]));
    let stat = &ran.stdout[34..98];
    assert_eq!(
        (stat[16], u64_at(stat, 24), u64_at(stat, 32)),
        (4, 1, 14),
        "a regular file, one name, with a gap"
    );
    assert_eq!((u64_at(stat, 40), u64_at(stat, 48), u64_at(stat, 56)), (0, 0, 0), "constant times");
    assert_eq!(u64_at(&ran.stdout, 98), 0);
    assert_eq!(ran.stdout.len(), 106, "what was written after the renumbering went into the file");
    assert_eq!(
        ran.stderr,
        [0, EXIST, 0, EXIST, 0, 0, 0, 0, 0, 0, 0, 0, INVAL, INVAL, INVAL, 0, 0, 0, 0, BADF, 0, 0]
    );
}

#[test]
fn directories_are_listed_sorted_and_renaming_follows_posix() {
    let mut script = Script::new();
    for name in [&b"zeta"[..], b"alpha", b"mid"] {
        script.open(name, CREAT).call("fd_close", &[4]);
    }
    script.path_call("path_create_directory", b"dir").path_call("path_create_directory", b"dir/sub");
    script.call("fd_readdir", &[3, BUFFER, 4096, 0, OUT]).dump(OUT, 4).dump(BUFFER, 256);
    script.call("fd_readdir", &[3, BUFFER, 30, 2, OUT]).dump(OUT, 4);
    let rename = |script: &mut Script, from: &[u8], to: &[u8]| {
        let ((from, from_length), (to, to_length)) = (script.text(from), script.text(to));
        script.call("path_rename", &[3, from, from_length, 3, to, to_length]);
    };
    for (from, to) in [
        (&b"zeta"[..], &b"alpha"[..]),
        (b"zeta", b"x"),
        (b"alpha", b"dir"),
        (b"dir", b"mid"),
        (b"dir", b"dir/sub/inside"),
        (b"dir", b"moved"),
        (b"alpha", b"alpha"),
    ] {
        rename(&mut script, from, to);
    }
    script.path_call("path_remove_directory", b"moved").path_call("path_unlink_file", b"moved");
    script.path_call("path_remove_directory", b"moved/sub").path_call("path_remove_directory", b"moved");
    script.path_call("path_remove_directory", b"alpha").path_call("path_unlink_file", b"alpha");
    script.path_call("path_unlink_file", b"alpha").path_call("path_unlink_file", b"mid");
    let ran = script.run();
    let used = u32_at(&ran.stdout, 0) as usize;
    let (mut at, mut names) = (4, Vec::new());
    while at < 4 + used {
        let length = u32_at(&ran.stdout, at + 16) as usize;
        names.push(String::from_utf8_lossy(&ran.stdout[at + 24..at + 24 + length]).into_owned());
        at += 24 + length;
    }
    assert_eq!(names, [".", "..", "alpha", "dir", "mid", "zeta"]);
    assert_eq!(u32_at(&ran.stdout, 260), 30, "a full buffer says that there is more");
    let errnos = &ran.stderr[10..];
    assert_eq!(errnos[..7], [0, NOENT, ISDIR, NOTDIR, INVAL, 0, 0]);
    assert_eq!(errnos[7..], [NOTEMPTY, ISDIR, 0, 0, NOTDIR, 0, NOENT, 0]);
    assert_eq!(ran.outcome.tree, Script::new().run().outcome.tree, "everything was removed again");
}

#[test]
fn paths_and_links_cannot_leave_their_directory() {
    let mut script = Script::new();
    script.path_call("path_create_directory", b"d").open(b"d/../d/./f", CREAT);
    for path in [&b".."[..], b"../x", b"d/../../x", b"/d", b"", b"d/f/x", b"d/f/", b"\xff", b"nope/x"] {
        script.open(path, 0);
    }
    let link = |script: &mut Script, target: &[u8], path: &[u8]| {
        let ((target, target_length), (path, length)) = (script.text(target), script.text(path));
        script.call("path_symlink", &[target, target_length, 3, path, length]);
    };
    link(&mut script, b"../..", b"d/up");
    link(&mut script, b"/etc", b"abs");
    link(&mut script, b"loop", b"loop");
    link(&mut script, b"d/f", b"good");
    script
        .open(b"d/up/x", 0)
        .open(b"loop", 0)
        .open(b"good", 0)
        .open(b"good", DIRECTORY)
        .open(b"d", CREAT | DIRECTORY);
    let (at, length) = script.text(b"good");
    script.call("path_open", &[3, 0, at, length, 0, ALL, ALL, 0, OUT]);
    script.call("path_readlink", &[3, at, length, BUFFER, 2, OUT]).dump(OUT, 4).dump(BUFFER, 3);
    let ran = script.run();
    assert_eq!(ran.stderr[..2], [0, 0]);
    assert_eq!(
        ran.stderr[2..11],
        [NOTCAPABLE, NOTCAPABLE, NOTCAPABLE, NOTCAPABLE, NOENT, NOTDIR, NOTDIR, ILSEQ, NOENT]
    );
    assert_eq!(ran.stderr[11..15], [0, NOTCAPABLE, 0, 0]);
    assert_eq!(ran.stderr[15..], [NOTCAPABLE, LOOP, 0, NOTDIR, INVAL, LOOP, 0]);
    assert_eq!(ran.stdout, b"\x02\0\0\0d/\0");
}

#[test]
fn an_unlinked_open_file_lives_on_and_gives_its_bytes_back_when_closed() {
    let mut script = Script::new();
    script.open(b"f", CREAT).call("fd_allocate", &[4, 0, 900_000]).path_call("path_unlink_file", b"f");
    script.open(b"g", CREAT).call("fd_allocate", &[5, 0, 900_000]);
    script
        .call("fd_close", &[4])
        .call("fd_allocate", &[5, 0, 900_000])
        .call("fd_allocate", &[5, 0, i64::MAX]);
    script.call("fd_allocate", &[5, i64::MAX, i64::MAX]).call("fd_filestat_set_size", &[5, -1]);
    let mut run = Run::new(&script.wat());
    run.spec.limits.files_bytes = 1_000_000;
    assert_eq!(run.go().stderr, [0, 0, 0, 0, NOSPC, 0, 0, NOSPC, NOSPC, NOSPC]);
}
