//! What every controller is given: the client, the settings, the metrics, and the time. The one place that reads the clock.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use kube::{
    Api, Client, Resource,
    api::ListParams,
    core::DeserializeGuard,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use serde::de::DeserializeOwned;

use crate::{
    error::{Error, Result, code},
    location::Known,
    metrics::Metrics,
    settings::Settings,
};

/// Objects in one page of a list.
const PAGE: u32 = 500;

/// What every controller is given.
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) settings: Settings,
    pub(crate) metrics: Metrics,
    recorder: Recorder,
    known: Mutex<HashMap<String, Known>>,
}

impl Context {
    pub(crate) fn new(client: Client, settings: Settings, metrics: Metrics) -> Self {
        let reporter = Reporter { controller: "trysail".to_owned(), instance: Some(settings.identity.clone()) };
        let recorder = Recorder::new(client.clone(), reporter);
        Self { client, settings, metrics, recorder, known: Mutex::default() }
    }

    /// Objects of a kind in our namespace.
    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.settings.namespace)
    }

    /// One object, or none.
    pub(crate) async fn get<K>(&self, name: &str) -> Result<Option<K>>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        let found = self.api::<K>().get_opt(name).await;
        found.map_err(Error::kubernetes(format!("get {} {name}", K::kind(&()))))
    }

    /// All objects with these labels (`key=value`, or empty for all), page after page. Those that are not what their kind says
    /// are left out: one of them must not stand in the way of the others.
    pub(crate) async fn list<K>(&self, labels: &str) -> Result<Vec<K>>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        self.list_in(self.api::<DeserializeGuard<K>>(), labels).await
    }

    /// The same of the objects that an `Api` is about.
    pub(crate) async fn list_in<K>(&self, api: Api<DeserializeGuard<K>>, labels: &str) -> Result<Vec<K>>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        let mut parameters = ListParams::default().labels(labels).limit(PAGE);
        let mut found = Vec::new();
        loop {
            let page = api.list(&parameters).await;
            let page = match page {
                // The pages' common state has ended: from the beginning.
                Err(error) if code(&error) == Some(410) && parameters.continue_token.is_some() => {
                    found.clear();
                    parameters.continue_token = None;
                    continue;
                }
                other => other.map_err(Error::kubernetes(format!("list {}", K::plural(&()))))?,
            };
            found.extend(page.items.into_iter().filter_map(|object| object.0.ok()));
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => parameters.continue_token = Some(token),
                None => return Ok(found),
            }
        }
    }

    /// Tells an Event on an object. Events are a courtesy: one that is lost is only logged.
    pub(crate) async fn tell<K>(&self, object: &K, reason: &str, note: String)
    where
        K: Resource<DynamicType = ()>,
    {
        let event = Event {
            type_: EventType::Warning,
            reason: reason.to_owned(),
            note: Some(note),
            action: "Validate".to_owned(),
            secondary: None,
        };
        if let Err(error) = self.recorder.publish(&event, &object.object_ref(&())).await {
            tracing::warn!(%error, reason, "An event could not be told");
        }
    }

    /// What is known of the locations, by name: it lives as long as the process, and is found out again after it.
    pub(crate) fn known(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The time.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}
