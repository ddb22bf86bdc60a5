//! What one cluster calls otherwise than another: classes of storage, nodes and images, as `ConfigMaps` map them.
//!
//! Source: Velero pkg/restore/actions, `change_storageclass_action.go`, `change_image_name_action.go`, and, of Velero 1.13,
//! `change_pvc_node_selector.go`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::edit::{each, set};
use crate::kind::text;

/// Old names and new ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mappings {
    /// Classes of storage.
    pub classes: BTreeMap<String, String>,
    /// Nodes.
    pub nodes: BTreeMap<String, String>,
    /// Parts of names of images; the key is a name for people, the value `old,new`.
    pub images: BTreeMap<String, String>,
}

/// Lists of containers of a pod.
const CONTAINERS: [&str; 3] = ["/containers", "/initContainers", "/ephemeralContainers"];

impl Mappings {
    /// The name of a class here.
    pub fn class<'a>(&'a self, class: &str) -> Option<&'a str> {
        self.classes.get(class).map(String::as_str)
    }

    /// Maps the images of a pod's spec; an image that several mappings speak of is an error.
    ///
    /// # Errors
    /// Which image, as a clause.
    pub(super) fn map_images(&self, spec: &mut Value) -> Result<(), String> {
        if self.images.is_empty() {
            return Ok(());
        }
        for list in CONTAINERS {
            for container in each(spec, list) {
                let Some(image) = self.image(text(&container["image"]))? else { continue };
                set(container, "", "image", Value::String(image));
            }
        }
        Ok(())
    }

    fn image(&self, image: &str) -> Result<Option<String>, String> {
        let mut meant = self.images.iter().filter_map(|(name, pair)| {
            let (old, new) = pair.split_once(',')?;
            let (old, new) = (old.trim(), new.trim());
            (!old.is_empty() && image.contains(old)).then(|| (name, image.replace(old, new)))
        });
        match (meant.next(), meant.next()) {
            (Some((one, _)), Some((other, _))) => Err(format!("image {image} is mapped by {one} and by {other}")),
            (found, _) => Ok(found.map(|(_, image)| image)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn images(pairs: &[(&str, &str)]) -> Mappings {
        let images = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Mappings { images, ..Mappings::default() }
    }

    #[test]
    fn parts_of_images_are_replaced_in_all_containers() {
        let mappings = images(&[("registry", "old.example.org:5000,new.example.org"), ("other", "x.example.org,y")]);
        let mut spec = json!({
            "initContainers": [{"image": "old.example.org:5000/init:1"}],
            "containers": [{"image": "old.example.org:5000/app:2"}, {"image": "busybox"}],
        });
        mappings.map_images(&mut spec).unwrap();
        let expected = json!({
            "initContainers": [{"image": "new.example.org/init:1"}],
            "containers": [{"image": "new.example.org/app:2"}, {"image": "busybox"}],
        });
        assert_eq!(spec, expected);
    }

    #[test]
    fn an_image_of_two_mappings_is_an_error_that_names_both() {
        let mappings = images(&[("a", "old,new"), ("b", "ol,n")]);
        let error = mappings.map_images(&mut json!({"containers": [{"image": "old/app"}]})).unwrap_err();
        assert_eq!(error, "image old/app is mapped by a and by b");
    }
}
