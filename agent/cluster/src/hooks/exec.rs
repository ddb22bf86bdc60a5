//! Runs the hooks of a pod, one after another, through the API server.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    api::{AttachParams, AttachedProcess},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    time,
};

use super::{Plan, PodHook, name_of};
use crate::{
    error::{Error, Result},
    kind::Item,
};

/// What of a command's output is kept, for each of its two streams. The rest is read, so that the command goes on.
pub const OUTPUT_BYTES_MAX: usize = 64 << 10;

/// What of its output an error quotes.
const QUOTED_CHARACTERS_MAX: usize = 500;

/// How an API server says that a command ended with something else than 0. Source: Kubernetes, remote command protocol.
const EXIT_CODE: &str = "ExitCode";

/// And how that it ended with 0.
const SUCCESS: &str = "Success";

/// What a command said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Output {
    /// Standard output, its first [`OUTPUT_BYTES_MAX`].
    pub stdout: Vec<u8>,
    /// Standard error, likewise.
    pub stderr: Vec<u8>,
}

/// How the hooks of a pod went.
#[derive(Debug, Default)]
pub struct Outcome {
    /// How many were tried.
    pub attempted: usize,
    /// Those that failed, with what they say.
    pub failed: Vec<Error>,
    /// Whether one of them stops the pod: those behind it were not tried.
    pub is_stopped: bool,
    /// What the others said.
    pub outputs: Vec<(PodHook, Output)>,
}

/// Runs all hooks of a plan until one stops the pod.
pub async fn run_all(client: &Client, pod: &Item, plan: &Plan) -> Outcome {
    let mut outcome = Outcome::default();
    for hook in &plan.hooks {
        outcome.attempted += 1;
        let (result, stops) = match hook {
            Ok(hook) => (run(client, pod, hook).await.map(|output| (hook.clone(), output)), hook.stops()),
            Err(hook) => {
                let (hook_name, why) = (hook.name.clone(), hook.why.clone());
                let container = "-".to_owned();
                (Err(Error::Hook { hook: hook_name, container, pod: name_of(pod), why }), hook.stops)
            }
        };
        match result {
            Ok(output) => outcome.outputs.push(output),
            Err(error) => {
                outcome.failed.push(error);
                if stops {
                    outcome.is_stopped = true;
                    break;
                }
            }
        }
    }
    outcome
}

/// Runs a hook to its end. A command that takes too long is left to itself: the API server offers no way to end it.
///
/// # Errors
/// It cannot be started, takes longer than its timeout, or does not end with 0.
pub async fn run(client: &Client, pod: &Item, hook: &PodHook) -> Result<Output> {
    let namespace = pod.namespace().unwrap_or_default();
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let failed = |why: String| Error::Hook {
        hook: hook.name.clone(),
        container: hook.container.clone(),
        pod: name_of(pod),
        why,
    };
    let process = async {
        let streams = AttachParams::default().stdin(false).stdout(true).stderr(true).container(&hook.container);
        let process = pods.exec(pod.name(), hook.command.iter(), &streams).await;
        let process = process.map_err(|source| Error::Exec {
            hook: hook.name.clone(),
            container: hook.container.clone(),
            pod: name_of(pod),
            source: Box::new(source),
        })?;
        finish(process).await.map_err(failed)
    };
    match time::timeout(hook.timeout, process).await {
        Ok(result) => result,
        Err(_) => Err(failed(format!("it did not end within {}", seconds(hook.timeout)))),
    }
}

async fn finish(mut process: AttachedProcess) -> Result<Output, String> {
    let status = process.take_status();
    let (stdout, stderr) = (process.stdout(), process.stderr());
    let (stdout, stderr) = tokio::join!(kept(stdout), kept(stderr));
    let output = Output { stdout, stderr };
    let status = match status {
        Some(status) => status.await,
        None => None,
    };
    process.join().await.map_err(|error| format!("the connection broke: {error}"))?;
    let Some(status) = status else { return Err("nobody said how it ended".to_owned()) };
    if status.status.as_deref() == Some(SUCCESS) {
        return Ok(output);
    }
    let causes = status.details.into_iter().filter_map(|details| details.causes).flatten();
    let code = causes.into_iter().find(|cause| cause.reason.as_deref() == Some(EXIT_CODE));
    let ended = match code.and_then(|cause| cause.message) {
        Some(code) => format!("it ended with {code}"),
        None => status.message.unwrap_or_else(|| "it failed".to_owned()),
    };
    Err(match quoted(&output.stderr) {
        said if said.is_empty() => ended,
        said => format!("{ended}: {said}"),
    })
}

/// Reads a stream to its end and keeps its beginning.
async fn kept(stream: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let Some(mut stream) = stream else { return Vec::new() };
    let mut kept = Vec::new();
    let mut buffer = [0; 4096];
    // A stream that breaks is told by the status, which then does not come.
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        let rest = OUTPUT_BYTES_MAX - kept.len();
        kept.extend_from_slice(&buffer[..count.min(rest)]);
    }
    kept
}

fn quoted(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.trim().chars().take(QUOTED_CHARACTERS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stream_is_read_to_its_end_and_its_beginning_is_kept() {
        let long = vec![b'a'; 3 * OUTPUT_BYTES_MAX];
        let mut stream = &long[..];
        assert_eq!(kept(Some(&mut stream)).await.len(), OUTPUT_BYTES_MAX);
        assert_eq!(stream.len(), 0);
        assert_eq!(kept(Some(&b"short"[..])).await, b"short");
        assert_eq!(kept(None::<&[u8]>).await, b"");
    }

    #[test]
    fn an_error_quotes_one_short_line() {
        assert_eq!(quoted(b" a\nb\x1b[1m \xff "), "a b [1m \u{fffd}");
        assert_eq!(quoted(&[b'x'; 9999]).len(), QUOTED_CHARACTERS_MAX);
    }
}
