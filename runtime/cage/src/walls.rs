//! The walls around a process that has its namespaces: limits, capabilities, landlock, and the loopback
//! device.
//!
//! Owns what the cage's first process does to itself before it starts the program. It refuses to continue
//! past a wall that every supported kernel has; landlock alone may be missing, and that is reported.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope,
};

use crate::report::Barriers;
use crate::spec::Limits;
use crate::{Error, sys};

/// Newest landlock interface whose rights are requested; older kernels enforce what they know.
const LANDLOCK: ABI = ABI::V6;

/// What one cage may have of a thing that the kernel counts for each user of the host.
const INOTIFY: [(&str, &str); 2] = [("instances", "16"), ("watches", "16384")];

/// Names the host and brings the loopback device up; lets unprivileged programs bind any port of their own
/// namespace.
pub(crate) fn identity(hostname: &str, barriers: &mut Barriers) -> Result<(), Error> {
    sys::set_host_names(hostname).map_err(|e| Error::launch("set the host name", e))?;
    barriers.installed("uts_namespace", hostname);
    barriers.installed("ipc_namespace", "own System V and POSIX queues");
    sys::loopback_up().map_err(|e| Error::launch("bring the loopback device up", e))?;
    barriers.installed("net_namespace", "loopback only");
    if std::fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0").is_err() {
        barriers.weaker("ports below 1024 cannot be bound inside this cage");
    }
    // What a namespace may have counts against its owner on the host too, who has 128 instances on most machines.
    for (name, most) in INOTIFY {
        if std::fs::write(format!("/proc/sys/user/max_inotify_{name}"), most).is_err() {
            barriers
                .weaker(format!("inotify {name} of this cage are bounded only for its owner on the host"));
        }
    }
    Ok(())
}

/// Resource limits of every process in the cage. `memory_cgroup`: what is mapped is bounded elsewhere.
pub(crate) fn rlimits(limits: &Limits, memory_cgroup: bool, barriers: &mut Barriers) -> Result<(), Error> {
    let mut rows = vec![
        (libc::RLIMIT_CORE, 0),
        (libc::RLIMIT_MEMLOCK, 8 << 20),
        (libc::RLIMIT_MSGQUEUE, 819_200),
        (libc::RLIMIT_NICE, 0),
        (libc::RLIMIT_NOFILE, limits.nofile),
        (libc::RLIMIT_NPROC, limits.pids + 1),
        (libc::RLIMIT_RTPRIO, 0),
        (libc::RLIMIT_SIGPENDING, limits.pids.saturating_mul(4).max(256)),
    ];
    if !memory_cgroup {
        rows.push((libc::RLIMIT_DATA, limits.memory_bytes));
    }
    for (resource, value) in rows {
        sys::set_rlimit(resource, value)
            .map_err(|e| Error::launch(format!("set resource limit {resource}"), e))?;
    }
    barriers.installed(
        "rlimits",
        format!("nofile {}, nproc {}, core 0, rtprio 0", limits.nofile, limits.pids + 1),
    );
    Ok(())
}

/// Private writable memory that a pinned program may map, in terms of what it may use: wide enough for thread
/// stacks and arenas that are never touched, and the same whether a memory cgroup counts what is used or not.
const DATA_PER_MEMORY: u64 = 8;

/// The limits that [`rlimits`] leaves to the launcher's user, which a pinned program must not see: it can ask for them,
/// and the one on the stack decides where mappings begin. Fails for a user who may not have this much.
pub(crate) fn same_rlimits(limits: &Limits) -> Result<(), Error> {
    let rows = [
        (libc::RLIMIT_DATA, limits.memory_bytes.saturating_mul(DATA_PER_MEMORY)),
        (libc::RLIMIT_STACK, 8 << 20),
        (libc::RLIMIT_AS, libc::RLIM_INFINITY),
        (libc::RLIMIT_CPU, libc::RLIM_INFINITY),
        (libc::RLIMIT_FSIZE, libc::RLIM_INFINITY),
        (libc::RLIMIT_LOCKS, libc::RLIM_INFINITY),
        (libc::RLIMIT_RSS, libc::RLIM_INFINITY),
        (libc::RLIMIT_RTTIME, libc::RLIM_INFINITY),
    ];
    for (resource, value) in rows {
        sys::set_rlimit(resource, value)
            .map_err(|e| Error::launch(format!("set resource limit {resource} for a pinned run"), e))?;
    }
    Ok(())
}

