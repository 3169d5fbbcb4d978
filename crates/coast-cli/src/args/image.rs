//! The arguments of `coast image`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

pub(super) const ABOUT: &str = "\
Makes images for shell containers. A shell container makes edits follow: it needs mutagen with the agents that it installs on \
remotes, ssh and scp.";

pub(super) const AFTER: &str = "\
EXAMPLES
  coast image build --mutagen mutagen_linux_amd64_v0.18.1.tar.gz
      On Docker's image `debian`, as `coast-shell`.
  coast image build --mutagen mutagen.tar.gz \\
    --rootfs rootfs.tar
      Without any registry of images.";

const BUILD_ABOUT: &str = "\
Builds an image for shell containers with the Docker engine of this machine: a base, ssh and scp, and mutagen. The engine needs \
neither its command line nor a plugin for it. Nothing is downloaded for you but ssh, and that only if the base lacks it: you give \
the archive of mutagen's release, and a base that Docker has already, or an archive of a root file system.";

const BUILD_AFTER: &str = "\
EXAMPLES
  docker pull debian
  coast image build --mutagen mutagen_linux_amd64_v0.18.1.tar.gz
      The archive is from https://github.com/mutagen-io/mutagen/releases.
  sudo debootstrap --variant=minbase --include=openssh-client \\
    stable rootfs
  sudo tar --directory rootfs --create --file rootfs.tar .
  coast image build --mutagen mutagen_linux_amd64_v0.18.1.tar.gz \\
    --rootfs rootfs.tar
      Without any registry of images: Debian comes from its own mirror.

HOW TO USE THE IMAGE
  In the Coastfile:
    [remote]
    workspace_sync = \"mutagen\"
    shell_image = \"coast-shell\"
  Or once: coast run dev-1 --image coast-shell

EXIT CODES
    3  the base or an archive cannot be used, or a step of the build failed
   10  Docker cannot be reached
   20  interrupted";

/// Subcommands of `coast image`.
#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// Build an image for shell containers
    #[command(long_about = BUILD_ABOUT, after_long_help = BUILD_AFTER)]
    Build(BuildArgs),
}

/// Arguments of `coast image build`.
#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    /// The archive of a release of mutagen for Linux, such as mutagen_linux_amd64_v0.18.1.tar.gz
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub(crate) mutagen: PathBuf,

    /// The image to build on. Docker must have it
    #[arg(long, value_name = "IMAGE", default_value = "debian", conflicts_with = "rootfs")]
    pub(crate) base: String,

    /// An archive (tar, compressed or not) of a root file system to build on, in place of an image
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub(crate) rootfs: Option<PathBuf>,

    /// The name of the new image
    #[arg(long, value_name = "NAME", default_value = "coast-shell")]
    pub(crate) tag: String,

    /// The Docker network that ssh is installed over, such as host or none [default: Docker's default]
    #[arg(long, value_name = "NETWORK")]
    pub(crate) network: Option<String>,

    /// Print nothing but errors
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// Print one JSON object instead of text
    #[arg(long)]
    pub(crate) json: bool,
}
