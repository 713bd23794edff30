//! Talking to a running daemon: the only file of the command line that does.

use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::fs::File;
use tokio::runtime::Runtime;

use super::arguments::DaemonAddress;
use super::error::CliError;
use crate::config::Config;
use crate::cri::{
    Archive, Client, ContainerSummary, ExplainRequest, Explained, Exported, ImageDetails,
    ImageSummary, Imported, Prune, Pruned, Pull, PulledLayer, Verification, VerifyTarget, Version,
};
use crate::streaming::client::TrustedServer;

/// The daemon's socket: as the command line says, else as the configuration file says.
pub(super) fn socket_of(address: &DaemonAddress) -> Result<PathBuf, CliError> {
    match &address.socket {
        Some(socket) => Ok(socket.clone()),
        None => Ok(Config::read_or_default(address.file.path.as_deref())?.socket_path()),
    }
}

/// Which streaming server is trusted to serve a URL: with TLS, the one with the certificate of the configuration file, else
/// one whose certificate the host trusts.
pub(super) fn trusted_server(
    url: &str,
    address: &DaemonAddress,
) -> Result<TrustedServer, CliError> {
    if !url.starts_with("https:") {
        return Ok(TrustedServer::default());
    }
    let config = Config::read_or_default(address.file.path.as_deref())?;
    let Some(path) = config.streaming.tls_certificate_file else {
        return Ok(TrustedServer::default());
    };
    // The first one of the file is the server's own.
    match CertificateDer::from_pem_file(&path) {
        Ok(certificate) => Ok(TrustedServer::with_certificate(certificate)),
        Err(source) => Err(CliError::Certificate { path, source }),
    }
}

/// A connection to a daemon, for one command.
pub(super) struct Daemon {
    runtime: Runtime,
    client: Client,
}

impl Daemon {
    /// Connects to the daemon that the command line means.
    pub(super) fn of(address: &DaemonAddress) -> Result<Self, CliError> {
        Self::connect(&socket_of(address)?)
    }

    /// Connects.
    pub(super) fn connect(socket: &Path) -> Result<Self, CliError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(CliError::Threads)?;
        let client = runtime.block_on(Client::connect(socket))?;
        Ok(Self { runtime, client })
    }

    /// What a call of the client gives: `daemon.wait(daemon.client().pods())`.
    pub(super) fn wait<T, E>(&self, call: impl Future<Output = Result<T, E>>) -> Result<T, CliError>
    where
        CliError: From<E>,
    {
        Ok(self.runtime.block_on(call)?)
    }

    /// The calls.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Who answers.
    pub(super) fn version(&self) -> Result<Version, CliError> {
        Ok(self.runtime.block_on(self.client.version())?)
    }

    /// All images.
    pub(super) fn images(&self) -> Result<Vec<ImageSummary>, CliError> {
        Ok(self.runtime.block_on(self.client.list_images())?)
    }

    /// The image that a tag, digest or id names, if it is here.
    pub(super) fn image(&self, reference: &str) -> Result<Option<ImageDetails>, CliError> {
        Ok(self.runtime.block_on(self.client.image_status(reference))?)
    }

    /// The containers that were made from an image, by its id.
    pub(super) fn containers_of(&self, image_id: &str) -> Result<Vec<ContainerSummary>, CliError> {
        Ok(self.runtime.block_on(self.client.containers_of(image_id))?)
    }

    /// Removes an image.
    pub(super) fn remove_image(&self, reference: &str) -> Result<(), CliError> {
        Ok(self.runtime.block_on(self.client.remove_image(reference))?)
    }

    /// Takes an archive of images; `progress` is told how far it has come.
    pub(super) fn export(
        &self,
        references: Vec<String>,
        target: &mut (impl std::io::Write + Send),
        progress: impl FnMut(Exported) + Send,
    ) -> Result<Exported, CliError> {
        let call = self.client.export_image(references, target, progress);
        Ok(self.runtime.block_on(call)?)
    }

    /// Where an image would come from.
    pub(super) fn explain(&self, request: ExplainRequest) -> Result<Explained, CliError> {
        Ok(self.runtime.block_on(self.client.explain_image(request))?)
    }

    /// Removes unused images, or tells which would go.
    pub(super) fn prune(&self, prune: &Prune) -> Result<Pruned, CliError> {
        Ok(self.runtime.block_on(self.client.prune_images(prune))?)
    }

    /// Pulls an image; `progress` is told of all layers whenever something changes. Ctrl-C ends only the waiting.
    pub(super) fn pull(
        &self,
        pull: Pull,
        progress: impl FnMut(&[PulledLayer]),
    ) -> Result<ImageSummary, CliError> {
        self.runtime.block_on(async {
            tokio::select! {
                outcome = self.client.pull_image(pull, progress) => Ok(outcome?),
                interrupted = tokio::signal::ctrl_c() => match interrupted {
                    Ok(()) => Err(CliError::Interrupted),
                    Err(source) => Err(CliError::Signals(source)),
                },
            }
        })
    }

    /// Verifies images, or everything if none is named.
    pub(super) fn verify(
        &self,
        target: VerifyTarget,
        tell: impl FnMut(Verification),
    ) -> Result<(), CliError> {
        let call = self.client.verify_images(target, tell);
        Ok(self.runtime.block_on(call)?)
    }

    /// Sends an archive; `progress` is told how many bytes have gone.
    pub(super) fn import(
        &self,
        archive: Archive,
        file: std::fs::File,
        progress: impl FnMut(u64) + Send + 'static,
    ) -> Result<Vec<Imported>, CliError> {
        let call = self
            .client
            .import_image(archive, File::from_std(file), progress);
        Ok(self.runtime.block_on(call)?)
    }
}