/// Gives up every capability, for ever: bounding, ambient, inheritable, permitted, effective, and root's
/// magic.
pub(crate) fn capabilities(barriers: &mut Barriers) -> Result<(), Error> {
    let fail = |e| Error::launch("drop capabilities", e);
    // Root is an ordinary user, ambient capabilities cannot be raised, and neither can be undone
    // (securebits(7)).
    let bits = libc::SECBIT_NOROOT
        | libc::SECBIT_NOROOT_LOCKED
        | libc::SECBIT_NO_CAP_AMBIENT_RAISE
        | libc::SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED
        | libc::SECBIT_KEEP_CAPS_LOCKED;
    sys::prctl(libc::PR_SET_SECUREBITS, bits as libc::c_ulong, 0).map_err(fail)?;
    let mut dropped = 0;
    for capability in 0..64 {
        match sys::prctl(libc::PR_CAPBSET_DROP, capability, 0) {
            Ok(_) => dropped += 1,
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) => break, // past the last one this kernel knows
            Err(e) => return Err(fail(e)),
        }
    }
    sys::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong, 0).map_err(fail)?;
    sys::clear_capabilities().map_err(fail)?;
    barriers
        .installed("capabilities_empty", format!("{dropped} dropped from the bounding set, all sets empty"));
    sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0).map_err(|e| Error::launch("set no_new_privs", e))?;
    barriers.installed("no_new_privs", "set");
    Ok(())
}

/// The second wall: no device nodes, no device ioctls, no abstract sockets or signals out of the cage.
pub(crate) fn landlock(barriers: &mut Barriers) -> Result<(), Error> {
    let denied = AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev;
    let allowed: BitFlags<AccessFs> = AccessFs::from_all(LANDLOCK) & !denied;
    let apply = || -> Result<RulesetStatus, String> {
        let root = PathFd::new("/").map_err(|e| e.to_string())?;
        let status = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(LANDLOCK))
            .and_then(|r| r.scope(Scope::from_all(LANDLOCK)))
            .and_then(|r| r.create())
            .and_then(|r| r.add_rule(PathBeneath::new(root, allowed)))
            .and_then(|r| r.restrict_self())
            .map_err(|e| e.to_string())?;
        Ok(status.ruleset)
    };
    match apply() {
        Ok(RulesetStatus::FullyEnforced) => {
            barriers.installed("landlock", "files, devices, abstract sockets, signals")
        }
        Ok(RulesetStatus::PartiallyEnforced) => {
            barriers.installed("landlock", "in part");
            barriers.weaker("landlock: this kernel enforces only part of the rules");
        }
        Ok(RulesetStatus::NotEnforced) => barriers.missing("landlock", "this kernel has none"),
        Err(why) => return Err(Error::launch(format!("landlock: {why}"), io::Error::other("refused"))),
    }
    Ok(())
}

/// Joins the cgroups whose task files were opened by the supervisor, then hides the hierarchy above them.
pub(crate) fn join_cgroups(tasks: Vec<OwnedFd>, barriers: &mut Barriers) -> Result<(), Error> {
    for file in tasks {
        // "0" means the writer itself. Moving oneself takes no global lock; being moved costs milliseconds.
        sys::write(file.as_fd(), b"0")
            .map_err(|e| Error::launch(format!("join cgroup {}", file.as_raw_fd()), e))?;
    }
    sys::unshare(libc::CLONE_NEWCGROUP).map_err(|e| Error::launch("cgroup namespace", e))?;
    barriers.installed("cgroup_namespace", "rooted at the cage");
    Ok(())
}
