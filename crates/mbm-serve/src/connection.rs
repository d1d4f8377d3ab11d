//! A connection with a write timeout, for clients that do not read.
//!
//! hyper limits how long the head of a request may take to arrive, and the timeout middleware how long the body may; neither
//! limits how long a client may take to read the response. This wrapper sits between hyper and the socket.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

/// Minimum rate, in bytes per second, at which a client must read once the server has to wait for it; the value is that of
/// Kestrel's `MinResponseDataRate`.
const MIN_BYTES_PER_SECOND: u64 = 240;

/// How long data that a client still sends is discarded after the last response, so that the client can read why its body was
/// refused before the system resets the connection. Most clients close the connection earlier; two seconds are many round trips.
const LINGER: Duration = Duration::from_secs(2);

/// A stream whose writes fail when the peer stops reading.
pub(crate) struct Connection<S> {
    stream: S,
    patience: Duration,
    stalled: Option<Stalled>,
    closing: Option<Pin<Box<Sleep>>>,
}

/// State from the first write that had to wait until everything has been written.
struct Stalled {
    since: Instant,
    n_written: u64,
    alarm: Pin<Box<Sleep>>,
}

impl<S> Connection<S> {
    /// Wraps a stream whose writes may stall for at most `patience`.
    pub fn new(stream: S, patience: Duration) -> Self {
        Self { stream, patience, stalled: None, closing: None }
    }

    /// Passes on the result of a write, or an error if it has waited too long.
    fn in_time(&mut self, context: &mut Context, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let (Poll::Ready(Ok(n_bytes)), Some(stalled)) = (&written, &mut self.stalled) {
            stalled.n_written += *n_bytes as u64;
        }
        if written.is_ready() {
            return written;
        }
        let stalled = self.stalled.get_or_insert_with(|| {
            let since = Instant::now();
            Stalled { since, n_written: 0, alarm: Box::pin(sleep_until(since)) }
        });
        let allowance = Duration::from_secs(stalled.n_written / MIN_BYTES_PER_SECOND);
        stalled.alarm.as_mut().reset(stalled.since + self.patience + allowance);
        ready!(stalled.alarm.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client stopped reading")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context, buffer: &mut ReadBuf) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.in_time(context, written)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context, slices: &[io::IoSlice]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.in_time(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes once its buffer is written, so the client has caught up.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context) -> Poll<io::Result<()>> {
        self.stalled = None;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context) -> Poll<io::Result<()>> {
        if self.closing.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
        }
        let mut discarded = [0; 16 << 10];
        loop {
            let mut buffer = ReadBuf::new(&mut discarded);
            match Pin::new(&mut self.stream).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    let end = self.closing.get_or_insert_with(|| Box::pin(sleep(LINGER)));
                    if end.as_mut().poll(context).is_ready() {
                        return Poll::Ready(Ok(()));
                    }
                }
                // The client has closed its side or disconnected.
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                // Keep reading only from a client that is still sending.
                Poll::Pending => match &mut self.closing {
                    Some(end) => return end.as_mut().poll(context).map(Ok),
                    None => return Poll::Ready(Ok(())),
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
    }

    const PATIENCE: Duration = Duration::from_millis(50);

    #[test]
    fn write_times_out_if_client_does_not_read() {
        let (ours, _theirs) = duplex(64);
        let mut connection = Connection::new(ours, PATIENCE);
        let error = block_on(connection.write_all(&[0; 1000])).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn write_times_out_if_client_reads_too_slowly() {
        let (ours, mut theirs) = duplex(64);
        let mut connection = Connection::new(ours, PATIENCE);
        let trickle = async {
            loop {
                tokio::time::sleep(Duration::from_millis(10)).await;
                if theirs.read_u8().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        let written = block_on(async {
            tokio::select! { written = connection.write_all(&[0; 100_000]) => written, () = trickle => unreachable!() }
        });
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn slow_but_steady_client_gets_everything() {
        let (ours, mut theirs) = duplex(64);
        let mut connection = Connection::new(ours, Duration::from_secs(10));
        let read = async {
            let mut n_read = 0;
            while n_read < 10_000 {
                tokio::time::sleep(Duration::from_millis(1)).await;
                n_read += theirs.read(&mut [0; 640]).await.unwrap();
            }
        };
        block_on(async { tokio::join!(read, async { connection.write_all(&[7; 10_000]).await.unwrap() }) });
    }

    #[test]
    fn shutdown_discards_input_until_response_is_read() {
        let (ours, mut theirs) = duplex(64);
        let mut connection = Connection::new(ours, PATIENCE);
        let client = async {
            theirs.write_all(&[1; 10_000]).await.unwrap();
            let mut answer = Vec::new();
            theirs.read_to_end(&mut answer).await.unwrap();
            drop(theirs);
            answer
        };
        let server = async {
            let _ = connection.read(&mut [0; 10]).await.unwrap();
            connection.write_all(b"no").await.unwrap();
            connection.shutdown().await.unwrap();
        };
        let (answer, ()) = block_on(async { tokio::join!(client, server) });
        assert_eq!(answer, b"no");
    }
}
