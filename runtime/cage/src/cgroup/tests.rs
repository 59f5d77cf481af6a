//! Tests of the detection: version 1, version 2, and machines that mix them.

use std::path::Path;

use super::{Controller, Hierarchy, parse_mounts};

fn home(found: &[Hierarchy], controller: Controller) -> Option<(&Path, bool)> {
    found.iter().find(|h| h.serves.contains(&controller)).map(|h| (h.mount.as_path(), h.unified))
}

#[test]
fn each_controller_is_found_where_it_is_on_a_mixed_machine() {
    let mounts = "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n\
        cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0\n\
        cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,relatime,cpu,cpuacct 0 0\n\
        cgroup /sys/fs/cgroup/systemd cgroup rw,name=systemd 0 0\n\
        proc /proc proc rw 0 0\nbroken line\n";
    let found = parse_mounts(mounts, |_| "pids hugetlb".into());
    assert_eq!(home(&found, Controller::Pids), Some((Path::new("/sys/fs/cgroup/unified"), true)));
    assert_eq!(home(&found, Controller::Memory), Some((Path::new("/sys/fs/cgroup/memory"), false)));
    assert_eq!(home(&found, Controller::Cpu), Some((Path::new("/sys/fs/cgroup/cpu,cpuacct"), false)));
    assert_eq!(home(&found, Controller::Cpuacct), home(&found, Controller::Cpu));
    assert_eq!(found.len(), 3, "hierarchies that serve nothing needed are left out: {found:?}");
}

#[test]
fn version_two_measures_cpu_time_with_its_cpu_controller() {
    let found =
        parse_mounts("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n", |_| "cpuset cpu io memory pids".into());
    assert_eq!(found.len(), 1);
    for controller in [Controller::Memory, Controller::Pids, Controller::Cpu, Controller::Cpuacct] {
        assert_eq!(home(&found, controller), Some((Path::new("/sys/fs/cgroup"), true)));
    }
}

#[test]
fn a_machine_without_control_groups_offers_none() {
    assert!(parse_mounts("", |_| String::new()).is_empty());
    assert!(parse_mounts("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0", |_| String::new()).is_empty());
}
