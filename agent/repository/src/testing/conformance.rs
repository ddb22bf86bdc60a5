//! What every store promises, as one suite: the same calls, the same whole answers.

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::store::{Created, Error, ErrorKind, Key, Listed, ObjectStore, PAGE_KEYS_MAX, Result, list_all};

/// Keys in the order of their bytes, which is not the order of a directory tree: `-` and `.` come before `/`.
const ORDERED: [&str; 10] =
    ["Z", "a-b", "a.b", "a/.hidden", "a/b", "a/b-c/d", "a/b.c", "a0/~tilde_-.", "a~", "b/c/d/e/f"];

/// Writes in flight at once, so that a thousand objects do not take a thousand round trips.
const WRITES_AT_ONCE: usize = 16;

/// Size of a full pack in bytes.
const LARGE_BYTES: usize = 16 << 20;

/// Runs the suite against an empty store and leaves it empty. A failed operation is the error; an answer that differs from
/// the promise fails an assertion.
pub async fn verify_store(store: &dyn ObjectStore) -> Result<()> {
    assert_eq!(list_all(store, "", 0).await?, [], "the suite needs an empty store");
    objects_are_created_once(store).await?;
    absent_objects_are_missing(store).await?;
    ranges_are_exact(store).await?;
    bodies_of_all_sizes_come_back(store).await?;
    listings_are_in_byte_order(store).await?;
    listings_go_on_after_a_page(store).await?;
    assert_eq!(list_all(store, "", 0).await?, [], "deleted objects are in no listing");
    Ok(())
}

fn key(text: &str) -> Result<Key> {
    Key::parse(text).ok_or_else(|| Error::new(ErrorKind::Invalid, text, "not a key"))
}

fn kind<T>(result: Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind)
}

async fn create(store: &dyn ObjectStore, key: &Key, body: Bytes) -> Result<()> {
    let created = store.create(key, body).await?;
    assert!(matches!(created, Created::New { .. }), "{key} is new, not {created:?}");
    Ok(())
}

async fn objects_are_created_once(store: &dyn ObjectStore) -> Result<()> {
    let key = key("once/object")?;
    let Created::New { at } = store.create(&key, Bytes::from_static(b"first")).await? else {
        return Err(Error::new(ErrorKind::Corrupt, &key, "the first create found an object"));
    };
    assert_eq!(store.create(&key, Bytes::from_static(b"second")).await?, Created::AlreadyThere);
    assert_eq!(store.create(&key, Bytes::from_static(b"first")).await?, Created::AlreadyThere);
    assert_eq!(store.get(&key).await?, "first");
    let page = store.list(key.as_str(), None).await?;
    let modified = page.objects.first().map_or(at, |object| object.modified);
    assert_eq!(page.objects, [Listed { key: key.clone(), size: 5, modified }]);
    // `Date` has whole seconds, and the answer may come a second after the write on a busy machine.
    assert!(at.duration_since(modified).as_secs().abs() <= 60, "written at {at}, listed as {modified}");
    store.delete(std::slice::from_ref(&key)).await?;
    create(store, &key, Bytes::from_static(b"third")).await?;
    assert_eq!(store.get(&key).await?, "third");
    store.delete(&[key]).await
}

async fn absent_objects_are_missing(store: &dyn ObjectStore) -> Result<()> {
    let (absent, below) = (key("absent")?, key("absent/below/deep")?);
    assert_eq!(kind(store.get(&absent).await), Some(ErrorKind::Missing));
    assert_eq!(kind(store.get(&below).await), Some(ErrorKind::Missing));
    assert_eq!(kind(store.get_range(&absent, 0..1).await), Some(ErrorKind::Missing));
    store.delete(&[absent, below]).await?;
    store.delete(&[]).await
}

