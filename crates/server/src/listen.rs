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

/// How many connections there may be, and how long they are waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    connections: usize,
    head: Duration,
    drain: Duration,
}

impl Bounds {
    pub(crate) fn of(connections: usize) -> Bounds {
        Bounds { connections, head: HEAD, drain: DRAIN }
    }
}

/// Answers on `listener` by `router` until `shutdown` resolves, then finishes what is under way.
pub(crate) async fn listen(
    router: Router,
    listener: TcpListener,
    bounds: Bounds,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(bounds.head);
    let (graceful, places) = (GracefulShutdown::new(), Arc::new(Semaphore::new(bounds.connections)));
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
    let _ = tokio::time::timeout(bounds.drain, graceful.shutdown()).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::{Body, Bytes};
    use axum::routing::get;
    use futures_util::stream::repeat_with;
    use std::convert::Infallible;
    use std::io::Write;
    use std::net::SocketAddr;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::net::TcpStream;
    use tokio::sync::{Notify, oneshot};
    use tokio::task::JoinHandle;

    /// Longer than any test may take, and about as long as nothing.
    const LONG: Duration = Duration::from_secs(3600);
    const SHORT: Duration = Duration::from_millis(50);

    const WHOLE: &str = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";

    /// What the handlers of [`start`] tell and wait for.
    #[derive(Default)]
    struct Signals {
        begun: Notify,
        may_end: Notify,
        active: AtomicUsize,
        most_active: AtomicUsize,
    }

    struct Listening {
        address: SocketAddr,
        signals: Arc<Signals>,
        stop: oneshot::Sender<()>,
        ended: JoinHandle<io::Result<()>>,
    }

    /// A server that answers at once, when it may, or without an end.
    async fn start(bounds: Bounds) -> Listening {
        let signals = Arc::new(Signals::default());
        let (waiting, endless) = (Arc::clone(&signals), Arc::clone(&signals));
        let counting = Arc::clone(&signals);
        let router = Router::new()
            .route(
                "/",
                get(async move || {
                    let active = counting.active.fetch_add(1, Ordering::SeqCst) + 1;
                    counting.most_active.fetch_max(active, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    counting.active.fetch_sub(1, Ordering::SeqCst);
                    "at once"
                })
                .post(async |body: Bytes| body),
            )
            .route(
                "/when-it-may",
                get(async move || {
                    waiting.begun.notify_one();
                    waiting.may_end.notified().await;
                    "in the end"
                }),
            )
            .route(
                "/endless",
                get(async move || {
                    endless.begun.notify_one();
                    Body::from_stream(repeat_with(|| Ok::<_, Infallible>(Bytes::from_static(&[b'x'; 1 << 16]))))
                }),
            );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let shutdown = async move {
            if stopped.await.is_err() {
                std::future::pending().await
            }
        };
        let ended = tokio::spawn(listen(router, listener, bounds, shutdown));
        Listening { address, signals, stop, ended }
    }

    /// A connection on which `text` was sent before the server of a runtime of one thread has seen it.
    fn sending(address: SocketAddr, text: &str) -> TcpStream {
        let mut client = std::net::TcpStream::connect(address).unwrap();
        client.write_all(text.as_bytes()).unwrap();
        client.set_nonblocking(true).unwrap();
        TcpStream::from_std(client).unwrap()
    }

    /// What comes on a connection until it has `end`, or until the server closes it.
    async fn until(client: &TcpStream, end: &str) -> String {
        let mut text = String::new();
        while end.is_empty() || !text.ends_with(end) {
            client.readable().await.unwrap();
            let mut bytes = [0; 1 << 10];
            match client.try_read(&mut bytes) {
                Ok(0) => break,
                Ok(n) => text += std::str::from_utf8(&bytes[..n]).unwrap(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
        }
        text
    }

    /// All that comes on a connection.
    async fn all(client: &TcpStream) -> String {
        until(client, "").await
    }

    /// With room for one connection, the next is answered because the one before it was closed.
    #[tokio::test]
    async fn whoever_sends_no_head_loses_the_connection() {
        let Listening { address, .. } = start(Bounds { connections: 1, head: SHORT, drain: LONG }).await;
        for (sent, answer) in [("", ""), ("GET / HTTP/1.1\r\nho", ""), (WHOLE, "at once")] {
            let idle = sending(address, sent);
            let other = sending(address, WHOLE);
            assert!(until(&other, "at once").await.starts_with("HTTP/1.1 200"));
            let text = all(&idle).await;
            assert!(text.ends_with(answer) && text.is_empty() == answer.is_empty(), "{sent:?}: {text}");
        }
        // A byte now and then makes no difference.
        let (slow, other) = (sending(address, "GET /"), sending(address, WHOLE));
        while slow.writable().await.is_ok() && slow.try_write(b"x").is_ok() {
            tokio::time::sleep(SHORT / 10).await;
        }
        assert!(until(&other, "at once").await.starts_with("HTTP/1.1 200"));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn there_are_no_more_connections_than_there_may_be() {
        let Listening { address, signals, .. } = start(Bounds { connections: 2, head: LONG, drain: LONG }).await;
        let clients: Vec<_> = (0..16)
            .map(|_| {
                tokio::spawn(async move {
                    let text = "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
                    all(&sending(address, text)).await
                })
            })
            .collect();
        for client in clients {
            assert!(client.await.unwrap().ends_with("at once"));
        }
        assert!(signals.most_active.load(Ordering::SeqCst) <= 2);
    }

    #[tokio::test]
    async fn in_the_end_answers_are_finished_and_nobody_else_comes_in() {
        let Listening { address, signals, stop, ended } =
            start(Bounds { connections: 8, head: LONG, drain: LONG }).await;
        let silent = sending(address, "");
        let idle = sending(address, WHOLE);
        assert!(until(&idle, "at once").await.starts_with("HTTP/1.1 200"));
        let busy = sending(address, &WHOLE.replacen('/', "/when-it-may", 1));
        signals.begun.notified().await;
        stop.send(()).unwrap();
        assert_eq!((all(&silent).await, all(&idle).await), (String::new(), String::new()));
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        assert!(!ended.is_finished());
        signals.may_end.notify_one();
        let text = all(&busy).await;
        assert!(text.starts_with("HTTP/1.1 200") && text.ends_with("in the end"), "{text}");
        ended.await.unwrap().unwrap();
    }

    /// Neither who reads nothing of an answer, nor who sends half a request.
    #[tokio::test]
    async fn nobody_keeps_it_from_ending() {
        let Listening { address, signals, stop, ended } =
            start(Bounds { connections: 8, head: LONG, drain: SHORT }).await;
        let _half = sending(address, "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nx");
        let _deaf = sending(address, &WHOLE.replacen('/', "/endless", 1));
        signals.begun.notified().await;
        stop.send(()).unwrap();
        ended.await.unwrap().unwrap();
    }
}
