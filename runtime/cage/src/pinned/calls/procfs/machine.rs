//! Texts about the machine: one processor of the run's class, a fixed memory, the logical clock.

use super::Node;
use crate::pinned::Supervisor;
use crate::pinned::random::{Purpose, Stream};
use crate::pinned::task::TaskId;
use crate::sys;

/// Kibibytes of memory, as `sysinfo` tells.
const MEMORY_KIB: u64 = super::super::time::MEMORY >> 10;
/// Lines of the host's `cpuinfo` that the class of the processor fixes.
const OF_THE_CLASS: &[&str] = &["vendor_id", "cpu family", "model", "model name", "stepping", "flags"];
/// Clock ticks a second.
const TICK_NS: u64 = 10_000_000;

/// Kernel settings that programs ask for, and their answers.
const SYSCTLS: &[(&str, Answer)] = &[
    ("fs/file-max", Answer::Is("1048576")),
    ("fs/file-nr", Answer::Is("1024\t0\t1048576")),
    ("fs/inotify/max_queued_events", Answer::Is("16384")),
    ("fs/inotify/max_user_instances", Answer::Is("128")),
    ("fs/inotify/max_user_watches", Answer::Is("65536")),
    ("fs/nr_open", Answer::Is("1048576")),
    ("fs/pipe-max-size", Answer::Is("1048576")),
    ("kernel/cap_last_cap", Answer::Is("40")),
    ("kernel/core_pattern", Answer::Is("core")),
    ("kernel/domainname", Answer::Is("(none)")),
    ("kernel/hostname", Answer::Hostname),
    ("kernel/ngroups_max", Answer::Is("65536")),
    ("kernel/osrelease", Answer::Release),
    ("kernel/ostype", Answer::Is("Linux")),
    ("kernel/overflowgid", Answer::Is("65534")),
    ("kernel/overflowuid", Answer::Is("65534")),
    ("kernel/pid_max", Answer::Is("32768")),
    ("kernel/random/boot_id", Answer::BootId),
    ("kernel/random/entropy_avail", Answer::Is("256")),
    ("kernel/random/poolsize", Answer::Is("256")),
    ("kernel/random/uuid", Answer::Uuid),
    ("kernel/randomize_va_space", Answer::Is("0")),
    ("kernel/shmall", Answer::Is("18446744073692774399")),
    ("kernel/shmmax", Answer::Is("18446744073692774399")),
    ("kernel/shmmni", Answer::Is("4096")),
    ("kernel/tainted", Answer::Is("0")),
    ("kernel/threads-max", Answer::Is("32768")),
    ("kernel/version", Answer::Is("#1 SMP")),
    ("net/core/somaxconn", Answer::Is("4096")),
    ("net/ipv4/ip_local_port_range", Answer::Is("32768\t60999")),
    ("vm/max_map_count", Answer::Is("65530")),
    ("vm/mmap_min_addr", Answer::Is("65536")),
    ("vm/overcommit_memory", Answer::Is("0")),
    ("vm/overcommit_ratio", Answer::Is("50")),
    ("vm/swappiness", Answer::Is("60")),
];

