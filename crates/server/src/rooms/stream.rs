//! Server-sent events, written one after another by a task that ends when its client goes away.

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use serde::Serialize;
use serde_json::Value;
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::mpsc::{Sender, channel};

/// Events that may wait for a slow client; the answer waits with them.
const WAITING: usize = 64;

/// How often something is sent while nothing happens, so that nobody between here and the client hangs up.
const SILENCE: Duration = Duration::from_secs(10);

/// How long a client may read nothing while events wait for it.
const READING: Duration = Duration::from_secs(60);

/// Where events go, and how long each may wait to be read.
pub(crate) struct Events(Sender<Event>, Duration);

/// Nobody listens any more.
pub(crate) struct Gone;

impl Events {
    /// Sends an event with JSON for its data.
    pub(crate) async fn send(&self, data: &impl Serialize) -> Result<(), Gone> {
        self.put(json(Event::default(), data)).await
    }

    /// Sends events with their names, and takes them out of where they waited.
    pub(crate) async fn send_all(&self, events: &mut Vec<(&'static str, Value)>) -> Result<(), Gone> {
        for (name, data) in events.drain(..) {
            self.put(json(Event::default().event(name), &data)).await?;
        }
        Ok(())
    }

    /// Sends an event whose data is no JSON.
    pub(crate) async fn send_text(&self, data: &str) -> Result<(), Gone> {
        self.put(Event::default().data(data)).await
    }

    async fn put(&self, event: Event) -> Result<(), Gone> {
        self.0.send_timeout(event, self.1).await.map_err(|_| Gone)
    }
}

fn json(event: Event, data: &impl Serialize) -> Event {
    // Strings and numbers under string keys: serialising cannot fail.
    event.json_data(data).unwrap_or_default()
}

/// A response that is what `write` sends. When its client goes away, `write` is dropped wherever it is.
pub(crate) fn stream<W, F>(write: W) -> Response
where
    W: FnOnce(Events) -> F,
    F: Future<Output = Result<(), Gone>> + Send + 'static,
{
    stream_within(READING, write)
}

fn stream_within<W, F>(reading: Duration, write: W) -> Response
where
    W: FnOnce(Events) -> F,
    F: Future<Output = Result<(), Gone>> + Send + 'static,
{
    let (sender, receiver) = channel(WAITING);
    let writing = write(Events(sender.clone(), reading));
    tokio::spawn(async move {
        tokio::select! {
            _ = writing => {}
            () = sender.closed() => {}
        }
    });
    let events = unfold(receiver, async |mut receiver| {
        let event = receiver.recv().await?;
        Some((Ok::<Event, Infallible>(event), receiver))
    });
    let mut response =
        Sse::new(events).keep_alive(KeepAlive::new().interval(SILENCE).text("keep-alive")).into_response();
    // For nginx, which would keep the events until it has some more.
    response.headers_mut().insert("x-accel-buffering", axum::http::HeaderValue::from_static("no"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    /// As many events as may wait are written, and then nobody waits for whoever reads none.
    #[tokio::test]
    async fn a_client_that_reads_nothing_is_gone() {
        let (ended, end) = oneshot::channel();
        let _response = stream_within(Duration::from_millis(20), async |events| {
            let mut written = 0;
            while events.send_text("x").await.is_ok() {
                written += 1;
            }
            let _ = ended.send(written);
            Err(Gone)
        });
        assert_eq!(end.await, Ok(WAITING));
    }

    #[tokio::test]
    async fn a_client_that_goes_away_ends_the_writing() {
        let (held, dropped) = oneshot::channel::<()>();
        let response = stream_within(Duration::from_secs(3600), async |_events| {
            let _held = held;
            std::future::pending().await
        });
        drop(response);
        assert!(dropped.await.is_err());
    }
}
