//! Fields of a volume.

use super::{Row, refused, supported};

/// In the order of the fields' places.
pub(super) const ROWS: &[Row] = &[
    supported("spec.volumes[].name", "manifest/validation"),
    supported("spec.volumes[].configMap", "volume/tests"),
    supported("spec.volumes[].configMap.defaultMode", "volume/tests"),
    supported("spec.volumes[].configMap.items", "volume/tests"),
    supported("spec.volumes[].configMap.items[].key", "volume/tests"),
    supported("spec.volumes[].configMap.items[].mode", "volume/tests"),
    supported("spec.volumes[].configMap.items[].path", "volume/tests"),
    supported("spec.volumes[].configMap.name", "volume/tests"),
    supported("spec.volumes[].configMap.optional", "volume/tests"),
    supported("spec.volumes[].downwardAPI", "volume/tests"),
    supported("spec.volumes[].downwardAPI.defaultMode", "volume/tests"),
    supported("spec.volumes[].downwardAPI.items", "volume/tests"),
    supported(
        "spec.volumes[].downwardAPI.items[].fieldRef",
        "volume/tests",
    ),
    supported(
        "spec.volumes[].downwardAPI.items[].fieldRef.apiVersion",
        "volume/tests",
    ),
    supported(
        "spec.volumes[].downwardAPI.items[].fieldRef.fieldPath",
        "volume/tests",
    ),
    supported("spec.volumes[].downwardAPI.items[].mode", "volume/tests"),
    supported("spec.volumes[].downwardAPI.items[].path", "volume/tests"),
    supported(
        "spec.volumes[].downwardAPI.items[].resourceFieldRef",
        "volume/tests",
    ),
    supported(
        "spec.volumes[].downwardAPI.items[].resourceFieldRef.containerName",
        "volume/tests",
    ),
    supported(
        "spec.volumes[].downwardAPI.items[].resourceFieldRef.divisor",
        "volume/tests",
    ),
    supported(
        "spec.volumes[].downwardAPI.items[].resourceFieldRef.resource",
        "volume/tests",
    ),
    supported("spec.volumes[].emptyDir", "volume/tests"),
    supported("spec.volumes[].emptyDir.medium", "volume/tests"),
    supported("spec.volumes[].emptyDir.sizeLimit", "volume/tests"),
    supported("spec.volumes[].hostPath", "volume/host_path"),
    supported("spec.volumes[].hostPath.path", "volume/host_path"),
    supported("spec.volumes[].hostPath.type", "volume/host_path"),
    supported("spec.volumes[].image", "volume/tests"),
    supported("spec.volumes[].image.pullPolicy", "manifest/defaults"),
    supported("spec.volumes[].image.reference", "volume/tests"),
    supported("spec.volumes[].projected", "volume/tests"),
    supported("spec.volumes[].projected.defaultMode", "volume/tests"),
    supported("spec.volumes[].projected.sources", "volume/tests"),
    refused(
        "spec.volumes[].projected.sources[].clusterTrustBundle",
        "there are no ClusterTrustBundle objects; use a ConfigMap",
    ),
    supported(
        "spec.volumes[].projected.sources[].configMap",
        "volume/tests",
    ),
    supported(
        "spec.volumes[].projected.sources[].configMap.items",
        "volume/tests",
    ),
    supported(
        "spec.volumes[].projected.sources[].configMap.items[].key",
        "volume/tests",
    ),
    supported(
        "spec.volumes[].projected.sources[].configMap.items[].mode",
        "volume/tests",
    ),
    supported(
        "spec.volumes[].projected.sources[].configMap.items[].path",
        "volume/tests",
    ),
    supported(
        "spec.volumes[].projected.sources[].configMap.name",
        "volume/tests",
    ),
    supported(
        "spec.volumes[].projected.sources[].configMap.optional",
        "volume/tests",
    ),
    supported(
        "spec.volumes[].projected.sources[].downwardAPI",
        "volume/tests",
    ),
    supported(
        "spec.volumes[].projected.sources[].downwardAPI.items",
        "volume/tests",
    ),
    supported(
        "spec.volumes[].projected.sources[].downwardAPI.items[].fieldRef",
        "volume/tests",
    ),
    supported(
        "spec.volumes[].projected.sources[].downwardAPI.items[].fieldRef.apiVersion",
        "volume/tests",
    ),
    supported(
        "spec.volumes[].projected.sources[].downwardAPI.items[].fieldRef.fieldPath",
        "volume/tests",
    ),
    supported(
        "spec.volumes[].projected.sources[].downwardAPI.items[].mode",
        "volume/tests",
    ),
    supported(
        "spec.volumes[].projected.sources[].downwardAPI.items[].path",
        "volume/tests",
    ),
    supported(
        "spec.volumes[].projected.sources[].downwardAPI.items[].resourceFieldRef",
        "volume/tests",
    ),
    supported(
        "spec.volumes[].projected.sources[].downwardAPI.items[].resourceFieldRef.containerName",
        "volume/tests",
    ),
    supported(
        "spec.volumes[].projected.sources[].downwardAPI.items[].resourceFieldRef.divisor",
        "volume/tests",
    ),
    supported(
        "spec.volumes[].projected.sources[].downwardAPI.items[].resourceFieldRef.resource",
        "volume/tests",
    ),
    refused(
        "spec.volumes[].projected.sources[].podCertificate",
        "there is no signer of certificates; use a Secret",
    ),
    supported("spec.volumes[].projected.sources[].secret", "volume/tests"),
    supported(
        "spec.volumes[].projected.sources[].secret.items",
        "volume/tests",
    ),
    supported(
        "spec.volumes[].projected.sources[].secret.items[].key",
        "volume/tests",
    ),
    supported(
        "spec.volumes[].projected.sources[].secret.items[].mode",
        "volume/tests",
    ),
    supported(
        "spec.volumes[].projected.sources[].secret.items[].path",
        "volume/tests",
    ),
    supported(
        "spec.volumes[].projected.sources[].secret.name",
        "volume/tests",
    ),
    supported(
        "spec.volumes[].projected.sources[].secret.optional",
        "volume/tests",
    ),
    supported(
        "spec.volumes[].projected.sources[].serviceAccountToken",
        "volume/tests",
    ),
    supported(
        "spec.volumes[].projected.sources[].serviceAccountToken.audience",
        "volume/tests",
    ),
    supported(
        "spec.volumes[].projected.sources[].serviceAccountToken.expirationSeconds",
        "volume/tests",
    ),
    supported(
        "spec.volumes[].projected.sources[].serviceAccountToken.path",
        "volume/tests",
    ),
    supported("spec.volumes[].secret", "volume/tests"),
    supported("spec.volumes[].secret.defaultMode", "volume/tests"),
    supported("spec.volumes[].secret.items", "volume/tests"),
    supported("spec.volumes[].secret.items[].key", "volume/tests"),
    supported("spec.volumes[].secret.items[].mode", "volume/tests"),
    supported("spec.volumes[].secret.items[].path", "volume/tests"),
    supported("spec.volumes[].secret.optional", "volume/tests"),
    supported("spec.volumes[].secret.secretName", "volume/tests"),
    refused(
        "spec.volumes[].awsElasticBlockStore",
        "there are no storage drivers; mount it on the host and use a hostPath",
    ),
    refused(
        "spec.volumes[].azureDisk",
        "there are no storage drivers; mount it on the host and use a hostPath",
    ),
    refused(
        "spec.volumes[].azureFile",
        "there are no storage drivers; mount it on the host and use a hostPath",
    ),
    refused(
        "spec.volumes[].cephfs",
        "there are no storage drivers; mount it on the host and use a hostPath",
    ),
    refused(
        "spec.volumes[].cinder",
        "there are no storage drivers; mount it on the host and use a hostPath",
    ),
    refused(
        "spec.volumes[].csi",
        "there are no storage drivers; mount it on the host and use a hostPath",
    ),
    refused(
        "spec.volumes[].fc",
        "there are no storage drivers; mount it on the host and use a hostPath",
    ),
    refused(
        "spec.volumes[].flexVolume",
        "there are no storage drivers; mount it on the host and use a hostPath",
    ),
    refused(
        "spec.volumes[].flocker",
        "there are no storage drivers; mount it on the host and use a hostPath",
    ),
    refused(
        "spec.volumes[].gcePersistentDisk",
        "there are no storage drivers; mount it on the host and use a hostPath",
    ),
    refused(
        "spec.volumes[].glusterfs",
        "there are no storage drivers; mount it on the host and use a hostPath",
    ),
    refused(
        "spec.volumes[].iscsi",
        "there are no storage drivers; mount it on the host and use a hostPath",
    ),
    refused(
        "spec.volumes[].nfs",
        "there are no storage drivers; mount it on the host and use a hostPath",
    ),
    refused(
        "spec.volumes[].photonPersistentDisk",
        "there are no storage drivers; mount it on the host and use a hostPath",
    ),
    refused(
        "spec.volumes[].portworxVolume",
        "there are no storage drivers; mount it on the host and use a hostPath",
    ),
    refused(
        "spec.volumes[].quobyte",
        "there are no storage drivers; mount it on the host and use a hostPath",
    ),
    refused(
        "spec.volumes[].rbd",
        "there are no storage drivers; mount it on the host and use a hostPath",
    ),
    refused(
        "spec.volumes[].scaleIO",
        "there are no storage drivers; mount it on the host and use a hostPath",
    ),
    refused(
        "spec.volumes[].storageos",
        "there are no storage drivers; mount it on the host and use a hostPath",
    ),
    refused(
        "spec.volumes[].vsphereVolume",
        "there are no storage drivers; mount it on the host and use a hostPath",
    ),
    refused(
        "spec.volumes[].ephemeral",
        "there are no persistent volumes; use emptyDir",
    ),
    refused(
        "spec.volumes[].gitRepo",
        "removed from Kubernetes; clone in an init container",
    ),
    refused(
        "spec.volumes[].persistentVolumeClaim",
        "there are no persistent volumes; use a hostPath",
    ),
];
