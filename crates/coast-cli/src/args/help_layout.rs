//! Checks the layout of every `--help` text at several terminal widths. Only clap breaks lines, so a line that is shorter than
//! necessary was broken by hand in the source.

use clap::CommandFactory;

use super::Cli;

/// Terminal widths, in columns. `Cli` sets 110 as the largest width that is used.
const WIDTHS: [usize; 4] = [60, 80, 100, 160];
const MAX_WIDTH: usize = 110;

/// Calls `check` with the name, the width and the help text of every command, in the long and the short form.
fn for_each_help(check: &mut dyn FnMut(&str, usize, &str)) {
    for width in WIDTHS.map(|width| width.min(MAX_WIDTH)) {
        let mut root = Cli::command().term_width(width);
        root.build();
        visit(&mut root, "", width, check);
    }
}

fn visit(command: &mut clap::Command, parent: &str, width: usize, check: &mut dyn FnMut(&str, usize, &str)) {
    let name = format!("{parent} {}", command.get_name());
    check(&name, width, &command.render_long_help().to_string());
    check(&name, width, &command.render_help().to_string());
    for subcommand in command.get_subcommands_mut() {
        visit(subcommand, &name, width, check);
    }
}

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// Whether the line is an item of a list, or one line of an example: such a line ends where its author ended it.
fn is_item(line: &str) -> bool {
    let text = line.trim_start();
    let starts_item = ["-", "[", "#", "coast ", "rsync "].iter().any(|start| text.starts_with(start));
    // A term and its description stand in two columns, and so do a setting and its comment.
    starts_item || text.contains("  ") || text.contains(" = ") || text.ends_with('\\')
}

/// The lines that are broken although the first word of the next line would have fitted.
fn ragged_lines(help: &str, width: usize) -> Vec<&str> {
    let lines: Vec<&str> = help.lines().collect();
    let ragged = lines.windows(2).filter(|pair| {
        let [line, next] = pair else { return false };
        let same_paragraph = !line.trim().is_empty()
            && !next.trim().is_empty()
            && indentation(line) == indentation(next)
            && !is_item(line)
            && !is_item(next);
        let next_word = next.split_whitespace().next().unwrap_or_default();
        same_paragraph && line.chars().count() + 1 + next_word.chars().count() <= width
    });
    ragged.map(|pair| pair[0]).collect()
}

#[test]
fn no_help_text_has_a_ragged_paragraph() {
    let mut helps = 0;
    for_each_help(&mut |name, width, help| {
        helps += 1;
        let ragged = ragged_lines(help, width);
        assert!(
            ragged.is_empty(),
            "{name} at {width} columns breaks these lines too early: {ragged:#?}\n{help}"
        );
    });
    assert!(helps > 100, "only {helps} help texts were checked");
}

#[test]
fn every_help_text_fits_the_terminal() {
    for_each_help(&mut |name, width, help| {
        // A word that is longer than the terminal is wide cannot be broken.
        let too_long = help.lines().find(|line| line.chars().count() > width && line.trim().contains(' '));
        assert_eq!(too_long, None, "{name} at {width} columns");
    });
}

#[test]
fn a_paragraph_that_was_broken_by_hand_is_found() {
    let wrapped_again = "  A line that the author broke\n  here, so that clap breaks it\n  again.\n";
    assert_eq!(
        ragged_lines(wrapped_again, 40),
        ["  A line that the author broke", "  here, so that clap breaks it"]
    );
    let list = "    0  success\n    1  the command line was not understood\n";
    assert!(ragged_lines(list, 100).is_empty());
}
