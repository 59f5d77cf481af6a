//! Files of a pinned cage: numbers, times, listings, `/proc`, random devices and FIFOs follow from the run alone.

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use common::{Bench, Ran};
use metanode_cage::{Exit, Level, Root, Verdict};

/// The clock of every run starts on 1 January 2026, 00:00:00.
const EPOCH_S: u64 = 1_767_225_600;

/// A bench whose root has a shell with the usual commands.
fn bench(mut bench: Bench) -> Bench {
    fs::copy("/usr/bin/busybox", bench.root().join("bin/busybox")).expect("busybox is installed");
    bench.spec.level = Level::Pinned;
    bench
}

/// The script's run; it must have come to its end.
fn once(bench: &mut Bench, script: &str) -> Ran {
    let applets = "for a in cat ls stat touch mkdir mkfifo rm mv ln head sleep find readlink df dd chmod od tar tail \
                   sha256sum wc env; do eval \"$a() { /bin/busybox $a \\\"\\$@\\\"; }\"; done; ";
    bench.spec.argv = ["/bin/busybox", "sh", "-c"].map(String::from).to_vec();
    bench.spec.argv.push(format!("{applets}{script}"));
    let ran = bench.run();
    assert_eq!(ran.report.verdict, Verdict::Completed, "{} {}", ran.stderr, ran.message);
    assert_eq!(ran.report.exit, Exit::Code(0), "{} {}", ran.stdout, ran.stderr);
    ran
}

/// Two runs that must not differ; the first one's output.
fn twice(bench: &mut Bench, script: &str) -> String {
    let (first, second) = (once(bench, script), once(bench, script));
    assert_eq!(first.stdout, second.stdout);
    assert!(first.report.trace_hash.is_some(), "a pinned run has a trace");
    assert_eq!(first.report.trace_hash, second.report.trace_hash, "the traces differ: {}", first.stdout);
    first.stdout
}

fn set_time(path: &Path, seconds: u64) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    fs::File::open(path).and_then(|file| file.set_modified(time)).expect("set a time");
}

#[test]
fn times_are_the_images_or_logical_needs_root() {
    for (mut bench, owned) in [(bench(Bench::new()), true), (bench(Bench::rootless()), false)] {
        let root = bench.root();
        fs::write(root.join("old"), "old").expect("write");
        fs::write(root.join("new"), "new").expect("write");
        set_time(&root.join("old"), 1_000_000_000);
        set_time(&root.join("new"), EPOCH_S + 1_000_000);
        let said = twice(
            &mut bench,
            "stat -c 'old %Y %Z %X %i %d %h %b' /old; stat -c 'new %Y' /new; sleep 5; echo x > /tmp/made;
             stat -c 'made %Y %s %b' /tmp/made; stat -c 'in %Y' /tmp; sleep 5; touch -d @77 /tmp/made;
             stat -c 'set %Y %Z' /tmp/made; mkdir /tmp/d; sleep 3; mv /tmp/made /tmp/d/x; stat -c 'to %Y' /tmp/d;
             stat -c 'from %Y %s %h' /tmp; stat -c 'moved %Y' /tmp/d/x; echo y >> /old; stat -c 'written %Y %i' /old",
        );
        let line = |name: &str| -> Vec<u64> {
            let found = said.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(' '));
            let found = found.unwrap_or_else(|| panic!("no {name} in {said}"));
            found.split(' ').map(|n| n.parse().expect("a number")).collect()
        };
        let old = line("old");
        assert_eq!(old[..3], [1_000_000_000; 3], "an image's file keeps its time: {said}");
        assert_eq!(old[4..], [42, 1, 8], "device, links, blocks: {said}");
        assert!(old[3] < 4096, "inode numbers are handed out from a small one: {said}");
        assert_eq!(line("new"), [EPOCH_S], "no image is from the future: {said}");
        assert_eq!(line("made"), [EPOCH_S + 5, 2, 8], "{said}");
        assert_eq!(line("in"), [EPOCH_S + 5], "{said}");
        assert_eq!(line("set"), [77, EPOCH_S + 10], "what is set is kept: {said}");
        assert_eq!(line("to"), [EPOCH_S + 13], "{said}");
        assert_eq!(line("from"), [EPOCH_S + 13, 4096, 1], "{said}");
        assert_eq!(line("moved"), [77], "{said}");
        // Without root, the image belongs to somebody else, and nobody can write to it.
        let written = if owned { EPOCH_S + 13 } else { 1_000_000_000 };
        assert_eq!(line("written"), [written, old[3]], "a copied-up file keeps its number: {said}");
    }
}

/// The same tree below `at`, its entries made in this order.
fn plant(at: &Path, backwards: bool) {
    let mut order: Vec<u32> = (0..200).collect();
    if backwards {
        order.reverse();
    }
    for n in order {
        let dir = at.join("data").join(format!("d{}", n % 7));
        fs::create_dir_all(&dir).expect("directory");
        let file = dir.join(format!("file-{n:03}"));
        fs::write(&file, format!("content of {n}").repeat(n as usize)).expect("file");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600 + n % 8)).expect("mode");
        set_time(&file, 1_500_000_000 + u64::from(n));
        symlink(format!("file-{n:03}"), dir.join(format!("link-{n:03}"))).expect("link");
    }
    for n in 0..7 {
        set_time(&at.join("data").join(format!("d{n}")), 1_600_000_000);
    }
    for dir in ["data", "", "bin", "lib64"] {
        set_time(&at.join(dir), 1_600_000_000);
    }
}

