//! The settings that a command uses are those that the user trusts. Every command that needs the settings asks before it locks or
//! changes anything.

use crate::event::LifecycleEvent;
use crate::lifecycle::{FollowOptions, Lifecycle, LifecycleError};
use crate::record::Record;
use crate::trust::{TrustQuestion, TrustStore};
use crate::{Project, RecordError};

/// What happens if the user does not trust the settings of the project yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Trust {
    /// The user is asked. It is an error if nobody can be asked, or the answer is no.
    #[default]
    Ask,
    /// The user has said yes on the command line.
    Given,
}

impl Lifecycle<'_> {
    /// Checks that the user trusts the settings of the project. An image that the user has named needs no trust: now, or in an earlier
    /// command on `record`.
    pub(super) fn check_trust(
        &self,
        record: Option<&Record>,
        options: &FollowOptions,
    ) -> Result<(), LifecycleError> {
        let project = self.project.project()?;
        let named_image = options.image.as_deref().or(record.and_then(|record| record.image.as_deref()));
        let Some(question) = self.trust_question(project, named_image)? else { return Ok(()) };
        match options.trust {
            Trust::Given => self.observer.lifecycle_event(&LifecycleEvent::Trusted { question: &question }),
            Trust::Ask => match self.observer.confirm_trust(&question) {
                Some(true) => {}
                Some(false) => return Err(LifecycleError::Distrusted),
                None if self.cancel.is_cancelled() => return Err(LifecycleError::Interrupted { at: None }),
                None => return Err(LifecycleError::Untrusted(Box::new(question))),
            },
        }
        let store = TrustStore::new(self.places);
        store.record(&project.root, question.kind.as_ref(), question.demands).map_err(RecordError::from)?;
        Ok(())
    }

    /// The question about the settings of the project; `None` if the user trusts them.
    pub(super) fn trust_question(
        &self,
        project: &Project,
        named_image: Option<&str>,
    ) -> Result<Option<TrustQuestion>, LifecycleError> {
        let question = TrustStore::new(self.places).question(project, named_image);
        Ok(question.map_err(RecordError::from)?)
    }
}
