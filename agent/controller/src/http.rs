//! `/metrics`, `/livez` and `/readyz`. A replica that waits for the Lease is as ready as the one that holds it: it would take
//! over at once.

use std::{net::SocketAddr, sync::Arc};

use axum::{Router, extract::State, http::header, response::IntoResponse, routing::get};

use crate::{Error, Result, context::Context};

/// Source: OpenMetrics 1.0.0, "Text format".
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Answers until it is dropped.
pub(crate) async fn serve(address: SocketAddr, context: Arc<Context>) -> Result<()> {
    let error = |source| Error::Listen { address: address.to_string(), source };
    let listener = tokio::net::TcpListener::bind(address).await.map_err(error)?;
    tracing::info!(%address, "Serving metrics and health");
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(|| async { "ok\n" }))
        .with_state(context);
    axum::serve(listener, router).await.map_err(error)
}

async fn metrics(State(context): State<Arc<Context>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], context.metrics.text())
}
