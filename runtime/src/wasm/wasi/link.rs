//! Owns the names and signatures of the 46 imports, and the gate every call passes: tick the clock, borrow the
//! guest's memory, run the call, charge its fuel. Refuses to run a call's effects for free or to let one panic on a
//! pointer.

use wasmtime::{AsContextMut as _, Caller, Extern, Linker, StoreContextMut, Trap};

use super::Host;
use super::abi::{Errno, Guest, Outcome};
use super::calls::number_of_p1;
use super::paths::OpenRequest;

/// The import module's name.
const MODULE: &str = "wasi_snapshot_preview1";
/// Fuel for entering the host.
const CALL_FUEL: u64 = 100;

/// The guest asked to end with this code.
#[derive(Debug)]
pub(crate) struct Exit(pub(crate) u32);

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit with code {}", self.0)
    }
}

impl std::error::Error for Exit {}

/// Takes the fuel of one call that moved `moved` bytes.
pub(super) fn pay(store: &mut StoreContextMut<'_, Host>, moved: u64) -> wasmtime::Result<()> {
    let cost = CALL_FUEL + moved + std::mem::take(&mut store.data_mut().fs.work);
    let fuel = store.get_fuel()?;
    store.set_fuel(fuel.saturating_sub(cost))?;
    if fuel < cost { Err(Trap::OutOfFuel.into()) } else { Ok(()) }
}

fn gate(
    caller: &mut Caller<'_, Host>,
    number: u32,
    args: &[u64],
    call: impl FnOnce(&mut Host, &mut Guest<'_>) -> Outcome,
) -> wasmtime::Result<i32> {
    let memory = caller.get_export("memory").and_then(Extern::into_memory);
    let (bytes, host): (&mut [u8], &mut Host) = match &memory {
        Some(memory) => memory.data_and_store_mut(&mut *caller),
        // Without an exported memory every pointer is out of range.
        None => (&mut [], caller.data_mut()),
    };
    host.enter();
    let mut guest = Guest::new(bytes);
    let errno = match call(host, &mut guest) {
        Ok(()) => 0,
        Err(errno) => errno as i32,
    };
    let (moved, touched) = guest.finish();
    host.record(number, args, i64::from(errno), &[&touched]);
    pay(&mut caller.as_context_mut(), moved)?;
    Ok(errno)
}

/// An argument as the trace keeps it.
trait Argument {
    fn word(self) -> u64;
}

impl Argument for u32 {
    fn word(self) -> u64 {
        self.into()
    }
}

impl Argument for u64 {
    fn word(self) -> u64 {
        self
    }
}

impl Argument for i64 {
    fn word(self) -> u64 {
        self.cast_unsigned()
    }
}

/// Defines one import: `define!(linker, name, |host, guest, arg: type, …| outcome)`.
macro_rules! define {
    ($linker:ident, $name:ident, |$host:ident, $guest:ident $(, $arg:ident : $type:ty)*| $body:expr) => {
        let number = number_of_p1(stringify!($name))?;
        $linker.func_wrap(
            MODULE,
            stringify!($name),
            move |mut caller: Caller<'_, Host> $(, $arg: $type)*| -> wasmtime::Result<i32> {
                gate(&mut caller, number, &[$(Argument::word($arg)),*], |$host, $guest| $body)
            },
        )?;
    };
}

/// Defines all imports.
pub(crate) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    link_process(linker)?;
    link_descriptors(linker)?;
    link_descriptor_io(linker)?;
    link_paths(linker)?;
    link_path_changes(linker)?;
    link_sockets(linker)
}

