//! `GET /v1/models`: the one model that is served.

use crate::App;
use crate::wire::{ModelCard, ModelList};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

pub(crate) async fn list(State(app): State<Arc<App>>) -> Response {
    let card = ModelCard { id: &app.name, object: "model", created: app.started, owned_by: "picnic" };
    Json(ModelList { object: "list", data: [card] }).into_response()
}
