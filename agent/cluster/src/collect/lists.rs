//! Reads objects from the API server: one by name, or lists page by page, as the JSON that it sends.

use std::{sync::Arc, time::Duration};

use kube::{
    Client, Resource as _,
    core::{
        DynamicObject, Request,
        params::{GetParams, ListParams},
    },
};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use tokio::time;

use crate::{
    error::{Class, Error, Result, class_of},
    kind::{Item, ItemName, Kind},
};

/// Objects of one page. Source: Velero, `--client-page-size`.
const PAGE: u32 = 500;

/// Pages are made smaller where they are larger than this, and larger again: four of them, as text, as parts and as
/// values, fit beside the server's other memory.
const PAGE_BYTES: usize = 4 << 20;

/// How often a list is begun again because it expired: etcd keeps what was for five minutes.
const RESTARTS_MAX: u32 = 3;

/// How often a request is tried.
const ATTEMPTS_MAX: u32 = 4;

/// The wait before the second attempt; it doubles.
const WAIT: Duration = Duration::from_millis(500);

/// HTTP's word for what expired. Source: Kubernetes API concepts, large lists in chunks.
const GONE: u16 = 410;

/// A list that is being read.
#[derive(Debug)]
pub(super) struct Pages {
    kind: Arc<Kind>,
    namespace: Option<String>,
    selector: Option<String>,
    limit: u32,
    restarts: u32,
    next: Next,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Next {
    First,
    After(String),
    Nothing,
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    items: Vec<Box<RawValue>>,
}

#[derive(Default, Deserialize)]
struct Metadata {
    #[serde(default, rename = "continue")]
    token: Option<String>,
}

impl Pages {
    pub(super) fn new(kind: &Arc<Kind>, namespace: Option<&str>, selector: Option<&str>) -> Self {
        Self {
            kind: Arc::clone(kind),
            namespace: namespace.map(str::to_owned),
            selector: selector.map(str::to_owned),
            limit: PAGE,
            restarts: 0,
            next: Next::First,
        }
    }

    /// The objects of the next page, not parsed yet; none at the end. After an expiry the list begins again, so objects
    /// may come twice.
    ///
    /// # Errors
    /// The server refuses, does not answer, or answers with something else; the list expires too often.
    pub(super) async fn next(&mut self, client: &Client) -> Result<Option<Vec<Box<RawValue>>>> {
        loop {
            let token = match &self.next {
                Next::Nothing => return Ok(None),
                Next::First => None,
                Next::After(token) => Some(token.clone()),
            };
            let text = match self.request(client, token.as_deref()).await {
                Ok(text) => text,
                Err(kube::Error::Api(status)) if status.code == GONE && token.is_some() => {
                    self.restart()?;
                    continue;
                }
                Err(source) => return Err(self.refused(source)),
            };
            self.limit = next_limit(self.limit, text.len());
            let page: Page = serde_json::from_str(&text)
                .map_err(|source| Error::NotAList { resource: self.kind.resource(), source })?;
            self.next = match page.metadata.token.filter(|token| !token.is_empty()) {
                Some(token) => Next::After(token),
                None => Next::Nothing,
            };
            return Ok(Some(page.items));
        }
    }

    /// An object of a page.
    pub(super) fn item(&self, raw: &RawValue) -> Result<Item> {
        let object: Value = serde_json::from_str(raw.get())
            .map_err(|source| Error::NotAList { resource: self.kind.resource(), source })?;
        Ok(Item::new(Arc::clone(&self.kind), object))
    }

    fn restart(&mut self) -> Result<()> {
        self.restarts += 1;
        self.next = Next::First;
        if self.restarts > RESTARTS_MAX {
            return Err(Error::Expired { resource: self.kind.resource(), restarts: RESTARTS_MAX });
        }
        Ok(())
    }

    fn refused(&self, source: kube::Error) -> Error {
        Error::List { resource: self.kind.resource(), namespace: self.namespace.clone(), source: Box::new(source) }
    }

    async fn request(&self, client: &Client, token: Option<&str>) -> Result<String, kube::Error> {
        let mut params = ListParams::default().limit(self.limit);
        params.label_selector.clone_from(&self.selector);
        params.continue_token = token.map(str::to_owned);
        let path = DynamicObject::url_path(&self.kind.api_resource(), self.namespace.as_deref());
        persistently(|| Request::new(path.clone()).list(&params), client).await
    }
}

/// An object by its name; none where it is not there.
///
/// # Errors
/// The server refuses, does not answer, or answers with something else.
pub(super) async fn get(client: &Client, kind: &Arc<Kind>, item: &ItemName) -> Result<Option<Item>> {
    let path = DynamicObject::url_path(&kind.api_resource(), item.namespace.as_deref());
    let build = || Request::new(path.clone()).get(&item.name, &GetParams::default());
    match persistently(build, client).await {
        Ok(text) => {
            let object = serde_json::from_str(&text)
                .map_err(|source| Error::NotAList { resource: item.resource.clone(), source })?;
            Ok(Some(Item::new(Arc::clone(kind), object)))
        }
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(None),
        Err(source) => Err(Error::Get { item: item.clone(), source: Box::new(source) }),
    }
}

type Built = Result<http::Request<Vec<u8>>, kube::core::request::Error>;

/// Tries a request again while that may help.
async fn persistently(build: impl Fn() -> Built, client: &Client) -> Result<String, kube::Error> {
    let mut wait = WAIT;
    for _ in 1..ATTEMPTS_MAX {
        match client.request_text(build().map_err(kube::Error::BuildRequest)?).await {
            Err(error) if may_pass(&error) => time::sleep(wait).await,
            answer => return answer,
        }
        wait *= 2;
    }
    client.request_text(build().map_err(kube::Error::BuildRequest)?).await
}

/// What expired does not come back by asking again.
fn may_pass(error: &kube::Error) -> bool {
    let is_gone = matches!(error, kube::Error::Api(status) if status.code == GONE);
    !is_gone && class_of(error) == Class::Transient
}

/// Half as many objects after a page that is too large, twice as many after one that is far from it.
fn next_limit(limit: u32, bytes: usize) -> u32 {
    if bytes > PAGE_BYTES {
        (limit / 2).max(1)
    } else if bytes < PAGE_BYTES / 4 {
        (limit * 2).min(PAGE)
    } else {
        limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_become_smaller_where_objects_are_large_and_larger_again() {
        let rows = [
            (PAGE, 100, PAGE),
            (PAGE, PAGE_BYTES, PAGE),
            (PAGE, PAGE_BYTES + 1, PAGE / 2),
            (1, PAGE_BYTES * 9, 1),
            (100, 100, 200),
            (400, 100, PAGE),
            (100, PAGE_BYTES / 2, 100),
        ];
        for (limit, bytes, expected) in rows {
            assert_eq!(next_limit(limit, bytes), expected, "{limit} objects of {bytes} bytes");
        }
    }
}
