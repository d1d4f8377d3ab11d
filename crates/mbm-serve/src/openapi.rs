//! The description of the server: the handlers' own, with the inputs and outputs of the model that is served.

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
        #[expect(dead_code, reason = "it describes what `Problem` sends")]
        pub(crate) enum $name {
            /// What was sent cannot be used.
            #[response(status = 400)]
            Validation($body),
            /// No key, or not the right one.
            #[response(status = 401)]
            Unauthorized(ProblemBody),
            /// The server was not started for this.
            #[response(status = 403)]
            Forbidden($body),
            /// The server has no such thing.
            #[response(status = 404)]
            NotFound($body),
            /// More than the server takes.
            #[response(status = 413)]
            TooLarge($body),
            /// A form of body that is not read.
            #[response(status = 415)]
            UnsupportedMediaType($body),
            /// The queue is full; try again later.
            #[response(status = 429)]
            Overloaded($body),
            /// The model failed on this batch.
            #[response(status = 500)]
            Failed($body),
            /// Not done in time.
            #[response(status = 503)]
            Unavailable(ProblemBody),
        }
    };
}

refused! {
    /// Why there may be no answer.
    Refused(ProblemBody)
}

refused! {
    /// Why there may be no answer to OpenAI's clients.
    OpenAiRefused(OpenAiProblemBody)
}

/// One or several texts or rows.
pub(crate) fn items() -> Schema {
    let item = json!({ "anyOf": [{ "type": "string" }, { "type": "object" }] });
    schema(json!({ "anyOf": [{ "type": "string" }, { "type": "object" }, { "type": "array", "items": item, "minItems": 1 }] }))
}

/// A vector as numbers or as base64.
pub(crate) fn vector() -> Schema {
    schema(json!({ "anyOf": [{ "type": "array", "items": { "type": "number" } }, { "type": "string" }] }))
}

fn schema(value: Value) -> Schema {
    serde_json::from_value(value).expect("a schema")
}

/// The description as JSON, with the model's own rows in place of the general ones.
pub(crate) fn document(openapi: &OpenApi, served: &LoadedModel) -> Value {
    let mut document = serde_json::to_value(openapi).expect("the description is JSON");
    let predictor = &served.predictor;
    let inputs: Map<String, Value> = predictor.inputs.iter().map(|field| (field.name.clone(), input(field))).collect();
    let columns = predictor.columns();
    let outputs: Map<String, Value> = columns.iter().map(|column| (column.name.clone(), output(column))).collect();
    let names: Vec<&str> = predictor.embedded_inputs().iter().map(|(name, _)| *name).collect();
    let schemas = &mut document["components"]["schemas"];
    schemas["EmbedBody"]["properties"]["input"]["enum"] =
        json!(names.iter().copied().map(Some).chain([None]).collect::<Vec<_>>());
    schemas["SearchBody"]["properties"]["row"]["properties"] = inputs
        .iter()
        .filter(|(name, _)| names.contains(&name.as_str()))
        .map(|(name, schema)| (name.clone(), schema.clone()))
        .collect();
    schemas["SearchBody"]["properties"]["row"]["additionalProperties"] = false.into();
    schemas["RowBody"] = json!({ "type": "object", "description": "The model's inputs; those left out are absent.",
        "properties": inputs, "additionalProperties": false });
    let mut outputs = outputs;
    outputs.insert(
        "contributions".to_owned(),
        json!({ "type": "object", "description":
        "For each output and input the prediction with all inputs less the one without this input; with `explain=true`" }),
    );
    schemas["PredictionBody"] = json!({ "type": "object", "properties": outputs, "required": ["status"] });
    document
}

fn input(field: &mbm::Field) -> Value {
    let described = |schema: Value, description: &str| {
        let mut schema = schema;
        schema["description"] = description.into();
        schema
    };
    let kind = field.preprocessor.type_name();
    match kind {
        "image" | "audio" => {
            described(json!({ "type": "string", "contentEncoding": "base64" }), &format!("{kind}: a file in base64"))
        }
        "number" => described(json!({ "type": "number" }), kind),
        "category" => described(json!({ "enum": mbm::class_names(&field.preprocessor) }), kind),
        "vector" | "timeseries" => described(json!({ "type": "array", "items": { "type": "number" } }), kind),
        _ => described(json!({ "type": "string" }), kind),
    }
}

fn output(column: &mbm::Column) -> Value {
    match column.kind {
        mbm::Kind::Text => json!({ "type": ["string", "null"] }),
        mbm::Kind::Number => json!({ "type": ["number", "null"] }),
        mbm::Kind::Vector(_) => json!({ "type": "array", "items": { "type": "number" } }),
    }
}