#[test]
fn the_order_in_which_an_image_was_unpacked_does_not_show_needs_root() {
    const LOOK: &str = "ls -laiR /data; find /data/d3 | head -n 9; find /data;
        stat / /data /data/d1; tar c /data | sha256sum;
         rm -r /data/d5; mkdir /data/d5; ls -lai /data/d5; df /data | wc -l";
    let (mut forwards, mut backwards) = (bench(Bench::new()), bench(Bench::new()));
    plant(&forwards.root(), false);
    plant(&backwards.root(), true);
    let (a, b) = (once(&mut forwards, LOOK), once(&mut backwards, LOOK));
    assert_eq!(a.stdout, b.stdout);
    assert!(a.stdout.contains("file-199") && a.stdout.lines().count() > 800, "{}", a.stdout);
    assert_eq!(a.report.trace_hash, b.report.trace_hash);
    assert_eq!(a.report.output_digest, b.report.output_digest);
    // A third copy on another file system: directories there have other sizes, orders and link counts.
    let other = backwards.dir.path().join("other");
    fs::create_dir(&other).expect("directory");
    let mounted =
        Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(&other).status().expect("mount runs");
    assert!(mounted.success());
    let copied = Command::new("cp").arg("-a").arg(backwards.root()).arg(&other).status().expect("cp runs");
    backwards.spec.root = Root::Dir { path: other.join("root") };
    let c = copied.success().then(|| once(&mut backwards, LOOK));
    let unmounted = Command::new("umount").arg(&other).status().expect("umount runs");
    assert!(unmounted.success());
    let c = c.expect("the copy was made");
    assert_eq!(a.stdout, c.stdout);
    assert_eq!(a.report.trace_hash, c.report.trace_hash);
}

#[test]
fn listings_are_sorted_and_survive_removal_needs_root() {
    let mut bench = bench(Bench::new());
    let said = twice(
        &mut bench,
        "mkdir /tmp/d; cd /tmp/d; i=700; while [ $i -gt 0 ]; do : > n$i; i=$((i-1)); done; : > -dash; : > .dot;
         find . | head -n 5; find . | wc -l; rm -rf /tmp/d; ls /tmp | wc -l",
    );
    assert_eq!(
        said.split_whitespace().collect::<Vec<_>>(),
        [".", "./-dash", "./.dot", "./n1", "./n10", "703", "0"]
    );
}

#[test]
fn random_devices_are_streams_of_the_seed_needs_root() {
    const DRAW: &str = "head -c 32 /dev/urandom | od -An -tx1; head -c 8 /dev/random | od -An -tx1;
        dd if=/dev/urandom bs=16 count=2 2>/dev/null | od -An -tx1; cat /proc/sys/kernel/random/uuid;
        cat /proc/sys/kernel/random/boot_id; ls -l /dev/urandom; stat -c '%F %t %T %s' /dev/random";
    let mut bench = bench(Bench::new());
    let zero = twice(&mut bench, DRAW);
    bench.spec.seed = "7".repeat(64);
    let seven = twice(&mut bench, DRAW);
    assert!(zero.contains("1,   9") && zero.contains("character special file 1 8 0"), "{zero}");
    for (a, b) in zero.lines().zip(seven.lines()).take(7) {
        assert_ne!(a, b, "every draw depends on the seed");
    }
    let drawn: std::collections::BTreeSet<&str> = zero.lines().take(7).collect();
    assert_eq!(drawn.len(), 7, "no draw repeats another: {zero}");
}

#[test]
fn proc_is_small_and_holds_nothing_of_the_host_needs_root() {
    let mut bench = bench(Bench::new());
    let said = twice(
        &mut bench,
        "ls -la /proc/ /proc/self/ /proc/self/fd/; cat /proc/uptime /proc/loadavg;
         cat /proc/meminfo /proc/stat /proc/cpuinfo;
         cat /proc/self/stat /proc/self/statm /proc/self/status /proc/self/maps /proc/self/mountinfo /proc/mounts;
         cat /proc/self/limits /proc/self/cgroup /proc/self/comm; readlink /proc/self/exe; sleep 2; cat /proc/uptime;
         cat /proc/sys/kernel/hostname; exec 3< /proc/uptime; readlink /proc/self/fd/3; ls -la /dev",
    );
    assert!(said.starts_with("/proc/:\n"), "{said}");
    assert!(said.contains("MemTotal:        4194304 kB\n"), "{said}");
    assert_eq!(said.matches("processor\t: ").count(), 1, "{said}");
    assert!(said.contains("\n100.00 0.00\n") && said.contains("\n102.00 0.00\n"), "{said}");
    assert!(said.contains("\nTracerPid:\t0\n") && said.contains("\nVmRSS:\t    4096 kB\n"), "{said}");
    assert!(said.contains("00:2a ") && said.contains("/bin/busybox\n"), "{said}");
    assert!(said.contains("\ncage\n/proc/") && said.contains("/uptime\n"), "{said}");
    assert!(!said.contains(".synthetic"), "the supervisor's directory shows: {said}");
}

