//! A server that runs on a thread of its own until it is stopped.

use std::net::SocketAddr;
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use crate::server::{ServeError, Server};

/// A server that runs on a thread of its own. It stops when [`RunningServer::stop`] is called, or when this is dropped.
pub struct RunningServer {
    address: SocketAddr,
    /// Closed to stop the server.
    open: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), ServeError>>>,
}

impl Server {
    /// Serves on a thread of its own, until the returned server is stopped.
    ///
    /// ```
    /// # let plan = mbm::Plan::infer("../../examples/penguins/penguins.csv", ["species"])?.with("trainer.epochs=1")?;
    /// use mbm_serve::{Server, Settings};
    ///
    /// let model = mbm::train(plan, "../../examples/penguins/penguins.csv")?;
    /// let any_port = Settings { address: ([127, 0, 0, 1], 0).into(), ..Settings::default() };
    /// let server = Server::of_model(model, any_port)?.start()?;
    /// let url = format!("http://{}/predict", server.address());
    /// let mut answer = ureq::post(url).content_type("application/json").send(r#"{"bill_length_mm": 39.1}"#)?;
    /// let row: serde_json::Value = serde_json::from_str(&answer.body_mut().read_to_string()?)?;
    /// println!("{} with probability {}", row["species_predictions"], row["species_probability"]);
    /// server.stop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Returns an error if the thread cannot be started.
    pub fn start(self) -> Result<RunningServer, ServeError> {
        let address = self.address();
        let (open, closed) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new().name("server".to_owned()).spawn(move || {
            self.run(async {
                // Fails when the sender is dropped, which is how the server is stopped.
                let _ = closed.await;
            })
        })?;
        Ok(RunningServer { address, open: Some(open), thread: Some(thread) })
    }
}

impl RunningServer {
    /// Returns the address that the server listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts no more connections, answers the accepted requests, and returns when the server has ended.
    ///
    /// # Errors
    /// Returns an error if a thread of the server panicked.
    pub fn stop(mut self) -> Result<(), ServeError> {
        self.end()
    }

    fn end(&mut self) -> Result<(), ServeError> {
        drop(self.open.take());
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.join().unwrap_or_else(|_| Err(ServeError::System(std::io::Error::other("the server's thread panicked"))))
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        let _ = self.end();
    }
}
