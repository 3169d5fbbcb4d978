//! Looking for the image of the shell container.

use crate::docker::{Docker, is_not_found};
use crate::error::{MutagenError, Step};

impl Docker {
    /// The id of an image. A missing image is not pulled: its name may come from a project that nobody has read yet, and its
    /// programs get the key of the remote.
    pub(crate) fn image(&self, image: &str) -> Result<String, MutagenError> {
        check_image(image)?;
        self.find_image(image)?.ok_or_else(|| MutagenError::NoImage { image: image.to_owned() })
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
pub(crate) fn check_image(image: &str) -> Result<(), MutagenError> {
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

#[cfg(test)]
mod tests {
    use super::*;

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
