//! Laws and scenarios over whole blocks.