async fn ranges_are_exact(store: &dyn ObjectStore) -> Result<()> {
    let key = key("ranges/object")?;
    create(store, &key, Bytes::from_static(b"0123456789")).await?;
    for (range, expected) in [(0..1, "0"), (0..10, "0123456789"), (9..10, "9"), (3..7, "3456")] {
        assert_eq!(store.get_range(&key, range).await?, expected);
    }
    for range in [0..11, 9..11, 10..11, 20..30, 5..5] {
        assert_eq!(kind(store.get_range(&key, range.clone()).await), Some(ErrorKind::Invalid), "{range:?}");
    }
    store.delete(&[key]).await
}

async fn bodies_of_all_sizes_come_back(store: &dyn ObjectStore) -> Result<()> {
    let large: Bytes =
        (0_u32..).flat_map(|word| word.wrapping_mul(0x9e37_79b1).to_le_bytes()).take(LARGE_BYTES).collect();
    for (name, body) in
        [("bodies/empty", Bytes::new()), ("bodies/one", Bytes::from_static(b"\0")), ("bodies/pack", large)]
    {
        let key = key(name)?;
        create(store, &key, body.clone()).await?;
        assert!(store.get(&key).await? == body, "{key} comes back as it was written");
        let page = store.list(name, None).await?;
        assert_eq!(page.objects.iter().map(|object| object.size).collect::<Vec<_>>(), [body.len() as u64]);
        store.delete(&[key]).await?;
    }
    Ok(())
}

async fn listings_are_in_byte_order(store: &dyn ObjectStore) -> Result<()> {
    let keys: Vec<Key> = ORDERED.into_iter().map(key).collect::<Result<_>>()?;
    for key in keys.iter().rev() {
        create(store, key, Bytes::copy_from_slice(key.as_str().as_bytes())).await?;
    }
    for key in &keys {
        assert_eq!(store.get(key).await?, key.as_str());
    }
    for prefix in ["", "a", "a/", "a/b", "a/b-", "a0", "b/c/d", "b/c/d/e/f", "c", "a/b/"] {
        let expected: Vec<&Key> = keys.iter().filter(|key| key.as_str().starts_with(prefix)).collect();
        let page = store.list(prefix, None).await?;
        assert_eq!(page.objects.iter().map(|object| &object.key).collect::<Vec<_>>(), expected, "prefix {prefix:?}");
        assert!(!page.more);
    }
    for after in ORDERED.into_iter().chain(["A", "a/b-c", "a/b0", "z"]) {
        for prefix in ["", "a/b"] {
            let wanted = |key: &&Key| key.as_str().starts_with(prefix) && key.as_str() > after;
            let page = store.list(prefix, Some(&key(after)?)).await?;
            let listed: Vec<&Key> = page.objects.iter().map(|object| &object.key).collect();
            assert_eq!(listed, keys.iter().filter(wanted).collect::<Vec<_>>(), "prefix {prefix:?} after {after}");
        }
    }
    store.delete(&keys).await
}

async fn listings_go_on_after_a_page(store: &dyn ObjectStore) -> Result<()> {
    let count = PAGE_KEYS_MAX + 5;
    let keys: Vec<Key> = (0..count).map(|n| key(&format!("pages/{}/{n:05}", n / 100))).collect::<Result<_>>()?;
    let mut sorted = keys.clone();
    sorted.sort();
    stream::iter(&keys)
        .map(|key| create(store, key, Bytes::from_static(b"x")))
        .buffer_unordered(WRITES_AT_ONCE)
        .try_collect::<()>()
        .await?;
    let first = store.list("pages/", None).await?;
    assert_eq!((first.objects.len(), first.more), (PAGE_KEYS_MAX, true));
    let second = store.list("pages/", first.objects.last().map(|object| &object.key)).await?;
    assert_eq!((second.objects.len(), second.more), (5, false));
    let all = list_all(store, "pages/", count).await?;
    assert_eq!(all.into_iter().map(|object| object.key).collect::<Vec<_>>(), sorted);
    assert_eq!(kind(list_all(store, "pages/", count - 1).await), Some(ErrorKind::TooMany));
    assert_eq!(kind(store.delete(&keys).await), Some(ErrorKind::Invalid));
    for batch in keys.chunks(PAGE_KEYS_MAX) {
        store.delete(batch).await?;
    }
    Ok(())
}
