//! A socket that is not read while its writes are stuck.
//!
//! Owns the backpressure that jsonrpsee does not have: it reads WebSocket messages and starts a task for each,
//! whether or not the client takes the answers. Here, a client that does not read is not read either, so that
//! what it can make the node hold is bounded by the buffers of the kernel. A client that never reads again is
//! dropped because it misses its pings.

use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream with reads held back while writes are pending.
pub(super) struct Paced<S> {
    stream: S,
    stuck: bool,
    reader: Option<Waker>,
}

impl<S> Paced<S> {
    pub fn new(stream: S) -> Self {
        Paced { stream, stuck: false, reader: None }
    }

    fn note<T>(&mut self, progress: Poll<Result<T>>) -> Poll<Result<T>> {
        self.stuck = progress.is_pending();
        if !self.stuck
            && let Some(reader) = self.reader.take()
        {
            reader.wake();
        }
        progress
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        if self.stuck {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let progress = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note(progress)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let progress = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.note(progress)
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let outcome = ready!(Pin::new(&mut self.stream).poll_shutdown(cx));
        self.note(Poll::Ready(outcome))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    #[tokio::test]
    async fn reads_wait_for_writes_and_go_on_after_them() {
        let (near, mut far) = duplex(8);
        let (mut read, mut write) = tokio::io::split(Paced::new(near));
        far.write_all(b"request").await.unwrap();
        let writer = tokio::spawn(async move {
            write.write_all(&[1; 32]).await.unwrap();
            write
        });
        let mut byte = [0; 7];
        let early = tokio::time::timeout(std::time::Duration::from_millis(100), async {
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
}
