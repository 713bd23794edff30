//! Placeholder of the first commit.

#[cfg(test)]
mod log;

fn main() {}
