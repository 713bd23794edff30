//! What a pod can ask for: each behaviour is a pod of its own, all at once, and a line of a table. The same for a real
//! kubelet and for the agent of manifests, which so has the kubelet's meaning.

mod hooks;
mod isolation;
mod life;
pub(crate) mod manifest;
mod names;
pub(crate) mod scene;
mod volumes;

use scene::{Behaviour, Scene};

/// Those that a kubelet without an API server can show.
pub(crate) fn all(scene: &Scene<'_>) -> Vec<Behaviour> {
    let mut all = life::behaviours();
    all.extend(hooks::behaviours(scene));
    all.extend(names::behaviours(scene));
    all.extend(volumes::behaviours(scene));
    all.extend(isolation::behaviours(scene));
    all
}
