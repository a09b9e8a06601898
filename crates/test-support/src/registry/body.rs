use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use tokio::sync::mpsc;

use super::{Fault, Gate};
use crate::payload::Content;

const CHUNK: usize = 64 << 10;

/// A part of some content as a body, as far as the fault lets it, and the length it states.
pub(crate) fn body(
    content: &Content,
    part: Range<u64>,
    fault: Option<&Fault>,
    served: Arc<AtomicU64>,
) -> (Body, Option<u64>) {
    let whole = part.end - part.start;
    let (limit, end) = match fault {
        Some(Fault::CutAfter(limit)) => (*limit, End::Cut),
        Some(Fault::EndAfter(limit)) => (*limit, End::Clean),
        Some(Fault::StallAfter(limit)) => (*limit, End::Stall),
        Some(Fault::HoldAfter(limit, gate)) => (whole, End::Hold(*limit, gate.clone())),
        Some(Fault::TrickleAfter(limit)) => (whole, End::Trickle(*limit)),
        Some(Fault::Append(more)) => (whole, End::More(more)),
        _ => (whole, End::Clean),
    };
    let honest = !matches!(fault, Some(Fault::EndAfter(_) | Fault::Append(_)));
    let corrupt = match fault {
        Some(Fault::Corrupt(at)) => Some(*at),
        _ => None,
    };

    let mut source = content.open().expect("the content is there");
    let (sender, receiver) = mpsc::channel(2);
    tokio::task::spawn_blocking(move || {
        io::copy(&mut source.by_ref().take(part.start), &mut io::sink()).expect("the content can be read");
        send(source.take(limit.min(whole)), corrupt, &end, &sender);
    });
    let receive = |mut receiver: mpsc::Receiver<io::Result<Bytes>>| async {
        let chunk = receiver.recv().await?;
        if chunk.is_err() {
            // hyper throws away what it has not sent when a body fails. It sends when a body lets it wait.
            tokio::task::yield_now().await;
        }
        Some((chunk, receiver))
    };
    let chunks = stream::unfold(receiver, receive).inspect(move |chunk| {
        if let Ok(chunk) = chunk {
            served.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        }
    });
    (Body::from_stream(chunks), honest.then_some(whole))
}

/// What follows the bytes.
enum End {
    Clean,
    Cut,
    Stall,
    /// Nothing from here on before it is opened.
    Hold(u64, Gate),
    /// Byte by byte from here on.
    Trickle(u64),
    More(&'static [u8]),
}

fn send(mut source: impl Read, corrupt: Option<u64>, end: &End, sender: &mpsc::Sender<io::Result<Bytes>>) {
    let mut sent = 0;
    loop {
        let size = match end {
            End::Hold(start, _) if sent < *start => (start - sent).min(CHUNK as u64),
            End::Hold(_, gate) => {
                // A client that has gone waits for nothing.
                tokio::runtime::Handle::current().block_on(async {
                    tokio::select! {
                        () = gate.opened() => {}
                        () = sender.closed() => {}
                    }
                });
                CHUNK as u64
            }
            End::Trickle(start) if sent >= *start => {
                std::thread::sleep(Duration::from_millis(5));
                1
            }
            End::Trickle(start) => (start - sent).min(CHUNK as u64),
            _ => CHUNK as u64,
        };
        let mut chunk = Vec::with_capacity(CHUNK);
        source.by_ref().take(size).read_to_end(&mut chunk).expect("the content can be read");
        if chunk.is_empty() {
            break;
        }
        if let Some(at) = corrupt.and_then(|at| at.checked_sub(sent)).and_then(|at| usize::try_from(at).ok())
            && let Some(byte) = chunk.get_mut(at)
        {
            *byte ^= 1;
        }
        sent += chunk.len() as u64;
        if sender.blocking_send(Ok(chunk.into())).is_err() {
            return;
        }
    }
    match end {
        End::Clean | End::Hold(..) | End::Trickle(_) => {}
        End::Cut => drop(sender.blocking_send(Err(io::Error::other("cut as told")))),
        End::More(more) => drop(sender.blocking_send(Ok(Bytes::from_static(more)))),
        // Until the client has gone.
        End::Stall => tokio::runtime::Handle::current().block_on(sender.closed()),
    }
}
