//! Other doors: a program of another architecture, memory that hides in pipes, CPU time beyond the share, the image and
//! the launcher as targets.

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};

use common::{Bench, NOBODY};
use metanode_cage::Exit;

#[test]
fn a_32_bit_program_dies_at_its_first_call_needs_root() {
    for mut bench in [Bench::new(), Bench::rootless()] {
        let ran = bench.attempt("elf32");
        // SIGSYS (31) or SIGSEGV (11) where the kernel knows the format, else it cannot be run; 42 is an escape.
        let answer = ran.answer("elf32");
        assert!(["ok:131", "ok:111", "ok:1"].contains(&answer), "{answer} {}", ran.stderr);
    }
}

#[test]
fn pipes_cannot_hold_more_than_the_cage_may_use_needs_root() {
    let mut bench = Bench::new();
    bench.spec.limits.memory_bytes = 48 << 20;
    let ran = bench.attempt("fill_pipes");
    assert!(ran.report.usage.max_memory_bytes <= 48 << 20, "{:?}", ran.report.usage);
    assert!(ran.report.usage.max_memory_bytes >= 16 << 20, "the pipes were counted: {:?}", ran.report.usage);
    match ran.report.exit {
        Exit::Oom => {}
        _ => assert!(ran.number("bytes") <= 48 << 20, "{} bytes in pipes", ran.number("bytes")),
    }
}

#[test]
fn the_cpu_share_holds_needs_root() {
    let mut bench = Bench::new();
    bench.spec.limits.cpu_milli = 200;
    let ran = bench.attempt("take_cpu");
    assert!(ran.report.barriers.iter().any(|b| b.name == "cgroup_cpu" && b.installed), "{:?}", ran.report);
    let got: u64 = ran.answer("take_cpu").trim_start_matches("ok:").parse().expect("a number");
    // A fifth of 2000 ms, and one slice of 100 ms at either end.
    assert!((1..=600).contains(&got), "{got} ms of CPU in 2 s");
}

#[test]
fn the_image_is_never_written_and_the_output_digest_follows_the_writes_needs_root() {
    for mut bench in [Bench::new(), Bench::rootless()] {
        let quiet = bench.attempt("whoami").report.output_digest.expect("digest");
        let ran = bench.attempt("write_root");
        let root = bench.root();
        assert_eq!(std::fs::read(root.join("from-image")).expect("read"), b"original");
        assert_eq!(std::fs::read(root.join("deleted-by-the-cage")).expect("read"), b"original");
        assert!(!root.join("made-by-the-cage").exists());
        if ran.answer("write_root") == "ok:0" {
            assert_ne!(ran.report.output_digest.expect("digest"), quiet);
        } else {
            // Without root the image belongs to another user, so the cage may not even change its own copy.
            assert!(["EACCES", "EPERM"].contains(&ran.answer("write_root")));
        }
    }
}

/// While the program is still the launcher, `/proc/self/exe` is the host's `metanode-cage`: a script or a link that
/// leads there would run it inside, and a writable descriptor of it would be a way out for the next launch.
#[test]
fn the_launcher_cannot_be_run_from_inside_needs_root() {
    for mut bench in [Bench::new(), Bench::rootless()] {
        // As in a rootless installation: the launcher belongs to the user who runs it.
        let launcher = bench.dir.path().join("metanode-cage");
        let copy = bench.dir.path().join("copy");
        fs::copy(&launcher, &copy).expect("copy");
        fs::rename(&copy, &launcher).expect("rename");
        chown(&launcher, Some(NOBODY), Some(NOBODY)).expect("chown");
        let before = fs::read(&launcher).expect("read");
        let root = bench.root();
        fs::write(root.join("script"), b"#!/proc/self/exe help\n").expect("script");
        fs::set_permissions(root.join("script"), fs::Permissions::from_mode(0o755)).expect("mode");
        symlink("/proc/self/exe", root.join("link")).expect("link");
        for program in ["/script", "/link"] {
            bench.spec.argv = vec![program.into(), "help".into()];
            let ran = bench.run();
            let Exit::LaunchError(why) = &ran.report.exit else { panic!("{program} ran: {ran:?}") };
            assert!(why.contains("execute the program") && why.contains("ermission denied"), "{why}");
            assert!(!ran.stdout.contains("usage"), "{}", ran.stdout);
        }
        assert!(fs::read(&launcher).expect("read") == before, "the launcher was changed");
    }
}

/// An image whose mount points are links or files: the cage puts directories there, on its own side only.
#[test]
fn mount_points_that_are_links_needs_root() {
    for mut bench in [Bench::new(), Bench::rootless()] {
        let root = bench.root();
        let outside = bench.dir.path().join("outside");
        fs::create_dir(&outside).expect("outside");
        fs::set_permissions(&outside, fs::Permissions::from_mode(0o777)).expect("mode");
        symlink(&outside, root.join("tmp")).expect("link");
        symlink("../../../../../../../../../../proc", root.join("proc")).expect("link");
        symlink("/bin", root.join("dev")).expect("link");
        fs::write(root.join("run"), b"a file").expect("file");
        // The root of a rootless installation belongs to its user.
        chown(&root, Some(NOBODY), Some(NOBODY)).expect("chown");
        let names = ["whoami", "device_list", "write_dev", "across_mounts", "set_hostname_file"];
        let ran = bench.attempts(&names);
        let held = ["ok:0", "ok:0", "EROFS", "EXDEV", "EACCES"];
        for (name, held) in names.iter().zip(held) {
            assert_eq!(ran.answer(name), held, "{name}");
        }
        assert_eq!(fs::read_dir(&outside).expect("outside").count(), 0, "something was written outside");
        assert!(fs::symlink_metadata(root.join("tmp")).expect("still there").is_symlink());
        assert_eq!(fs::read(root.join("run")).expect("still there"), b"a file");
    }
}
