//! The only caller of kube's `Controller::run`: how many objects at once, how soon, what follows an error, and the span in
//! which each reconciliation logs. No rule of any kind is here.

use std::{fmt::Debug, sync::Arc, time::Duration};

use futures::StreamExt as _;
use jiff::Timestamp;
use kube::{
    Resource, ResourceExt as _,
    core::DeserializeGuard,
    runtime::{
        Controller,
        controller::{Action, Config},
    },
};
use serde::de::DeserializeOwned;
use tracing::Instrument as _;
use trysail_repository::Class;

use crate::{Error, Result, context::Context};

/// An object that may not be what its type says.
pub(crate) type Guarded<K> = DeserializeGuard<K>;

/// How many objects at once, and how soon.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Objects that are worked on at once.
    pub(crate) concurrency: u16,
    /// Quiet time after a change before it is looked at, so that a burst of changes is one.
    pub(crate) debounce: Duration,
}

/// For a person who waits: at once, several.
pub(crate) const PROMPT: Pace = Pace { concurrency: 10, debounce: Duration::ZERO };

/// For what nobody waits for.
pub(crate) const CALM: Pace = Pace { concurrency: 4, debounce: Duration::from_millis(500) };

/// How soon an object is tried again after an error that may pass by itself.
const SOON: Duration = Duration::from_secs(10);

/// The same where a person has to do something first; a change of the object itself is looked at at once.
const LATER: Duration = Duration::from_mins(5);

/// What is added to a timer, since the moment itself is not yet after it.
const AFTER: Duration = Duration::from_millis(50);

/// Reconciles the objects of a controller for ever, or until it is dropped: then nothing of it goes on.
///
/// An object that its type does not understand is logged and left alone until it changes.
pub(crate) async fn drive<K, F, Fut>(
    name: &'static str,
    controller: Controller<Guarded<K>>,
    pace: Pace,
    reconcile: F,
    context: Arc<Context>,
) where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    Guarded<K>: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    F: Fn(Arc<K>, Arc<Context>) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Result<Action>> + Send + 'static,
{
    if !context.settings.runs(name) {
        tracing::info!(controller = name, "Controller is disabled");
        return;
    }
    let config = Config::default().concurrency(pace.concurrency).debounce(pace.debounce);
    let each = move |object: Arc<Guarded<K>>, context: Arc<Context>| {
        let reconcile = reconcile.clone();
        let span = tracing::info_span!("reconcile", controller = name, name = object.name_any());
        async move {
            match &object.0 {
                Ok(valid) => reconcile(Arc::new(valid.clone()), context).await,
                Err(invalid) => {
                    tracing::warn!(error = invalid.error, "An object is not what its kind says");
                    Ok(Action::await_change())
                }
            }
        }
        .instrument(span)
    };
    let after = move |object: Arc<Guarded<K>>, error: &Error, context: Arc<Context>| {
        let class = error.class();
        context.metrics.reconcile_error(name, class);
        tracing::warn!(controller = name, name = object.name_any(), %error, "Reconciliation failed");
        Action::requeue(pause(class))
    };
    let runs = controller.with_config(config).run(each, after, context);
    runs.for_each(|result| async move {
        // Errors of reconciliation are told above; what is left is the watch, which is tried again by itself.
        if let Err(kube::runtime::controller::Error::QueueError(error)) = result {
            tracing::warn!(controller = name, %error, "A watch failed");
        }
    })
    .await;
}

/// Looks at an object again at a moment.
pub(crate) fn at(moment: Timestamp, now: Timestamp) -> Action {
    let left = Duration::try_from(moment.duration_since(now)).unwrap_or_default();
    Action::requeue(left + AFTER)
}

/// How long after an error of that class an object is tried again.
fn pause(class: Class) -> Duration {
    match class {
        Class::Transient => SOON,
        Class::Denied | Class::Missing | Class::Invalid | Class::Corrupt | Class::Bug => LATER,
    }
}
