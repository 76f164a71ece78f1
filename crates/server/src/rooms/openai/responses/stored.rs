//! Responses that are kept so that a later request can go on from them by name: the latest ones, in memory, until the program
//! ends. Only where [`Settings::stored_bytes`](crate::Settings) says so.

use crate::App;
use crate::caller::Caller;
use crate::error::ApiError;
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::IntoResponse;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The latest responses of everybody.
pub(crate) struct Stored {
    /// Bytes of JSON that are kept at most.
    room: usize,
    latest: Mutex<Latest>,
}

#[derive(Default)]
struct Latest {
    /// The oldest first.
    all: VecDeque<Entry>,
    bytes: usize,
}

/// A response. Its parts are JSON as text, which takes no more memory than its bytes.
struct Entry {
    /// Whose it is; nobody else finds it.
    tenant: u64,
    id: String,
    /// The list of all items of its input, what earlier responses had as well.
    input: String,
    response: String,
}

impl Stored {
    /// A place for so many bytes of JSON; `None` for 0.
    pub(crate) fn with_room(room: usize) -> Option<Stored> {
        (room > 0).then(|| Stored { room, latest: Mutex::default() })
    }

    /// Keeps a response, and forgets the oldest ones for it.
    fn put(&self, entry: Entry) {
        let mut latest = self.lock();
        latest.bytes += entry.bytes();
        latest.all.push_back(entry);
        while latest.bytes > self.room {
            let oldest = latest.all.pop_front();
            latest.bytes -= oldest.map_or(0, |oldest| oldest.bytes());
        }
    }

    /// Reads one by its id.
    fn read<T>(&self, tenant: u64, id: &str, read: impl FnOnce(&Entry) -> T) -> Option<T> {
        let latest = self.lock();
        let found = latest.all.iter().find(|entry| entry.is(tenant, id));
        found.map(read)
    }

