//! An instance in the words of a command that a message suggests.

use std::fmt;

use crate::Name;

/// An instance as the operand of a command: `dev-1`, or `dev-1 --project shop` where the user has named the project. With these words
/// a suggested command reaches the instance from the directory in which the user is.
#[derive(Clone, PartialEq, Eq)]
pub struct Addressed {
    instance: Name,
    /// On the heap, so that errors with an instance stay small.
    project: Option<Box<Name>>,
}

impl Addressed {
    /// An instance of a project; `None` stands for the project of the current directory.
    pub fn new(instance: &Name, project: Option<&Name>) -> Self {
        Self { instance: instance.clone(), project: project.cloned().map(Box::new) }
    }

    /// The name of the instance.
    pub fn instance(&self) -> &Name {
        &self.instance
    }
}

impl From<&Name> for Addressed {
    fn from(instance: &Name) -> Self {
        Self::new(instance, None)
    }
}

impl fmt::Display for Addressed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names need no quotes in a shell.
        write!(f, "{}", self.instance)?;
        self.project.iter().try_for_each(|project| write!(f, " --project {project}"))
    }
}

/// The name of the instance in quotes, for messages.
impl fmt::Debug for Addressed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.instance, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_project_is_repeated_where_it_was_named() {
        let (instance, project) = ("dev-1".parse().unwrap(), "shop".parse().unwrap());
        assert_eq!(Addressed::from(&instance).to_string(), "dev-1");
        let named = Addressed::new(&instance, Some(&project));
        assert_eq!(
            (named.to_string(), format!("{named:?}")),
            ("dev-1 --project shop".into(), "\"dev-1\"".into())
        );
    }
}
