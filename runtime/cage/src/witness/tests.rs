//! The witness: its hashes, its file, and what becomes of damaged ones.
mod comparing;
mod damage;
mod forging;
mod frozen;
mod reading;
mod recording;
mod replaying;
