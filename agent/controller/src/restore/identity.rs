//! The age identity that opens an encrypted backup: in a Secret of our namespace, which is read when it is needed and not kept.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use trysail_api::names::own;
use trysail_repository::seal::Identity;

use crate::{Result, context::Context};

/// The identity of the Secret that an object's annotations name; all of its values are identities. None where they name none;
/// the inner error says why there is none.
pub(crate) async fn identity(
    annotations: &BTreeMap<String, String>,
    context: &Context,
) -> Result<std::result::Result<Option<Identity>, String>> {
    let Some(name) = annotations.get(own::IDENTITY_SECRET) else { return Ok(Ok(None)) };
    let Some(secret) = context.get::<Secret>(name).await? else {
        return Ok(Err(format!("there is no Secret {name}, which annotation {} names", own::IDENTITY_SECRET)));
    };
    let mut all = Identity::default();
    for (key, value) in secret.data.unwrap_or_default() {
        let parsed = String::from_utf8(value.0).map_err(|_| "it is not text".to_owned());
        match parsed.and_then(|text| Identity::parse(&text).map_err(|error| error.to_string())) {
            Ok(identity) => all = all.and(&identity),
            Err(why) => return Ok(Err(format!("key {key} of Secret {name} holds no identity: {why}"))),
        }
    }
    if all.is_empty() {
        return Ok(Err(format!("Secret {name} holds no identity")));
    }
    Ok(Ok(Some(all)))
}
