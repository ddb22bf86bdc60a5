//! Numbers that Go's `omitempty` leaves out.

/// Whether a number is zero, and therefore absent on the wire.
pub(crate) fn is_zero<N: Default + PartialEq>(number: &N) -> bool {
    *number == N::default()
}