    /// Forgets one; `false` if it is not here.
    fn forget(&self, tenant: u64, id: &str) -> bool {
        let mut latest = self.lock();
        let at = latest.all.iter().position(|entry| entry.is(tenant, id));
        let gone = at.and_then(|at| latest.all.remove(at));
        latest.bytes -= gone.as_ref().map_or(0, Entry::bytes);
        gone.is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Latest> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn is(&self, tenant: u64, id: &str) -> bool {
        self.tenant == tenant && self.id == id
    }

    fn bytes(&self) -> usize {
        self.id.len() + self.input.len() + self.response.len()
    }
}

/// Where a response goes when it is complete.
pub(super) struct Keeping {
    app: Arc<App>,
    tenant: u64,
    input: String,
}

impl Keeping {
    pub(super) fn keep(self, response: &Value) {
        if let Some(stored) = &self.app.stored {
            let id = response["id"].as_str().unwrap_or_default().to_owned();
            stored.put(Entry { tenant: self.tenant, id, input: self.input, response: response.to_string() });
        }
    }
}

/// What `input` is together with what was said up to the response `before`, and where the next one is kept if it is to be.
pub(super) fn gone_on(
    app: &Arc<App>,
    caller: &Caller,
    before: Option<&str>,
    input: Option<Value>,
    is_kept: bool,
) -> Result<(Option<Value>, Option<Keeping>), ApiError> {
    let Some(stored) = &app.stored else {
        return match before {
            None => Ok((input, None)),
            Some(_) => {
                let problem = "cannot be used: nothing is stored here; send the whole conversation as `input`, or start \
                               the server with `--store-responses`";
                Err(ApiError::parameter("previous_response_id", problem))
            }
        };
    };
    let tenant = caller.tenant();
    let mut items = match before {
        None => Vec::new(),
        Some(id) => {
            let both = |entry: &Entry| (entry.input.clone(), entry.response.clone());
            let found =
                stored.read(tenant, id, both).ok_or_else(|| ApiError::NoPrevious(id.chars().take(80).collect()));
            let (input, response) = found?;
            let mut items = list(serde_json::from_str(&input).unwrap_or_default());
            let response: Value = serde_json::from_str(&response).unwrap_or_default();
            items.extend(list(response["output"].clone()));
            items
        }
    };
    match input {
        Some(Value::String(text)) => items.push(json!({"type": "message", "role": "user", "content": text})),
        Some(Value::Array(more)) => items.extend(more),
        // Whoever reads the input says what is wrong with it.
        other => return Ok((other, None)),
    }
    let keeping =
        is_kept.then(|| Keeping { app: Arc::clone(app), tenant, input: Value::from(items.clone()).to_string() });
    Ok((Some(items.into()), keeping))
}

fn list(items: Value) -> Vec<Value> {
    match items {
        Value::Array(items) => items,
        _ => Vec::new(),
    }
}

/// A response that a path names, for whom it belongs to.
fn named<T>(
    app: &App,
    caller: &Caller,
    id: Result<Path<String>, PathRejection>,
    find: impl FnOnce(&Stored, u64, &str) -> Option<T>,
) -> Result<(String, T), ApiError> {
    let Path(id) = id?;
    match app.stored.as_ref().and_then(|stored| find(stored, caller.tenant(), &id)) {
        Some(found) => Ok((id, found)),
        None => Err(ApiError::NoResponse(id.chars().take(80).collect())),
    }
}

/// `GET /v1/responses/{id}`.
pub(crate) async fn retrieve(
    State(app): State<Arc<App>>,
    caller: Caller,
    id: Result<Path<String>, PathRejection>,
) -> Result<impl IntoResponse, ApiError> {
    let response = |stored: &Stored, tenant, id: &str| stored.read(tenant, id, |entry| entry.response.clone());
    let (_, response) = named(&app, &caller, id, response)?;
    Ok(([(header::CONTENT_TYPE, "application/json")], response))
}

/// `GET /v1/responses/{id}/input_items`: all of them at once, the latest first.
pub(crate) async fn input_items(
    State(app): State<Arc<App>>,
    caller: Caller,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, ApiError> {
    let input = |stored: &Stored, tenant, id: &str| stored.read(tenant, id, |entry| entry.input.clone());
    let (id, input) = named(&app, &caller, id, input)?;
    let mut items = list(serde_json::from_str(&input).unwrap_or_default());
    for (at, item) in items.iter_mut().enumerate() {
        // What a client sent has no name of its own.
        if let Some(item) = item.as_object_mut() {
            item.entry("id").or_insert_with(|| format!("{id}_{at}").into());
        }
    }
    items.reverse();
    let id_of = |item: Option<&Value>| item.map_or(Value::Null, |item| item["id"].clone());
    let (first, last) = (id_of(items.first()), id_of(items.last()));
    Ok(Json(json!({"object": "list", "data": items, "first_id": first, "last_id": last, "has_more": false})))
}

/// `DELETE /v1/responses/{id}`.
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    caller: Caller,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, ApiError> {
    let (id, ()) = named(&app, &caller, id, |stored, tenant, id| stored.forget(tenant, id).then_some(()))?;
    Ok(Json(json!({"id": id, "object": "response", "deleted": true})))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten_and_nobody_elses_are_found() {
        let entry = |id: &str, input: &str| {
            let response = json!({"id": id, "output": []}).to_string();
            Entry { tenant: 7, id: id.to_owned(), input: input.to_owned(), response }
        };
        let bytes = entry("resp_0", "[]").bytes();
        let stored = Stored::with_room(3 * bytes).unwrap();
        for id in ["resp_0", "resp_1", "resp_2", "resp_3"] {
            stored.put(entry(id, "[]"));
        }
        let has = |tenant, id| stored.read(tenant, id, |_| ()).is_some();
        assert!(!has(7, "resp_0") && has(7, "resp_1") && has(7, "resp_3") && !has(8, "resp_3"));
        assert!(!stored.forget(8, "resp_1") && stored.forget(7, "resp_1") && !stored.forget(7, "resp_1"));
        assert_eq!(stored.lock().bytes, 2 * bytes);
        // One that is larger than all of the room leaves nothing behind.
        stored.put(entry("resp_4", &"x".repeat(4 * bytes)));
        let latest = stored.lock();
        assert_eq!((latest.bytes, latest.all.len()), (0, 0));
        drop(latest);
        assert!(Stored::with_room(0).is_none());
    }
}
