//! A bundle that is being filled with members, and what in it later files may share.

use super::packer::{Named, Piece, Ticket};

/// Longest member header that is kept in one piece, in bytes; longer ones (large attributes) become frames of their own.
pub(super) const HEADER_PIECE_MAX: usize = 1 << 20;

/// Bytes of members, one after another.
#[derive(Debug, Default)]
pub(super) struct Bundle {
    pub(super) plain: Vec<u8>,
    pub(super) names: Vec<Named>,
    pub(super) ticket: Ticket,
}

impl Bundle {
    /// An empty bundle in an empty buffer that will be stored as that ticket.
    pub(super) fn new(ticket: Ticket, buffer: Vec<u8>) -> Self {
        Self { plain: buffer, names: Vec::new(), ticket }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.plain.is_empty()
    }

    /// Where the bytes since `from` lie in the frame to be.
    pub(super) fn piece(&self, from: usize) -> Piece {
        let (skip, take) = (length(from), length(self.plain.len() - from));
        Piece::Part { ticket: self.ticket, skip, take }
    }

    /// Appends bytes and says where they lie.
    pub(super) fn add(&mut self, bytes: &[u8]) -> Piece {
        let from = self.plain.len();
        self.plain.extend_from_slice(bytes);
        self.piece(from)
    }
}

/// A length within a bundle, which is below 4 MiB.
pub(super) fn length(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
