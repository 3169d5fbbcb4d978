//! `coast image build`.

use coast_mutagen::{Docker, DockerEnvironment, ImageBase, ImageSpec, Interrupt, MutagenError};

use super::{absolute, println_json, refuse_with};
use crate::args::image::{BuildArgs, ImageCommand};
use crate::exit_code::{INTERRUPTED, NO_CONNECTION, UNUSABLE};
use crate::output::{Lines, Shown};
use crate::signals::cancelled_by_signals;

/// `coast image`
pub(crate) fn image(command: ImageCommand) -> anyhow::Result<u8> {
    match command {
        ImageCommand::Build(args) => build(args),
    }
}

fn build(args: BuildArgs) -> anyhow::Result<u8> {
    let base = match &args.rootfs {
        Some(path) => ImageBase::Archive(absolute(path)?),
        None => ImageBase::Image(args.base),
    };
    let spec = ImageSpec { tag: args.tag, base, mutagen: absolute(&args.mutagen)?, network: args.network };
    let cancel = cancelled_by_signals()?;
    let interrupt = Interrupt::new();
    let _hook = cancel.on_cancel({
        let interrupt = interrupt.clone();
        move || interrupt.interrupt()
    });
    let lines = Lines::new();
    let is_silent = args.quiet || args.json;
    let built = Docker::connect(&DockerEnvironment::from_process()).and_then(|docker| {
        docker.interrupted_by(&interrupt).build_image(&spec, &mut |line| {
            if !is_silent {
                lines.print(&Shown(line.as_bytes()).to_string());
                lines.flush();
            }
        })
    });
    let id = match built {
        Ok(id) => id,
        Err(error) => return Ok(refuse_with(&error.to_string(), exit_code(&error), args.json)),
    };
    let tag = &spec.tag;
    if args.json {
        println_json(&serde_json::json!({ "image": tag, "id": id }));
    } else if !args.quiet {
        lines.print(&format!(
            "{tag} is ready; name it in the Coastfile with shell_image = \"{tag}\", or with: coast run INSTANCE --image {tag}"
        ));
        lines.flush();
    }
    Ok(0)
}

fn exit_code(error: &MutagenError) -> u8 {
    match error {
        error if error.is_interrupted() => INTERRUPTED,
        MutagenError::NoDocker { .. } | MutagenError::DockerAddress { .. } => NO_CONNECTION,
        _ => UNUSABLE,
    }
}
