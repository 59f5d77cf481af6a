//! `metanode logs`: what a replica wrote.
//!
//! Only the node that runs a replica holds its output. On a testnet of this machine the right node is asked by itself;
//! elsewhere the refusal names it.

use super::failure::{Code, Done, Failure};
use super::session::{Node, Session};
use super::testnet::registry;
use metanode_rpc::limits::MAX_LOG_TAIL_BYTES;
use metanode_rpc::methods::params::LogsParams;
use metanode_rpc::views::{LogStream, LogsView};
use metanode_types::ids::Name;
use std::io::Write;
use std::time::Duration;

/// How often new output is asked for with `-f`.
const POLL: Duration = Duration::from_millis(300);

/// Show the output of a replica.
#[derive(clap::Args, Debug)]
pub struct LogsArgs {
    /// Deployment
    name: Name,
    /// Index of the replica
    #[arg(long, default_value_t = 0, value_name = "I")]
    replica: u32,
    /// Standard error rather than standard output
    #[arg(long)]
    stderr: bool,
    /// Only the last N lines
    #[arg(long, value_name = "N")]
    tail: Option<usize>,
    /// Go on showing what comes
    #[arg(short = 'f', long)]
    follow: bool,
}

/// Carries the command out.
pub fn run(session: &Session, args: LogsArgs) -> Done {
    let stream = if args.stderr { LogStream::Stderr } else { LogStream::Stdout };
    let tail = Some(MAX_LOG_TAIL_BYTES as u32);
    let params = || LogsParams { name: args.name.clone(), replica: args.replica, stream, tail };
    let (node, mut view) = holder(session, &params())?;
    view.text = last_lines(&view.text, args.tail).to_owned();
    if session.form == super::output::Form::Json {
        session.form.emit(&view, |_| String::new());
    } else {
        show(&view.text);
    }
    if !args.follow {
        return Ok(());
    }
    loop {
        std::thread::sleep(POLL);
        let now = node.ask("read the output", node.client().logs(params()))?;
        let new = unseen(&view, &now).to_owned();
        if !new.is_empty() {
            if session.form == super::output::Form::Json {
                session.form.emit(&LogsView { text: new, ..now.clone() }, |_| String::new());
            } else {
                show(&new);
            }
        }
        view = now;
    }
}

/// Asks the node given, and when it does not hold the output, the node of the same testnet that does.
fn holder(session: &Session, params: &LogsParams) -> Done<(Node, LogsView)> {
    let node = session.node()?;
    let what = "read the output";
    let refused = match node.ask(what, node.client().logs(params.clone())) {
        Ok(view) => return Ok((node, view)),
        Err(failure) if failure.code == Code::Unavailable => failure,
        Err(failure) => return Err(failure),
    };
    let Some(url) = elsewhere(session, &node, params) else { return Err(refused) };
    let other = Node::at(&url)?;
    let view = other
        .ask(what, other.client().logs(params.clone()))
        .map_err(|e| Failure { next: refused.next, ..e })?;
    Ok((other, view))
}

/// The address of the testnet's node that runs the replica.
fn elsewhere(session: &Session, node: &Node, params: &LogsParams) -> Option<String> {
    let testnet = registry::find(session.url())?;
    let deployment = node.ask("read the deployment", node.client().deployment(params.name.clone())).ok()?;
    let name = deployment.replicas.into_iter().find(|r| r.index == params.replica)?.node?;
    testnet.nodes.into_iter().find(|n| n.name == name).map(|n| n.rpc)
}

fn show(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// The last `lines` lines of `text`.
fn last_lines(text: &str, lines: Option<usize>) -> &str {
    let Some(lines) = lines else { return text };
    let body = text.strip_suffix('\n').unwrap_or(text);
    match body.rmatch_indices('\n').nth(lines.wrapping_sub(1)) {
        _ if lines == 0 => "",
        Some((at, _)) => &text[at + 1..],
        None => text,
    }
}

/// What `now` shows that `before` did not.
fn unseen<'a>(before: &LogsView, now: &'a LogsView) -> &'a str {
    // Positions count bytes of the stream. A replaced byte breaks the count, so then the end is looked for instead.
    let replaced = |view: &LogsView| view.text.contains(char::REPLACEMENT_CHARACTER);
    if !replaced(before) && !replaced(now) {
        let end = before.offset + before.text.len() as u64;
        // A stream that is shorter than before has begun anew.
        if now.offset + (now.text.len() as u64) < end {
            return &now.text;
        }
        let at = usize::try_from(end.saturating_sub(now.offset)).unwrap_or(usize::MAX);
        return now.text.get(at.min(now.text.len())..).unwrap_or(&now.text);
    }
    let mut from = before.text.len().saturating_sub(512);
    while !before.text.is_char_boundary(from) {
        from += 1;
    }
    let seen = &before.text[from..];
    now.text.rfind(seen).map_or(&now.text, |at| &now.text[at + seen.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(offset: u64, text: &str) -> LogsView {
        LogsView {
            deployment: "d".parse().expect("a name"),
            replica: 0,
            stream: LogStream::Stdout,
            node: "n".parse().expect("a name"),
            offset,
            dropped: None,
            text: text.into(),
        }
    }

    #[test]
    fn tails_count_lines() {
        assert_eq!(last_lines("a\nb\nc\n", Some(2)), "b\nc\n");
        assert_eq!(last_lines("a\nb\nc", Some(1)), "c");
        assert_eq!(last_lines("a\n", Some(5)), "a\n");
        assert_eq!(last_lines("a\nb\n", Some(0)), "");
        assert_eq!(last_lines("a\nb\n", None), "a\nb\n");
    }

    #[test]
    fn following_shows_every_byte_once() {
        assert_eq!(unseen(&view(0, "ab\n"), &view(0, "ab\ncd\n")), "cd\n");
        assert_eq!(unseen(&view(0, "ab\n"), &view(2, "\ncd\n")), "cd\n");
        assert_eq!(unseen(&view(0, "ab\n"), &view(9, "later\n")), "later\n");
        assert_eq!(unseen(&view(0, "ab\n"), &view(0, "ab\n")), "");
        assert_eq!(unseen(&view(10, "abc\n"), &view(0, "new\n")), "new\n");
        assert_eq!(unseen(&view(0, "\u{fffd}x\n"), &view(0, "\u{fffd}x\ny\n")), "y\n");
    }
}
