//! A listener's life: accept, serve, and on the way out let every download come to its end.

mod activity;
mod patience;
mod sendfile;
mod served_body;
mod socket;
mod streams;
mod tls;

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Version;
use hyper::body::Incoming;
use hyper::service::{Service as _, service_fn};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use activity::{Activity, Overdue};
use sendfile::SendfileStream;
use served_body::ServedBody;
use socket::Socket;
use streams::Streams;

pub(crate) use sendfile::{Delivery, Outbox};

pub use patience::Patience;
pub use tls::{CipherSuites, InvalidTls, InvalidTlsVersion, Tls, TlsPolicy, TlsVersion};

/// How long to wait for what other connections give back, when the system has no more for a new one.
const EXHAUSTED: Duration = Duration::from_secs(1);

/// The most that the head of a request in HTTP/2 may have, in bytes; a token in it has some 10 KB. In HTTP/1 hyper's
/// own bound of some 400 KB stays, because it is also how much of a response waits for the client, and less is slower.
const MAX_HEAD: u32 = 128 * 1024;

/// How many requests a connection may make at a time. Browsers and proxies take what they get.
const MAX_STREAMS: u32 = 100;

/// How much of a stream is kept ready for its client, in bytes.
const MAX_STREAM_BUFFER: usize = 256 * 1024;

/// As little as HTTP/2 allows: nobody has anything to send us but heads.
const WINDOW: u32 = 65_535;

/// Serves HTTP/1 and HTTP/2, over TLS if there is any, until `shutdown` is complete, and then what was asked for until
/// that is complete, too.
///
/// A client has 10 seconds for the TLS handshake, 3 seconds for the head of a request and 3 minutes between requests. A
/// download takes as long as it takes, but ends when its client takes nothing of it for 10 minutes.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    tls: Option<Tls>,
    shutdown: impl Future<Output = ()>,
) {
    serve_with(listener, router, tls, Patience::default(), shutdown).await;
}

/// [`serve`] with other times.
#[doc(hidden)]
pub async fn serve_with(
    listener: TcpListener,
    router: Router,
    tls: Option<Tls>,
    patience: Patience,
    shutdown: impl Future<Output = ()>,
) {
    let connections = GracefulShutdown::new();
    let (open, closing) = watch::channel(());
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut shutdown => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let tls = tls.clone().map(|tls| (tls, closing.clone()));
                let connection =
                    Connection { router: router.clone(), patience, watcher: connections.watcher() };
                tokio::spawn(connection.serve(stream, tls));
            }
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                tracing::error!(%error, "cannot accept a connection");
                tokio::time::sleep(EXHAUSTED).await;
            }
        }
    }
    drop(listener);
    drop(open);
    connections.shutdown().await;
}

/// What is known of a connection before anything was said.
struct Connection {
    router: Router,
    patience: Patience,
    watcher: Watcher,
}

impl Connection {
    async fn serve(self, stream: TcpStream, tls: Option<(Tls, watch::Receiver<()>)>) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set the options of a socket");
        }
        let activity = Activity::new(self.patience);
        let Some((tls, mut closing)) = tls else {
            let outbox = Outbox::default();
            let stream = SendfileStream::new(stream, outbox.clone());
            let socket = Socket::new(stream, Arc::clone(&activity));
            return self.speak_http(socket, activity, Some(outbox)).await;
        };
        let accepted = tokio::select! {
            accepted = tokio::time::timeout(self.patience.handshake, tls.accept(stream, &activity)) => accepted,
            // An error, because its other end is gone: nothing was asked for yet.
            _ = closing.changed() => return,
        };
        match accepted {
            Ok(Ok(Some(stream))) => {
                activity.connected();
                self.speak_http(stream, activity, None).await;
            }
            Ok(Ok(None)) => tracing::debug!("a client spoke HTTP to a port for TLS"),
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => {
                tracing::debug!("closing a connection whose client does not complete the TLS handshake");
            }
        }
    }

    /// Over a stream that sends what is in `outbox`, if there is one.
    async fn speak_http<S>(self, stream: S, activity: Arc<Activity>, outbox: Option<Outbox>)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let router = TowerToHyperService::new(self.router);
        let requests = Arc::clone(&activity);
        let service = service_fn(move |mut request: Request<Incoming>| {
            // HTTP/2 cuts bodies into frames.
            let outbox = outbox.clone().filter(|_| request.version() < Version::HTTP_2);
            if let Some(outbox) = &outbox {
                request.extensions_mut().insert(outbox.clone());
            }
            let serving = requests.begin(request.version());
            let response = router.call(request);
            async move {
                let response: Response<Body> = response.await?;
                Ok::<_, Infallible>(response.map(|body| ServedBody::new(body, serving, outbox)))
            }
        });
        let http = protocols(self.patience);
        let connection = self.watcher.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::select! {
            biased;
            ended = connection => if let Err(error) = ended {
                tracing::debug!(error, "a connection broke");
            },
            overdue = activity.overdue() => match overdue {
                Overdue::Request => tracing::debug!("closing a connection whose client does not use it"),
                Overdue::Response => tracing::info!("cutting a download off: its client does not take it"),
            },
        }
    }
}

/// Which HTTP is spoken, within which bounds. Larger heads are answered with 431 or 414.
fn protocols(patience: Patience) -> auto::Builder<Streams> {
    let mut http = auto::Builder::new(Streams::new(patience.stall));
    // Hyper would also close a connection that has been idle for so long.
    http.http1().header_read_timeout(None);
    http.http2()
        .max_header_list_size(MAX_HEAD)
        .max_concurrent_streams(MAX_STREAMS)
        .max_send_buf_size(MAX_STREAM_BUFFER)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW);
    http
}

fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}
