//! Reads all objects of a backup and hands them on, one at a time, each once.
//!
//! Kinds are read in the order of the catalog, each by lists of bounded pages; what objects need is read by name when all
//! lists are done and did not bring it; namespaces and definitions come last. What fails is data: one kind that cannot be
//! listed does not stop the others.

mod lists;

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use kube::Client;
use tokio::sync::mpsc::Sender;
use trysail_api::backup::BackupSpec;

use self::lists::{Pages, get};
use crate::{
    discover::{Catalog, discover},
    error::{Error, Result},
    kind::{Item, ItemName, Kind},
    order::Order,
    problem::{Place, Report},
    select::{self, Bindings, Found, Rules, Scope, resource},
    strip,
};

/// Objects of one backup: as many as an archive holds. Their names are kept in memory, about 100 bytes each.
pub const ITEMS_MAX: usize = 1_000_000;

/// What to collect.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Name of the backup.
    pub backup: String,
    /// What it takes, as its user wrote it.
    pub spec: BackupSpec,
}

/// What was collected, apart from the objects themselves.
#[derive(Debug, Clone)]
pub struct Collected {
    /// How many objects were handed on.
    pub count: usize,
    /// What was not as it should be.
    pub report: Report,
    /// The rules by which objects were taken.
    pub rules: Rules,
    /// The kinds of the cluster.
    pub catalog: Catalog,
}

/// Reads all objects of a backup and hands them to `items`, as they are to be stored. The channel's bound is the memory
/// that waiting objects may take.
///
/// # Errors
/// Nothing could be collected: the server does not answer, or the spec cannot be understood. Nobody takes the objects any
/// more. There are more than [`ITEMS_MAX`]. All else is in the report.
pub async fn collect(client: &Client, request: &Request, items: Sender<Item>) -> Result<Collected> {
    let (catalog, warnings) = discover(client).await?;
    let spec = catalog.resolve(&request.spec);
    let namespaces = all(client, &catalog, resource::NAMESPACES).await?;
    let rules = Rules::new(&spec, &namespaces)?;
    let mut run = Run {
        client,
        backup: &request.backup,
        catalog: &catalog,
        rules: &rules,
        order: Order::new(spec.ordered_resources.as_ref()),
        items,
        bindings: Bindings::default(),
        taken: HashSet::new(),
        needed: BTreeSet::new(),
        settled: HashSet::new(),
        inhabited: BTreeSet::new(),
        report: Report { warnings, ..Report::default() },
    };
    run.announce();
    run.bindings().await;
    for kind in catalog.kinds() {
        if kind.resource() != resource::NAMESPACES && rules.takes_kind(kind) {
            run.kind(kind).await?;
        }
    }
    run.what_is_needed().await?;
    run.namespaces(namespaces).await?;
    let (count, report) = (run.taken.len(), run.report);
    Ok(Collected { count, report, rules, catalog })
}

/// All objects of a kind: for kinds of which a cluster has few.
async fn all(client: &Client, catalog: &Catalog, resource: &str) -> Result<Vec<Item>> {
    let Some(kind) = catalog.kind(resource) else { return Ok(Vec::new()) };
    let mut pages = Pages::new(kind, None, None);
    let mut items = Vec::new();
    let mut names = HashSet::new();
    while let Some(page) = pages.next(client).await? {
        for raw in page {
            let item = pages.item(&raw)?;
            if names.insert(item.full_name()) {
                items.push(item);
            }
        }
    }
    Ok(items)
}

struct Run<'a> {
    client: &'a Client,
    backup: &'a str,
    catalog: &'a Catalog,
    rules: &'a Rules,
    order: Order,
    items: Sender<Item>,
    bindings: Bindings,
    /// What was handed on.
    taken: HashSet<ItemName>,
    /// What objects need and no list has brought yet.
    needed: BTreeSet<ItemName>,
    /// What was asked for by name: it is asked for once, whatever came of it.
    settled: HashSet<ItemName>,
    inhabited: BTreeSet<String>,
    report: Report,
}

