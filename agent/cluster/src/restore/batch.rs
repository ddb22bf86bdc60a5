//! Further passes over an archive: each brings the objects of some consecutive steps, so that little is held at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
    ops::Range,
};

use super::{contents::parsed, plan::Step};
use crate::{
    archive::{Reader, StoredItem},
    error::{Error, Result},
    kind::{Item, ItemName},
};

/// JSON that is held at once. An object of that size or more comes alone.
pub const BATCH_BYTES_MAX: usize = 16 << 20;

/// Divides steps into batches. Steps that do nothing need no object.
pub fn divide(steps: &[Step]) -> Vec<Range<usize>> {
    let mut batches: Vec<Range<usize>> = Vec::new();
    let mut held = 0;
    for (at, step) in steps.iter().enumerate() {
        let bytes = if step.skip.is_none() { step.bytes } else { 0 };
        match batches.last_mut() {
            Some(batch) if held + bytes <= BATCH_BYTES_MAX => {
                held += bytes;
                batch.end = at + 1;
            }
            _ => {
                held = bytes;
                batches.push(at..at + 1);
            }
        }
    }
    batches
}

/// Objects of one batch, by name.
#[derive(Debug, Default)]
pub struct Batch(BTreeMap<ItemName, StoredItem>);

impl Batch {
    /// Finds objects in an archive, and reads no further than the last of them.
    ///
    /// # Errors
    /// An archive that is damaged.
    pub fn read<R: Read>(mut archive: Reader<R>, names: &BTreeSet<&ItemName>) -> Result<Self> {
        let mut batch = Self::default();
        while batch.0.len() < names.len() {
            let Some(stored) = archive.next_item()? else { break };
            if stored.path.version.is_none() && names.contains(&stored.path.item) {
                batch.0.insert(stored.path.item.clone(), stored);
            }
        }
        Ok(batch)
    }

    /// Takes the object of a step.
    ///
    /// # Errors
    /// It is not in the archive any more, or not what it was in the first pass.
    pub fn take(&mut self, step: &Step) -> Result<Item> {
        let lost = |why: String| Error::Archive { entry: step.item.to_string(), why };
        let stored = self.0.remove(&step.item).ok_or_else(|| lost("it has gone".to_owned()))?;
        let object = parsed(&stored).map_err(lost)?;
        Ok(Item::new(step.kind.clone(), object))
    }

    /// Takes an object by name, if it is there and can be understood.
    pub fn take_if_there(&mut self, name: &ItemName) -> Option<serde_json::Value> {
        self.0.remove(name).and_then(|stored| parsed(&stored).ok())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::{
            contents::tests::archive,
            plan::{Skip, Trust, tests::plan},
        },
        *,
    };

    #[test]
    fn a_batch_holds_as_many_steps_as_memory_allows() {
        let pod = |name: &str| ("pods v1 Pod", json!({"metadata": {"name": name, "namespace": "app"}}));
        let mut steps = plan(&["a", "b", "c", "d", "e"].map(pod), json!({}), &[], Trust::Whole).steps;
        for (step, bytes) in steps.iter_mut().zip([BATCH_BYTES_MAX, 1, BATCH_BYTES_MAX - 1, 2 * BATCH_BYTES_MAX, 1]) {
            step.bytes = bytes;
        }
        assert_eq!(divide(&steps), [0..1, 1..3, 3..4, 4..5]);
        steps[3].skip = Some(Skip::Done);
        assert_eq!(divide(&steps), [0..1, 1..4, 4..5]);
        assert_eq!(divide(&[]), Vec::<Range<usize>>::new());
    }

    #[test]
    fn objects_of_a_batch_are_found_wherever_they_lie() {
        let pod = |name: &str| ("pods v1 Pod", json!({"metadata": {"name": name, "namespace": "app"}}));
        let objects = ["c", "a", "b"].map(pod);
        let steps = plan(&objects, json!({}), &[], Trust::Whole).steps;
        let names = BTreeSet::from([&steps[0].item, &steps[2].item]);
        let mut batch = Batch::read(Reader::new(&archive(&objects)[..]), &names).unwrap();
        assert_eq!(batch.take(&steps[0]).unwrap().name(), "a");
        assert_eq!(batch.take(&steps[2]).unwrap().name(), "c");
        assert_eq!(batch.take(&steps[1]).unwrap_err().to_string(), "archive: pods app/b: it has gone");
    }
}