/// Where a setting's answer comes from.
#[derive(Clone, Copy)]
enum Answer {
    Is(&'static str),
    Hostname,
    Release,
    BootId,
    Uuid,
}

pub(super) fn sysctl_node(name: &str) -> Node {
    let below =
        |path: &str| name.is_empty() || path.strip_prefix(name).is_some_and(|rest| rest.starts_with('/'));
    match SYSCTLS {
        list if list.iter().any(|(path, _)| *path == name) => Node::Text,
        list if list.iter().any(|(path, _)| below(path)) => Node::Directory,
        _ => Node::Missing,
    }
}

pub(super) fn sysctl_entries(dir: &str) -> Vec<(String, u8)> {
    let mut found: Vec<(String, u8)> = SYSCTLS
        .iter()
        .filter_map(
            |(path, _)| if dir.is_empty() { Some(*path) } else { path.strip_prefix(dir)?.strip_prefix('/') },
        )
        .map(|rest| match rest.split_once('/') {
            Some((name, _)) => (name.to_owned(), super::DIRECTORY),
            None => (rest.to_owned(), super::REGULAR),
        })
        .collect();
    found.dedup();
    found
}

pub(super) fn sysctl(cage: &mut Supervisor, id: TaskId, name: &str) -> Option<Vec<u8>> {
    let (_, answer) = SYSCTLS.iter().find(|(path, _)| *path == name)?;
    let value = match answer {
        Answer::Is(value) => (*value).to_owned(),
        Answer::Hostname => cage.settings().hostname.clone(),
        Answer::Release => release(),
        Answer::BootId => {
            let mut bytes = [0; 16];
            Stream::new(&cage.settings().seed, Purpose::Machine, 0).fill(&mut bytes);
            uuid(bytes)
        }
        Answer::Uuid => {
            let mut bytes = [0; 16];
            cage.task_mut(id).random.fill(&mut bytes);
            uuid(bytes)
        }
    };
    Some(format!("{value}\n").into_bytes())
}

/// A version 4 UUID of these bytes.
fn uuid(mut bytes: [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let digits = sys::hex(&bytes);
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

/// The kernel's release; it is in the report and runs compare only within one.
fn release() -> String {
    sys::kernel().split(' ').nth(1).unwrap_or("unavailable").to_owned()
}

pub(super) fn text(cage: &Supervisor, name: &str) -> Option<Vec<u8>> {
    let clock = &cage.clock;
    let hundredths = |ns: u64| format!("{}.{:02}", ns / 1_000_000_000, ns / TICK_NS % 100);
    let text = match name {
        "uptime" => format!("{} 0.00\n", hundredths(clock.monotonic())),
        "loadavg" => {
            let last = cage.processes().map(|(_, process)| process.inner).max().unwrap_or(1);
            format!("0.00 0.00 0.00 1/{} {last}\n", cage.processes().count())
        }
        "meminfo" => meminfo(),
        "cpuinfo" => cpuinfo(),
        "stat" => {
            let busy = clock.now() / TICK_NS;
            let figures = format!("{busy} 0 0 {} 0 0 0 0 0 0", (clock.monotonic() - clock.now()) / TICK_NS);
            let boot = clock.real().saturating_sub(clock.monotonic()) / 1_000_000_000;
            let made = cage.processes_made();
            format!(
                "cpu  {figures}\ncpu0 {figures}\nintr 0\nctxt 0\nbtime {boot}\nprocesses {made}\nprocs_running 1\n\
                 procs_blocked 0\nsoftirq 0 0 0 0 0 0 0 0 0 0 0\n"
            )
        }
        "version" => format!("Linux version {} (metanode@cage) #1 SMP\n", release()),
        "filesystems" => ["overlay", "proc", "tmpfs"].map(|name| format!("nodev\t{name}\n")).concat(),
        _ => return None,
    };
    Some(text.into_bytes())
}

fn meminfo() -> String {
    let half = MEMORY_KIB / 2;
    let rows = [
        ("MemTotal", MEMORY_KIB),
        ("MemFree", half),
        ("MemAvailable", half),
        ("Buffers", 0),
        ("Cached", 0),
        ("SwapCached", 0),
        ("Active", 0),
        ("Inactive", 0),
        ("SwapTotal", 0),
        ("SwapFree", 0),
        ("Dirty", 0),
        ("Writeback", 0),
        ("AnonPages", 0),
        ("Mapped", 0),
        ("Shmem", 0),
        ("Slab", 0),
        ("CommitLimit", half),
        ("Committed_AS", 0),
        ("Hugepagesize", 2048),
    ];
    rows.map(|(name, value)| format!("{:<16}{value:>8} kB\n", format!("{name}:"))).concat()
}

/// The first processor, without what differs between two of one class.
fn cpuinfo() -> String {
    let host = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let mut text = String::from("processor\t: 0\n");
    for line in host.lines().take_while(|line| !line.is_empty()) {
        let name = line.split('\t').next().unwrap_or_default();
        if OF_THE_CLASS.contains(&name) {
            text.push_str(line);
            text.push('\n');
        }
    }
    text.push_str(
        "cpu MHz\t\t: 1000.000\nphysical id\t: 0\nsiblings\t: 1\ncore id\t\t: 0\ncpu cores\t: 1\napicid\t\t: 0\n\
         fpu\t\t: yes\nwp\t\t: yes\nbogomips\t: 2000.00\n\n",
    );
    text
}
