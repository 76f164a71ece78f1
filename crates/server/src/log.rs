//! One line of JSON for every request, on standard error: what was asked for, by whom, how it ended and how long that took.

use crate::App;
use crate::caller::Name;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use picnic_keys::Timestamp;
use serde_json::json;
use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

/// Characters of a path in a line at most; clients choose it.
const PATH: usize = 200;

/// Writes the line once an answer's head is known; a stream may go on after it.
pub(crate) async fn log(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    if !app.settings.logs {
        return next.run(request).await;
    }
    let (began, method) = (Instant::now(), request.method().to_string());
    let path: String = request.uri().path().chars().take(PATH).collect();
    let (id, client) = (header(&request, "x-request-id"), header(&request, "user-agent"));
    let response = next.run(request).await;
    let line = json!({
        "time": Timestamp::now().to_string(),
        "id": id,
        "method": method,
        "path": path,
        "status": response.status().as_u16(),
        "milliseconds": (began.elapsed().as_secs_f64() * 1e4).round() / 10.0,
        "key": response.extensions().get::<Name>().map(|name| &name.0),
        "client": client,
    });
    // A closed standard error is no reason to stop.
    let _ = writeln!(std::io::stderr(), "{line}");
    response
}

fn header(request: &Request, name: &str) -> Option<String> {
    request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}
