//! A listener's life: accept, serve, and on the way out let every download come to its end.

mod activity;
mod sendfile;

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Version;
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};

use activity::Activity;
use sendfile::SendfileStream;

pub(crate) use sendfile::Outbox;

/// How long to wait for what other connections give back, when the system has no more for a new one.
const EXHAUSTED: Duration = Duration::from_secs(1);

/// Serves HTTP/1 and HTTP/2 without TLS until `shutdown` is complete, and then what was asked for until that is
/// complete, too.
///
/// A client has 3 seconds for the head of a request and 3 minutes between requests. A download takes as long as it
/// takes.
pub async fn serve(listener: TcpListener, router: Router, shutdown: impl Future<Output = ()>) {
    let connections = GracefulShutdown::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut shutdown => break,
        };
        match accepted {
            Ok((stream, _)) => {
                tokio::spawn(serve_connection(stream, router.clone(), connections.watcher()));
            }
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                tracing::error!(%error, "cannot accept a connection");
                tokio::time::sleep(EXHAUSTED).await;
            }
        }
    }
    drop(listener);
    connections.shutdown().await;
}

async fn serve_connection(stream: TcpStream, router: Router, watcher: Watcher) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let activity = Arc::new(Activity::new());
    let outbox = Outbox::default();
    let socket = activity.watch_reads(SendfileStream::new(stream, outbox.clone()));
    let router = TowerToHyperService::new(router);
    let requests = Arc::clone(&activity);
    let service = service_fn(move |mut request: Request<Incoming>| {
        if request.version() < Version::HTTP_2 {
            request.extensions_mut().insert(outbox.clone());
        }
        let serving = requests.begin(request.version());
        let response = router.call(request);
        async move { Ok::<_, Infallible>(response.await?.map(|body: Body| serving.until_end_of(body))) }
    });
    let mut http = auto::Builder::new(TokioExecutor::new());
    // Hyper would also close a connection that has been idle for so long.
    http.http1().header_read_timeout(None);
    let connection = watcher.watch(http.serve_connection(TokioIo::new(socket), service));
    tokio::select! {
        ended = connection => if let Err(error) = ended {
            tracing::debug!(error, "a connection broke");
        },
        () = activity.overdue() => tracing::debug!("closing a connection whose client does not use it"),
    }
}

fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}
