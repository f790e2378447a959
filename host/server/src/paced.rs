//! A lowest pace for clients that take an answer.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// Bytes per second that a client must take on average while there are any for it.
pub(crate) const BYTES_PER_SECOND: u64 = 1024;

/// A stream that fails if bytes have to wait too long. They may wait for a limited time; while they do, it runs down, and
/// each byte taken brings it up again by its share of a second. Time in which nothing has to wait does not count.
#[derive(Debug)]
pub(crate) struct Paced<S> {
    stream: S,
    /// Prepares the stream for its end when the time is over.
    give_up: fn(&S),
    limit: Duration,
    /// How long bytes may still wait.
    left: Duration,
    /// Since when they have been waiting.
    waiting: Option<Instant>,
    timer: Pin<Box<Sleep>>,
}

impl<S> Paced<S> {
    pub(crate) fn new(stream: S, limit: Duration, give_up: fn(&S)) -> Self {
        Paced { stream, give_up, limit, left: limit, waiting: None, timer: Box::pin(sleep(limit)) }
    }

    /// Passes the result of a write through, or fails if the time is over. `taken` counts the bytes of the result.
    fn pace<T>(
        &mut self,
        result: Poll<io::Result<T>>,
        taken: impl FnOnce(&T) -> usize,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        let now = Instant::now();
        if let Some(since) = self.waiting.take() {
            self.left = self.left.saturating_sub(now - since);
        }
        match &result {
            Poll::Ready(Ok(value)) => {
                let earned = (taken(value) as u64).saturating_mul(1_000_000_000 / BYTES_PER_SECOND);
                self.left = self.left.saturating_add(Duration::from_nanos(earned)).min(self.limit);
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                self.waiting = Some(now);
                self.timer.as_mut().reset(now + self.left);
                if self.left.is_zero() || self.timer.as_mut().poll(context).is_ready() {
                    (self.give_up)(&self.stream);
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
            }
        }
        result
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.pace(result, |&taken| taken, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(context);
        self.pace(result, |()| 0, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_shutdown(context);
        self.pace(result, |()| 0, context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    const LIMIT: Duration = Duration::from_secs(30);

    /// How long an endless answer lasts for a reader that takes `bytes` every `pause`; `None` for over an hour.
    async fn lasts(bytes: usize, pause: Duration) -> Option<Duration> {
        let (ours, mut theirs) = tokio::io::duplex(4096);
        let mut stream = Paced::new(ours, LIMIT, |_| {});
        let reader = tokio::spawn(async move {
            let mut buffer = vec![0; bytes];
            while theirs.read_exact(&mut buffer).await.is_ok() {
                sleep(pause).await;
            }
        });
        let start = Instant::now();
        let endless = async {
            loop {
                if let Err(error) = stream.write_all(&[0; 1024]).await {
                    return error.kind();
                }
            }
        };
        let ended = tokio::time::timeout(Duration::from_secs(3600), endless).await;
        reader.abort();
        ended.ok().map(|kind| {
            assert_eq!(kind, io::ErrorKind::TimedOut);
            start.elapsed()
        })
    }

    #[tokio::test(start_paused = true)]
    async fn slow_readers_lose_their_answer() {
        let second = Duration::from_secs(1);
        // 1024 - 256 of 1024 are missing each second.
        let quarter = lasts(256, second).await.unwrap();
        assert!((38..50).contains(&quarter.as_secs()), "{quarter:?}");
        assert!(lasts(1, second).await.unwrap() < second * 40);
        // In bursts it is the average that counts.
        assert!(lasts(2048, second * 8).await.unwrap() < second * 60);
        assert!(lasts(4096, second * 3600).await.unwrap() <= second * 36);
    }

    #[tokio::test(start_paused = true)]
    async fn readers_that_keep_pace_do_not() {
        assert_eq!(lasts(1100, Duration::from_secs(1)).await, None);
        assert_eq!(lasts(16 << 10, Duration::from_secs(12)).await, None);
    }

    /// Takes no byte, and has always flushed all of them.
    struct Full;

    impl AsyncWrite for Full {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Pending
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_bytes_earn_time() {
        let second = Duration::from_secs(1);
        for shut_down in [false, true] {
            let mut stream = Paced::new(Full, LIMIT, |_| {});
            let start = Instant::now();
            let error = loop {
                match tokio::time::timeout(second, stream.write(b"a")).await {
                    Ok(written) => break written.unwrap_err(),
                    // More often than there are bytes in the time to earn.
                    Err(_) if shut_down => {
                        for _ in 0..2 * BYTES_PER_SECOND {
                            stream.shutdown().await.unwrap();
                        }
                    }
                    Err(_) => {
                        for _ in 0..2 * BYTES_PER_SECOND {
                            stream.flush().await.unwrap();
                        }
                    }
                }
                assert!(start.elapsed() < 2 * LIMIT, "{shut_down}");
            };
            assert_eq!((error.kind(), start.elapsed().as_secs()), (io::ErrorKind::TimedOut, LIMIT.as_secs()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn slow_answers_may_take_their_time() {
        // The last byte of each token waits for the reader for a second. The hours between them do not count.
        let (ours, mut theirs) = tokio::io::duplex(4);
        let mut stream = Paced::new(ours, LIMIT, |_| {});
        for _ in 0..20 {
            let read = async {
                sleep(Duration::from_secs(1)).await;
                theirs.read_exact(&mut [0; 5]).await
            };
            let (written, read) = tokio::join!(stream.write_all(b"token"), read);
            written.and(read).unwrap();
            stream.flush().await.unwrap();
            sleep(Duration::from_secs(3600)).await;
        }
    }
}
