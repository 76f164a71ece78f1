//! The rooms before the hall: each speaks one contract and translates it to an [`Ask`](crate::hall::Ask) and back.

pub(crate) mod anthropic;
pub(crate) mod azure;
pub(crate) mod blocks;
pub(crate) mod deepseek;
pub(crate) mod nim;
pub(crate) mod openai;
pub(crate) mod stream;
pub(crate) mod take;

use axum::http::HeaderValue;
use axum::response::Response;
use std::sync::atomic::{AtomicU64, Ordering};

/// An identifier with `prefix`, unique in this process, and by the clock across restarts.
pub(crate) fn unique(prefix: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let (now, count) = (crate::seconds_since_1970(), COUNT.fetch_add(1, Ordering::Relaxed));
    format!("{prefix}{now:x}{count:08x}")
}

/// `response` with a warning if something about the request was changed.
pub(crate) fn with_note(mut response: Response, note: Option<String>) -> Response {
    if let Some(value) = note.and_then(|note| HeaderValue::from_str(&format!("299 picnic \"{note}\"")).ok()) {
        response.headers_mut().insert(axum::http::header::WARNING, value);
    }
    response
}
