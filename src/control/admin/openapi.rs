//! The API's description as OpenAPI 3.1: the table of routes with what `openapi.json` says of each.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::routes::{ROUTES, Route};

/// What the table does not say: parameters, bodies and answers by method and path, and their
/// schemas.
const DETAILS: &str = include_str!("openapi.json");

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Details {
    operations: Map<String, Value>,
    components: Value,
}

/// What `openapi.json` says of a route.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Operation {
    /// Parameters of the query.
    query: Vec<String>,
    /// The schema of the body it takes.
    body: Option<String>,
    /// The schema of a good answer.
    answer: Option<String>,
    /// The schema of a 422.
    refusal: Option<String>,
    /// The schema of a 409.
    conflict: Option<String>,
    /// The media type of an answer that is no JSON.
    text: Option<String>,
    /// The protocol it switches to.
    switches: Option<String>,
}

/// The whole description.
pub(super) fn description() -> Value {
    let details: Details = serde_json::from_str(DETAILS).unwrap_or_default();
    let mut paths = Map::new();
    for route in ROUTES {
        let name = format!("{} {}", route.method, route.path);
        let said = details.operations.get(&name).cloned().unwrap_or_default();
        let said = serde_json::from_value(said).unwrap_or_default();
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.to_ascii_lowercase()] = operation(route, &said);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tidegate admin API",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": paths,
        "components": details.components,
    })
}

fn operation(route: &Route, said: &Operation) -> Value {
    let in_path = route
        .path
        .split('/')
        .filter_map(|segment| segment.strip_prefix('{'));
    let in_path = in_path.map(|name| name.trim_end_matches('}'));
    let parameters: Vec<Value> = in_path
        .chain(said.query.iter().map(String::as_str))
        .map(|name| json!({ "$ref": format!("#/components/parameters/{name}") }))
        .collect();
    let mut operation = json!({
        "summary": route.what,
        "parameters": parameters,
        "responses": responses(said),
    });
    if let Some(schema) = &said.body {
        operation["requestBody"] = content("application/json", schema_named(schema));
    }
    if route.method != "GET" {
        // Without a token file nobody needs one.
        operation["security"] = json!([{ "token": [] }, {}]);
    }
    operation
}

fn responses(said: &Operation) -> Value {
    let mut fault = content("application/json", schema_named("Fault"));
    fault["content"]["text/plain; charset=utf-8"] = json!({ "schema": { "type": "string" } });
    let mut responses = json!({ "default": described("It was not done.", fault) });
    if let Some(schema) = &said.answer {
        let answer = content("application/json", schema_named(schema));
        responses["200"] = described("Done.", answer);
    }
    if let Some(schema) = &said.refusal {
        let answer = content("application/json", schema_named(schema));
        responses["422"] = described("Refused, and nothing has changed.", answer);
    }
    if let Some(schema) = &said.conflict {
        let answer = content("application/json", schema_named(schema));
        responses["409"] = described("Another is under way.", answer);
    }
    if let Some(media) = &said.text {
        let answer = content(media, json!({ "type": "string" }));
        responses["200"] = described("The text.", answer);
    }
    if let Some(protocol) = &said.switches {
        responses["101"] = json!({ "description": format!("Switches to {protocol}.") });
    }
    responses
}

fn described(description: &str, mut response: Value) -> Value {
    response["description"] = description.into();
    response
}

fn content(media: &str, schema: Value) -> Value {
    json!({ "content": { media: { "schema": schema } } })
}

fn schema_named(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_described_and_every_description_has_its_route() {
        let details: Details = serde_json::from_str(DETAILS).unwrap();
        let routes = ROUTES
            .iter()
            .map(|route| format!("{} {}", route.method, route.path));
        let mut routes: Vec<String> = routes.collect();
        routes.sort();
        let described: Vec<&String> = details.operations.keys().collect();
        assert_eq!(described, routes.iter().collect::<Vec<_>>());
        for (name, said) in details.operations {
            let said: Result<Operation, _> = serde_json::from_value(said);
            said.unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
}
