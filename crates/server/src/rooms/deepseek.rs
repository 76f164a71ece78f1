//! What DeepSeek's API has and OpenAI's has not, beside the fields that chat completions know.

use axum::Json;
use serde_json::{Value, json};

/// `GET /user/balance`: a server of one's own costs nothing.
pub(crate) async fn balance() -> Json<Value> {
    let info =
        json!({"currency": "USD", "total_balance": "0.00", "granted_balance": "0.00", "topped_up_balance": "0.00"});
    Json(json!({"is_available": true, "balance_infos": [info]}))
}
