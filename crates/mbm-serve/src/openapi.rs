//! The OpenAPI document: generated from the handlers, and completed with the inputs and outputs of the served model.

use serde_json::{Map, Value, json};
use utoipa::openapi::{OpenApi, Schema};
use utoipa::{IntoResponses, ToSchema};

use crate::api_error::ProblemBody;
use crate::embed::OpenAiProblemBody;
use crate::loaded_model::LoadedModel;

/// A row: the model's inputs by name.
#[derive(ToSchema)]
pub(crate) struct RowBody(#[expect(dead_code, reason = "its properties are those of the model")] Map<String, Value>);

macro_rules! refused {
    ($(#[$doc:meta])* $name:ident($body:ty)) => {
        $(#[$doc])*
        #[derive(IntoResponses)]
        #[expect(dead_code, reason = "it describes what `ApiError` sends")]
        pub(crate) enum $name {
            /// The request is invalid.
            #[response(status = 400)]
            Validation($body),
            /// The API key is missing or wrong.
            #[response(status = 401)]
            Unauthorized(ProblemBody),
            /// The server's settings do not allow this.
            #[response(status = 403)]
            Forbidden($body),
            /// No such endpoint or resource.
            #[response(status = 404)]
            NotFound($body),
            /// The request exceeds a limit of the server.
            #[response(status = 413)]
            TooLarge($body),
            /// The content type is not supported.
            #[response(status = 415)]
            UnsupportedMediaType($body),
            /// The queue or the memory for requests is full; try again later.
            #[response(status = 429)]
            Overloaded($body),
            /// The model failed on this batch.
            #[response(status = 500)]
            Failed($body),
            /// The request timed out, or the server is shutting down.
            #[response(status = 503)]
            Unavailable(ProblemBody),
        }
    };
}

refused! {
    /// Error responses.
    Refused(ProblemBody)
}

refused! {
    /// Error responses of OpenAI-compatible endpoints.
    OpenAiRefused(OpenAiProblemBody)
}

/// Schema of one or several strings or rows.
pub(crate) fn items() -> Schema {
    let item = json!({ "anyOf": [{ "type": "string" }, { "type": "object" }] });
    schema(json!({ "anyOf": [{ "type": "string" }, { "type": "object" }, { "type": "array", "items": item, "minItems": 1 }] }))
}

/// Schema of a vector, as numbers or as base64.
pub(crate) fn vector() -> Schema {
    schema(json!({ "anyOf": [{ "type": "array", "items": { "type": "number" } }, { "type": "string" }] }))
}

fn schema(value: Value) -> Schema {
    serde_json::from_value(value).expect("a schema")
}

/// Returns the OpenAPI document as JSON, with the row schemas replaced by those of the served model.
pub(crate) fn document(openapi: &OpenApi, served: &LoadedModel) -> Value {
    let mut document = serde_json::to_value(openapi).expect("the description is JSON");
    let model = &served.model;
    let inputs: Map<String, Value> = model.inputs().map(|it| (it.name().to_owned(), input(it))).collect();
    let columns = model.columns();
    let outputs: Map<String, Value> = columns.iter().map(|column| (column.name.clone(), output(column))).collect();
    let names: Vec<&str> = model.embedded_inputs().iter().map(|(name, _)| *name).collect();
    let schemas = &mut document["components"]["schemas"];
    schemas["EmbedBody"]["properties"]["input"]["enum"] =
        json!(names.iter().copied().map(Some).chain([None]).collect::<Vec<_>>());
    schemas["SearchBody"]["properties"]["row"]["properties"] = inputs
        .iter()
        .filter(|(name, _)| names.contains(&name.as_str()))
        .map(|(name, schema)| (name.clone(), schema.clone()))
        .collect();
    schemas["SearchBody"]["properties"]["row"]["additionalProperties"] = false.into();
    schemas["RowBody"] = json!({ "type": "object", "description": "Inputs of the model; those left out count as absent.",
        "properties": inputs, "additionalProperties": false });
    let mut outputs = outputs;
    outputs.insert(
        "contributions".to_owned(),
        json!({ "type": "object", "description":
        "For each output, the contribution (Shapley value) of each input to the prediction; only with `explain=true`" }),
    );
    schemas["PredictionBody"] = json!({ "type": "object", "properties": outputs, "required": ["status"] });
    document
}

fn input(feature: mbm::Feature) -> Value {
    let kind = feature.type_name();
    match kind {
        "image" | "audio" => {
            described(json!({ "type": "string", "contentEncoding": "base64" }), &format!("{kind}: a file in base64"))
        }
        "number" => described(json!({ "type": "number" }), kind),
        "category" => described(json!({ "enum": feature.classes() }), kind),
        "vector" | "timeseries" => described(json!({ "type": "array", "items": { "type": "number" } }), kind),
        _ => described(json!({ "type": "string" }), kind),
    }
}

fn described(mut schema: Value, description: &str) -> Value {
    schema["description"] = description.into();
    schema
}

fn output(column: &mbm::OutputColumn) -> Value {
    match column.kind {
        mbm::ColumnType::Text => json!({ "type": ["string", "null"] }),
        mbm::ColumnType::Number => json!({ "type": ["number", "null"] }),
        mbm::ColumnType::Vector(_) => json!({ "type": "array", "items": { "type": "number" } }),
    }
}
