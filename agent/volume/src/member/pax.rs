//! Records of a pax header: `<length> <key>=<value>\n`, the length counting itself. Which records a row needs is decided in `member`.

use trysail_repository::table::Time;

use crate::acl;

const NANOSECONDS: u32 = 1_000_000_000;

/// Records in the order they were added.
#[derive(Debug, Default)]
pub(super) struct Records {
    bytes: Vec<u8>,
}

impl Records {
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(super) fn add(&mut self, key: &[u8], value: &[u8]) {
        // Space, equals sign and newline.
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while length != rest + digits(length) {
            length = rest + digits(length);
        }
        self.bytes.reserve(length);
        self.bytes.extend_from_slice(length.to_string().as_bytes());
        self.bytes.push(b' ');
        self.bytes.extend_from_slice(key);
        self.bytes.push(b'=');
        self.bytes.extend_from_slice(value);
        self.bytes.push(b'\n');
    }

    pub(super) fn number(&mut self, key: &[u8], value: u64) {
        self.add(key, value.to_string().as_bytes());
    }

    pub(super) fn time(&mut self, key: &[u8], time: Time) {
        self.add(key, decimal(time).as_bytes());
    }

    /// ACLs as text, access before default, then all other attributes as they are.
    pub(super) fn xattrs(&mut self, xattrs: &[(Vec<u8>, Vec<u8>)]) {
        let find = |wanted: &[u8]| xattrs.iter().find(|(name, _)| name == wanted).and_then(|(_, raw)| acl::text(raw));
        for (name, key) in [(acl::ACCESS, &b"SCHILY.acl.access"[..]), (acl::DEFAULT, b"SCHILY.acl.default")] {
            if let Some(text) = find(name) {
                self.add(key, text.as_bytes());
            }
        }
        for (name, value) in xattrs {
            let told = (name == acl::ACCESS || name == acl::DEFAULT) && acl::text(value).is_some();
            if !told {
                self.add(&[b"SCHILY.xattr.", &escape(name)[..]].concat(), value);
            }
        }
    }
}

/// The name of an attribute within a key: GNU tar writes and reads `=`, which would end the key, as `%3D`, and `%` as `%25`.
fn escape(name: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(name.len());
    for byte in name {
        match byte {
            b'%' => escaped.extend_from_slice(b"%25"),
            b'=' => escaped.extend_from_slice(b"%3D"),
            byte => escaped.push(*byte),
        }
    }
    escaped
}

fn digits(number: usize) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// Decimal seconds. The nanoseconds of a row count forwards, those of a negative decimal number backwards.
fn decimal(time: Time) -> String {
    let (sign, seconds, nanoseconds) = if time.seconds >= 0 {
        ("", time.seconds.unsigned_abs(), time.nanoseconds)
    } else if time.nanoseconds == 0 {
        ("-", time.seconds.unsigned_abs(), 0)
    } else {
        ("-", time.seconds.unsigned_abs() - 1, NANOSECONDS.saturating_sub(time.nanoseconds))
    };
    if nanoseconds == 0 {
        return format!("{sign}{seconds}");
    }
    let fraction = format!("{nanoseconds:09}");
    format!("{sign}{seconds}.{}", fraction.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_1970_are_negative_decimals() {
        let cases = [
            ((0, 0), "0"),
            ((1, 500_000_000), "1.5"),
            ((-1, 0), "-1"),
            ((-1, 500_000_000), "-0.5"),
            ((-1, 1), "-0.999999999"),
            ((-2, 999_999_999), "-1.000000001"),
            ((i64::MIN, 0), "-9223372036854775808"),
            ((i64::MIN, 1), "-9223372036854775807.999999999"),
            ((i64::MAX, 10), "9223372036854775807.00000001"),
        ];
        for ((seconds, nanoseconds), text) in cases {
            assert_eq!(decimal(Time { seconds, nanoseconds }), text);
        }
    }

    #[test]
    fn the_length_of_a_record_counts_itself() {
        for value in [5, 6, 90, 91, 92, 93, 94, 988, 989, 990, 991] {
            let mut records = Records::default();
            records.add(b"k", &vec![b'v'; value]);
            let text = String::from_utf8(records.into_bytes()).unwrap();
            let length: usize = text.split(' ').next().unwrap().parse().unwrap();
            assert_eq!(length, text.len());
        }
    }

    #[test]
    fn attributes_keep_their_order_and_undecodable_acls_stay_raw() {
        let mut records = Records::default();
        let acl = [2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255];
        let pairs: [(&[u8], &[u8]); 4] = [
            (b"security.capability", b"\x01\n\x00"),
            (acl::ACCESS, &acl),
            (acl::DEFAULT, b"bad"),
            (b"user.a=b%", b"\xff"),
        ];
        records.xattrs(&pairs.map(|(name, value)| (name.to_vec(), value.to_vec())));
        let expected = b"31 SCHILY.acl.access=user::rw-\n40 SCHILY.xattr.security.capability=\x01\n\x00\n\
            45 SCHILY.xattr.system.posix_acl_default=bad\n32 SCHILY.xattr.user.a%3Db%25=\xff\n";
        assert_eq!(records.into_bytes().escape_ascii().to_string(), expected.escape_ascii().to_string());
    }
}
