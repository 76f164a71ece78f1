//! Bodies as they come in: read within a time, and JSON whose faults are named by their place.

use crate::error::ApiError;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use http_body_util::LengthLimitError;
use serde::de::DeserializeOwned;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

/// How long a client may take to send a body.
const SENDING: Duration = Duration::from_secs(30);

/// KiB that the bodies which are being read may have together.
pub(crate) const BODIES_KIB: u32 = 256 << 10;

/// A body read as JSON.
pub(crate) struct Taken<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Arc<crate::App>> for Taken<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<crate::App>) -> Result<Self, ApiError> {
        let limit = app.settings.body_bytes;
        let length = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let length: usize = length.unwrap_or(limit).min(limit);
        // All bodies together have a bound: whoever comes too many waits until others are read.
        let kibibytes = u32::try_from(length.div_ceil(1024)).unwrap_or(u32::MAX);
        let _room = app.bodies.acquire_many(kibibytes.min(BODIES_KIB)).await.map_err(|_| ApiError::Panicked)?;
        let bytes = read(request.into_body(), limit, SENDING).await?;
        json(&bytes).map(Taken)
    }
}

/// All bytes of a body.
async fn read(body: Body, limit: usize, within: Duration) -> Result<Bytes, ApiError> {
    let Ok(read) = tokio::time::timeout(within, to_bytes(body, limit)).await else {
        let problem = format!("it did not come within {} seconds; send it again", within.as_secs());
        return Err(ApiError::Body(StatusCode::REQUEST_TIMEOUT, problem));
    };
    read.map_err(|error| match error.source().is_some_and(|source| source.is::<LengthLimitError>()) {
        true => ApiError::Body(StatusCode::PAYLOAD_TOO_LARGE, format!("it has more than {limit} bytes; send less")),
        false => ApiError::Body(StatusCode::BAD_REQUEST, error.to_string()),
    })
}

/// JSON of the kind that a path takes.
pub(crate) fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let malformed = |problem: String, path: Option<String>| {
        let param = path.filter(|path| path != "." && path != "?");
        let problem = match &param {
            Some(param) => format!("`{param}`: {problem}"),
            None => problem,
        };
        ApiError::Malformed { problem, param }
    };
    let value = serde_path_to_error::deserialize(&mut reader)
        .map_err(|error| malformed(error.inner().to_string(), Some(error.path().to_string())))?;
    reader.end().map_err(|error| malformed(error.to_string(), None))?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt;
    use futures_util::stream::{iter, pending};
    use std::io;

    /// A body of these pieces, which has no end where it `hangs`.
    fn body(pieces: Vec<io::Result<&'static str>>, hangs: bool) -> Body {
        let rest = pending().take(usize::from(hangs));
        Body::from_stream(iter(pieces).chain(rest))
    }

    #[tokio::test]
    async fn a_body_has_its_time_and_its_size() {
        let (long, short) = (Duration::from_secs(3600), Duration::from_millis(20));
        assert_eq!(read(body(vec![Ok("ab"), Ok("cd")], false), 4, long).await.unwrap(), "abcd");
        let broken = io::Error::from(io::ErrorKind::ConnectionReset);
        for (body, within, status) in [
            (body(vec![Ok("ab")], true), short, StatusCode::REQUEST_TIMEOUT),
            // Whoever sends too much is not waited for.
            (body(vec![Ok("ab"), Ok("cde")], true), long, StatusCode::PAYLOAD_TOO_LARGE),
            (body(vec![Ok("ab"), Err(broken)], true), long, StatusCode::BAD_REQUEST),
        ] {
            let error = read(body, 4, within).await.unwrap_err();
            assert!(matches!(error, ApiError::Body(found, _) if found == status), "{status}: {error}");
        }
    }
}
