//! Answers at once with the planned number of bytes: what is left of a run is the harness itself.

use std::path::Path;

use super::row::FORMULA;
use super::{Answer, Lane, Request, Result, Sink, Storage, System, Writer};

/// A storage system that answers by a formula: it has every file, and keeps nothing.
pub(super) trait Formula: Send + Sync {
    fn system(&self) -> &'static System;
    fn answer(&self, request: &Request, sink: &mut dyn Sink) -> Answer;
}

impl<F: Formula> Storage for F {
    fn system(&self) -> &'static System {
        Formula::system(self)
    }
    fn read(&self, request: &Request, _: &mut Lane, sink: &mut dyn Sink) -> Result<Answer> {
        Ok(self.answer(request, sink))
    }
    fn len(&self, _: &Path) -> Result<Option<u64>> {
        Ok(None)
    }
    fn head(&self, _: &Path, _: &mut [u8]) -> Result<usize> {
        Ok(0)
    }
    fn create(&self, _: &Path) -> Result<Box<dyn Writer>> {
        Ok(Box::new(Sinkhole))
    }
    fn create_folder(&self, _: &Path) -> Result<()> {
        Ok(())
    }
    fn remove(&self, _: &Path) -> Result<()> {
        Ok(())
    }
    fn remove_folder(&self, _: &Path) -> Result<()> {
        Ok(())
    }
}

pub(super) const SYSTEM: System = System {
    word: "null",
    about: "Answers at once; calibrates the harness.",
    open: Ok(|spec, _| Ok(Box::new(Null(spec.system)))),
    ..FORMULA
};

/// Infinitely fast storage that holds every file.
struct Null(&'static System);

impl Formula for Null {
    fn system(&self) -> &'static System {
        self.0
    }
    fn answer(&self, request: &Request, sink: &mut dyn Sink) -> Answer {
        let mut answer = Answer {
            bytes: request.planned_len,
            ..Answer::default()
        };
        answer.called(0, sink);
        answer
    }
}

/// A writer that keeps nothing.
struct Sinkhole;

impl Writer for Sinkhole {
    fn write(&mut self, _: &[u8]) -> std::io::Result<()> {
        Ok(())
    }
    fn finish(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
