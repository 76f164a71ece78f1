//! `GET /health`: 200 as soon as anything is, because the server listens only once its model is loaded.

use axum::Json;
use serde_json::{Value, json};

pub(crate) async fn show() -> Json<Value> {
    Json(json!({"status": "ok"}))
}
