//! The prediction of one row, its texts sent as they grow: server-sent events.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::State;
use axum::response::sse::{Event, Sse};
use futures_core::Stream;
use serde_json::json;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::app::App;
use crate::body::Body;
use crate::cells::Reading;
use crate::engine::Hear;
use crate::openapi::{Refused, RowBody};
use crate::predict::prediction;
use crate::problem::{Problem, ProblemKind};

/// Events as they come.
pub(crate) struct Events(UnboundedReceiver<Event>);

impl Stream for Events {
    type Item = Result<Event, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|event| event.map(Ok))
    }
}

/// Predict one row; texts are sent as they grow.
///
/// The body is that of `/predict`. Each event `text` holds `{"<output>_predictions": "what is there so far"}`, where one text is written at a
/// time (no beam); the last event is `prediction`, the answer that `/predict` gives, or `error`.
#[utoipa::path(post, path = "/predict/stream", tag = "Prediction",
    request_body(content((RowBody = "application/json"), (RowBody = "multipart/form-data"))),
    responses((status = 200, description = "Events", body = String, content_type = "text/event-stream"), Refused))]
pub(crate) async fn stream(State(app): State<Arc<App>>, body: Body) -> Result<Sse<Events>, Problem> {
    let served = app.served();
    let cells = Reading::new(&app.media, &served).cells(body.into_row()?).await?;
    // No more events than a text has tokens.
    let (events, heard) = unbounded_channel();
    let names: Vec<String> = served.predictor.outputs.iter().map(|field| format!("{}_predictions", field.name)).collect();
    let grown = events.clone();
    let hear: Hear = Box::new(move |output, text| {
        // A client that has gone hears nothing more.
        let _ = grown.send(Event::default().event("text").data(json!({ &names[output]: text }).to_string()));
    });
    let answer = app.engine.stream(&served, cells, hear)?;
    tokio::spawn(async move {
        let answer = answer.await.unwrap_or_else(|_| Err(Problem::new(ProblemKind::Failed, "no answer")));
        let last = match prediction(&served, answer) {
            Ok(row) => Event::default().event("prediction").data(serde_json::Value::Object(row).to_string()),
            Err(problem) => Event::default().event("error").data(json!(problem.body()).to_string()),
        };
        let _ = events.send(last);
    });
    Ok(Sse::new(Events(heard)))
}
