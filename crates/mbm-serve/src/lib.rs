//! HTTP server for a trained model: batched prediction, embeddings and search, plus a web page to try them.
//!
//! ```text
//! connection --router--> body --cells--> readers --rows--> Engine's queue --batch--> Predictor --> one response per request
//!            `----------------- MemoryShare: the request's share of the memory budget ------------------------------'
//! ```
//!
//! Handlers turn request bodies into cells, a few reader threads preprocess them, and one thread takes the rows of many requests
//! off a bounded queue and runs the model on them as one batch. Threads that hang are abandoned and replaced. This is the only
//! crate that knows about HTTP.
//!
//! ```no_run
//! # fn main() -> Result<(), mbm_serve::Error> {
//! let settings = mbm_serve::Settings { model_path: Some("results/digits".into()), ..Default::default() };
//! let server = mbm_serve::Server::open(settings)?;
//! println!("http://{}", server.address());
//! server.run(std::future::pending())?;
//! # Ok(())
//! # }
//! ```

mod admin;
mod api_error;
mod app;
mod auth;
mod batcher;
mod body;
mod budget;
mod cells;
mod connection;
mod embed;
mod engine;
mod info;
mod json_size;
mod loaded_model;
mod metrics;
mod openapi;
mod page;
mod predict;
mod reply;
mod router;
mod search;
mod server;
mod settings;
mod site;
mod stages;
mod stream;
mod workers;

pub use body::rows_of_body;
pub use server::{Error, Server};
pub use settings::Settings;