fn link_process(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    define!(linker, args_get, |host, guest, pointers: u32, buffer: u32| {
        Host::strings_get(guest, &host.args, pointers, buffer)
    });
    define!(linker, args_sizes_get, |host, guest, count: u32, bytes: u32| {
        Host::strings_sizes(guest, &host.args, count, bytes)
    });
    define!(linker, environ_get, |host, guest, pointers: u32, buffer: u32| {
        Host::strings_get(guest, &host.env, pointers, buffer)
    });
    define!(linker, environ_sizes_get, |host, guest, count: u32, bytes: u32| {
        Host::strings_sizes(guest, &host.env, count, bytes)
    });
    define!(linker, clock_res_get, |host, guest, id: u32, out: u32| host.clock_res_get(guest, id, out));
    define!(linker, clock_time_get, |host, guest, id: u32, _precision: u64, out: u32| {
        host.clock_time_get(guest, id, out)
    });
    define!(linker, poll_oneoff, |host, guest, subscriptions: u32, events: u32, count: u32, out: u32| {
        host.poll_oneoff(guest, subscriptions, events, count, out)
    });
    define!(linker, random_get, |host, guest, buffer: u32, length: u32| host
        .random_get(guest, buffer, length));
    define!(linker, sched_yield, |_host, _guest| Ok(()));
    define!(linker, proc_raise, |_host, _guest, _signal: u32| Err(Errno::Nosys));
    let number = number_of_p1("proc_exit")?;
    linker.func_wrap(
        MODULE,
        "proc_exit",
        move |mut caller: Caller<'_, Host>, code: u32| -> wasmtime::Result<()> {
            gate(&mut caller, number, &[code.into()], |_, _| Ok(()))?;
            Err(wasmtime::Error::new(Exit(code)))
        },
    )?;
    Ok(())
}

fn link_descriptors(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    define!(linker, fd_advise, |host, _guest, fd: u32, _offset: u64, _length: u64, advice: u32| {
        host.fd_advise(fd, advice)
    });
    define!(linker, fd_allocate, |host, _guest, fd: u32, offset: u64, length: u64| {
        host.fd_allocate(fd, offset, length)
    });
    define!(linker, fd_close, |host, _guest, fd: u32| host.fd_close(fd));
    define!(linker, fd_datasync, |host, _guest, fd: u32| host.fd_sync(fd));
    define!(linker, fd_sync, |host, _guest, fd: u32| host.fd_sync(fd));
    define!(linker, fd_fdstat_get, |host, guest, fd: u32, out: u32| host.fd_fdstat_get(guest, fd, out));
    define!(linker, fd_fdstat_set_flags, |host, _guest, fd: u32, flags: u32| host
        .fd_fdstat_set_flags(fd, flags));
    define!(linker, fd_fdstat_set_rights, |host, _guest, fd: u32, base: u64, inheriting: u64| {
        host.fd_fdstat_set_rights(fd, base, inheriting)
    });
    define!(linker, fd_filestat_get, |host, guest, fd: u32, out: u32| host.fd_filestat_get(guest, fd, out));
    define!(linker, fd_filestat_set_size, |host, _guest, fd: u32, size: u64| host
        .fd_filestat_set_size(fd, size));
    define!(linker, fd_filestat_set_times, |host,
                                            _guest,
                                            fd: u32,
                                            accessed: u64,
                                            modified: u64,
                                            flags: u32| {
        host.fd_filestat_set_times(fd, accessed, modified, flags)
    });
    define!(linker, fd_prestat_get, |host, guest, fd: u32, out: u32| host.fd_prestat_get(guest, fd, out));
    define!(linker, fd_prestat_dir_name, |host, guest, fd: u32, out: u32, length: u32| {
        host.fd_prestat_dir_name(guest, fd, out, length)
    });
    define!(linker, fd_renumber, |host, _guest, from: u32, to: u32| host.fd_renumber(from, to));
    Ok(())
}

fn link_descriptor_io(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    define!(linker, fd_read, |host, guest, fd: u32, iovs: u32, count: u32, out: u32| {
        host.fd_read(guest, fd, iovs, count, out)
    });
    define!(linker, fd_pread, |host, guest, fd: u32, iovs: u32, count: u32, offset: u64, out: u32| {
        host.fd_pread(guest, fd, iovs, count, offset, out)
    });
    define!(linker, fd_write, |host, guest, fd: u32, iovs: u32, count: u32, out: u32| {
        host.fd_write(guest, fd, iovs, count, out)
    });
    define!(linker, fd_pwrite, |host, guest, fd: u32, iovs: u32, count: u32, offset: u64, out: u32| {
        host.fd_pwrite(guest, fd, iovs, count, offset, out)
    });
    define!(linker, fd_readdir, |host, guest, fd: u32, buffer: u32, length: u32, cookie: u64, out: u32| {
        host.fd_readdir(guest, fd, buffer, length, cookie, out)
    });
    define!(linker, fd_seek, |host, guest, fd: u32, delta: i64, whence: u32, out: u32| {
        host.fd_seek(guest, fd, delta, whence, out)
    });
    define!(linker, fd_tell, |host, guest, fd: u32, out: u32| host.fd_tell(guest, fd, out));
    Ok(())
}

