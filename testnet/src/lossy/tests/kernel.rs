//! The disk through the kernel. Every test needs root and /dev/fuse and says so when it has neither.

use super::super::{Crash, Loss, Lossy, unavailable};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// A disk over a fresh directory; `None`, with the reason printed, where it can not be had.
fn disk() -> Option<(tempfile::TempDir, Lossy)> {
    if let Some(reason) = unavailable() {
        eprintln!("skipped: {reason}");
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let disk = Lossy::mount(dir.path()).unwrap();
    Some((dir, disk))
}

fn sync_dir(path: &Path) {
    File::open(path).unwrap().sync_all().unwrap();
}

fn write(path: &Path, bytes: &[u8]) -> File {
    let mut file = File::create(path).unwrap();
    file.write_all(bytes).unwrap();
    file
}

#[test]
fn what_was_synced_survives_and_the_rest_is_gone_needs_root() {
    let Some((_dir, mut disk)) = disk() else { return };
    let at = |name: &str| disk.path().join(name);
    write(&at("synced"), b"kept").sync_data().unwrap();
    write(&at("tail"), b"kept").sync_all().unwrap();
    drop(write(&at("closed"), b"a close is no sync"));
    sync_dir(disk.path());
    let mut tail = OpenOptions::new().append(true).open(at("tail")).unwrap();
    tail.write_all(b" and lost").unwrap();
    write(&at("nameless"), b"its directory was not synced").sync_all().unwrap();
    assert_eq!(fs::read(at("tail")).unwrap(), b"kept and lost");

    let paths = ["synced", "tail", "closed", "nameless"].map(at);
    let loss = disk.crash(Crash::Lose).unwrap();
    let [synced, tail, closed, nameless] = paths.map(|p| fs::read(p).map_err(|e| e.kind()));
    assert_eq!(synced.unwrap(), b"kept");
    assert_eq!(tail.unwrap(), b"kept");
    assert_eq!(closed.unwrap(), b"", "the directory was synced, the bytes were not");
    assert_eq!(nameless, Err(std::io::ErrorKind::NotFound));
    assert_eq!(loss, Loss { changes: 2, kept: 0, names: 1 });
}

#[test]
fn a_rename_counts_once_its_directory_is_synced_needs_root() {
    let Some((_dir, mut disk)) = disk() else { return };
    let (path, new) = (disk.path().join("current"), disk.path().join("new"));
    write(&path, b"one").sync_all().unwrap();
    sync_dir(disk.path());
    write(&new, b"two").sync_all().unwrap();
    fs::rename(&new, &path).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"two");
    disk.crash(Crash::Lose).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"one");
    assert!(!new.exists());

    write(&new, b"three").sync_all().unwrap();
    fs::rename(&new, &path).unwrap();
    sync_dir(disk.path());
    disk.crash(Crash::Lose).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"three");
    assert!(!new.exists());
}

#[test]
fn synchronous_descriptors_need_no_sync_needs_root() {
    let Some((_dir, mut disk)) = disk() else { return };
    for (name, flag) in [("dsync", libc::O_DSYNC), ("sync", libc::O_SYNC)] {
        let path = disk.path().join(name);
        let mut file = OpenOptions::new().write(true).create(true).custom_flags(flag).open(&path).unwrap();
        file.write_all(b"through").unwrap();
    }
    sync_dir(disk.path());
    disk.crash(Crash::Lose).unwrap();
    for name in ["dsync", "sync"] {
        assert_eq!(fs::read(disk.path().join(name)).unwrap(), b"through");
    }
}

