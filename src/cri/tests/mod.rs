//! The server as a client sees it: over a unix socket, with a scripted domain and a real image store.

mod calls;
mod images;
mod large_lists;
mod pulls;
mod script;
mod streams;
mod wire_bytes;
mod wire_table;

use std::path::PathBuf;
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tonic::transport::{Channel, Endpoint, Uri};

use self::script::Script;
pub(super) use self::script::{container_view, sandbox_view};
use super::wire::runtime::image_service_client::ImageServiceClient;
use super::wire::runtime::runtime_service_client::RuntimeServiceClient;
use super::{CgroupDriver, Settings, Socket, StreamUrls, serve};
use crate::image::{Images, ImagesConfig};

/// A server in a folder of its own.
struct Served {
    folder: tempfile::TempDir,
    script: Arc<Script>,
    stop: Option<oneshot::Sender<()>>,
    server: tokio::task::JoinHandle<()>,
}

impl Served {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let script = Arc::new(Script::default());
        let spool_directory = folder.path().join("spool");
        std::fs::create_dir(&spool_directory).unwrap();
        let images = Images::open(ImagesConfig {
            root: folder.path().join("images"),
            signature_policy: Some(folder.path().join("policy.toml")),
            ..ImagesConfig::default()
        })
        .unwrap();
        let socket = Socket::bind(&folder.path().join("carpel.sock")).unwrap();
        let (stop, is_stopped) = oneshot::channel();
        let settings = Settings {
            cgroup_driver: CgroupDriver::Cgroupfs,
            spool_directory,
            urls: Arc::clone(&script) as Arc<dyn StreamUrls>,
            calls: None,
        };
        let pods = Arc::clone(&script);
        let server = tokio::spawn(async move {
            let shutdown = async {
                is_stopped.await.unwrap_or_default();
            };
            serve(socket, pods, images, settings, shutdown)
                .await
                .unwrap();
        });
        Self {
            folder,
            script,
            stop: Some(stop),
            server,
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("carpel.sock")
    }

    async fn channel(&self) -> Channel {
        let path = self.path();
        let connector = tower::service_fn(move |_uri: Uri| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        let endpoint = Endpoint::from_static("http://localhost");
        endpoint.connect_with_connector(connector).await.unwrap()
    }

    async fn runtime(&self) -> RuntimeServiceClient<Channel> {
        const LARGE: usize = 64 * 1024 * 1024;
        RuntimeServiceClient::new(self.channel().await)
            .max_encoding_message_size(LARGE)
            .max_decoding_message_size(LARGE)
    }

    async fn image(&self) -> ImageServiceClient<Channel> {
        ImageServiceClient::new(self.channel().await)
    }

    async fn stop(mut self) {
        drop(self.stop.take());
        self.server.await.unwrap();
        assert!(!self.folder.path().join("carpel.sock").exists());
    }
}
