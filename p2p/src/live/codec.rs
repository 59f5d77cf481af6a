//! How requests and responses are framed on a stream.
//!
//! Owns the two frames and their bounds. Reads grow with what arrives, never with what a length claims.
//!
//! ```text
//!   request  = length (4 bytes, big endian) | bytes
//!   response = status (1 byte: 0 answered, 1 refused) | length (4 bytes, big endian) | bytes
//! ```

use crate::Protocol;
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::{StreamProtocol, request_response};
use std::io;

const ANSWERED: u8 = 0;
const REFUSED: u8 = 1;

/// Frames one protocol.
#[derive(Clone, Debug)]
pub(crate) struct Codec {
    protocol: Protocol,
}

/// What a peer answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Bytes(Vec<u8>),
    Refused,
}

impl Codec {
    pub(crate) fn new(protocol: Protocol) -> Self {
        Codec { protocol }
    }
}

async fn read_frame<T: AsyncRead + Unpin + Send>(io: &mut T, cap: usize) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    io.read_exact(&mut length).await?;
    let length = u32::from_be_bytes(length) as usize;
    if length > cap {
        return Err(invalid(format!("{length} bytes announced, at most {cap} are allowed")));
    }
    let mut bytes = Vec::with_capacity(length.min(64 * 1024));
    let read = io.take(length as u64).read_to_end(&mut bytes).await?;
    if read < length {
        return Err(invalid(format!("{length} bytes announced, {read} sent")));
    }
    Ok(bytes)
}

async fn write_frame<T: AsyncWrite + Unpin + Send>(io: &mut T, bytes: &[u8], cap: usize) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).ok().filter(|_| bytes.len() <= cap);
    let length =
        length.ok_or_else(|| invalid(format!("{} bytes to send, at most {cap} are allowed", bytes.len())))?;
    io.write_all(&length.to_be_bytes()).await?;
    io.write_all(bytes).await
}

fn invalid(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

impl request_response::Codec for Codec {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Answer;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        read_frame(io, self.protocol.max_request()).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Answer>
    where
        T: AsyncRead + Unpin + Send,
    {
        let mut status = [0];
        io.read_exact(&mut status).await?;
        match status[0] {
            ANSWERED => read_frame(io, self.protocol.max_response()).await.map(Answer::Bytes),
            REFUSED => Ok(Answer::Refused),
            other => Err(invalid(format!("{other} is not a status"))),
        }
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, request: Vec<u8>) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write_frame(io, &request, self.protocol.max_request()).await
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, io: &mut T, answer: Answer) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        match answer {
            Answer::Bytes(bytes) => {
                io.write_all(&[ANSWERED]).await?;
                write_frame(io, &bytes, self.protocol.max_response()).await
            }
            Answer::Refused => io.write_all(&[REFUSED]).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::io::Cursor;
    use libp2p::request_response::Codec as _;
    use proptest::prelude::*;

    const NAME: StreamProtocol = StreamProtocol::new("/test");

    fn block_on<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    #[test]
    fn answers_and_refusals_come_back_as_they_were_sent() {
        for answer in [Answer::Refused, Answer::Bytes(vec![]), Answer::Bytes(vec![7; 100_000])] {
            let (mut codec, mut wire) = (Codec::new(Protocol::Blob), Cursor::new(Vec::new()));
            block_on(codec.write_response(&NAME, &mut wire, answer.clone())).unwrap();
            wire.set_position(0);
            assert_eq!(block_on(codec.read_response(&NAME, &mut wire)).unwrap(), answer);
        }
    }

    #[test]
    fn too_long_is_refused_on_both_sides_and_before_it_is_read() {
        let (mut codec, cap) = (Codec::new(Protocol::Blob), Protocol::Blob.max_request());
        let mut wire = Cursor::new(Vec::new());
        let sent = block_on(codec.write_request(&NAME, &mut wire, vec![0; cap + 1]));
        assert_eq!(sent.unwrap_err().kind(), io::ErrorKind::InvalidData);
        let mut claim = Cursor::new((cap as u32 + 1).to_be_bytes());
        let read = block_on(codec.read_request(&NAME, &mut claim));
        assert_eq!(
            read.unwrap_err().kind(),
            io::ErrorKind::InvalidData,
            "the claim alone is enough to refuse"
        );
        let mut short = Cursor::new([0, 0, 0, 5, 1, 2]);
        assert!(block_on(codec.read_request(&NAME, &mut short)).is_err());
    }

    proptest! {
        #[test]
        fn random_bytes_are_a_frame_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut codec = Codec::new(Protocol::Sync);
            if let Ok(request) = block_on(codec.read_request(&NAME, &mut Cursor::new(&bytes))) {
                prop_assert_eq!(&request[..], &bytes[4..4 + request.len()]);
            }
            if let Ok(Answer::Bytes(got)) = block_on(codec.read_response(&NAME, &mut Cursor::new(&bytes))) {
                prop_assert_eq!(&got[..], &bytes[5..5 + got.len()]);
            }
        }
    }
}
