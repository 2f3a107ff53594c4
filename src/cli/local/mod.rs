//! SOPS files in a folder of a git checkout, in place of the objects in the cluster.

pub mod replace;
pub mod rules;
mod tree;
mod walk;

use std::path::{Path, PathBuf};

use clap::Args;

pub use tree::{LocalFiles, locate, not_replaced};
pub use walk::sops_files;

use super::exit::Failure;

/// Which SOPS files.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "SOPS files")]
pub struct LocalArgs {
    /// Work on the files in this folder, instead of the objects in the cluster; Stacks and Stores come from the cluster
    #[arg(long, value_name = "DIR")]
    local: Option<PathBuf>,
}

/// Which SOPS files, and whose keys open them.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "SOPS files")]
pub struct FileArgs {
    #[command(flatten)]
    local: LocalArgs,
    /// Open files with the keys that the Store names in the cluster, instead of your own (SOPS_AGE_KEY,
    /// SOPS_AGE_KEY_FILE, sops/age/keys.txt in your configuration folder)
    #[arg(long)]
    pub cluster_key: bool,
}

impl From<LocalArgs> for FileArgs {
    /// The files, and no wish to open them.
    fn from(local: LocalArgs) -> Self {
        Self { local, cluster_key: false }
    }
}

impl FileArgs {
    /// The folder that is named, if one is.
    #[must_use]
    pub fn folder_named(&self) -> Option<&Path> {
        self.local.local.as_deref()
    }

    /// Makes sure that the folder is one.
    ///
    /// # Errors
    /// Usage: what is named is none.
    pub fn check(&self) -> Result<(), Failure> {
        match &self.local.local {
            None => Ok(()),
            Some(folder) if folder.is_dir() => Ok(()),
            Some(folder) => Err(Failure::usage(format!("there is no folder {}", folder.display()))
                .hint("--local takes the folder that holds the SOPS files, such as secrets/")),
        }
    }
}
