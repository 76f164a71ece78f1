//! What operators ask of a microservice, by the paths of NVIDIA NIM: is it alive, is it ready, what is it, how is it doing.

use crate::App;
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::sync::Arc;

/// `GET /v1/health/live`: the program runs, whether or not a model is loaded.
pub(crate) async fn live() -> Json<Value> {
    Json(json!({"object": "health.response", "message": "Service is live.", "status": "live"}))
}

/// `GET /v1/health/ready`: the default model is loaded and its engine does not stall.
pub(crate) async fn ready(State(app): State<Arc<App>>) -> Response {
    let loaded = app.house.loaded();
    let message = match (app.house.is_ready(), loaded.iter().any(|hosted| !hosted.worker.is_well())) {
        (true, false) => {
            return Json(json!({"object": "health.response", "message": "Service is ready.", "status": "ready"}))
                .into_response();
        }
        (true, true) => "The engine has stalled.".to_owned(),
        (false, _) => match app.house.problem(None) {
            Some(problem) => format!("The model cannot be loaded: {problem}"),
            None => "The model is being loaded.".to_owned(),
        },
    };
    let body = Json(json!({"object": "health.response", "message": message, "status": "not_ready"}));
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], body).into_response()
}

/// `GET /`, which some clients ask first.
pub(crate) async fn root() -> Json<Value> {
    Json(json!({"name": "picnic", "version": env!("CARGO_PKG_VERSION"), "api": "/v1"}))
}

/// `GET /health`, as llama.cpp and vLLM have it.
pub(crate) async fn health(State(app): State<Arc<App>>) -> Response {
    let is_well = app.house.loaded().iter().all(|hosted| hosted.worker.is_well());
    match app.house.is_ready() && is_well {
        true => Json(json!({"status": "ok"})).into_response(),
        false => {
            let error = json!({"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}});
            (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], Json(error)).into_response()
        }
    }
}

/// `GET /v1/version`.
pub(crate) async fn version() -> Json<Value> {
    Json(json!({"release": env!("CARGO_PKG_VERSION"), "api": "1"}))
}

/// `GET /v1/metadata`.
pub(crate) async fn metadata(State(app): State<Arc<App>>) -> Json<Value> {
    let models: Vec<Value> = app
        .house
        .names()
        .map(|name| {
            let context = app.house.peek(name).map(|hosted| hosted.limits.context);
            json!({"shortName": name, "modelUrl": null, "loaded": context.is_some(), "contextLength": context})
        })
        .collect();
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "assetInfo": app.house.names().collect::<Vec<_>>(),
        "licenseInfo": {"name": "MIT OR Apache-2.0", "path": null, "sha": null, "size": null, "url": null, "type": null},
        "modelInfo": models,
        "repository_override": "",
    }))
}

/// `GET /v1/metrics` and `/metrics`, for Prometheus.
pub(crate) async fn metrics(State(app): State<Arc<App>>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], app.metrics.text(Arc::clone(&app.house))).into_response()
}
