//! The prediction of one row, its texts sent as they grow: server-sent events.

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
use crate::cells::Reading;
use crate::engine::{Answer, Task};
use crate::loaded_model::LoadedModel;
use crate::openapi::{Refused, RowBody};
use crate::predict::{Asking, StrictQuery, prediction};

/// Events as they come: texts in the making, then the answer. Who drops them ends the search for more.
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
            // Every text was sent before the answer.
            if let Poll::Ready(Some(event)) = self.texts.poll_recv(context) {
                return Poll::Ready(Some(Ok(event)));
            }
            let Some(answer) = &mut self.answer else { return Poll::Ready(self.last.take().map(Ok)) };
            match Pin::new(answer).poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(answer) => {
                    let answer = answer.unwrap_or_else(|_| Err(ApiError::new(ApiErrorKind::Failed, "no answer")));
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

/// Events on their way to a client, at most; one that reads more slowly misses some, since each holds the whole text so far.
const MAX_EVENTS: usize = 32;

/// What sends texts in the making, and ends them where nobody listens any more.
struct Sending {
    events: Sender<Event>,
    names: Vec<String>,
    /// How long a client may read nothing at all.
    patience: Duration,
    full_since: Option<Instant>,
}

impl Sending {
    fn hear(&mut self, output: usize, text: Option<&str>) -> ControlFlow<()> {
        let Some(text) = text else { return self.go_on(!self.events.is_closed()) };
        let event = Event::default().event("text").data(json!({ &self.names[output]: text }).to_string());
        match self.events.try_send(event) {
            Ok(()) => {
                self.full_since = None;
                self.go_on(true)
            }
            Err(TrySendError::Closed(_)) => self.go_on(false),
            Err(TrySendError::Full(_)) => {
                let since = *self.full_since.get_or_insert_with(Instant::now);
                self.go_on(since.elapsed() < self.patience)
            }
        }
    }

    fn go_on(&self, is_heard: bool) -> ControlFlow<()> {
        if is_heard { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}

/// Predict one row; texts are sent as they grow.
///
/// The body is that of `/predict`. Each event `text` holds `{"<output>_predictions": "what is there so far"}`, where one text is written at a
/// time (no beam), and a client that reads slowly misses some of them; the last event is `prediction`, the answer that `/predict` gives, or
/// `error`. A client that goes, or reads nothing, ends the text. So many texts are written at a time; more wait for their turn.
#[utoipa::path(post, path = "/predict/stream", tag = "Prediction", params(StrictQuery),
    request_body(content((RowBody = "application/json"), (RowBody = "multipart/form-data"))),
    responses((status = 200, description = "Events", body = String, content_type = "text/event-stream"), Refused))]
pub(crate) async fn stream(
    State(app): State<Arc<App>>,
    query: Asking<StrictQuery>,
    body::Row(row): body::Row,
) -> Result<Sse<Events>, ApiError> {
    let task = Task::Predict(StrictQuery::of(query)?);
    let served = app.served();
    let cells = Reading::new(&app.media, &served).cells(row).await?;
    let (events, texts) = channel(MAX_EVENTS);
    let names = served.predictor.outputs.iter().map(|field| format!("{}_predictions", field.name)).collect();
    let mut sending = Sending { events, names, patience: app.settings.timeout, full_since: None };
    let hear = Box::new(move |output: usize, text: Option<&str>| sending.hear(output, text));
    let answer = app.engine.stream(&served, task, cells, hear).await?;
    Ok(Sse::new(Events { texts, answer: Some(answer), last: None, served }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_reads_nothing_ends_its_text_and_one_that_reads_slowly_misses_some_of_it() {
        let (events, mut texts) = channel(2);
        let mut sending = Sending { events, names: vec!["a".into()], patience: Duration::from_secs(60), full_since: None };
        let heard: Vec<bool> = ["1", "2", "3", "4"].map(|text| sending.hear(0, Some(text)).is_continue()).to_vec();
        assert_eq!((heard, texts.len()), (vec![true; 4], 2));
        sending.full_since = Instant::now().checked_sub(Duration::from_secs(61));
        assert!(sending.hear(0, Some("5")).is_break());
        drop(texts.try_recv().unwrap());
        assert!(sending.hear(0, Some("6")).is_continue() && sending.full_since.is_none());
        drop(texts);
        assert!(sending.hear(0, Some("7")).is_break() && sending.hear(0, None).is_break());
    }
}
