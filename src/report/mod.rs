//! What a run leaves behind: DLIO's files, our own report, the console.
//!
//! The measuring code emits [`Event`]s; listeners print them. Nothing here measures.

pub mod event;

pub use event::Event;