#[test]
fn what_is_not_on_the_list_of_proc_is_missing_by_every_way_needs_root() {
    let mut bench = bench(Bench::new());
    let root = bench.root();
    symlink("/proc/kcore", root.join("to-kcore")).expect("link");
    symlink("/proc/self/smaps", root.join("to-smaps")).expect("link");
    symlink("../proc/version", root.join("to-version")).expect("link");
    let said = twice(
        &mut bench,
        "for f in /proc/kcore /proc/kallsyms /proc/self/smaps /proc/self/io /proc/net/dev /proc/1/status /sys/kernel \
           /proc/self/ns/net /proc/../proc/./vmstat /to-kcore /to-smaps /proc/self/pagemap /proc/self/sched; do
           cat $f 2> /dev/null && echo \"seen $f\"; done
         for f in /proc/kallsyms /proc/self/ns /proc/net; do [ -e $f ] && echo \"there $f\"; done
         cd /proc; cat vmstat self/smaps 2> /dev/null && echo seen; cat /to-version; cat version uptime; cd self;
         head -n 1 status; cat ../loadavg; cat io 2> /dev/null; echo x > /proc/uptime; echo end",
    );
    assert!(!said.contains("seen") && !said.contains("there"), "{said}");
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 6, "{said}");
    assert!(
        lines[0].starts_with("Linux version ") && lines[0].ends_with(" (metanode@cage) #1 SMP"),
        "{said}"
    );
    assert_eq!(lines[0], lines[1], "by way of a link too");
    assert!(lines[2].starts_with("100.") && lines[3].starts_with("Name:\t"), "{said}");
    assert!(lines[4].starts_with("0.00 0.00 0.00 1/"), "{said}");
}

#[test]
fn a_fifo_waits_for_its_other_side_needs_root() {
    let mut bench = bench(Bench::new());
    let said = twice(
        &mut bench,
        "mkfifo /tmp/f; (sleep 3; echo late > /tmp/f) & cat /tmp/f; stat -c %Y /tmp/f; cat /proc/uptime;
         (sleep 4; cat /tmp/f) & echo early > /tmp/f; wait; cat /proc/uptime;
         (sleep 1; : > /tmp/f) & cat /tmp/f; echo empty; cat /proc/uptime",
    );
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 7, "{said}");
    assert_eq!((lines[0], lines[3], lines[5]), ("late", "early", "empty"), "{said}");
    assert!(lines[2].starts_with("103."), "the reader waited three logical seconds: {said}");
    assert!(lines[4].starts_with("107.") && lines[6].starts_with("108."), "{said}");
}

#[test]
fn permissions_are_the_programs_needs_root() {
    for mut bench in [bench(Bench::new()), bench(Bench::rootless())] {
        let said = twice(
            &mut bench,
            "mkdir /tmp/closed; echo secret > /tmp/closed/f; chmod 0 /tmp/closed; stat /tmp/closed/f 2>&1;
             cat /tmp/closed/f 2>&1; ls /tmp/closed 2>&1; stat -c %a /tmp/closed; stat /nowhere 2>&1; cat /bin/ 2>&1;
             cat '' 2>&1; ln -s loop /tmp/loop; cat /tmp/loop 2>&1; readlink /bin 2>&1; echo end",
        );
        assert_eq!(said.matches("Permission denied").count(), 3, "{said}");
        assert!(!said.contains("secret"), "{said}");
        assert!(said.contains("\n0\n"), "{said}");
        assert_eq!(said.matches("No such file or directory").count(), 2, "{said}");
        assert!(said.contains("Is a directory") && said.contains("ymbolic link"), "{said}");
        assert!(said.ends_with("end\n"), "{said}");
    }
}

#[test]
fn the_digest_of_a_local_root_covers_what_was_opened_needs_root() {
    let mut bench = bench(Bench::new());
    let root = bench.root();
    for name in ["read", "unread"] {
        fs::write(root.join(name), name).expect("write");
    }
    let mut digest = |script: &str| {
        let ran = once(&mut bench, script);
        assert!(
            ran.report.weaker.iter().any(|w| w.contains("cannot be verified elsewhere")),
            "{:?}",
            ran.report.weaker
        );
        ran.report.opened_digest.expect("a local root has one")
    };
    let first = digest("cat /read > /tmp/copy; cat /tmp/copy");
    fs::write(root.join("unread"), "changed").expect("write");
    assert_eq!(first, digest("cat /read > /tmp/copy; cat /tmp/copy"), "what was not opened does not count");
    assert_ne!(first, digest("cat /read /unread"), "one more was opened");
    fs::write(root.join("read"), "changed").expect("write");
    assert_ne!(first, digest("cat /read > /tmp/copy; cat /tmp/copy"), "what was opened has changed");
}
