//! Owns the numbers and names of the host calls as the trace knows them. Numbers are frozen with the cage ABI: a new
//! call goes to the end of its list. Preview 1 counts from 1, WASI 0.2 from 1000; 0 is the end of the run.

use super::super::recording::END_EVENT;

const P1_FIRST: u32 = 1;
const P2_FIRST: u32 = 1000;

/// Preview 1.
const P1: [&str; 46] = [
    "args_get",
    "args_sizes_get",
    "environ_get",
    "environ_sizes_get",
    "clock_res_get",
    "clock_time_get",
    "fd_advise",
    "fd_allocate",
    "fd_close",
    "fd_datasync",
    "fd_fdstat_get",
    "fd_fdstat_set_flags",
    "fd_fdstat_set_rights",
    "fd_filestat_get",
    "fd_filestat_set_size",
    "fd_filestat_set_times",
    "fd_pread",
    "fd_prestat_get",
    "fd_prestat_dir_name",
    "fd_pwrite",
    "fd_read",
    "fd_readdir",
    "fd_renumber",
    "fd_seek",
    "fd_sync",
    "fd_tell",
    "fd_write",
    "path_create_directory",
    "path_filestat_get",
    "path_filestat_set_times",
    "path_link",
    "path_open",
    "path_readlink",
    "path_remove_directory",
    "path_rename",
    "path_symlink",
    "path_unlink_file",
    "poll_oneoff",
    "proc_exit",
    "proc_raise",
    "random_get",
    "sched_yield",
    "sock_accept",
    "sock_recv",
    "sock_send",
    "sock_shutdown",
];

