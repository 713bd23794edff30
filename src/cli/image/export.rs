//! `carpel image export`: writes images into an archive that Carpel, containerd, Docker, Podman and skopeo read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use super::progress;
use crate::cli::arguments::ExportArguments;
use crate::cli::endpoint::{self, Daemon};
use crate::cli::error::CliError;
use crate::cli::table;
use crate::cli::writer::Writer;

/// Where an archive goes.
enum Target {
    /// The process's standard output, or what is no regular file.
    Stream(Box<dyn Write + Send>),
    /// A new file beside the one that it will replace.
    Beside { partial: PathBuf, file: File },
}

pub(super) fn export<W: Write>(
    arguments: ExportArguments,
    output: &mut Writer<W>,
) -> Result<(), CliError> {
    let path = arguments.file;
    let to_stdout = path.as_os_str() == "-";
    if to_stdout && io::stdout().is_terminal() {
        return Err(CliError::ArchiveToTerminal);
    }
    let refused = |source| CliError::Path {
        path: path.clone(),
        source,
    };
    let daemon = Daemon::connect(&endpoint::socket_of(&arguments.daemon)?)?;
    let mut target = match to_stdout {
        true => Target::Stream(Box::new(io::stdout())),
        false => open(&path).map_err(refused)?,
    };
    let bar = progress::bar(&path, 0);
    let shown = bar.clone();
    let result = daemon.export(arguments.images, &mut target, move |exported| {
        shown.set_length(exported.length_bytes);
        shown.set_position(exported.written_bytes);
    });
    bar.finish_and_clear();
    let exported = match result {
        Ok(exported) => exported,
        Err(error) => {
            target.discard();
            return Err(error);
        }
    };
    target.keep(&path).map_err(refused)?;
    if !to_stdout {
        let size = table::bytes(exported.written_bytes);
        output.line(format!("exported {size} to {}", path.display()))?;
    }
    Ok(())
}

fn open(path: &Path) -> io::Result<Target> {
    // A device or a pipe is written to; replacing it would surprise.
    if fs::metadata(path).is_ok_and(|status| !status.is_file()) {
        let file = OpenOptions::new().write(true).open(path)?;
        return Ok(Target::Stream(Box::new(file)));
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".partial-{}", std::process::id()));
    let partial = path.with_file_name(name);
    let file = File::create_new(&partial)?;
    Ok(Target::Beside { partial, file })
}

impl Target {
    /// Puts a whole archive in its place.
    fn keep(self, path: &Path) -> io::Result<()> {
        match self {
            Self::Stream(mut stream) => stream.flush(),
            Self::Beside { partial, file } => {
                file.sync_all()?;
                fs::rename(partial, path)
            }
        }
    }

    /// Removes what came of an archive that is not whole.
    fn discard(self) {
        if let Self::Beside { partial, .. } = self {
            // The error that is about to be told matters more.
            fs::remove_file(partial).ok();
        }
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stream(stream) => stream.write(bytes),
            Self::Beside { file, .. } => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stream(stream) => stream.flush(),
            Self::Beside { file, .. } => file.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_by_a_whole_archive_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("images.tar");
        let mut target = open(&path).unwrap();
        target.write_all(b"half of").unwrap();
        target.discard();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        for text in ["first", "second"] {
            let mut target = open(&path).unwrap();
            target.write_all(text.as_bytes()).unwrap();
            target.keep(&path).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let mut nowhere = open(Path::new("/dev/null")).unwrap();
        nowhere.write_all(b"gone").unwrap();
        nowhere.keep(Path::new("/dev/null")).unwrap();
    }
}
