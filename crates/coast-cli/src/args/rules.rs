//! The options that add filter rules. Their order across all of them is kept, because the first rule that matches wins:
//! `--include a --exclude '*'` and `--exclude '*' --include a` are different runs.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Args, FromArgMatches, ValueHint, value_parser};

/// One option that adds rules, with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RuleArg {
    /// `--filter=RULE`
    Filter(OsString),
    /// `--exclude=PATTERN`
    Exclude(OsString),
    /// `--include=PATTERN`
    Include(OsString),
    /// `--protect=PATTERN`, the same as `--filter='P PATTERN'`
    Protect(OsString),
    /// `--exclude-from=FILE`
    ExcludeFrom(PathBuf),
    /// `--include-from=FILE`
    IncludeFrom(PathBuf),
}

/// The rules of `coast push`, in the order typed.
#[derive(Debug, Clone, Default)]
pub(crate) struct PushRules(pub(crate) Vec<RuleArg>);

/// The rules of `coast sync`, in the order typed.
#[derive(Debug, Clone, Default)]
pub(crate) struct SyncRules(pub(crate) Vec<RuleArg>);

const FILTER: &str = "filter";
const EXCLUDE: &str = "exclude";
const INCLUDE: &str = "include";
const PROTECT: &str = "protect";
const EXCLUDE_FROM: &str = "exclude-from";
const INCLUDE_FROM: &str = "include-from";

pub(crate) const HEADING: &str = "Filter rules (in the order given, the first match wins)";

fn option(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name(value)
        .help(help)
        .help_heading(HEADING)
        .action(ArgAction::Append)
        // Many rules start with a dash: `--filter '- *.o'`.
        .allow_hyphen_values(true)
}

fn pattern(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    option(name, value, help).value_parser(value_parser!(OsString)).value_hint(ValueHint::Other)
}

fn file(name: &'static str, help: &'static str) -> Arg {
    option(name, "FILE", help).value_parser(value_parser!(PathBuf)).value_hint(ValueHint::FilePath)
}

fn common(command: clap::Command) -> clap::Command {
    command.arg(pattern(EXCLUDE, "PATTERN", "Leave out entries that match, on both sides")).arg(pattern(
        INCLUDE,
        "PATTERN",
        "Do not leave out entries that match",
    ))
}

impl Args for PushRules {
    fn augment_args(command: clap::Command) -> clap::Command {
        common(command)
            .arg(pattern(FILTER, "RULE", "Add a rule in rsync's notation, such as 'P keep/***'"))
            .arg(pattern(PROTECT, "PATTERN", "Never delete entries that match at the destination"))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl Args for SyncRules {
    fn augment_args(command: clap::Command) -> clap::Command {
        common(command)
            .arg(pattern(FILTER, "RULE", "Add a rule in rsync's notation, such as 'P keep/***'").short('f'))
            .arg(file(
                EXCLUDE_FROM,
                "Read exclude patterns from a file, one per line; - means standard input",
            ))
            .arg(file(
                INCLUDE_FROM,
                "Read include patterns from a file, one per line; - means standard input",
            ))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

/// An option by name, and the constructor of the rule that its value becomes.
type Maker<T> = (&'static str, fn(T) -> RuleArg);

/// Returns the rules in the order typed.
fn in_order(matches: &ArgMatches, patterns: &[Maker<OsString>], files: &[Maker<PathBuf>]) -> Vec<RuleArg> {
    fn collect<T: Clone + Send + Sync + 'static>(
        matches: &ArgMatches,
        name: &str,
        make: fn(T) -> RuleArg,
        rules: &mut Vec<(usize, RuleArg)>,
    ) {
        let indices = matches.indices_of(name).into_iter().flatten();
        let values = matches.get_many::<T>(name).into_iter().flatten();
        rules.extend(indices.zip(values).map(|(index, value)| (index, make(value.clone()))));
    }
    let mut rules = Vec::new();
    for (name, make) in patterns {
        collect(matches, name, *make, &mut rules);
    }
    for (name, make) in files {
        collect(matches, name, *make, &mut rules);
    }
    rules.sort_by_key(|(index, _)| *index);
    rules.into_iter().map(|(_, rule)| rule).collect()
}

impl FromArgMatches for PushRules {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self(in_order(
            matches,
            &[
                (FILTER, RuleArg::Filter),
                (EXCLUDE, RuleArg::Exclude),
                (INCLUDE, RuleArg::Include),
                (PROTECT, RuleArg::Protect),
            ],
            &[],
        )))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl FromArgMatches for SyncRules {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self(in_order(
            matches,
            &[(FILTER, RuleArg::Filter), (EXCLUDE, RuleArg::Exclude), (INCLUDE, RuleArg::Include)],
            &[(EXCLUDE_FROM, RuleArg::ExcludeFrom), (INCLUDE_FROM, RuleArg::IncludeFrom)],
        )))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Command, parse};

    #[test]
    fn rules_keep_the_order_typed_across_options() {
        let line = "coast sync --exclude a -f +_b --include c -f-_d --exclude-from e --exclude=f --include-from - --filter=g s d";
        let arguments = line.split(' ').map(|word| word.replace('_', " ").into());
        let Command::Sync(args) = parse(arguments).unwrap().command else { panic!("not sync") };
        assert_eq!(
            args.rules.0,
            [
                RuleArg::Exclude("a".into()),
                RuleArg::Filter("+ b".into()),
                RuleArg::Include("c".into()),
                RuleArg::Filter("- d".into()),
                RuleArg::ExcludeFrom("e".into()),
                RuleArg::Exclude("f".into()),
                RuleArg::IncludeFrom("-".into()),
                RuleArg::Filter("g".into()),
            ]
        );
    }

    #[test]
    fn a_value_that_starts_with_a_dash_is_a_value() {
        let words = ["coast", "push", "--filter", "- *.o", "--protect", "-x", "--exclude", "--y", "a", "h:b"];
        let Command::Push(args) = parse(words.map(OsString::from)).unwrap().command else {
            panic!("not push")
        };
        assert_eq!(
            args.rules.0,
            [RuleArg::Filter("- *.o".into()), RuleArg::Protect("-x".into()), RuleArg::Exclude("--y".into())]
        );
    }
}
