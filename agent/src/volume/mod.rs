//! Volumes of pods: folders of the host that are made, filled and kept up to date as the kubelet does it, and taken away.
//!
//! ```text
//! <directory>/<uid of the pod>/volumes/kubernetes.io~<kind>/<volume>           what is mounted into containers
//! <directory>/<uid of the pod>/volume-subpaths/<volume>/<container>/<index>    what a subPath names, bound
//! <directory>/<uid of the pod>/plugins/kubernetes.io~empty-dir/<volume>/ready  an emptyDir that is whole
//! ```
//!
//! Files of Secrets, `ConfigMap`s, the Downward API and tokens are swapped as a whole: see `atomic`. Secrets, tokens and what
//! holds them are on tmpfs. All calls block, and those for one pod come after each other.

mod atomic;
mod empty_dir;
mod env_file;
mod error;
mod host_path;
mod locks;
mod mounts;
mod ownership;
mod payload;
mod prepared;
mod projected;
mod removal;
mod sub_path;
#[cfg(test)]
mod tests;
mod tokens;
mod volumes;
mod work;

pub use empty_dir::{Exceeded, Usage};
pub use error::{Reason, VolumeError};
pub use prepared::{MountSource, Prepared, Propagation, RecursiveReadOnly, VolumeMountPlan};
pub use volumes::{Refreshed, Settings, Volumes};
