//! `GET /api/v1/openapi.json`: the API for programs that write clients. The document is a file, written by hand, but for
//! what jobs may be, which is written from what their kinds say of themselves; tests hold it against the routes and against
//! what the endpoints send.

mod kinds;

use std::sync::LazyLock;

use axum::{
    http::header,
    response::{IntoResponse, Response},
};

/// Its places for what is written from the kinds.
const SCHEMAS: &str = "\"Job\": \"written from the kinds of jobs\"";
const EXAMPLES: &str = "\"written from the kinds of jobs\"";

static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
    let schemas: Vec<String> =
        kinds::schemas().into_iter().map(|(name, schema)| format!("\"{name}\": {schema}")).collect();
    let document = include_str!("openapi.json").replacen(SCHEMAS, &schemas.join(",\n      "), 1);
    document.replacen(EXAMPLES, &kinds::examples(), 1)
});

/// The document's text.
pub fn text() -> &'static str {
    &DOCUMENT
}

/// `GET /api/v1/openapi.json`
pub async fn document() -> Response {
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")], text()).into_response()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic)]
mod tests {
    use p2pnet_shared::{
        api::{JobStatus, JobSummary, NetworkView},
        engine::EngineName,
        refusal::Code,
    };
    use serde_json::{Value, json};

    use super::*;

    fn read() -> Value {
        serde_json::from_str(text()).unwrap()
    }

    #[test]
    fn nothing_is_left_to_be_written() {
        assert!(!text().contains("written from"), "a place was not found");
        let schemas = read()["components"]["schemas"].clone();
        for name in ["Job", "Requirements", "Policy", "Submitted"] {
            assert!(schemas[name]["description"].is_string(), "{name}");
        }
    }

    /// What everything in front of an endpoint may answer is said of the endpoint. Who looks into an `Authorization`
    /// header is told in `mod.rs`, by those who take an `Asker`.
    #[test]
    fn every_operation_names_what_stands_before_it() {
        let document = read();
        let open = ["/healthz", "/.well-known/p2pnet.json"];
        let without_token = ["listNodes", "openapi", "health", "metrics", "wellKnown"];
        for (path, methods) in document["paths"].as_object().unwrap() {
            for about in methods.as_object().unwrap().values() {
                let operation = about["operationId"].as_str().unwrap();
                let mut codes = vec!["400", "500"];
                if !open.contains(&path.as_str()) {
                    codes.push("421");
                }
                if path.starts_with("/api/") {
                    codes.push("403");
                }
                if !without_token.contains(&operation) {
                    codes.push("401");
                }
                if path.starts_with("/api/v1/jobs/{id}") && operation != "stopJob" {
                    codes.push("429"); // of waiting
                }
                if matches!(operation, "listJobs" | "describeJob" | "listNodes" | "openapi") {
                    codes.push("429"); // of being read
                }
                if matches!(operation, "createJob" | "keepKernel" | "stopJob") {
                    codes.extend(["503", "507"]);
                }
                if matches!(operation, "createJob" | "keepKernel") {
                    codes.extend(["408", "413", "415", "429"]);
                }
                if operation == "createJob" {
                    codes.push("422"); // of what can only fail
                }
                for code in codes {
                    assert!(about["responses"].get(code).is_some(), "{code} of {operation}");
                }
            }
        }
        for field in ["reason", "hint"] {
            assert!(document["components"]["schemas"]["Health"]["properties"].get(field).is_some());
        }
    }

    /// Every `$ref` leads somewhere.
    #[test]
    fn references_resolve() {
        fn walk(value: &Value, root: &Value, seen: &mut usize) {
            match value {
                Value::Object(map) => {
                    if let Some(Value::String(target)) = map.get("$ref") {
                        assert!(root.pointer(target.trim_start_matches('#')).is_some(), "{target}");
                        *seen += 1;
                    }
                    map.values().for_each(|value| walk(value, root, seen));
                }
                Value::Array(list) => list.iter().for_each(|value| walk(value, root, seen)),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
            }
        }
        let mut seen = 0;
        walk(&read(), &read(), &mut seen);
        assert!(seen > 30);
    }

    /// Whether a value fits a schema: required fields are there, all fields are known, texts are among the choices.
    fn fits(value: &Value, schema: &Value, root: &Value) {
        if let Some(target) = schema.get("$ref") {
            return fits(value, root.pointer(target.as_str().unwrap().trim_start_matches('#')).unwrap(), root);
        }
        if let Some(parts) = schema.get("allOf").and_then(Value::as_array) {
            let mut whole = json!({ "type": "object", "properties": {}, "required": [] });
            for part in parts {
                let part = match part.get("$ref") {
                    Some(target) => root.pointer(target.as_str().unwrap().trim_start_matches('#')).unwrap(),
                    None => part,
                };
                for (name, property) in part["properties"].as_object().unwrap() {
                    whole["properties"][name] = property.clone();
                }
                let required = part["required"].as_array().unwrap().clone();
                whole["required"].as_array_mut().unwrap().extend(required);
            }
            return fits(value, &whole, root);
        }
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            for required in schema["required"].as_array().unwrap() {
                assert!(value.get(required.as_str().unwrap()).is_some(), "{required} is missing in {value}");
            }
            for (name, inner) in value.as_object().unwrap() {
                let property = properties.get(name).unwrap_or_else(|| panic!("{name} is not documented"));
                fits(inner, property, root);
            }
        }
        if let (Some(items), Some(list)) = (schema.get("items"), value.as_array()) {
            list.iter().for_each(|inner| fits(inner, items, root));
        }
        if let Some(choices) = schema.get("enum").and_then(Value::as_array) {
            assert!(choices.contains(value), "{value} is not among {choices:?}");
        }
        match schema.get("type").and_then(Value::as_str) {
            Some("number") => assert!(value.is_number(), "{value}"),
            Some("integer") => assert!(value.is_u64() || value.is_i64(), "{value}"),
            Some("string") => assert!(value.is_string(), "{value}"),
            Some("boolean") => assert!(value.is_boolean(), "{value}"),
            Some("array") => assert!(value.is_array(), "{value}"),
            Some(_) | None => {}
        }
    }

    fn schema(name: &str) -> Value {
        read()["components"]["schemas"][name].clone()
    }

    #[test]
    fn what_the_endpoints_send_is_documented() {
        let root = read();
        let id = "ab".repeat(16);
        let node = p2pnet_shared::id::NodeId([7; 32]).to_string();
        let refusal = json!({"code": "invalid_formula", "message": "m", "hint": "h", "at": 3});
        let summary = json!({
            "id": id, "name": "nightly", "labels": {"team": "physics"}, "kind": "map", "computes": "x", "state": "running", "waiting": {"code": "connecting", "nodes": 2}, "error": refusal, "failed_parts": 2,
            "progress": {"units_total": 1, "units_done": 0, "units_running": 1, "gas": 5, "prepared": {"instances": 1, "gas": 2}, "percent": 0, "remaining_seconds": 9},
            "created_at": 1, "finished_at": 2
        });
        let typed: JobSummary = serde_json::from_value(summary.clone()).unwrap();
        fits(&serde_json::to_value(&typed).unwrap(), &schema("JobSummary"), &root);
        let mut status = summary;
        for (name, value) in json!({
            "requirements": {"cpu_percent": 1, "ram_gb": 0.5, "timeout_seconds": 30},
            "policy": {"priority": "high", "retries": 3},
            "elapsed": {"waited": 1, "ran": 2}, "source": "{}", "attempts_total": 1, "partial": "1",
            "attempts": [{"id": 1, "span": {"start": 0, "end": 1}, "tasks": 1, "node": node, "state": "accepted",
                "engine": EngineName::Wasmtime, "gas": 1, "prepared": {"instances": 1, "gas": 2}, "assigned_at": 1, "ended_at": 2, "error": refusal}],
            "nodes": [{"node": node, "units": 1, "tasks": 1, "gas": 1}]
        })
        .as_object()
        .unwrap()
        {
            status[name] = value.clone();
        }
        let typed: JobStatus = serde_json::from_value(status).unwrap();
        fits(&serde_json::to_value(&typed).unwrap(), &schema("JobStatus"), &root);
        let network: NetworkView = serde_json::from_value(json!({
            "me": node, "role": "seed", "online": true, "nodes_total": 1, "records_not_understood": 1,
            "nodes": [{"node": node, "role": "client", "agent": "a", "path": "direct", "transport": "tcp", "round_trip_millis": 1,
                "offer": {"node": node, "role": "client", "agent": "a", "cores": 1, "cpu_percent": 1, "memory_mib": 1,
                    "idle_cores": 1, "addresses": ["/ip4/1.1.1.1/tcp/1"], "made_at": 1, "rewrite": 8}}],
            "provider": {"settings": {"lending": true, "cores": 1, "cpu_percent": 100, "memory_mib": 1, "on_battery": false},
                "idle": "no_work", "queued": 0, "tasks_done": 1, "gas_done": 1, "busy_micros": 1,
                "running": [{"requester": node, "job": id, "attempt": 1, "tasks": 1, "state": "running", "since": 1}]}
        }))
        .unwrap();
        fits(&serde_json::to_value(&network).unwrap(), &schema("Network"), &root);
    }

    #[test]
    fn every_code_is_documented_here_and_for_operators() {
        let codes = schema("Refusal")["properties"]["code"]["enum"].clone();
        let guide = include_str!("../../../docs/operators.md");
        for code in codes.as_array().unwrap() {
            let known: Code = serde_json::from_value(code.clone()).unwrap();
            assert_eq!(&serde_json::to_value(known).unwrap(), code);
            assert!(guide.contains(&format!("| `{}` |", code.as_str().unwrap())), "{code} is not in docs/operators.md");
        }
        // The other direction: the last variant's position says how many there are.
        assert_eq!(codes.as_array().unwrap().len(), Code::UpgradeRequired as usize + 1);
    }
}