/// WASI 0.2: interface, `#`, function. A resource's bare name is the dropping of its handle; all of `wasi:sockets`
/// is one call, whose arguments say which.
const P2: [&str; 80] = [
    "wasi:io/error#error",
    "wasi:io/error#[method]error.to-debug-string",
    "wasi:io/streams#input-stream",
    "wasi:io/streams#output-stream",
    "wasi:io/streams#[method]input-stream.read",
    "wasi:io/streams#[method]input-stream.blocking-read",
    "wasi:io/streams#[method]input-stream.skip",
    "wasi:io/streams#[method]input-stream.blocking-skip",
    "wasi:io/streams#[method]input-stream.subscribe",
    "wasi:io/streams#[method]output-stream.check-write",
    "wasi:io/streams#[method]output-stream.write",
    "wasi:io/streams#[method]output-stream.blocking-write-and-flush",
    "wasi:io/streams#[method]output-stream.flush",
    "wasi:io/streams#[method]output-stream.blocking-flush",
    "wasi:io/streams#[method]output-stream.subscribe",
    "wasi:io/streams#[method]output-stream.write-zeroes",
    "wasi:io/streams#[method]output-stream.blocking-write-zeroes-and-flush",
    "wasi:io/streams#[method]output-stream.splice",
    "wasi:io/streams#[method]output-stream.blocking-splice",
    "wasi:io/poll#pollable",
    "wasi:io/poll#[method]pollable.ready",
    "wasi:io/poll#[method]pollable.block",
    "wasi:io/poll#poll",
    "wasi:clocks/monotonic-clock#now",
    "wasi:clocks/monotonic-clock#resolution",
    "wasi:clocks/monotonic-clock#subscribe-instant",
    "wasi:clocks/monotonic-clock#subscribe-duration",
    "wasi:clocks/wall-clock#now",
    "wasi:clocks/wall-clock#resolution",
    "wasi:random/random#get-random-bytes",
    "wasi:random/random#get-random-u64",
    "wasi:random/insecure#get-insecure-random-bytes",
    "wasi:random/insecure#get-insecure-random-u64",
    "wasi:random/insecure-seed#insecure-seed",
    "wasi:cli/environment#get-environment",
    "wasi:cli/environment#get-arguments",
    "wasi:cli/environment#initial-cwd",
    "wasi:cli/exit#exit",
    "wasi:cli/exit#exit-with-code",
    "wasi:cli/stdin#get-stdin",
    "wasi:cli/stdout#get-stdout",
    "wasi:cli/stderr#get-stderr",
    "wasi:cli/terminal-input#terminal-input",
    "wasi:cli/terminal-output#terminal-output",
    "wasi:cli/terminal-stdin#get-terminal-stdin",
    "wasi:cli/terminal-stdout#get-terminal-stdout",
    "wasi:cli/terminal-stderr#get-terminal-stderr",
    "wasi:filesystem/preopens#get-directories",
    "wasi:filesystem/types#descriptor",
    "wasi:filesystem/types#directory-entry-stream",
    "wasi:filesystem/types#filesystem-error-code",
    "wasi:filesystem/types#[method]descriptor.read-via-stream",
    "wasi:filesystem/types#[method]descriptor.write-via-stream",
    "wasi:filesystem/types#[method]descriptor.append-via-stream",
    "wasi:filesystem/types#[method]descriptor.read-directory",
    "wasi:filesystem/types#[method]directory-entry-stream.read-directory-entry",
    "wasi:filesystem/types#[method]descriptor.read",
    "wasi:filesystem/types#[method]descriptor.write",
    "wasi:filesystem/types#[method]descriptor.set-size",
    "wasi:filesystem/types#[method]descriptor.advise",
    "wasi:filesystem/types#[method]descriptor.sync",
    "wasi:filesystem/types#[method]descriptor.sync-data",
    "wasi:filesystem/types#[method]descriptor.get-flags",
    "wasi:filesystem/types#[method]descriptor.get-type",
    "wasi:filesystem/types#[method]descriptor.stat",
    "wasi:filesystem/types#[method]descriptor.set-times",
    "wasi:filesystem/types#[method]descriptor.is-same-object",
    "wasi:filesystem/types#[method]descriptor.metadata-hash",
    "wasi:filesystem/types#[method]descriptor.open-at",
    "wasi:filesystem/types#[method]descriptor.stat-at",
    "wasi:filesystem/types#[method]descriptor.metadata-hash-at",
    "wasi:filesystem/types#[method]descriptor.set-times-at",
    "wasi:filesystem/types#[method]descriptor.create-directory-at",
    "wasi:filesystem/types#[method]descriptor.remove-directory-at",
    "wasi:filesystem/types#[method]descriptor.unlink-file-at",
    "wasi:filesystem/types#[method]descriptor.readlink-at",
    "wasi:filesystem/types#[method]descriptor.symlink-at",
    "wasi:filesystem/types#[method]descriptor.link-at",
    "wasi:filesystem/types#[method]descriptor.rename-at",
    "wasi:sockets#*",
];

/// The name of a call in a trace.
#[must_use]
pub fn call_name(number: u32) -> Option<&'static str> {
    if number == END_EVENT {
        return Some("end");
    }
    let at = |first: u32| number.checked_sub(first).and_then(|index| usize::try_from(index).ok());
    let named = |first, list: &'static [&'static str]| at(first).and_then(|index| list.get(index)).copied();
    named(P2_FIRST, &P2).or_else(|| named(P1_FIRST, &P1))
}

/// The number of a function of WASI 0.2.
pub(crate) fn number_of(interface: &str, function: &str) -> wasmtime::Result<u32> {
    let is = |name: &&str| name.split_once('#') == Some((interface, function));
    match (P2_FIRST..).zip(P2).find(|(_, name)| is(name)) {
        Some((number, _)) => Ok(number),
        None => Err(wasmtime::Error::msg(format!("{interface}#{function} has no number"))),
    }
}

/// The number of a function of preview 1.
pub(crate) fn number_of_p1(function: &str) -> wasmtime::Result<u32> {
    match (P1_FIRST..).zip(P1).find(|(_, name)| *name == function) {
        Some((number, _)) => Ok(number),
        None => Err(wasmtime::Error::msg(format!("{function} has no number"))),
    }
}
