//! Numbers that Go's `omitempty` leaves out.

/// Whether a number is zero, and therefore absent on the wire.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
pub(crate) fn is_zero<N: Default + PartialEq>(number: &N) -> bool {
    *number == N::default()
}
