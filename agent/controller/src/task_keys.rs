//! The keys of one volume on their way from the server to the node agent: an age file for the agent's recipient, which lives in its
//! memory alone. Whoever reads the annotation reads nothing.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use trysail_repository::{
    keys::TaskKeys,
    seal::{self, Identity, Recipient},
};

use crate::{Error, Result};

/// Keys of one volume as an age file in base64.
pub(crate) fn seal(keys: &TaskKeys, recipient: &Recipient) -> Result<String> {
    let sealed = seal::encrypt(&keys.to_json(), std::slice::from_ref(recipient)).map_err(|error| failed(&error))?;
    Ok(STANDARD.encode(sealed))
}

/// The keys in such a text. One that is not encrypted is refused: others could have written it.
pub(crate) fn open(text: &str, identity: &Identity) -> Result<TaskKeys> {
    let sealed = STANDARD.decode(text).map_err(|error| failed(&error))?;
    if !seal::is_age(&sealed) {
        return Err(failed(&"they are not encrypted"));
    }
    let json = seal::decrypt(&sealed, identity).map_err(|error| failed(&error))?;
    TaskKeys::from_json(&json).map_err(|error| failed(&error))
}

fn failed(reason: &dyn std::fmt::Display) -> Error {
    Error::Object { what: "the task keys".to_owned(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use trysail_repository::{keys::Keys, layout::VolumeName};

    use super::*;

    fn keys() -> TaskKeys {
        Keys::from_parts([1; 32], [2; 32]).for_volume(&VolumeName::new("data").unwrap())
    }

    #[test]
    fn task_keys_are_opened_by_their_agent_and_by_nobody_else() {
        let (agent, recipient) = Identity::ephemeral();
        let text = seal(&keys(), &recipient).unwrap();
        assert_eq!(*open(&text, &agent).unwrap().to_json(), *keys().to_json());
        let other = open(&text, &Identity::ephemeral().0).unwrap_err().to_string();
        assert_eq!(other, "the task keys: none of the given identities opens it");
    }

    #[test]
    fn task_keys_in_clear_are_refused() {
        let text = STANDARD.encode(keys().to_json());
        let error = open(&text, &Identity::ephemeral().0).unwrap_err().to_string();
        assert_eq!(error, "the task keys: they are not encrypted");
    }
}
