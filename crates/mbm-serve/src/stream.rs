//! Prediction of one row with its generated texts streamed as server-sent events.

use std::convert::Infallible;
use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::response::sse::{Event, Sse};
use futures_core::Stream;
use serde_json::json;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::oneshot;

use crate::api_error::{ApiError, ApiErrorKind};
use crate::app::App;
use crate::body;
use crate::cells::CellReader;
use crate::engine::{Answer, Task};
use crate::loaded_model::LoadedModel;
use crate::openapi::{Refused, RowBody};
use crate::predict::{QueryParams, StrictQuery, prediction};

/// Stream of events: partial texts, then the final prediction. Dropping it stops text generation.
pub(crate) struct Events {
    texts: Receiver<Event>,
    answer: Option<oneshot::Receiver<Answer>>,
    last: Option<Event>,
    served: Arc<LoadedModel>,
}

impl Stream for Events {
    type Item = Result<Event, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context) -> Poll<Option<Self::Item>> {
        loop {
            // All texts are sent before the answer.
            if let Poll::Ready(Some(event)) = self.texts.poll_recv(context) {
                return Poll::Ready(Some(Ok(event)));
            }
            let Some(answer) = &mut self.answer else { return Poll::Ready(self.last.take().map(Ok)) };
            match Pin::new(answer).poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(answer) => {
                    let answer = answer.unwrap_or_else(|_| Err(ApiError::new(ApiErrorKind::Failed, "the row has no result")));
                    (self.last, self.answer) = (Some(last(&self.served, answer)), None);
                }
            }
        }
    }
}

fn last(served: &LoadedModel, answer: Answer) -> Event {
    match prediction(served, answer) {
        Ok(row) => Event::default().event("prediction").data(serde_json::Value::Object(row).to_string()),
        Err(api_error) => Event::default().event("error").data(json!(api_error.body()).to_string()),
    }
}

/// Maximum number of events that are buffered for a client. A client that reads more slowly misses some; no text is lost, since
/// each event holds the whole text so far.
const MAX_EVENTS: usize = 32;

/// Sends partial texts, and stops generation when the client no longer reads.
struct TextSender {
    events: Sender<Event>,
    names: Vec<String>,
    /// How long a client may go without reading anything.
    patience: Duration,
    full_since: Option<Instant>,
}

impl TextSender {
    fn send(&mut self, output: usize, text: Option<&str>) -> ControlFlow<()> {
        let Some(text) = text else { return self.control_flow(!self.events.is_closed()) };
        let event = Event::default().event("text").data(json!({ &self.names[output]: text }).to_string());
        match self.events.try_send(event) {
            Ok(()) => {
                self.full_since = None;
                self.control_flow(true)
            }
            Err(TrySendError::Closed(_)) => self.control_flow(false),
            Err(TrySendError::Full(_)) => {
                let since = *self.full_since.get_or_insert_with(Instant::now);
                self.control_flow(since.elapsed() < self.patience)
            }
        }
    }

    fn control_flow(&self, is_wanted: bool) -> ControlFlow<()> {
        if is_wanted { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}

/// Predict one row and stream its generated texts.
///
/// The body is the same as for `/predict`. Each `text` event holds `{"<output>_predictions": "the text so far"}`; these are only
/// sent if one text is generated at a time (no beam search), and a client that reads slowly misses some of them. The last event
/// is `prediction`, with the response of `/predict`, or `error`. Generation stops when the client disconnects or stops reading.
/// The number of texts that are streamed at the same time is limited; further requests wait for their turn.
#[utoipa::path(post, path = "/predict/stream", tag = "Prediction", params(StrictQuery),
    request_body(content((RowBody = "application/json"), (RowBody = "multipart/form-data"))),
    responses((status = 200, description = "Events", body = String, content_type = "text/event-stream"), Refused))]
pub(crate) async fn stream(
    State(app): State<Arc<App>>,
    query: QueryParams<StrictQuery>,
    body::BodyRow(row): body::BodyRow,
) -> Result<Sse<Events>, ApiError> {
    let task = Task::Predict(StrictQuery::of(query)?);
    let served = app.served();
    let cells = CellReader::new(&app.media, &served).cells(row).await?;
    let (events, texts) = channel(MAX_EVENTS);
    let names = served.model.outputs().map(|output| format!("{}_predictions", output.name())).collect();
    let mut sender = TextSender { events, names, patience: app.settings.timeout, full_since: None };
    let on_text = Box::new(move |output: usize, text: Option<&str>| sender.send(output, text));
    let answer = app.engine.stream(&served, task, cells, on_text).await?;
    Ok(Sse::new(Events { texts, answer: Some(answer), last: None, served }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_client_misses_texts_and_stalled_client_stops_them() {
        let (events, mut texts) = channel(2);
        let mut sender = TextSender { events, names: vec!["a".into()], patience: Duration::from_secs(60), full_since: None };
        let is_continued: Vec<bool> = ["1", "2", "3", "4"].map(|text| sender.send(0, Some(text)).is_continue()).to_vec();
        assert_eq!((is_continued, texts.len()), (vec![true; 4], 2));
        sender.full_since = Instant::now().checked_sub(Duration::from_secs(61));
        assert!(sender.send(0, Some("5")).is_break());
        drop(texts.try_recv().unwrap());
        assert!(sender.send(0, Some("6")).is_continue() && sender.full_since.is_none());
        drop(texts);
        assert!(sender.send(0, Some("7")).is_break() && sender.send(0, None).is_break());
    }
}
