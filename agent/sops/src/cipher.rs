//! One value as ciphertext: `ENC[AES256_GCM,data:…,iv:…,tag:…,type:…]`, bound to the keys above it.
//!
//! Source: sops, `aes/cipher.go`.

use aes_gcm::{
    AesGcm, KeyInit as _,
    aead::{Aead as _, Payload, consts::U32},
    aes::Aes256,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use zeroize::Zeroizing;

use crate::{Error, Result, keys::DataKey, value::Value};

/// sops takes nonces of 32 bytes, where GCM usually has 12.
type Cipher = AesGcm<Aes256, U32>;

const NONCE: usize = 32;
const TAG: usize = 16;

const BEGIN: &str = "ENC[AES256_GCM,data:";

/// The type word of a comment, which is no value.
const COMMENT: &str = "comment";

/// The parts of a ciphertext.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Parts {
    /// Ciphertext and tag.
    sealed: Vec<u8>,
    nonce: [u8; NONCE],
    kind: String,
}

/// Whether a text is ciphertext by its form: no key is needed to say so.
pub(crate) fn is_ciphertext(text: &str) -> bool {
    parse(text).is_some()
}

fn parse(text: &str) -> Option<Parts> {
    let mut fields = text.strip_prefix(BEGIN)?.strip_suffix(']')?.split(',');
    let data = fields.next()?;
    let mut field = |name: &str| fields.next()?.strip_prefix(name);
    let (nonce, tag, kind) = (field("iv:")?, field("tag:")?, field("type:")?);
    let decode = |text: &str| BASE64_STANDARD.decode(text).ok();
    let mut sealed = decode(data)?;
    let (nonce, tag) = (decode(nonce)?.try_into().ok()?, decode(tag)?);
    if sealed.is_empty() || tag.len() != TAG || kind.is_empty() || fields.next().is_some() {
        return None;
    }
    sealed.extend(tag);
    Some(Parts { sealed, nonce, kind: kind.to_owned() })
}

/// What a value is bound to: the keys above it, each with a colon behind it. Places in lists do not count.
pub(crate) fn binding<'k>(keys: impl Iterator<Item = &'k str>) -> String {
    let joined = keys.collect::<Vec<_>>().join(":");
    format!("{joined}:")
}

fn seal(bytes: &[u8], kind: &str, key: &DataKey, binding: &str) -> Result<String> {
    let mut nonce = [0; NONCE];
    getrandom::fill(&mut nonce).map_err(|e| Error::Encrypt(e.to_string()))?;
    let payload = Payload { msg: bytes, aad: binding.as_bytes() };
    let sealed = Cipher::new((&key.0).into()).encrypt((&nonce).into(), payload);
    let sealed = sealed.map_err(|_| Error::Encrypt("a value is too long".to_owned()))?;
    let (data, tag) = sealed.split_at(sealed.len() - TAG);
    let [data, nonce, tag] = [data, nonce.as_slice(), tag].map(|bytes| BASE64_STANDARD.encode(bytes));
    Ok(format!("{BEGIN}{data},iv:{nonce},tag:{tag},type:{kind}]"))
}

fn open(parts: &Parts, key: &DataKey, binding: &str) -> Option<Zeroizing<Vec<u8>>> {
    let payload = Payload { msg: &parts.sealed, aad: binding.as_bytes() };
    Cipher::new((&key.0).into()).decrypt((&parts.nonce).into(), payload).ok().map(Zeroizing::new)
}

/// A value as ciphertext; none for what sops leaves as it is: nothing, empty strings and empty collections.
pub(crate) fn seal_value(value: &Value, key: &DataKey, binding: &str) -> Result<Option<String>> {
    let bytes = value.bytes();
    match value.kind() {
        Some(kind) if !bytes.is_empty() => seal(&bytes, kind, key, binding).map(Some),
        _ => Ok(None),
    }
}

/// The value of a ciphertext, or what is wrong with it.
pub(crate) fn open_value(text: &str, key: &DataKey, binding: &str) -> Result<Value, &'static str> {
    if text.is_empty() {
        return Ok(Value::text(""));
    }
    let parts = parse(text).ok_or("not encrypted, where the `sops` block says that it is")?;
    let bytes = open(&parts, key, binding).ok_or("it does not open: damaged, or moved from elsewhere")?;
    Value::from_bytes(&parts.kind, &bytes).ok_or("its content is not of its type")
}

/// Whether a text is the ciphertext of a comment. In a list sops writes those as members.
pub(crate) fn is_comment(text: &str) -> bool {
    parse(text).is_some_and(|parts| parts.kind == COMMENT)
}

/// The text of a comment, behind its `#`, as ciphertext.
pub(crate) fn seal_comment(text: &str, key: &DataKey, binding: &str) -> Result<String> {
    if text.is_empty() { Ok(String::new()) } else { seal(text.as_bytes(), COMMENT, key, binding) }
}

/// The text of a comment that is ciphertext and opens.
pub(crate) fn open_comment(text: &str, key: &DataKey, binding: &str) -> Option<Zeroizing<String>> {
    let parts = parse(text).filter(|parts| parts.kind == COMMENT)?;
    let bytes = open(&parts, key, binding)?;
    std::str::from_utf8(&bytes).ok().map(|text| Zeroizing::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_open_where_they_were_sealed_and_nowhere_else() {
        let key = DataKey([7; 32]);
        let sealed = seal_value(&Value::text("secret"), &key, "data:password:").unwrap().unwrap();
        assert!(is_ciphertext(&sealed));
        assert!(open_value(&sealed, &key, "data:password:") == Ok(Value::text("secret")));
        assert!(open_value(&sealed, &key, "data:user:").is_err());
        assert!(open_value(&sealed, &DataKey([8; 32]), "data:password:").is_err());
        assert!(open_comment(&sealed, &key, "data:password:").is_none(), "a value is no comment");
        assert!(seal_value(&Value::text(""), &key, "data:").unwrap().is_none());
    }

    #[test]
    fn what_only_looks_like_ciphertext_is_none() {
        let sealed = seal_value(&Value::Int(1), &DataKey([7; 32]), ":").unwrap().unwrap();
        let cut = sealed.replace("type:int", "type:");
        let short = format!("{BEGIN}YQ==,iv:YQ==,tag:YQ==,type:str]");
        for text in ["ENC[secret]", "", "ENC[AES256_GCM,data:,iv:,tag:,type:str]", &sealed[1..], &cut, &short] {
            assert!(!is_ciphertext(text), "{text}");
        }
    }
}
