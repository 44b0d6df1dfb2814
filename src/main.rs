//! Process edge: arguments, MPI start, exit status.
fn main() {}
