//! The program `carpel`: parses the command line and hands over to `carpel::cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    carpel::cli::main()
}
