//! The repository that a command works on: from its URL to an open repository with its keys and identities.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use trysail_repository::{
    Error, Repository,
    keys::Keys,
    layout::VolumeName,
    seal::{Identity, Recipient},
    signature::PublicKey,
    store::{
        ErrorKind, ObjectStore,
        directory::Directory,
        retry::Retry,
        s3::{S3, S3Settings},
    },
};

use crate::{
    args::{Recipients, Shared},
    output,
    state::State,
};

/// How long the first request to a store is repeated: a wrong endpoint should be told while somebody is looking.
const FIRST_CONTACT: Duration = Duration::from_secs(15);

/// Where a repository is and what this machine knows of it.
pub(crate) struct Place {
    url: String,
    quiet: bool,
    state: State,
    identity: Identity,
}

/// An open repository.
pub(crate) struct Opened {
    pub(crate) repository: Repository,
    identity: Identity,
    keys: Option<Keys>,
}

/// What to do where there is no repository yet.
pub(crate) enum IfAbsent<'a> {
    /// An error.
    Refuse,
    /// Make one for these recipients.
    Init(&'a Recipients),
}

/// A directory of the user: that of a variable of XDG, else one below the home directory.
pub(crate) fn home(variable: &str, below_home: &str) -> Result<std::path::PathBuf> {
    if let Some(directory) = std::env::var_os(variable).filter(|d| Path::new(d).is_absolute()) {
        return Ok(directory.into());
    }
    let home = std::env::var_os("HOME").with_context(|| format!("neither {variable} nor HOME is set"))?;
    Ok(Path::new(&home).join(below_home))
}

/// What files with identities open together; nothing where there are none.
pub(crate) fn identity(files: &[PathBuf]) -> Result<Identity> {
    files.iter().try_fold(Identity::default(), |identity, file| {
        let context = || format!("--identity {}", file.display());
        let text = std::fs::read_to_string(file).with_context(context)?;
        Ok(identity.and(&Identity::parse(&text).with_context(context)?))
    })
}

impl Place {
    /// The place that the arguments and the environment name.
    pub(crate) fn new(shared: &Shared) -> Result<Self> {
        let url = if let Some(url) = &shared.repo {
            url.clone()
        } else {
            let directory = home("XDG_DATA_HOME", ".local/share")?.join("trysail/repo");
            format!("file://{}", directory.to_str().context("the path of the data directory is not UTF-8")?)
        };
        let identity = identity(&shared.identity)?;
        let state = State::new(home("XDG_STATE_HOME", ".local/state")?.join("trysail"));
        Ok(Self { url, quiet: shared.quiet, state, identity })
    }

