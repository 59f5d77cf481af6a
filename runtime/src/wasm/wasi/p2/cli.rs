//! Owns `wasi:cli`: arguments, environment, the end of the program, and the three standard streams. Refuses
//! terminals: no stream is one.

use wasmtime::component::{Linker, Resource};

use super::super::{Exit, Host};
use super::Interface;
use super::types::{InputStream, OutputStream, Sink, TerminalInput, TerminalOutput};

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    let mut environment = Interface::open(linker, "wasi:cli/environment")?;
    environment.call("get-environment", |host, (): ()| Ok(host.environment()))?;
    environment.call("get-arguments", |host, (): ()| {
        Ok(host.args.iter().map(|text| String::from_utf8_lossy(text).into_owned()).collect::<Vec<_>>())
    })?;
    environment.call("initial-cwd", |_, (): ()| Ok(Some("/".to_owned())))?;

    let mut exit = Interface::open(linker, "wasi:cli/exit")?;
    exit.act("exit", |_, (status,): (Result<(), ()>,)| {
        Err(wasmtime::Error::new(Exit(u32::from(status.is_err()))))
    })?;
    exit.act("exit-with-code", |_, (code,): (u8,)| Err(wasmtime::Error::new(Exit(code.into()))))?;

    let mut stdin = Interface::open(linker, "wasi:cli/stdin")?;
    stdin.call("get-stdin", |host, (): ()| Ok(host.resources.push(InputStream::Stdin)?))?;
    let mut stdout = Interface::open(linker, "wasi:cli/stdout")?;
    stdout.call("get-stdout", |host, (): ()| host.output(Sink::Stdout))?;
    let mut stderr = Interface::open(linker, "wasi:cli/stderr")?;
    stderr.call("get-stderr", |host, (): ()| host.output(Sink::Stderr))?;
    link_terminals(linker)
}

fn link_terminals(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    let mut input = Interface::open(linker, "wasi:cli/terminal-input")?;
    input.resource("terminal-input", |_, _: Resource<TerminalInput>| Ok(()))?;
    let mut output = Interface::open(linker, "wasi:cli/terminal-output")?;
    output.resource("terminal-output", |_, _: Resource<TerminalOutput>| Ok(()))?;
    let mut stdin = Interface::open(linker, "wasi:cli/terminal-stdin")?;
    stdin.call("get-terminal-stdin", |_, (): ()| Ok(None::<Resource<TerminalInput>>))?;
    let mut stdout = Interface::open(linker, "wasi:cli/terminal-stdout")?;
    stdout.call("get-terminal-stdout", |_, (): ()| Ok(None::<Resource<TerminalOutput>>))?;
    let mut stderr = Interface::open(linker, "wasi:cli/terminal-stderr")?;
    stderr.call("get-terminal-stderr", |_, (): ()| Ok(None::<Resource<TerminalOutput>>))
}

impl Host {
    fn environment(&self) -> Vec<(String, String)> {
        let pair = |text: &Vec<u8>| {
            let text = String::from_utf8_lossy(text);
            let (name, value) = text.split_once('=').unwrap_or((&text, ""));
            (name.to_owned(), value.to_owned())
        };
        self.env.iter().map(pair).collect()
    }

    pub(super) fn output(&mut self, sink: Sink) -> wasmtime::Result<Resource<OutputStream>> {
        Ok(self.resources.push(OutputStream { sink, permit: 0, closed: false })?)
    }
}
