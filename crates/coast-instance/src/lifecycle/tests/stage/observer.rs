//! The observer of a staged command: it notes the events, kills the command at a step, and answers the question about trust.

use std::panic::resume_unwind;
use std::path::Path;

use coast_sync::{AcceptedKey, Event, HostAnswer, Monitor, PresentedKey, Prompt, Zeroizing};
use coast_tree::LockExt;

use super::Stage;
use crate::TrustQuestion;
use crate::event::{LifecycleEvent, Observer};

impl Observer for Stage {
    fn confirm_trust(&self, question: &TrustQuestion) -> Option<bool> {
        self.note(format!("asked {question}"));
        *self.trusts.enter()
    }

    fn lifecycle_event(&self, event: &LifecycleEvent<'_>) {
        let LifecycleEvent::Step { step } = event else {
            return self.note(format!("told {event:?}"));
        };
        // The record on the disk names the step before the observer is told.
        let on_disk = self.record().and_then(|record| record.unfinished()).map(|(_, step)| step);
        assert_eq!(on_disk, Some(*step));
        self.note(format!("step {}", step.as_str()));
        let mut kill_at = self.kill_at.enter();
        if *kill_at == Some(*step) {
            *kill_at = None;
            drop(kill_at);
            // Ends the command where it stands: nothing of it is done after this but freeing its lock.
            resume_unwind(Box::new("killed"));
        }
    }
}

impl Monitor for Stage {
    fn event(&self, event: &Event<'_>) {
        if let Event::Problem { path, text, .. } = event {
            self.note(format!("problem {}: {text}", String::from_utf8_lossy(path)));
        }
    }
}

impl Prompt for Stage {
    fn passphrase(&self, _key: &Path) -> Option<Zeroizing<String>> {
        None
    }

    fn confirm_host(&self, _presented: &PresentedKey) -> HostAnswer {
        HostAnswer::NobodyToAsk
    }

    fn host_key_accepted(&self, _accepted: &AcceptedKey) {}

    fn notice(&self, _text: &str) {}
}
