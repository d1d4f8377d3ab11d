//! A model behind HTTP: predictions, embeddings and search, batched, and a page to try them.
//!
//! ```text
//! connection --router--> body --cells--> readers --rows--> Engine's queue --batch--> Predictor --> each request's own answer
//!            `----------------- Held: its share of the memory for requests -----------------------------------'
//! ```
//!
//! Handlers turn what clients send into cells, a few threads read them, and one takes the rows of many requests off a bounded queue and runs
//! the model on them side by side. Threads that do not come back are given up and replaced. Only this crate knows HTTP.
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
mod body;
mod budget;
mod cells;
mod connection;
mod embed;
mod engine;
mod info;
mod line;
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
mod weight;
mod workers;

pub use body::rows_of_body;
pub use server::{Error, Server};
pub use settings::Settings;
