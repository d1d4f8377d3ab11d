//! HTTP server for a trained model: batched prediction, embeddings and search, plus a web page to try them.
//!
//! ```text
//! connection --router--> body --cells--> readers --rows--> Engine's queue --batch--> Model --> one response per request
//!            `----------------- MemoryShare: the request's share of the memory budget ------------------------------'
//! ```
//!
//! Handlers turn request bodies into cells, a few reader threads preprocess them, and one thread takes the rows of many requests
//! off a bounded queue and runs the model on them as one batch. Threads that hang are abandoned and replaced. This is the only
//! crate that knows about HTTP.
//!
//! [`Server::open`] and [`Server::of_model`] bind an address; [`Server::start`] serves on a thread of its own, [`Server::run`]
//! on this one.
//!
//! ```
//! # let plan = mbm::Plan::infer("../../examples/penguins/penguins.csv", ["species"])?.with("trainer.epochs=1")?;
//! # let folder = tempfile::tempdir()?;
//! # mbm::train(plan, "../../examples/penguins/penguins.csv")?.save(folder.path().join("model"))?;
//! # let path = folder.path().join("model");
//! # let one_request = async {};
//! let settings = mbm_serve::Settings { address: ([127, 0, 0, 1], 0).into(), ..mbm_serve::Settings::of_model(path) };
//! let server = mbm_serve::Server::open(settings)?;
//! println!("{} on http://{}", server.summary(), server.address());
//! server.run(one_request)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

// Every type in a public signature has a public name.
#![warn(unnameable_types)]

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
mod running;
mod search;
mod server;
mod settings;
mod site;
mod stages;
mod stream;
mod workers;

#[doc(hidden)]
pub use body::rows_of_body;
pub use running::RunningServer;
pub use server::{ServeError, Server};
pub use settings::Settings;

/// The guide to the library, whose examples use both crates.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/guides/library.md")]
mod guide {}
