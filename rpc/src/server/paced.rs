//! A socket that is not read while its writes are stuck, and that fails when they stay stuck.
//!
//! Owns the backpressure that jsonrpsee does not have: it reads WebSocket messages and starts a task for each,
//! whether or not the client takes the answers. Here, a client that does not read is not read either, so that
//! what it can make the node hold is bounded by the buffers of the kernel. Once its kernel has taken nothing
//! for the patience given, both directions fail: neither hyper nor jsonrpsee bounds a write, and a missed ping
//! does not end one, so that such a client would hold its place for ever.

use std::future::Future;
use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// A stream with reads held back while writes are pending.
pub(super) struct Paced<S> {
    stream: S,
    patience: Duration,
    /// Ends when a write was pending for as long as the patience; `None` while none is.
    stuck: Option<Pin<Box<Sleep>>>,
    /// A write was stuck for too long: nothing goes on.
    given_up: bool,
    /// Who waits to read, for the peer or for a write to go on.
    reader: Option<Waker>,
}

impl<S> Paced<S> {
    pub fn new(stream: S, patience: Duration) -> Self {
        Paced { stream, patience, stuck: None, given_up: false, reader: None }
    }

    fn note<T>(&mut self, progress: Poll<Result<T>>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        let progress = if progress.is_pending() {
            let patience = self.patience;
            let end = self.stuck.get_or_insert_with(|| Box::pin(sleep(patience)));
            ready!(end.as_mut().poll(cx));
            self.given_up = true;
            Poll::Ready(Err(given_up()))
        } else {
            progress
        };
        if self.stuck.take().is_some()
            && let Some(reader) = self.reader.take()
        {
            reader.wake();
        }
        progress
    }
}

fn given_up() -> Error {
    Error::new(ErrorKind::TimedOut, "the client takes nothing of what is sent to it")
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        if self.given_up {
            return Poll::Ready(Err(given_up()));
        }
        if self.stuck.is_none()
            && let Poll::Ready(outcome) = Pin::new(&mut self.stream).poll_read(cx, into)
        {
            return Poll::Ready(outcome);
        }
        match &mut self.reader {
            Some(reader) => reader.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        if self.given_up {
            return Poll::Ready(Err(given_up()));
        }
        let progress = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note(progress, cx)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        if self.given_up {
            return Poll::Ready(Err(given_up()));
        }
        let progress = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.note(progress, cx)
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let outcome = ready!(Pin::new(&mut self.stream).poll_shutdown(cx));
        self.note(Poll::Ready(outcome), cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    #[tokio::test]
    async fn reads_wait_for_writes_and_go_on_after_them() {
        let (near, mut far) = duplex(8);
        let (mut read, mut write) = tokio::io::split(Paced::new(near, Duration::from_secs(60)));
        far.write_all(b"request").await.unwrap();
        let writer = tokio::spawn(async move {
            write.write_all(&[1; 32]).await.unwrap();
            write
        });
        let mut byte = [0; 7];
        let early = tokio::time::timeout(Duration::from_millis(100), async {
            tokio::task::yield_now().await;
            read.read_exact(&mut byte).await
        });
        assert!(early.await.is_err(), "nothing is read while the answer is stuck");
        let mut answer = [0; 32];
        far.read_exact(&mut answer).await.unwrap();
        let _write = writer.await.unwrap();
        read.read_exact(&mut byte).await.unwrap();
        assert_eq!(&byte, b"request");
    }

    #[tokio::test]
    async fn what_stays_stuck_fails_in_both_directions_and_for_good() {
        let (near, mut far) = duplex(8);
        let (mut read, mut write) = tokio::io::split(Paced::new(near, Duration::from_millis(50)));
        // It fits, so nothing is stuck and both ends may wait for as long as they like.
        write.write_all(&[1; 8]).await.unwrap();
        let silent = tokio::time::timeout(Duration::from_millis(200), read.read_u8()).await;
        assert!(silent.is_err(), "silence is no fault");
        let reader = tokio::spawn(async move { read.read_u8().await });
        // The reader waits for the peer before a write is stuck, and must be told nevertheless.
        tokio::task::yield_now().await;
        let stuck = write.write_all(&[1]).await.unwrap_err();
        assert_eq!(stuck.kind(), ErrorKind::TimedOut);
        let told = tokio::time::timeout(Duration::from_secs(60), reader).await.expect("the reader is told");
        assert_eq!(told.unwrap().unwrap_err().kind(), ErrorKind::TimedOut);
        far.read_exact(&mut [0; 8]).await.unwrap();
        assert_eq!(write.write_all(&[1]).await.unwrap_err().kind(), ErrorKind::TimedOut);
    }
}
