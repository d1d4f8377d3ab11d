//! The `serve` command.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use mbm_serve::{Server, Settings};
use tokio::signal::unix::{SignalKind, signal};

use crate::args::Serve;
use crate::output::{line, note};
use crate::retrieval::store;

/// Serves until Ctrl-C or SIGTERM, then answers the requests already accepted; a second Ctrl-C quits immediately.
pub fn serve(args: Serve) -> Result<()> {
    let api_key = api_key(&args)?;
    if api_key.is_none() && !args.host.is_loopback() && !args.allowed_host.is_empty() {
        note(&format!("warning: {} is reachable from other machines without an API key; set MBM_API_KEY", args.host));
    }
    let server = Server::open(Settings {
        model_path: args.model_path,
        index: args.index.map(|index| store(index, args.store)),
        address: SocketAddr::new(args.host, args.port),
        max_batch_size: args.max_batch_size as usize,
        max_batch_delay: args.max_batch_delay,
        queue_size: args.queue_size as usize,
        max_body_size: args.max_body_size as usize,
        max_memory_for_requests: args.max_memory_for_requests as usize,
        max_connections: args.max_connections as usize,
        timeout: args.timeout,
        allowed_hosts: args.allowed_host,
        api_key,
        media_root: args.media_root,
        url_hosts: args.url_host,
        cors_origins: args.cors_origin,
        read_timeout: args.read_timeout,
        model_timeout: args.model_timeout,
        max_streams: args.max_streams.into(),
    })?;
    line(&server.summary())?;
    line(&format!("http://{} (API: /docs; press Ctrl-C to stop)", server.address()))?;
    Ok(server.run(interrupted())?)
}

fn api_key(args: &Serve) -> Result<Option<String>> {
    let key = match &args.api_key_file {
        Some(path) => Some(std::fs::read_to_string(path).with_context(|| path.display().to_string())?),
        None => std::env::var("MBM_API_KEY").ok(),
    };
    let key = key.map(|key| key.trim().to_owned());
    if key.as_ref().is_some_and(String::is_empty) {
        bail!("the API key is empty");
    }
    Ok(key)
}

async fn interrupted() {
    let signals = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
    let [Ok(mut interrupt), Ok(mut terminate)] = signals else { return std::future::pending().await };
    tokio::select! { _ = interrupt.recv() => (), _ = terminate.recv() => () }
    tokio::spawn(async move {
        tokio::select! { _ = interrupt.recv() => (), _ = terminate.recv() => () }
        std::process::exit(130);
    });
}
