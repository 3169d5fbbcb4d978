//! The image of the shell container, pulled if the engine does not have it.

use crate::docker::{Docker, described, is_not_found};
use crate::error::{MutagenError, Step};
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::StreamExt;
use std::time::Duration;

/// How long Docker may take to pull an image.
const PULL_PATIENCE: Duration = Duration::from_secs(15 * 60);

impl Docker {
    /// The id of an image. A missing image is pulled.
    pub(crate) fn image(&self, image: &str) -> Result<String, MutagenError> {
        check_image(image)?;
        if let Some(id) = self.find_image(image)? {
            return Ok(id);
        }
        let missing = |answer: String| MutagenError::NoImage { image: image.to_owned(), answer };
        let (name, tag) = pulled_reference(image);
        let mut options = CreateImageOptionsBuilder::new().from_image(name);
        if let Some(tag) = tag {
            options = options.tag(tag);
        }
        let mut progress = self.api().create_image(Some(options.build()), None, None);
        self.call(Step::Image, async {
            let pulled = tokio::time::timeout(PULL_PATIENCE, async {
                while let Some(line) = progress.next().await {
                    line.map_err(|error| missing(described(&error)))?;
                }
                Ok(())
            });
            pulled.await.unwrap_or_else(|_| {
                Err(missing(format!("it did not end within {} s", PULL_PATIENCE.as_secs())))
            })
        })?;
        self.find_image(image)?
            .ok_or_else(|| missing("Docker reported success, but the image does not exist".to_owned()))
    }

    /// The id of an image; `None` if the engine does not have it.
    pub(crate) fn find_image(&self, image: &str) -> Result<Option<String>, MutagenError> {
        self.call(Step::Image, async {
            match self.api().inspect_image(image).await {
                Ok(found) => Ok(Some(found.id.unwrap_or_default())),
                Err(error) if is_not_found(&error) => Ok(None),
                Err(error) => Err(self.refused(Step::Image, format!("look for the image {image}"), &error)),
            }
        })
    }
}

/// Checks that a name stays inside its part of a request's path. Docker checks the rest.
fn check_image(image: &str) -> Result<(), MutagenError> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:@".contains(&byte);
    let problem = if image.is_empty() {
        "is empty"
    } else if !image.bytes().all(fits) || !image.as_bytes()[0].is_ascii_alphanumeric() || image.contains("..")
    {
        "is not the name of an image"
    } else {
        return Ok(());
    };
    Err(MutagenError::Unusable { step: Step::Image, what: "the image", value: image.to_owned(), problem })
}

/// The name and the tag to pull. Without a tag and a digest Docker would pull every tag.
fn pulled_reference(image: &str) -> (&str, Option<&str>) {
    if image.contains('@') {
        return (image, None);
    }
    match image.rsplit_once(':') {
        // A colon before a slash precedes the port of a registry.
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (image, Some("latest")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_tag_is_pulled_and_never_all() {
        assert_eq!(pulled_reference("debian"), ("debian", Some("latest")));
        assert_eq!(
            pulled_reference("registry.example:5000/shell"),
            ("registry.example:5000/shell", Some("latest"))
        );
        assert_eq!(
            pulled_reference("registry.example:5000/shell:2"),
            ("registry.example:5000/shell", Some("2"))
        );
        assert_eq!(pulled_reference("shell@sha256:00ff"), ("shell@sha256:00ff", None));
    }

    #[test]
    fn what_would_leave_its_place_in_a_request_is_no_image() {
        for image in ["", "a b", "a?b", "../etc", "a/../../containers", "/a", "ä"] {
            let error = check_image(image).unwrap_err();
            assert_eq!(error.step(), Step::Image, "{error}");
        }
        for image in ["debian", "registry.example:5000/team/shell:2", "shell@sha256:00ff"] {
            assert!(check_image(image).is_ok(), "{image}");
        }
    }
}