impl Run<'_> {
    /// What the rules themselves have to say.
    fn announce(&mut self) {
        for name in self.rules.missing_namespaces() {
            let message = format!("namespace {name} of spec.includedNamespaces is not there");
            self.report.errors.add(Place::Backup, message);
        }
        if self.rules.leaves_out_cluster_scoped() {
            let message = "not all namespaces are included, so cluster-scoped objects are saved only where others need \
                           them: say includeClusterResources if all are meant";
            self.report.warnings.add(Place::Backup, message);
        }
    }

    /// Who has cluster-wide rights; asked only where accounts are saved.
    async fn bindings(&mut self) {
        let accounts = self.catalog.kind(resource::SERVICE_ACCOUNTS);
        if !accounts.is_some_and(|kind| self.rules.takes_kind(kind)) {
            return;
        }
        match all(self.client, self.catalog, resource::CLUSTER_ROLE_BINDINGS).await {
            Ok(bindings) => bindings.iter().for_each(|binding| self.bindings.add(&binding.object)),
            Err(error) => self.report.error(Place::Cluster, &error),
        }
    }

    async fn kind(&mut self, kind: &Arc<Kind>) -> Result<()> {
        self.ordered(kind).await?;
        let namespaces = match self.rules.scope(kind) {
            Scope::Cluster => vec![None],
            Scope::Namespaces(names) => names.into_iter().map(Some).collect(),
        };
        let selectors = self.rules.list_selectors();
        for namespace in &namespaces {
            for selector in &selectors {
                match self.list(kind, namespace.as_deref(), selector.as_deref()).await {
                    Err(error @ (Error::Closed | Error::TooMany { .. })) => return Err(error),
                    Err(error) => self.report.error(Place::of(namespace.as_deref()), &error),
                    Ok(()) => {}
                }
            }
        }
        Ok(())
    }

    /// Objects that are to come first, each by its name.
    async fn ordered(&mut self, kind: &Arc<Kind>) -> Result<()> {
        for name in self.order.unusable(kind) {
            let message = format!("spec.orderedResources: {name:?} is no name of {}", kind.resource());
            self.report.warnings.add(Place::Backup, message);
        }
        for name in self.order.first(kind) {
            let place = Place::of(name.namespace.as_deref());
            match get(self.client, kind, &name).await {
                Ok(Some(item)) => self.take(item, Found::Listed).await?,
                Ok(None) => self.report.warnings.add(place, format!("spec.orderedResources: {name} is not there")),
                Err(error) => self.report.error(place, &error),
            }
        }
        Ok(())
    }

    async fn list(&mut self, kind: &Arc<Kind>, namespace: Option<&str>, selector: Option<&str>) -> Result<()> {
        let mut pages = Pages::new(kind, namespace, selector);
        while let Some(page) = pages.next(self.client).await? {
            for raw in page {
                self.take(pages.item(&raw)?, Found::Listed).await?;
            }
        }
        Ok(())
    }

    /// Hands on an object that the rules take, unless it was handed on before.
    async fn take(&mut self, item: Item, found: Found) -> Result<()> {
        let name = item.full_name();
        if self.taken.contains(&name) || self.rules.refusal(&item, found).is_some() {
            return Ok(());
        }
        if self.taken.len() == ITEMS_MAX {
            return Err(Error::TooMany { max: ITEMS_MAX });
        }
        let definition = select::definition(&item.kind).filter(|_| self.rules.takes_definitions());
        let needs = select::needs(&item, &self.bindings).into_iter().chain(definition);
        self.needed.extend(needs.filter(|need| !self.taken.contains(need) && !self.settled.contains(need)));
        self.inhabited.extend(item.namespace().map(str::to_owned));
        self.taken.insert(name);
        self.items.send(strip::stored_copy(item, self.backup)).await.map_err(|_| Error::Closed)
    }

    /// Reads what objects need, and what that needs, until nothing is missing.
    async fn what_is_needed(&mut self) -> Result<()> {
        while let Some(name) = self.needed.pop_first() {
            if self.taken.contains(&name) || !self.settled.insert(name.clone()) {
                continue;
            }
            let Some(kind) = self.catalog.kind(&name.resource) else { continue };
            let place = Place::of(name.namespace.as_deref());
            match get(self.client, kind, &name).await {
                Ok(Some(item)) => self.take(item, Found::Needed).await?,
                // A kind of a group with a dot is not always a custom one.
                Ok(None) if name.resource == resource::DEFINITIONS => {}
                Ok(None) => {
                    self.report.warnings.add(place, format!("{name} is needed by another object and not there"));
                }
                Err(error) => self.report.error(place, &error),
            }
        }
        Ok(())
    }

    /// Namespaces that are chosen, or of which something was taken.
    async fn namespaces(&mut self, namespaces: Vec<Item>) -> Result<()> {
        let kind = self.catalog.kind(resource::NAMESPACES);
        if !kind.is_some_and(|kind| self.rules.takes_kind(kind)) {
            return Ok(());
        }
        for namespace in namespaces {
            let name = namespace.name();
            if self.rules.chosen_namespaces().contains(name) || self.inhabited.contains(name) {
                self.take(namespace, Found::Needed).await?;
            }
        }
        Ok(())
    }
}
