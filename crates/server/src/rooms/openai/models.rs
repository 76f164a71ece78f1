//! `GET /v1/models` and `GET /v1/models/{id}`.

use crate::App;
use crate::caller::Caller;
use crate::error::ApiError;
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

#[derive(Serialize, ToSchema)]
pub(crate) struct ModelList {
    object: &'static str,
    data: Vec<ModelCard>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct ModelCard {
    id: String,
    object: &'static str,
    created: u64,
    owned_by: &'static str,
    /// What it may hold together, prompt and answer, by the names under which clients look for it: vLLM's, LM Studio's and
    /// OpenRouter's. Known once it is loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_model_len: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_context_length: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    context_length: Option<usize>,
    /// The model that it is another name of.
    #[serde(skip_serializing_if = "Option::is_none")]
    root: Option<String>,
}

/// Those that the caller may use.
pub(crate) async fn list(State(app): State<Arc<App>>, caller: Caller) -> Json<ModelList> {
    let names = app.house.names().chain(app.house.aliases().keys().map(String::as_str));
    let names = names.filter(|name| app.may_use(&caller, name).is_ok());
    Json(ModelList { object: "list", data: names.map(|name| app.card(name)).collect() })
}

pub(crate) async fn retrieve(
    State(app): State<Arc<App>>,
    caller: Caller,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<ModelCard>, ApiError> {
    let Path(name) = name?;
    match app.house.knows(&name) {
        true => app.may_use(&caller, &name).map(|_| Json(app.card(&name))),
        false => Err(app.house.unknown(&name)),
    }
}

impl App {
    fn card(&self, name: &str) -> ModelCard {
        let hosted = self.house.peek(name);
        let context = hosted.as_ref().map(|hosted| hosted.limits.context);
        ModelCard {
            id: name.to_owned(),
            object: "model",
            created: hosted.map_or(self.started, |hosted| hosted.created),
            owned_by: "picnic",
            max_model_len: context,
            max_context_length: context,
            context_length: context,
            root: self.house.aliases().get(name).cloned(),
        }
    }
}