    /// The URL.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    fn store(&self, make: Make, patience: Option<Duration>) -> Result<Arc<dyn ObjectStore>> {
        if let Some(path) = self.url.strip_prefix("file://") {
            let path = Path::new(path);
            if !path.is_absolute() {
                bail!("{}: a file URL has an absolute path: file:///dir", self.url);
            }
            let context = || self.url.clone();
            if let (Make::IfAbsent, Some(parent)) = (make, path.parent()) {
                std::fs::create_dir_all(parent).with_context(context)?;
            }
            let opened = match make {
                Make::IfAbsent => Directory::create(path),
                Make::Never => Directory::open(path),
            };
            return Ok(Arc::new(opened.with_context(context)?));
        }
        if self.url.starts_with("s3://") {
            let settings =
                S3Settings::from_url(&self.url, |name| std::env::var(name).ok()).with_context(|| self.url.clone())?;
            let retry = Retry::new(S3::connect(&settings)?);
            return Ok(match patience {
                Some(patience) => Arc::new(retry.with_patience(patience)),
                None => Arc::new(retry),
            });
        }
        bail!("{}: a repository is file:///dir or s3://bucket/prefix?endpoint=…&region=…", self.url)
    }

    /// Opens the repository, trusting its root key on first use.
    pub(crate) async fn open(&self, absent: IfAbsent<'_>) -> Result<Opened> {
        if let IfAbsent::Init(given) = &absent {
            // Before anything is made.
            recipients(given)?;
        }
        let make = if matches!(absent, IfAbsent::Init(_)) { Make::IfAbsent } else { Make::Never };
        let pinned = self.state.pin(&self.url)?;
        let first = match self.store(make, Some(FIRST_CONTACT)) {
            Ok(store) => store,
            Err(_) if self.is_absent() && matches!(absent, IfAbsent::Refuse) => {
                return Err(self.explain(Error::NoRepository));
            }
            Err(error) => return Err(error),
        };
        let opened = Repository::open(first, pinned).await;
        let repository = match (opened, absent) {
            (Ok(repository), IfAbsent::Init(recipients)) => {
                Self::same_recipients(&repository, recipients)?;
                repository
            }
            (Ok(repository), IfAbsent::Refuse) => repository,
            (Err(Error::NoRepository), IfAbsent::Init(recipients)) => return self.init(recipients).await,
            (Err(error), _) => return Err(self.explain(error)),
        };
        if pinned.is_none() {
            self.state.set_pin(&self.url, repository.config().root)?;
        }
        let repository = repository.with_store(self.store(Make::Never, None)?);
        let keys = match self.state.keys(repository.config().root)? {
            Some(keys) => Some(keys),
            None => self.keys_in(&repository).await?,
        };
        Ok(Opened { repository, identity: self.identity.clone(), keys })
    }

    fn is_absent(&self) -> bool {
        let path = self.url.strip_prefix("file://").map(Path::new);
        path.is_some_and(|path| path.is_absolute() && !path.exists())
    }

    /// The directory of a repository that lies in one.
    pub(crate) fn directory(&self) -> Option<&Path> {
        self.url.strip_prefix("file://").map(Path::new)
    }

    fn explain(&self, error: Error) -> anyhow::Error {
        if matches!(&error, Error::Store(store) if store.kind == ErrorKind::Transient) {
            return anyhow::anyhow!("{}: {error}; is the address right, and does the store run?", self.url);
        }
        anyhow::Error::from(error).context(self.url.clone())
    }

    /// The keys that the repository itself holds, where they can be opened.
    async fn keys_in(&self, repository: &Repository) -> Result<Option<Keys>> {
        match repository.keys(&self.identity).await {
            Ok(keys) => Ok(Some(keys)),
            Err(Error::NoIdentity { .. }) => Ok(None),
            Err(error) => Err(self.explain(error)),
        }
    }

    fn same_recipients(repository: &Repository, given: &Recipients) -> Result<()> {
        let given: Vec<String> = recipients(given)?.iter().map(|r| r.text().to_owned()).collect();
        let has = &repository.config().recipients;
        if given.is_empty() || (given.len() == has.len() && given.iter().all(|r| has.contains(r))) {
            return Ok(());
        }
        bail!("the repository exists and has other recipients: {}; leave --recipient out", display_list(has))
    }

    /// Makes a repository where there is none.
    pub(crate) async fn init_new(&self, given: &Recipients) -> Result<Opened> {
        recipients(given)?;
        let store = self.store(Make::IfAbsent, Some(FIRST_CONTACT))?;
        match Repository::open(store, None).await {
            Ok(_) => bail!("{}: there is a repository already; use it, or give another --repo", self.url),
            Err(Error::NoRepository) => self.init(given).await,
            Err(error) => Err(self.explain(error)),
        }
    }

    async fn init(&self, given: &Recipients) -> Result<Opened> {
        let recipients = recipients(given)?;
        let keys = Keys::generate().map_err(|e| anyhow::anyhow!("the kernel gives no random bytes: {e}"))?;
        // The keys are safe before the repository exists: the other way round, a crash would leave one that nobody can write.
        self.state.set_keys(&keys)?;
        let store = self.store(Make::IfAbsent, Some(FIRST_CONTACT))?;
        let repository =
            Repository::init(store, &recipients, &keys, Timestamp::now()).await.map_err(|e| self.explain(e))?;
        self.state.set_pin(&self.url, repository.config().root)?;
        if !self.quiet {
            self.tell_made(&recipients);
        }
        let repository = repository.with_store(self.store(Make::Never, None)?);
        Ok(Opened { repository, identity: self.identity.clone(), keys: Some(keys) })
    }

    fn tell_made(&self, recipients: &[Recipient]) {
        output::note(&format!("Made a repository at {}", self.url));
        match recipients {
            [] => output::note(
                "It is not encrypted: whoever can read the store can read the files. Encrypt with --recipient when it is made.",
            ),
            [one] => output::note(&format!(
                "Only {} can restore from it: if that one key is lost, everything is. Better give a second --recipient, kept elsewhere.",
                one.text()
            )),
            _ => {}
        }
    }

    /// Trusts the repository's root key, and takes over its keys with the identity.
    pub(crate) async fn adopt(&self, root: Option<PublicKey>) -> Result<PublicKey> {
        let store = self.store(Make::Never, Some(FIRST_CONTACT))?;
        let pinned = match root {
            Some(root) => Some(root),
            None => self.state.pin(&self.url)?,
        };
        let repository = Repository::open(store, pinned).await.map_err(|e| self.explain(e))?;
        let keys = repository.keys(&self.identity).await.map_err(|e| self.explain(e))?;
        self.state.set_keys(&keys)?;
        self.state.set_pin(&self.url, repository.config().root)?;
        Ok(repository.config().root)
    }
}

/// Whether a directory is made for a store.
#[derive(Clone, Copy)]
enum Make {
    IfAbsent,
    Never,
}

impl Opened {
    /// The repository's keys, without which nothing can be written.
    pub(crate) fn keys(&self) -> Result<&Keys> {
        self.keys.as_ref().with_context(|| {
            format!(
                "RepositoryKeyMissing: this machine has not the keys of this repository; take them over with \
                 `trysail repo adopt --identity FILE`, with the identity of one of: {}",
                display_list(&self.repository.config().recipients)
            )
        })
    }

    /// The identities given and the keys, as far as there are any.
    pub(crate) fn secrets(&self) -> (Identity, Option<Keys>) {
        (self.identity.clone(), self.keys.clone())
    }

    /// What opens the packs of a volume: the identities given, and for its file table the state key, where it is known.
    pub(crate) fn identity(&self, volume: &VolumeName) -> Result<Identity> {
        match &self.keys {
            Some(keys) => Ok(self.identity.clone().and(&keys.for_volume(volume).table_identity()?)),
            None => Ok(self.identity.clone()),
        }
    }
}

fn display_list(list: &[String]) -> String {
    if list.is_empty() { "none".to_owned() } else { list.join(", ") }
}

/// The recipients that the arguments name.
fn recipients(given: &Recipients) -> Result<Vec<Recipient>> {
    let mut list = given.recipient.iter().map(|text| Recipient::parse(text)).collect::<Result<Vec<_>, _>>()?;
    for file in &given.recipients_file {
        let context = || format!("--recipients-file {}", file.display());
        let text = std::fs::read_to_string(file).with_context(context)?;
        list.extend(Recipient::parse_file(&text).with_context(context)?);
    }
    Ok(list)
}
