//! A command on one instance, or with `--all` on every instance of a project.

use std::os::unix::ffi::OsStrExt;

use coast_instance::{CoastfileChoice, InstanceId, LifecycleError, Name, Places, ProjectInstance, Scope};
use coast_sync::Cancel;
use serde_json::json;

use super::{Chosen, Scene, here, println_json, refuse};
use crate::args::connection::HelperArgs;
use crate::args::lifecycle::{ProjectArg, TellingArgs};
use crate::exit_code::INTERRUPTED;
use crate::output::{Shown, Weight, complain, counted, println};
use crate::signals::cancelled_by_signals;

/// The end of a command on one instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// The exit code of this instance.
    With(u8),
    /// The same, and the command must not go on with other instances: the user has said no, for all of them.
    ForAll(u8),
}

impl Ended {
    pub(super) fn exit_code(self) -> u8 {
        match self {
            Self::With(code) | Self::ForAll(code) => code,
        }
    }
}

/// All instances of a project, and the command on them.
pub(super) struct WholeProject<'a> {
    /// The name of the project.
    project: String,
    pub(super) instances: Vec<ProjectInstance>,
    pub(super) cancel: Cancel,
    /// Whether the user has named the project. Otherwise it is that of the current directory.
    by_name: bool,
    telling: &'a TellingArgs,
}

impl<'a> WholeProject<'a> {
    /// The instances of the project of the current directory, or of the one that the argument names.
    pub(super) fn find(
        argument: &ProjectArg,
        telling: &'a TellingArgs,
    ) -> anyhow::Result<Result<Self, LifecycleError>> {
        let places = Places::from_process()?;
        let cancel = cancelled_by_signals()?;
        let found = || -> Result<_, LifecycleError> {
            Ok(match &argument.project {
                Some(project) => {
                    Scope::check_name(&places, project)?;
                    (project.clone(), ProjectInstance::of_name(&places, project)?)
                }
                None => {
                    let scope = Scope::of_directory(&places, &here()?, None, &CoastfileChoice::Remembered)?;
                    let instances = ProjectInstance::of_scope(&places, &scope)?;
                    (scope.name, instances)
                }
            })
        };
        Ok(found().map(|(project, instances)| Self {
            project: project.to_string(),
            instances,
            cancel,
            by_name: argument.project.is_some(),
            telling,
        }))
    }

    /// Leaves the instances whose root is gone, because nobody is asked about them: they may be those of another project.
    pub(super) fn leave_lost(&mut self) {
        for ProjectInstance { id, lost_root, .. } in
            self.instances.extract_if(.., |instance| instance.lost_root.is_some())
        {
            let (instance, root) = (id.instance, lost_root.unwrap_or_default());
            let text = format!(
                "{instance} stays: it was made in {}, which is gone; remove it with: coast rm {instance}",
                Shown(root.as_os_str().as_bytes())
            );
            complain(Weight::Warning, &text);
        }
    }

    /// The name of an instance, with that of its project if the instances have several.
    pub(super) fn name(&self, instance: &ProjectInstance) -> String {
        let id = &instance.id;
        let several = self.instances.iter().any(|other| other.id.project != id.project);
        if several { id.to_string() } else { id.instance.to_string() }
    }

    /// Carries out `command` on one instance after the other, and prints how it ended. `done` is the participle of the command.
    /// Returns the exit code of the first error.
    pub(super) fn carry_out(
        &self,
        helper: Option<&HelperArgs>,
        coastfile: &CoastfileChoice,
        done: &str,
        command: impl Fn(&Scene, &Name) -> Ended,
    ) -> anyhow::Result<u8> {
        let mut outcome = Outcome::default();
        let mut ends_all = false;
        for instance in &self.instances {
            if ends_all || self.cancel.is_cancelled() {
                outcome.not_begun.push(self.name(instance));
                continue;
            }
            self.tell_begin(instance);
            let InstanceId { project, instance: name } = &instance.id;
            // The directory of the project is known better than that in a record: the project may have been moved.
            let chosen = if self.by_name || project.as_str() != self.project {
                Chosen::Named { project, instance: name, coastfile: coastfile.clone() }
            } else {
                Chosen::Existing { instance: name, coastfile: coastfile.clone() }
            };
            let ended = match Scene::open(&chosen, helper, &self.cancel)? {
                Ok(scene) => command(&scene, name),
                Err(error) => Ended::With(refuse(&error, self.telling.json)),
            };
            ends_all = matches!(ended, Ended::ForAll(_));
            match ended.exit_code() {
                0 => outcome.done.push(self.name(instance)),
                code => outcome.failed.push((self.name(instance), code)),
            }
        }
        self.tell_end(&outcome, done);
        Ok(outcome.exit_code())
    }