fn link_paths(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    define!(linker, path_create_directory, |host, guest, fd: u32, path: u32, length: u32| {
        host.path_create_directory(guest, fd, (path, length))
    });
    define!(linker, path_filestat_get, |host,
                                        guest,
                                        fd: u32,
                                        lookup: u32,
                                        path: u32,
                                        length: u32,
                                        out: u32| {
        host.path_filestat_get(guest, fd, lookup, (path, length), out)
    });
    define!(linker, path_filestat_set_times, |host,
                                              guest,
                                              fd: u32,
                                              lookup: u32,
                                              path: u32,
                                              length: u32,
                                              accessed: u64,
                                              modified: u64,
                                              flags: u32| {
        host.path_filestat_set_times(guest, fd, lookup, (path, length), (accessed, modified), flags)
    });
    define!(linker, path_link, |host,
                                guest,
                                from_fd: u32,
                                lookup: u32,
                                from: u32,
                                from_length: u32,
                                to_fd: u32,
                                to: u32,
                                to_length: u32| {
        host.path_link(guest, from_fd, lookup, (from, from_length), to_fd, (to, to_length))
    });
    define!(linker, path_open, |host,
                                guest,
                                fd: u32,
                                lookup: u32,
                                path: u32,
                                length: u32,
                                oflags: u32,
                                base: u64,
                                inheriting: u64,
                                fdflags: u32,
                                out: u32| {
        let request = OpenRequest { lookup, oflags, base, inheriting, fdflags };
        host.path_open(guest, fd, (path, length), &request, out)
    });
    Ok(())
}

fn link_path_changes(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    define!(linker, path_readlink, |host,
                                    guest,
                                    fd: u32,
                                    path: u32,
                                    length: u32,
                                    buffer: u32,
                                    buffer_length: u32,
                                    out: u32| {
        host.path_readlink(guest, fd, (path, length), (buffer, buffer_length), out)
    });
    define!(linker, path_remove_directory, |host, guest, fd: u32, path: u32, length: u32| {
        host.path_remove_directory(guest, fd, (path, length))
    });
    define!(linker, path_rename, |host,
                                  guest,
                                  from_fd: u32,
                                  from: u32,
                                  from_length: u32,
                                  to_fd: u32,
                                  to: u32,
                                  to_length: u32| {
        host.path_rename(guest, from_fd, (from, from_length), to_fd, (to, to_length))
    });
    define!(linker, path_symlink, |host,
                                   guest,
                                   target: u32,
                                   target_length: u32,
                                   fd: u32,
                                   path: u32,
                                   length: u32| {
        host.path_symlink(guest, (target, target_length), fd, (path, length))
    });
    define!(linker, path_unlink_file, |host, guest, fd: u32, path: u32, length: u32| {
        host.path_unlink_file(guest, fd, (path, length))
    });
    Ok(())
}

/// There are no sockets: an open descriptor is not one, and another is no descriptor.
fn link_sockets(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    define!(linker, sock_accept, |host, _guest, fd: u32, _flags: u32, _out: u32| host.no_socket(fd));
    define!(linker, sock_recv, |host,
                                _guest,
                                fd: u32,
                                _iovs: u32,
                                _count: u32,
                                _flags: u32,
                                _length: u32,
                                _out: u32| host.no_socket(fd));
    define!(linker, sock_send, |host, _guest, fd: u32, _iovs: u32, _count: u32, _flags: u32, _out: u32| {
        host.no_socket(fd)
    });
    define!(linker, sock_shutdown, |host, _guest, fd: u32, _how: u32| host.no_socket(fd));
    Ok(())
}

impl Host {
    fn no_socket(&mut self, fd: u32) -> Outcome {
        self.descriptor(fd)?;
        Err(Errno::Notsock)
    }
}
