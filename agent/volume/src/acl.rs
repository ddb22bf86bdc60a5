//! POSIX ACLs as the kernel stores them, as the text that tar records hold. Applying them is done in `target`, from the raw bytes.

use std::fmt::Write;

/// Attribute of the ACL of an entry.
pub const ACCESS: &[u8] = b"system.posix_acl_access";

/// Attribute of the ACL that entries made in a directory get.
pub const DEFAULT: &[u8] = b"system.posix_acl_default";

/// Version word of the attributes. Source: Linux `POSIX_ACL_XATTR_VERSION`.
const VERSION: u32 = 2;

/// The id of entries that name nobody. Source: Linux `ACL_UNDEFINED_ID`.
const UNDEFINED: u32 = u32::MAX;

/// The text form of an ACL: entries in stored order, numeric ids, joined by commas, as GNU tar, star and bsdtar read it.
///
/// The stored form is little-endian: a version word, then 8 bytes for each entry (tag, permissions, id). `None` for anything that
/// has another form, which then can only be passed on as it is.
pub fn text(raw: &[u8]) -> Option<String> {
    let (version, entries) = raw.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*version) != VERSION || entries.is_empty() || entries.len() % 8 != 0 {
        return None;
    }
    let mut text = String::new();
    for entry in entries.chunks_exact(8) {
        let tag = u16::from_le_bytes([entry[0], entry[1]]);
        let bits = u16::from_le_bytes([entry[2], entry[3]]);
        let id = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
        // Source of the tags: Linux `ACL_USER_OBJ` and its siblings.
        let (kind, named) = match tag {
            0x01 => ("user", false),
            0x02 => ("user", true),
            0x04 => ("group", false),
            0x08 => ("group", true),
            0x10 => ("mask", false),
            0x20 => ("other", false),
            _ => return None,
        };
        if bits > 7 || (named && id == UNDEFINED) {
            return None;
        }
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(kind);
        text.push(':');
        if named {
            write!(text, "{id}").ok()?;
        }
        text.push(':');
        for (bit, letter) in [(4, 'r'), (2, 'w'), (1, 'x')] {
            text.push(if bits & bit == 0 { '-' } else { letter });
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut raw = vec![2, 0, 0, 0];
        for (tag, bits, id) in entries {
            raw.extend(tag.to_le_bytes());
            raw.extend(bits.to_le_bytes());
            raw.extend(id.to_le_bytes());
        }
        raw
    }

    #[test]
    fn every_tag_has_its_text_with_numeric_ids() {
        let all = [
            (0x01, 7, UNDEFINED),
            (0x02, 5, 1000),
            (0x02, 0, 4_294_967_294),
            (0x04, 4, UNDEFINED),
            (0x08, 2, 50),
            (0x10, 7, UNDEFINED),
            (0x20, 1, UNDEFINED),
        ];
        let text = text(&raw(&all)).unwrap();
        assert_eq!(text, "user::rwx,user:1000:r-x,user:4294967294:---,group::r--,group:50:-w-,mask::rwx,other::--x");
    }

    #[test]
    fn what_is_no_version_two_acl_has_no_text() {
        let good = raw(&[(0x01, 7, UNDEFINED)]);
        assert!(text(&good).is_some());
        let other_version = [&[1, 0, 0, 0], &good[4..]].concat();
        let nameless = raw(&[(0x02, 7, UNDEFINED)]);
        for bad in [&[][..], &good[..4], &good[..11], &other_version, &raw(&[(3, 7, 0)]), &raw(&[(1, 8, 0)]), &nameless]
        {
            assert_eq!(text(bad), None, "{bad:?}");
        }
    }
}
