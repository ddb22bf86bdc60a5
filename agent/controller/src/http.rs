//! `/metrics`, `/livez` and `/readyz` of the server and of the node agent. A replica that waits for the Lease is as ready as the one
//! that holds it: it would take over at once.

use std::net::SocketAddr;

use axum::{Router, http::header, routing::get};

use crate::{Error, Result};

/// Source: OpenMetrics 1.0.0, "Text format".
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Answers until it is dropped; `text` gives the metrics.
pub(crate) async fn serve(
    address: SocketAddr,
    text: impl Fn() -> String + Clone + Send + Sync + 'static,
) -> Result<()> {
    let error = |source| Error::Listen { address: address.to_string(), source };
    let listener = tokio::net::TcpListener::bind(address).await.map_err(error)?;
    tracing::info!(%address, "Serving metrics and health");
    let metrics = move || async move { ([(header::CONTENT_TYPE, CONTENT_TYPE)], text()) };
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(|| async { "ok\n" }));
    axum::serve(listener, router).await.map_err(error)
}
