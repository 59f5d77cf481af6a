//! What links, what is refused, and the two generations side by side.

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME as ADAPTER, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER as COMMAND,
};
use wit_component::{ComponentEncoder, dummy_module};
use wit_parser::ManglingAndAbi;

use super::*;

/// A command module of preview 1 as a component, by the adapter that everyone uses.
fn adapted(module: &[u8]) -> Vec<u8> {
    ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(|encoder| encoder.adapter(ADAPTER, COMMAND))
        .and_then(|mut encoder| encoder.encode())
        .expect("a component")
}

#[test]
fn every_function_of_every_interface_links_with_the_types_of_the_real_wit() {
    let (resolve, world) = &*guest::WIT;
    let component = guest::wrap(dummy_module(resolve, *world, ManglingAndAbi::Standard32));
    crate::wasm::validate(&component).expect("a valid component");
    // The dummy's functions are all `unreachable`: it gets that far only when everything it imports was there.
    let ran = Run::of(component).go();
    assert_eq!(trap_of(&ran), TrapKind::Unreachable);
    assert_eq!(ran.outcome.host_calls, 0);
}

#[test]
fn the_binary_says_which_kind_it_is() {
    let mut guest = Guest::new();
    let [at, length] = guest.text(b"hello, components\n");
    guest.dump_at(at, length);
    let ran = guest.run();
    assert_eq!(ran.stdout, b"hello, components\n");
    assert_eq!((ran.outcome.end, ran.outcome.host_calls), (End::Exited { code: 0 }, 2));
    let ran = Run::of(guest.component("(i32.const 1)")).go();
    assert_eq!(ran.outcome.end, End::Exited { code: 1 }, "run said that it failed");
    let text = b"(component (core module))";
    let binary = crate::wasm::to_binary(text).expect("component text");
    assert_eq!(binary[4..8], [0x0d, 0, 1, 0]);
    crate::wasm::validate(&binary).expect("a valid component");
    assert!(crate::wasm::validate(b"\0asm\x0d\0\x01\0\xff").is_err());
}

#[test]
fn a_component_that_is_no_command_or_wants_more_is_refused() {
    let refused = |text: &str| {
        let run = Run::of(crate::wasm::to_binary(text.as_bytes()).expect("component text"));
        match run.try_go() {
            Err(Error::StartModule { reason }) => reason,
            other => panic!("{text}: {other:?}"),
        }
    };
    assert!(refused("(component)").contains("not a command component"));
    let run = "(core module $m (func (export \"run\") (result i32) (i32.const 0))) (core instance $i (instantiate $m))
        (func $run (result (result)) (canon lift (core func $i \"run\")))
        (instance $out (export \"run\" (func $run))) (export \"wasi:cli/run@0.2.3\" (instance $out))";
    assert!(
        refused(&format!(
            "(component (import \"host:own/secrets\" (instance (export \"read\" (func)))) {run})"
        ))
        .contains("secrets")
    );
    let other_type =
        "(import \"wasi:random/random@0.2.0\" (instance (export \"get-random-u64\" (func (result u32)))))";
    assert!(refused(&format!("(component {other_type} {run})")).contains("get-random-u64"));
    let same = other_type.replace("u32", "u64");
    let ran =
        Run::of(crate::wasm::to_binary(format!("(component {same} {run})").as_bytes()).expect("text")).go();
    assert_eq!(ran.outcome.end, End::Exited { code: 0 }, "an older 0.2 is the same interface");
}

#[test]
fn programs_of_preview_1_behave_alike_through_the_adapter() {
    let mut script = Script::new();
    script.call("args_sizes_get", &[OUT, OUT + 4]).dump(OUT, 8);
    script.call("random_get", &[super::super::BUFFER, 16]).dump(super::super::BUFFER, 16);
    script.path_call("path_create_directory", b"d").path_call("path_create_directory", b"d");
    script.open(b"d/f", CREAT).write(4, b"0123456789").call("fd_seek", &[4, 2, 0, OUT]).read(4, 3);
    script.dump(super::super::BUFFER, 3).open(b"d/none", 0).open(b"../x", CREAT).read(0, 5);
    script.dump(super::super::BUFFER, 5).path_call("path_remove_directory", b"d");
    script.path_call("path_unlink_file", b"d/f").path_call("path_remove_directory", b"d");
    let mut run = Run::new(&script.wat());
    run.spec.args = vec!["prog".into(), "x".into()];
    run.stdin = b"input".to_vec();
    let core = run.go();
    let mut run = Run { module: adapted(&run.module), ..run };
    run.spec.module = digest_of(&run.module);
    let component = run.go();
    assert_eq!(component.outcome.end, End::Exited { code: 0 });
    assert_eq!(core.stdout, component.stdout);
    // What leaves its directory is `notcapable` in preview 1 and `not-permitted` since, which the adapter calls `perm`.
    let renamed = |errno: &u8| if *errno == NOTCAPABLE { PERM } else { *errno };
    assert_eq!(core.stderr.iter().map(renamed).collect::<Vec<_>>(), component.stderr);
    assert_eq!(core.outcome.tree, component.outcome.tree);
    let exit = Run::of(adapted(&Run::new(&module("(call $proc_exit (i32.const 1))")).module)).go();
    assert_eq!(exit.outcome.end, End::Exited { code: 1 });
}

#[test]
fn sockets_are_there_and_refuse() {
    let mut guest = Guest::new();
    guest.call("wasi:sockets/instance-network#instance-network", &[], BUFFER);
    guest.call("wasi:sockets/tcp-create-socket#create-tcp-socket", &[I(0)], RET).dump(RET, 8);
    guest.call("wasi:sockets/udp-create-socket#create-udp-socket", &[I(1)], RET).dump(RET, 8);
    let [at, length] = guest.text(b"example.org");
    guest.call("wasi:sockets/ip-name-lookup#resolve-addresses", &[At(BUFFER), at, length], RET).dump(RET, 8);
    guest.call("wasi:sockets/network#[resource-drop]network", &[At(BUFFER)], RET);
    let ran = guest.run();
    assert_eq!(ran.outcome.end, End::Exited { code: 0 });
    let denied = |at: usize| (ran.stdout[at], ran.stdout[at + 4]);
    assert_eq!([denied(0), denied(8), denied(16)], [(1, 1); 3], "an error, access-denied");
    let mut guest = Guest::new();
    guest.call("wasi:sockets/tcp#[method]tcp-socket.is-listening", &[I(1)], RET);
    assert_eq!(trap_of(&guest.run()), TrapKind::BadCall);
}
