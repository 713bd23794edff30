//! The program `carpel`: parses the command line and hands over to `carpel::cli`.

fn main() {}
