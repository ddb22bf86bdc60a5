//! The node agent: reads the volumes of its node into repositories.

pub(crate) mod presence;
