//! Conformance of the lossy disk: the tree alone, and through the kernel where the machine allows it.

mod kernel;
mod model;
