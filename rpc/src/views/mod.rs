//! What the interface answers: one struct per answer, in snake case, with its schema.
//!
//! Owns the shapes that clients build on. A field is added, never renamed or reused; what a node can not
//! compute is `null`, never a constant. Refuses to compute anything: `node` fills the views.

mod chain;
mod deployment;
mod events;
mod foreign;
mod ledger;
mod node;

pub use chain::*;
pub use deployment::*;
pub use events::*;
pub use ledger::*;
pub use node::*;

use crate::schema::view;

view! {
    /// A page of a list.
    PageView<T> {
        /// Entries, in the order that the method states.
        items: Vec<T>,
        /// Cursor of the next page; `null` when this is the last.
        next: Option<String>,
    }
}

/// A page as a backend returns it: entries, and the typed cursor behind the last of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T, C> {
    /// Entries.
    pub items: Vec<T>,
    /// Where the next page starts; `None` when this is the last.
    pub next: Option<C>,
}

impl<T, C: std::fmt::Display> From<Page<T, C>> for PageView<T> {
    fn from(page: Page<T, C>) -> Self {
        PageView { items: page.items, next: page.next.map(|c| c.to_string()) }
    }
}
