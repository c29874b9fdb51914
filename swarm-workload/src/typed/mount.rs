//! What is mounted in containers.

use super::{fields, words};
use std::collections::BTreeMap;

words! {
    /// What is mounted.
    MountType {
        /// A folder or file of the node.
        Bind = "bind",
        /// A volume of the node.
        #[default]
        Volume = "volume",
        /// Memory.
        Tmpfs = "tmpfs",
        /// A pipe of Windows.
        NamedPipe = "npipe",
        /// A volume of the cluster (API 1.42).
        Cluster = "cluster",
        /// An image.
        Image = "image",
    }
}

fields! {
    /// A mount.
    Mount {
        /// Where it is in the container.
        target: String,
        /// What it is: a path of the node, or a volume's name.
        source: String,
        /// Its type; unset for a volume.
        #[serde(rename = "Type")]
        kind: Option<MountType>,
        /// Whether it cannot be written.
        read_only: bool,
        /// For Docker Desktop; without effect elsewhere.
        consistency: String,
        /// For binds.
        bind_options: Option<BindOptions>,
        /// For volumes.
        volume_options: Option<VolumeOptions>,
        /// For images.
        image_options: Option<ImageOptions>,
        /// For memory.
        tmpfs_options: Option<TmpfsOptions>,
    }
}

fields! {
    /// Options of binds.
    BindOptions {
        /// How mounts below it spread, such as `rprivate`.
        propagation: String,
        /// Whether mounts below it are left out.
        non_recursive: bool,
        /// Whether the folder is made where it is missing.
        create_mountpoint: bool,
        /// Whether only the mount itself cannot be written (API 1.44).
        read_only_non_recursive: bool,
        /// Whether it fails where mounts below it can be written (API 1.44).
        read_only_force_recursive: bool,
    }
}

fields! {
    /// Options of volumes.
    VolumeOptions {
        /// Whether what the image has there is not copied.
        no_copy: bool,
        /// Labels of the volume.
        labels: BTreeMap<String, String>,
        /// What makes the volume; unset for `local`.
        driver_config: Option<Driver>,
        /// A folder of it (API 1.45).
        subpath: String,
    }
}

fields! {
    /// Options of images.
    ImageOptions {
        /// A folder of it.
        subpath: String,
    }
}

fields! {
    /// Options of memory.
    TmpfsOptions {
        /// How much, in bytes; 0 for no limit.
        size_bytes: i64,
        /// Who may use it, as a number of twelve bits.
        mode: u32,
        /// Options of the mount, each a name or a name and a value (API 1.46).
        options: Vec<Vec<String>>,
    }
}

fields! {
    /// A driver, with its options.
    Driver {
        /// Its name.
        name: String,
        /// Its options.
        options: BTreeMap<String, String>,
    }
}
