//! Connections: so many at once, each with a time within which it has to send something, and an end in which answers under
//! way are finished.

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// How long a connection may take to send the head of a request, also the next one.
const HEAD: Duration = Duration::from_secs(30);

/// How long answers under way may take once the server is to end.
const DRAIN: Duration = Duration::from_secs(100);

/// How long to wait when the system gives no more connections.
const PAUSE: Duration = Duration::from_millis(50);

/// Answers on `listener` by `router` until `shutdown` resolves, then finishes what is under way.
pub(crate) async fn listen(
    router: Router,
    listener: TcpListener,
    connections: usize,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD);
    let (graceful, places) = (GracefulShutdown::new(), Arc::new(Semaphore::new(connections)));
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = async {
            // Those beyond the bound wait in the system's own line.
            let place = Arc::clone(&places).acquire_owned().await.map_err(io::Error::other)?;
            Ok::<_, io::Error>((listener.accept().await?.0, place))
        };
        let (stream, place) = tokio::select! {
            accepted = accepted => match accepted {
                Ok(accepted) => accepted,
                // A client that left already, or no more file descriptors: both pass.
                Err(_) => {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            },
            () = &mut shutdown => break,
        };
        // A token is a small packet that is wanted now.
        let _ = stream.set_nodelay(true);
        let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router.clone()));
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            // What goes wrong with a connection is its client's to see.
            let _ = connection.await;
            drop(place);
        });
    }
    drop(listener);
    // Whoever does not read an answer to its end does not keep the program from ending.
    let _ = tokio::time::timeout(DRAIN, graceful.shutdown()).await;
    Ok(())
}