#[test]
fn a_torn_tail_is_cut_inside_the_unsynced_part_needs_root() {
    let Some((_dir, mut disk)) = disk() else { return };
    let path = disk.path().join("log");
    let mut file = write(&path, &[1; 1000]);
    file.sync_all().unwrap();
    sync_dir(disk.path());
    let mut lengths = std::collections::BTreeSet::new();
    for seed in 0..20 {
        for record in 2..6 {
            file.write_all(&[record; 700]).unwrap();
        }
        drop(file);
        disk.crash(Crash::Torn(seed)).unwrap();
        let left = fs::read(&path).unwrap();
        assert!((1000..=1000 + 4 * 700).contains(&left.len()));
        let expected = (0..left.len()).map(|i| if i < 1000 { 1 } else { 2 + ((i - 1000) / 700) as u8 });
        assert!(expected.eq(left.iter().copied()), "a prefix of what was written");
        lengths.insert(left.len());
        file = OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(1000).unwrap();
        file.sync_all().unwrap();
        file.seek(SeekFrom::End(0)).unwrap();
    }
    assert!(lengths.len() > 5, "seeds tear at different places: {lengths:?}");
}

#[test]
fn a_cut_disk_fails_at_once_and_open_files_do_not_outlive_a_crash_needs_root() {
    let Some((_dir, mut disk)) = disk() else { return };
    let path = disk.path().join("f");
    let mut file = write(&path, b"x");
    disk.cut();
    assert!(file.write_all(b"y").is_err());
    assert!(file.sync_all().is_err());
    assert!(fs::read_dir(disk.path()).is_err());
    disk.crash(Crash::Lose).unwrap();
    assert!(file.write_all(b"z").is_err(), "a descriptor of the old mount is dead");
    assert!(!path.exists());
    write(&path, b"again").sync_all().unwrap();
}

#[test]
fn programs_run_lock_and_list_as_elsewhere_needs_root() {
    let Some((_dir, disk)) = disk() else { return };
    // Executing maps the file; the kernel pages it in through the disk.
    let program = disk.path().join("true");
    fs::copy("/bin/true", &program).unwrap();
    assert!(std::process::Command::new(&program).status().unwrap().success());

    let lock = disk.path().join("lock");
    let held = File::create(&lock).unwrap();
    held.try_lock().unwrap();
    assert!(matches!(File::open(&lock).unwrap().try_lock(), Err(fs::TryLockError::WouldBlock)));

    let many = disk.path().join("many");
    fs::create_dir(&many).unwrap();
    for i in 0..1500 {
        drop(write(&many.join(format!("a file with a longer name, number {i}")), b""));
    }
    assert_eq!(fs::read_dir(&many).unwrap().count(), 1500);
    fs::remove_dir_all(&many).unwrap();

    // An unlinked file lives while it is open; a hard link is the same file.
    let mut file =
        OpenOptions::new().read(true).write(true).create_new(true).open(disk.path().join("u")).unwrap();
    fs::hard_link(disk.path().join("u"), disk.path().join("v")).unwrap();
    fs::remove_file(disk.path().join("u")).unwrap();
    fs::remove_file(disk.path().join("v")).unwrap();
    file.write_all(b"still here").unwrap();
    file.rewind().unwrap();
    let mut back = String::new();
    file.read_to_string(&mut back).unwrap();
    assert_eq!(back, "still here");
    std::os::unix::fs::symlink("true", disk.path().join("s")).unwrap();
    assert_eq!(fs::read_link(disk.path().join("s")).unwrap(), Path::new("true"));
}

#[test]
fn content_below_the_mount_point_is_durable_and_nothing_is_left_behind_needs_root() {
    if let Some(reason) = unavailable() {
        return eprintln!("skipped: {reason}");
    }
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("sub")).unwrap();
    fs::write(dir.path().join("sub/f"), b"from before").unwrap();
    let mounted = || fs::read_to_string("/proc/thread-self/mounts").unwrap().contains("metanode-lossy");
    let mut disk = Lossy::mount(dir.path()).unwrap();
    assert!(mounted());
    disk.crash(Crash::Lose).unwrap();
    assert_eq!(fs::read(dir.path().join("sub/f")).unwrap(), b"from before");
    fs::write(dir.path().join("sub/f"), b"on the disk only").unwrap();
    drop(disk);
    assert!(!mounted());
    assert_eq!(fs::read(dir.path().join("sub/f")).unwrap(), b"from before");

    let panicked = std::panic::catch_unwind(|| {
        let _disk = Lossy::mount(dir.path()).unwrap();
        assert!(mounted());
        panic!("a test failed");
    });
    assert!(panicked.is_err() && !mounted());
}
