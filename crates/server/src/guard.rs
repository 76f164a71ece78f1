//! The door: whose requests come in at all.
//!
//! A server on loopback is for the programs of this machine. A web page from elsewhere can send requests to it through
//! somebody's browser, by its own name made to point here (DNS rebinding) or straight to the address. So there the `Host`
//! has to be this machine and the `Origin`, if a browser sends one, too, or one that was allowed by name.

use crate::App;
use crate::error::ApiError;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use std::sync::Arc;
use std::time::Duration;
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

/// Refuses requests of foreign pages.
pub(crate) async fn check(State(app): State<Arc<App>>, request: Request, next: Next) -> Result<Response, ApiError> {
    if app.settings.is_loopback {
        check_host(request.headers())?;
    }
    if let Some(origin) = request.headers().get(header::ORIGIN)
        && app.settings.is_loopback
        && !app.settings.allows(origin)
    {
        return Err(ApiError::Foreign("Origin"));
    }
    Ok(next.run(request).await)
}

fn check_host(headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(host) = headers.get(header::HOST) else { return Ok(()) };
    match host.to_str().is_ok_and(is_loopback) {
        true => Ok(()),
        false => Err(ApiError::Foreign("Host")),
    }
}

/// Whether `host`, with or without a port, is a name of this machine.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let is_address = name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    is_address || name.eq_ignore_ascii_case("localhost") || name.to_ascii_lowercase().ends_with(".localhost")
}

impl crate::Settings {
    /// Whether pages of this origin may use the server.
    fn allows(&self, origin: &HeaderValue) -> bool {
        let Ok(origin) = origin.to_str() else { return false };
        let is_here = origin.split_once("://").is_some_and(|(_, host)| is_loopback(host));
        self.origins.iter().any(|allowed| allowed == "*" || allowed.trim_end_matches('/') == origin)
            || self.is_loopback && is_here
    }
}

/// The headers by which a browser learns which pages may read answers.
pub(crate) fn cors(app: &Arc<App>) -> CorsLayer {
    let app = Arc::clone(app);
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(move |origin, _| app.settings.allows(origin)))
        .allow_methods([Method::GET, Method::POST, Method::OPTIONS])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([header::WARNING, header::RETRY_AFTER, header::HeaderName::from_static("x-request-id")])
        .max_age(Duration::from_secs(600))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_this_machine() {
        for host in ["localhost", "LOCALHOST:8000", "127.0.0.1:8000", "127.9.9.9", "[::1]:80", "[::1]", "a.localhost:1"]
        {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["example.com", "127.0.0.1.example.com", "10.0.0.1:8000", "localhost.example.com", "", "[::2]:80"] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
