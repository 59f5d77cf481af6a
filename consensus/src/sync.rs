//! (block sync follows)
