//! Writes the configuration that is filled from a template, unless somebody else has configured CNI.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::directory::{self, Scan};
use super::error::CniError;
use super::template::{self, Networks};

/// In the first configuration directory.
const FILE_NAME: &str = "10-carpel.conflist";

/// Fills the template and writes the file, whole or not at all. `networks` is CRI `NetworkConfig.pod_cidr`; without a
/// template it is only checked. Blocking.
pub(in crate::network) fn write_filled(
    directories: &[PathBuf],
    template: Option<&Path>,
    networks: &str,
    scan: &Scan,
) -> Result<(), CniError> {
    let networks = Networks::parse(networks).map_err(|source| CniError::Template {
        path: template.map(Path::to_owned).unwrap_or_default(),
        source,
    })?;
    let (Some(template), Some(directory)) = (template, directories.first()) else {
        return Ok(());
    };
    let path = directory.join(FILE_NAME);
    if let Some((chosen, _)) = &scan.chosen
        && *chosen != path
    {
        tracing::info!(
            "CNI is configured by {}: {} is not filled in",
            chosen.display(),
            template.display()
        );
        return Ok(());
    }
    let text =
        fs::read_to_string(template).map_err(|source| file_error("read", template, source))?;
    let filled = template::fill(&text, &networks).map_err(|source| CniError::Template {
        path: template.to_owned(),
        source,
    })?;
    directory::check(&filled).map_err(|source| CniError::Filled {
        path: template.to_owned(),
        source: source.into(),
    })?;
    if fs::read_to_string(&path).is_ok_and(|before| before == filled) {
        return Ok(());
    }
    replace(directory, &path, &filled).map_err(|source| file_error("write", &path, source))?;
    tracing::info!(
        "CNI is configured by {} from {}",
        path.display(),
        template.display()
    );
    Ok(())
}

fn replace(directory: &Path, path: &Path, text: &str) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    // No name that is taken for a configuration.
    let new = directory.join(format!(".{FILE_NAME}.new"));
    let mut file = fs::File::create(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(new, path)
}

fn file_error(step: &'static str, path: &Path, source: io::Error) -> CniError {
    CniError::File {
        step,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = r#"{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"bridge","subnet":"{{.PodCIDR}}"}]}"#;

    #[test]
    fn the_file_follows_the_pod_networks_until_another_one_is_there() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("made/net.d");
        let directories = [directory.clone()];
        let template = root.path().join("template");
        let update = |networks: &str| {
            let scan = directory::scan(&directories);
            write_filled(&directories, Some(&template), networks, &scan)
        };
        let put = |path: &Path, text: &str| {
            fs::File::create(path)
                .unwrap()
                .write_all(text.as_bytes())
                .unwrap();
        };
        assert!(
            update("10.1.0.0/24")
                .unwrap_err()
                .to_string()
                .starts_with("read ")
        );
        put(&template, TEMPLATE);
        let path = directory.join(FILE_NAME);
        for networks in ["10.1.0.0/24", "10.1.0.0/24", "10.2.0.0/24,fd00::/64"] {
            update(networks).unwrap();
            let first = networks.split(',').next().unwrap();
            assert!(fs::read_to_string(&path).unwrap().contains(first));
            assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
        }
        put(&template, "{{.PodCIDR}}");
        let error = update("10.3.0.0/24").unwrap_err();
        assert!(
            error.to_string().contains("is no CNI configuration"),
            "{error}"
        );
        put(&template, TEMPLATE);
        put(&directory.join("05-other.conflist"), TEMPLATE);
        update("10.4.0.0/24").unwrap();
        assert!(fs::read_to_string(&path).unwrap().contains("10.2.0.0/24"));
        let scan = directory::scan(&directories);
        assert!(write_filled(&directories, None, "10.5.0.0/24", &scan).is_ok());
        assert!(write_filled(&directories, None, "ten", &scan).is_err());
    }
}