    fn tell_begin(&self, instance: &ProjectInstance) {
        if self.telling.json {
            let InstanceId { project, instance } = &instance.id;
            println_json(&json!({ "event": "instance", "project": project, "instance": instance }));
        } else if !self.telling.quiet {
            println(&format!("{}:", self.name(instance)));
        }
    }

    fn tell_end(&self, outcome: &Outcome, done: &str) {
        let code = outcome.exit_code();
        if self.telling.json {
            let failed = outcome.failed.iter();
            let failed: Vec<_> =
                failed.map(|(name, code)| json!({ "instance": name, "exit_code": code })).collect();
            let Outcome { done, not_begun, .. } = outcome;
            println_json(&json!({
                "event": "all", "exit_code": code, "done": done, "failed": failed, "left": not_begun,
            }));
        } else if self.instances.is_empty() {
            println(&format!("the project {} has no instances", self.project));
        } else if code == 0 {
            if !self.telling.quiet {
                println(&format!("{} {done}", count(self.instances.len())));
            }
        } else {
            complain(Weight::Error, &format!("{} (code {code})", outcome.words(done)));
        }
    }
}

/// How the command ended for each instance.
#[derive(Debug, Default)]
struct Outcome {
    done: Vec<String>,
    /// The instances with errors, and their exit codes.
    failed: Vec<(String, u8)>,
    /// The instances on which the command was not begun.
    not_begun: Vec<String>,
}

impl Outcome {
    fn exit_code(&self) -> u8 {
        match self.failed.first() {
            Some((_, code)) => *code,
            // A signal came before the first instance, or between two of them.
            None if !self.not_begun.is_empty() => INTERRUPTED,
            None => 0,
        }
    }

    fn words(&self, done: &str) -> String {
        let Self { done: names, failed, not_begun } = self;
        let all = names.len() + failed.len() + not_begun.len();
        let failed: Vec<String> = failed.iter().map(|(name, code)| format!("{name} (code {code})")).collect();
        let mut text = format!("{} of {} {done}", names.len(), count(all));
        if !failed.is_empty() {
            text.push_str(&format!("; with errors: {}", failed.join(", ")));
        }
        if !not_begun.is_empty() {
            text.push_str(&format!("; not begun: {}", not_begun.join(", ")));
        }
        text
    }
}

fn count(instances: usize) -> String {
    counted(u64::try_from(instances).unwrap_or(u64::MAX), "instance", "instances")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_error_gives_the_exit_code_and_every_instance_is_accounted_for() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let outcome = Outcome {
            done: names(&["a"]),
            failed: vec![("b".to_owned(), 12), ("c".to_owned(), 3)],
            not_begun: names(&["d"]),
        };
        assert_eq!(outcome.exit_code(), 12);
        let said = "1 of 4 instances stopped; with errors: b (code 12), c (code 3); not begun: d";
        assert_eq!(outcome.words("stopped"), said);
        assert_eq!(Outcome::default().exit_code(), 0);
        let interrupted = Outcome { done: names(&["a"]), not_begun: names(&["b"]), ..Outcome::default() };
        assert_eq!(interrupted.exit_code(), 20);
        assert_eq!(interrupted.words("removed"), "1 of 2 instances removed; not begun: b");
    }
}
