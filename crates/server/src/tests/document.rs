//! The OpenAPI document against the routes and against itself.

use super::*;
use std::collections::BTreeSet;

async fn document(router: &Router) -> Value {
    let (status, body) = call(router, "GET", "/openapi.json", "").await;
    assert_eq!((status, &body), (StatusCode::OK, &call(router, "GET", "/v1/openapi.json", "").await.1));
    serde_json::from_str(&body).unwrap()
}

/// All strings under `$ref`.
fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get("$ref").and_then(Value::as_str));
            members.values().for_each(|value| references(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[tokio::test]
async fn every_reference_resolves() {
    let document = document(&echo().0).await;
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 100, "{}", found.len());
    for reference in found {
        assert!(document.pointer(reference.strip_prefix('#').unwrap()).is_some(), "{reference}");
    }
}

#[tokio::test]
async fn every_route_is_told_and_no_other() {
    let (router, _) = echo();
    let document = document(&router).await;
    let told = document["paths"].as_object().unwrap();
    // A router tells its paths to those who debug it.
    let debugged = format!("{router:?}");
    let routes: BTreeSet<String> = debugged
        .split('"')
        .filter(|text| text.len() > 1 && text.starts_with('/') && !text.contains("__private"))
        .map(|path| path.replace("{*", "{"))
        .collect();
    assert_eq!(routes, told.keys().cloned().collect());
    assert!(routes.len() > 40, "{routes:?}");
    let mut names = BTreeSet::new();
    for (path, item) in told {
        let item = item.as_object().unwrap();
        for (method, operation) in item {
            let (status, body) =
                call(&router, &method.to_uppercase(), &path.replace("{name}", "echo").replace("{id}", "resp_1"), "")
                    .await;
            assert!(operation["responses"].get(status.as_str()).is_some(), "{method} {path}: {status} {body}");
            assert!(names.insert(operation["operationId"].as_str().unwrap()), "{operation}");
        }
        let other = if item.contains_key("get") { "POST" } else { "GET" };
        assert_eq!(call(&router, other, path, "").await.0, StatusCode::METHOD_NOT_ALLOWED, "{other} {path}");
    }
}

/// Fields that a body flattens into itself are told too, with the bounds that the hall checks.
#[tokio::test]
async fn fields_are_told_with_their_bounds() {
    let document = document(&echo().0).await;
    let fields = |name: &str| {
        let schema = &document["components"]["schemas"][name];
        let mut fields = serde_json::Map::new();
        for part in schema["allOf"].as_array().unwrap_or(&vec![schema.clone()]) {
            let reference = part["$ref"].as_str().and_then(|reference| document.pointer(&reference[1..]));
            fields.extend(reference.unwrap_or(part)["properties"].as_object().unwrap().clone());
        }
        fields
    };
    let chat = fields("ChatRequest");
    assert_eq!((&chat["n"]["maximum"], &chat["temperature"]["maximum"]), (&json!(128), &json!(2)), "{chat:?}");
    assert!(chat.contains_key("guided_json") && chat.contains_key("tools") && !chat.contains_key("functions"));
    assert!(fields("WireMessage").contains_key("role"));
    assert!(fields("ChatCompletion").contains_key("system_fingerprint"));
}
