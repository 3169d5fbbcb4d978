//! Building an image for shell containers, by the builder inside the Docker engine. Its context is streamed: the archive of a root
//! file system may be larger than the memory that coast should take.

use crate::docker::{Docker, described};
use crate::error::{MutagenError, Step};
use crate::image::check_image;
use bollard::query_parameters::BuildImageOptionsBuilder;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::thread;
use tokio::sync::mpsc;

/// The name of mutagen's archive in the context.
const MUTAGEN: &str = "mutagen.tar.gz";
/// The name of the archive of the root file system in the context.
const ROOT: &str = "root.tar";
/// The size of a piece of the context, in bytes.
const PIECE_LEN: usize = 1 << 20;
/// The number of pieces that wait for the engine.
const PIECES_AHEAD: usize = 4;

/// The end of the recipe. The programs are looked for and run, so that a wrong archive or a wrong processor is an error here and not
/// at the first session.
const RECIPE: &str = r#"RUN has() { command -v ssh && command -v scp; }; has || { \
    if command -v apt-get; then \
        apt-get update && apt-get install -y --no-install-recommends openssh-client && rm -rf /var/lib/apt/lists/*; \
    elif command -v apk; then apk add --no-cache openssh-client; \
    elif command -v dnf; then dnf install -y openssh-clients; \
    fi; has; }
ADD mutagen.tar.gz /usr/local/bin/
RUN ["ls", "/usr/local/bin/mutagen-agents.tar.gz"]
RUN ["mutagen", "version"]
"#;

/// The parameters of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSpec {
    /// The name of the new image.
    pub tag: String,
    /// The system in the image.
    pub base: ImageBase,
    /// The archive of a release of mutagen for Linux.
    pub mutagen: PathBuf,
    /// The Docker network that ssh is installed over, if the base lacks ssh. `None` is Docker's default.
    pub network: Option<String>,
}

/// The system that mutagen is put into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageBase {
    /// An image that the engine has.
    Image(String),
    /// An archive of a root file system in a format of tar, compressed or not.
    Archive(PathBuf),
}

impl Docker {
    /// Builds an image with mutagen and an ssh client, and returns its id. `said` gets the lines that the engine prints. No image is
    /// ever pulled.
    ///
    /// # Errors
    /// [`MutagenError::NoBase`] if Docker does not have the base, [`MutagenError::Read`] if an archive cannot be read, and
    /// [`MutagenError::NotBuilt`] if a step of the recipe fails.
    pub fn build_image(
        &self,
        spec: &ImageSpec,
        said: &mut (dyn FnMut(&str) + Send),
    ) -> Result<String, MutagenError> {
        check_image(&spec.tag)?;
        let mut files = vec![ContextFile::open(MUTAGEN, &spec.mutagen)?];
        let begin = match &spec.base {
            ImageBase::Image(image) => {
                check_image(image)?;
                let id = self.find_image(image)?;
                // The builder pulls an image that it knows by a name only.
                let id = id.ok_or_else(|| MutagenError::NoBase { image: image.clone() })?;
                format!("FROM {id}\n")
            }
            ImageBase::Archive(path) => {
                files.push(ContextFile::open(ROOT, path)?);
                format!("FROM scratch\nADD {ROOT} /\n")
            }
        };
        let mut options = BuildImageOptionsBuilder::new().t(&spec.tag).rm(true).forcerm(true);
        if let Some(network) = &spec.network {
            options = options.networkmode(network);
        }
        let context = bollard::body_try_stream(context(format!("{begin}{RECIPE}"), files));
        let mut answer = self.api().build_image(options.build(), None, Some(context));
        self.call(Step::Image, async {
            while let Some(part) = answer.next().await {
                let part = part.map_err(|error| MutagenError::NotBuilt {
                    tag: spec.tag.clone(),
                    answer: described(&error),
                })?;
                part.stream
                    .iter()
                    .flat_map(|text| text.lines())
                    .filter(|line| !line.is_empty())
                    .for_each(&mut *said);
            }
            Ok(())
        })?;
        self.find_image(&spec.tag)?.ok_or_else(|| MutagenError::NotBuilt {
            tag: spec.tag.clone(),
            answer: "Docker reported success, but the image does not exist".to_owned(),
        })
    }
}

/// A file of the context.
struct ContextFile {
    name: &'static str,
    file: File,
    len: u64,
}

impl ContextFile {
    fn open(name: &'static str, path: &Path) -> Result<ContextFile, MutagenError> {
        let open = || {
            let file = File::open(path)?;
            let metadata = file.metadata()?;
            if !metadata.is_file() {
                return Err(io::Error::other("it is not a regular file"));
            }
            Ok(ContextFile { name, file, len: metadata.len() })
        };
        open().map_err(|error| MutagenError::Read { step: Step::Image, path: path.to_owned(), error })
    }
}

/// The tar archive of a context, in pieces. A thread makes them, and ends early if the stream is dropped.
fn context(
    recipe: String,
    files: Vec<ContextFile>,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let (sender, receiver) = mpsc::channel(PIECES_AHEAD);
    thread::spawn(move || {
        if let Err(error) = write_context(&sender, &recipe, files) {
            // Without a receiver nobody waits for the archive.
            let _ = sender.blocking_send(Err(error));
        }
    });
    stream::unfold(receiver, |mut receiver| async move {
        let piece = receiver.recv().await?;
        Some((piece, receiver))
    })
}

fn write_context(
    sender: &mpsc::Sender<io::Result<Bytes>>,
    recipe: &str,
    files: Vec<ContextFile>,
) -> io::Result<()> {
    let mut archive = tar::Builder::new(BufWriter::with_capacity(PIECE_LEN, Pieces(sender)));
    let mut append = |name: &str, len: u64, content: &mut dyn Read| {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(len);
        archive.append_data(&mut header, name, content)
    };
    append("Dockerfile", recipe.len() as u64, &mut recipe.as_bytes())?;
    for ContextFile { name, file, len } in files {
        // The header has the length, also if the file grows.
        append(name, len, &mut file.take(len))?;
    }
    archive.into_inner()?.flush()
}

/// Sends what is written.
struct Pieces<'a>(&'a mpsc::Sender<io::Result<Bytes>>);

impl Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes)));
        sent.map(|()| bytes.len()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_context_is_the_recipe_and_the_files() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("release.tar.gz");
        let content = vec![7; 3 * PIECE_LEN + 1];
        std::fs::write(&path, &content).unwrap();
        let files = vec![ContextFile::open(MUTAGEN, &path).unwrap()];
        let pieces = context("FROM scratch\n".to_owned(), files).map(Result::unwrap).collect::<Vec<_>>();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let bytes = runtime.block_on(pieces).concat();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            (entry.path().unwrap().display().to_string(), content)
        });
        let expected = [("Dockerfile".to_owned(), b"FROM scratch\n".to_vec()), (MUTAGEN.to_owned(), content)];
        assert_eq!(entries.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn an_archive_that_is_no_file_is_named() {
        for path in ["/", "/nowhere/mutagen.tar.gz"] {
            let error = ContextFile::open(MUTAGEN, Path::new(path)).err().unwrap();
            assert_eq!(error.step(), Step::Image);
            assert!(error.to_string().starts_with(&format!("cannot read {path}: ")), "{error}");
        }
    }
}
