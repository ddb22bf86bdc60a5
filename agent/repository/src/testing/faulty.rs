//! A store that fails by script: at the n-th call, at calls on certain keys, or from some call on for ever (a crash).

use std::{
    ops::Range,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures::future::BoxFuture;

use super::{Op, subject};
use crate::store::{Created, Error, ErrorKind, Key, ObjectStore, Page, Result};

/// What goes wrong with one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The call has no effect and fails.
    Fail(ErrorKind),
    /// The call has no effect, and the store asks to be left alone for that long.
    Busy(Duration),
    /// The call takes effect and its answer is lost: the caller sees the error.
    LoseAnswer(ErrorKind),
    /// A read gives at most that many bytes.
    Truncate(usize),
    /// A read has its lowest bit flipped in this byte, counted modulo the length.
    FlipBit(usize),
    /// The call waits (tokio time) and then goes well.
    Delay(Duration),
}

/// What becomes of the call at which a crash happens; all later ones fail without effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It has no effect.
    BeforeEffect,
    /// It takes effect and nobody learns of it.
    AfterEffect,
}

#[derive(Debug)]
enum When {
    Call(u64),
    Key { op: Option<Op>, contains: String },
}

#[derive(Debug)]
struct Rule {
    when: When,
    times: u32,
    fault: Fault,
}

#[derive(Debug, Default)]
struct Script {
    calls: u64,
    rules: Vec<Rule>,
    stop: Option<(u64, Stop)>,
}

/// Fails by script. All methods take `&self`, so that a test can change the script while the store is in use.
#[derive(Debug)]
pub struct Faulty<S> {
    inner: S,
    script: Mutex<Script>,
}

impl<S> Faulty<S> {
    /// Wraps a store; nothing fails yet.
    pub fn new(inner: S) -> Self {
        Self { inner, script: Mutex::default() }
    }

    /// The store inside.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// The call with this index, counted from 0 over all operations, has that fault.
    pub fn at_call(&self, index: u64, fault: Fault) {
        self.script().rules.push(Rule { when: When::Call(index), times: 1, fault });
    }

    /// The next `times` calls of `op` (any, where `None`) on keys that contain a text have that fault. Of several rules
    /// that fit a call, the oldest one that is not used up applies.
    pub fn on_key(&self, op: Option<Op>, contains: &str, times: u32, fault: Fault) {
        let when = When::Key { op, contains: contains.to_owned() };
        self.script().rules.push(Rule { when, times, fault });
    }

    /// Lets `calls` more calls pass; the one after them is the crash, and every later one fails ([`ErrorKind::Invalid`],
    /// which nothing tries again).
    pub fn stop_after(&self, calls: u64, stop: Stop) {
        let mut script = self.script();
        script.stop = Some((script.calls + calls, stop));
    }

    /// Removes all rules and the crash.
    pub fn heal(&self) {
        let mut script = self.script();
        script.rules.clear();
        script.stop = None;
    }

    /// How many calls came so far, failed ones included.
    pub fn calls(&self) -> u64 {
        self.script().calls
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Script {
    /// Counts a call and gives its fault.
    fn next(&mut self, op: Op, key: &str) -> Option<Fault> {
        let index = self.calls;
        self.calls += 1;
        match self.stop {
            Some((at, Stop::AfterEffect)) if index == at => return Some(Fault::LoseAnswer(ErrorKind::Invalid)),
            Some((at, _)) if index >= at => return Some(Fault::Fail(ErrorKind::Invalid)),
            _ => {}
        }
        let fits = |rule: &&mut Rule| {
            rule.times > 0
                && match &rule.when {
                    When::Call(at) => *at == index,
                    When::Key { op: wanted, contains } => {
                        wanted.is_none_or(|wanted| wanted == op) && key.contains(contains)
                    }
                }
        };
        let rule = self.rules.iter_mut().find(fits)?;
        rule.times -= 1;
        Some(rule.fault)
    }
}

impl<S: ObjectStore> Faulty<S> {
    /// Runs a call with the fault that the script has for it; `damage` is applied to what it gives.
    async fn run<'a, T>(
        &'a self,
        op: Op,
        key: String,
        call: impl FnOnce(&'a S) -> BoxFuture<'a, Result<T>> + Send,
        damage: impl FnOnce(T, Fault) -> T + Send,
    ) -> Result<T> {
        let fault = self.script().next(op, &key);
        let scripted = |kind| Err(Error::new(kind, &key, "scripted fault"));
        match fault {
            None => call(&self.inner).await,
            Some(Fault::Fail(kind)) => scripted(kind),
            Some(Fault::Busy(time)) => {
                let error = Error::new(ErrorKind::Transient, &key, "scripted fault");
                Err(Error { retry_after: Some(time), ..error })
            }
            Some(Fault::LoseAnswer(kind)) => {
                call(&self.inner).await?;
                scripted(kind)
            }
            Some(Fault::Delay(time)) => {
                tokio::time::sleep(time).await;
                call(&self.inner).await
            }
            Some(fault) => Ok(damage(call(&self.inner).await?, fault)),
        }
    }
}

fn damaged(body: Bytes, fault: Fault) -> Bytes {
    match fault {
        Fault::Truncate(length) => body.slice(..length.min(body.len())),
        Fault::FlipBit(byte) if !body.is_empty() => {
            let mut bytes = body.to_vec();
            let byte = byte % bytes.len();
            bytes[byte] ^= 1;
            bytes.into()
        }
        _ => body,
    }
}

/// Answers without a body have nothing to damage.
fn whole<T>(answer: T, _: Fault) -> T {
    answer
}

impl<S: ObjectStore> ObjectStore for Faulty<S> {
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Bytes>> {
        Box::pin(self.run(Op::Get, key.to_string(), move |inner| inner.get(key), damaged))
    }

    fn get_range<'a>(&'a self, key: &'a Key, range: Range<u64>) -> BoxFuture<'a, Result<Bytes>> {
        Box::pin(self.run(Op::GetRange, key.to_string(), move |inner| inner.get_range(key, range), damaged))
    }

    fn create<'a>(&'a self, key: &'a Key, body: Bytes) -> BoxFuture<'a, Result<Created>> {
        Box::pin(self.run(Op::Create, key.to_string(), move |inner| inner.create(key, body), whole))
    }

    fn list<'a>(&'a self, prefix: &'a str, after: Option<&'a Key>) -> BoxFuture<'a, Result<Page>> {
        Box::pin(self.run(Op::List, prefix.to_owned(), move |inner| inner.list(prefix, after), whole))
    }

    fn delete<'a>(&'a self, keys: &'a [Key]) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.run(Op::Delete, subject(keys), move |inner| inner.delete(keys), whole))
    }
}
