//! Commands that run in restored pods, once their containers are up.
//!
//! Source: Velero `internal/hook/wait_exec_hook_handler.go`.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use serde_json::json;
use tokio::time::{Instant, sleep};
use trysail_api::hook::HookStatus;
use trysail_cluster::{
    hooks::{PodHook, exec},
    problem::Place,
    restore::hooks::{ExecHook, is_up},
};

use super::{objects::Hooked, run::Run};

/// Pods whose commands run at once.
const AT_ONCE: usize = 16;

/// Pause between looks.
const LOOK: Duration = Duration::from_secs(1);

/// Runs the commands of all pods.
pub(super) async fn run(run: &Run<'_>, pods: &[Hooked], until: Instant) -> HookStatus {
    let queue = Mutex::new(pods.iter());
    let sums = join_all((0..AT_ONCE).map(|_| work_off(run, &queue, until))).await;
    sums.into_iter().fold(HookStatus::default(), plus)
}

async fn work_off(run: &Run<'_>, queue: &Mutex<std::slice::Iter<'_, Hooked>>, until: Instant) -> HookStatus {
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let mut sum = HookStatus::default();
    while let Some(pod) = next() {
        sum = plus(sum, run_all(run, pod, until).await);
    }
    sum
}

fn plus(one: HookStatus, other: HookStatus) -> HookStatus {
    HookStatus {
        hooks_attempted: one.hooks_attempted + other.hooks_attempted,
        hooks_failed: one.hooks_failed + other.hooks_failed,
    }
}

/// Those of one pod, in order, until one fails that stops the others.
async fn run_all(run: &Run<'_>, hooked: &Hooked, until: Instant) -> HookStatus {
    let mut status = HookStatus::default();
    for hook in &hooked.hooks {
        status.hooks_attempted += 1;
        let (result, stops) = match &hook.hook {
            Ok(ready) => (run_one(run, hooked, hook, ready, until).await, ready.stops()),
            Err(refused) => (Err(format!("hook {}: {}", refused.name, refused.why)), refused.stops),
        };
        if let Err(why) = result {
            status.hooks_failed += 1;
            run.log.error(Place::of(hooked.pod.namespace()), &why);
            if stops {
                break;
            }
        }
    }
    status
}

async fn run_one(
    run: &Run<'_>,
    hooked: &Hooked,
    hook: &ExecHook,
    ready: &PodHook,
    until: Instant,
) -> Result<(), String> {
    let until = hook.wait.map_or(until, |wait| until.min(Instant::now() + wait));
    let (namespace, name) = (hooked.pod.namespace().unwrap_or_default(), hooked.pod.name());
    let pods: Api<Pod> = Api::namespaced(run.context.client.clone(), namespace);
    loop {
        let pod = pods.get_opt(name).await;
        match pod {
            Ok(Some(pod)) if is_up(&json!(pod), &ready.container, hook.waits_for_ready) => break,
            Ok(None) => return Err(format!("hook {} in pod {namespace}/{name}: the pod is gone", ready.name)),
            Ok(Some(_)) => {}
            Err(error) => tracing::warn!(%error, pod = name, "A pod with hooks cannot be looked at"),
        }
        if Instant::now() >= until {
            return Err(format!(
                "hook {} in container {} in pod {namespace}/{name} not executed: the container is not up in time",
                ready.name, ready.container
            ));
        }
        sleep(LOOK).await;
    }
    let output = exec::run(&run.context.client, &hooked.pod, ready).await.map_err(|error| error.sentence())?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    run.log.info(&format!("Ran hook {} in pod {namespace}/{name}", ready.name), &[("stdout", &stdout)]);
    Ok(())
}
