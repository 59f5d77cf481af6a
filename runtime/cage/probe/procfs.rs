//! Attempts through `/proc`, `/sys` and the control groups.
//!
//! Owns these attempts: settings of the kernel, triggers, facts about the machine, groups of the host. What belongs to
//! the whole machine is opened for writing and not written.

use crate::Attempt;
use crate::answer::{best, expect, open, open_for_write, put};

/// Bytes that can be read from a file that should look empty.
fn readable(path: &str) -> i64 {
    match std::fs::File::open(path).and_then(|mut file| std::io::Read::read(&mut file, &mut [0; 64])) {
        Ok(length) => length as i64,
        Err(e) => crate::answer::io_result::<()>(Err(e)),
    }
}

/// Entries of a directory that should look empty or be missing.
fn entries(path: &str) -> i64 {
    match std::fs::read_dir(path) {
        Ok(list) => list.count() as i64,
        Err(e) => crate::answer::io_result::<()>(Err(e)),
    }
}

/// Every setting below /proc/sys, opened for writing: the first that opens, else the last refusal; EDOM when all of
/// them refuse but only a few are there.
fn every_setting() -> i64 {
    let mut dirs = vec![std::path::PathBuf::from("/proc/sys")];
    let mut answers = Vec::new();
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => dirs.push(entry.path()),
                _ => answers.push(open_for_write(&entry.path().to_string_lossy())),
            }
        }
    }
    let known = answers.len();
    match best(answers) {
        refused if refused < 0 && known < 100 => expect(false),
        answer => answer,
    }
}

/// In how many hierarchies of groups the process does not see itself at the root.
fn own_groups() -> i64 {
    match std::fs::read_to_string("/proc/self/cgroup") {
        Ok(text) => {
            text.lines().filter(|line| !line.ends_with(":/")).inspect(|line| eprintln!("{line}")).count()
                as i64
        }
        Err(e) => crate::answer::io_result::<()>(Err(e)),
    }
}

/// Five sets of capabilities, all empty; no new privileges; a filter.
pub(crate) fn capabilities() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let sets: Vec<_> = status.lines().filter(|l| l.starts_with("Cap")).collect();
    let flag = |name: &str, value: &str| status.lines().any(|l| l.starts_with(name) && l.ends_with(value));
    let empty = sets.len() == 5 && sets.iter().all(|l| l.ends_with("\t0000000000000000"));
    expect(empty && flag("NoNewPrivs:", "\t1") && flag("Seccomp:", "\t2"))
}

/// What this process's mounts are made from: nothing may name a path of the host.
fn mounts_name_no_host_path() -> i64 {
    let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let outside = std::env::var("OUTSIDE").unwrap_or_else(|_| "cage-test-".into());
    expect(text.lines().count() > 5 && !text.contains(&outside))
}

pub(crate) const LIST: &[(&str, Attempt)] = &[
    ("capabilities", capabilities),
    ("set_hostname_file", || put("/proc/sys/kernel/hostname", "x")),
    ("set_core_pattern", || open_for_write("/proc/sys/kernel/core_pattern")),
    ("set_modprobe", || open_for_write("/proc/sys/kernel/modprobe")),
    ("set_last_pid", || put("/proc/sys/kernel/ns_last_pid", "1000")),
    ("set_ip_forward", || put("/proc/sys/net/ipv4/ip_forward", "1")),
    ("set_overcommit", || open_for_write("/proc/sys/vm/overcommit_memory")),
    ("set_drop_caches", || open_for_write("/proc/sys/vm/drop_caches")),
    ("set_user_namespaces", || open_for_write("/proc/sys/user/max_user_namespaces")),
    ("set_binfmt", || open_for_write("/proc/sys/fs/binfmt_misc/register")),
    ("set_anything", every_setting),
    ("sysrq", || open_for_write("/proc/sysrq-trigger")),
    ("oom_score_lowered", || put("/proc/self/oom_score_adj", "-1000")),
    ("kcore", || readable("/proc/kcore")),
    ("kmsg", || readable("/proc/kmsg")),
    ("kallsyms", || readable("/proc/kallsyms")),
    ("cmdline", || readable("/proc/cmdline")),
    ("config", || readable("/proc/config.gz")),
    ("modules", || readable("/proc/modules")),
    ("iomem", || readable("/proc/iomem")),
    ("keys", || readable("/proc/keys")),
    ("timer_list", || readable("/proc/timer_list")),
    ("slabinfo", || readable("/proc/slabinfo")),
    ("kpageflags", || readable("/proc/kpageflags")),
    ("partitions", || readable("/proc/partitions")),
    ("interrupts", || readable("/proc/interrupts")),
    ("diskstats", || readable("/proc/diskstats")),
    ("locks", || readable("/proc/locks")),
    ("cgroups", || readable("/proc/cgroups")),
    ("proc_bus", || entries("/proc/bus")),
    ("proc_fs", || entries("/proc/fs")),
    ("proc_irq", || entries("/proc/irq")),
    ("proc_acpi", || entries("/proc/acpi")),
    ("proc_driver", || entries("/proc/driver")),
    ("sys_missing", || entries("/sys")),
    ("cgroup_missing", || entries("/sys/fs/cgroup")),
    ("release_agent", || open_for_write("/sys/fs/cgroup/memory/release_agent")),
    ("cgroup_procs", || {
        best([put("/sys/fs/cgroup/cgroup.procs", "0"), put("/sys/fs/cgroup/memory/tasks", "0")])
    }),
    ("cgroup_own_path", own_groups),
    ("mounts_name_no_host_path", mounts_name_no_host_path),
    ("pagemap_frames", pagemap_frames),
    ("self_ns_root", || open("/proc/self/root/.metanode-cage-test-root")),
];

/// Physical frame numbers of one's own pages, which rowhammer wants: all zero for the unprivileged.
fn pagemap_frames() -> i64 {
    let page = vec![1u8; 4096];
    let mut entry = [0u8; 8];
    let at = page.as_ptr() as u64 / 4096 * 8;
    let file = std::fs::File::open("/proc/self/pagemap");
    match file.and_then(|file| std::os::unix::fs::FileExt::read_exact_at(&file, &mut entry, at)) {
        Ok(()) => (u64::from_le_bytes(entry) & ((1 << 55) - 1)) as i64,
        Err(e) => crate::answer::io_result::<()>(Err(e)),
    }
}
