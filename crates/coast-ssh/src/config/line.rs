//! One line of an ssh configuration file, split into words by the rules of OpenSSH's `readconf.c`.

/// The white space between words.
const SPACE: [char; 2] = [' ', '\t'];

/// One `Keyword arguments` line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// The keyword in lower case.
    pub(crate) keyword: String,
    pub(crate) arguments: Arguments<'a>,
}

impl<'a> Line<'a> {
    /// Returns `None` for a blank line and for a comment.
    pub(crate) fn parse(text: &'a str) -> Option<Line<'a>> {
        let mut rest = text.trim();
        if rest.starts_with('#') {
            return None;
        }
        let keyword = take_word(&mut rest).filter(|keyword| !keyword.is_empty())?;
        Some(Line { keyword: keyword.to_ascii_lowercase(), arguments: Arguments::new(rest) })
    }
}

/// The part of a line after its keyword, or the value of an `-o` option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arguments<'a>(&'a str);

impl<'a> Arguments<'a> {
    pub(crate) fn new(text: &'a str) -> Arguments<'a> {
        Arguments(text.trim())
    }

    /// The text as it stands in the file, quotes and comment included. The keywords that take a command use this.
    pub(crate) fn text(self) -> &'a str {
        self.0.trim_start_matches([' ', '\t', '='])
    }

    /// The words of most keywords (`argv_split` of OpenSSH): white space separates them, single or double quotes keep
    /// it, a backslash escapes a quote, a backslash or a space, and a word that begins with `#` starts a comment.
    ///
    /// # Errors
    /// When there is no word, when a word is empty, or when a quote is not closed.
    pub(crate) fn words(self) -> Result<Vec<String>, String> {
        let mut words = Vec::new();
        let mut chars = self.0.chars().peekable();
        loop {
            while chars.next_if(|c| SPACE.contains(c)).is_some() {}
            if chars.peek().is_none_or(|&c| c == '#') {
                break;
            }
            let mut word = String::new();
            let mut quote = None;
            while let Some(c) = chars.next_if(|c| quote.is_some() || !SPACE.contains(c)) {
                match c {
                    '\\' => {
                        let escaped =
                            chars.next_if(|&c| matches!(c, '\'' | '"' | '\\') || quote.is_none() && c == ' ');
                        word.push(escaped.unwrap_or('\\'));
                    }
                    _ if quote == Some(c) => quote = None,
                    '"' | '\'' if quote.is_none() => quote = Some(c),
                    _ => word.push(c),
                }
            }
            if quote.is_some() {
                return Err(format!("a quote is not closed in: {}", self.0));
            }
            words.push(word);
        }
        if words.is_empty() || words.iter().any(String::is_empty) {
            return Err("the value is missing".to_owned());
        }
        Ok(words)
    }

    /// Returns the only word.
    ///
    /// # Errors
    /// As [`Self::words`], and when there is more than one word.
    pub(crate) fn word(self) -> Result<String, String> {
        let mut words = self.words()?;
        match words.len() {
            1 => Ok(words.remove(0)),
            _ => Err(format!("expected one value, found {}: {}", words.len(), self.0)),
        }
    }

    /// The words of a `Match` line, each taken off by [`take_word`].
    pub(crate) fn delimited(self) -> Vec<String> {
        let mut rest = self.0;
        let words = std::iter::from_fn(|| take_word(&mut rest));
        words.take_while(|word| !word.is_empty() && !word.starts_with('#')).collect()
    }
}

/// Takes the first word off `rest` (`strdelim` of OpenSSH): white space or one `=` ends a word, and so does the end of
/// a part in double quotes. Returns `None` at the end of the text and where a quote is not closed.
fn take_word(rest: &mut &str) -> Option<String> {
    let text = std::mem::take(rest);
    if text.is_empty() {
        return None;
    }
    let Some(end) = text.find(['"', '=', ' ', '\t']) else { return Some(text.to_owned()) };
    let (word, after) = text.split_at(end);
    if let Some(quoted) = after.strip_prefix('"') {
        let (inside, after) = quoted.split_once('"')?;
        *rest = after.trim_start_matches(SPACE);
        return Some(format!("{word}{inside}"));
    }
    let after = after.trim_start_matches(SPACE);
    *rest = after.strip_prefix('=').unwrap_or(after).trim_start_matches(SPACE);
    Some(word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Result<Vec<String>, String> {
        Arguments::new(text).words()
    }

    #[test]
    fn a_line_is_a_keyword_and_its_arguments() {
        for text in ["Port 22", "\tport=22\r", "PORT = 22 ", "Port  =  22", "\"Port\" 22"] {
            let line = Line::parse(text).unwrap();
            assert_eq!((line.keyword.as_str(), line.arguments.text()), ("port", "22"), "{text:?}");
        }
        for text in ["", "  \t", "# Port 22", "  #Port 22", "="] {
            assert_eq!(Line::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn quotes_and_backslashes_keep_words_together() {
        assert_eq!(words(r#"a "b c" 'd "e' f\ g"#).unwrap(), ["a", "b c", "d \"e", "f g"]);
        assert_eq!(words(r#"mid"dle of"word "a\"b" \n"#).unwrap(), ["middle ofword", "a\"b", "\\n"]);
        for text in ["\"a", "it's", "a \"b' c"] {
            assert!(words(text).unwrap_err().contains("quote"), "{text:?}");
        }
    }

    #[test]
    fn a_comment_begins_only_where_a_word_begins() {
        assert_eq!(words("a#b # c").unwrap(), ["a#b"]);
        assert_eq!(words("'# a' #b").unwrap(), ["# a"]);
        assert!(words("# a").is_err());
    }

    #[test]
    fn a_missing_value_and_a_second_value_are_errors() {
        for text in ["", "\"\"", "a ''"] {
            assert!(words(text).is_err(), "{text:?}");
        }
        assert_eq!(Arguments::new("a").word().unwrap(), "a");
        assert!(Arguments::new("a b").word().is_err());
    }

    #[test]
    fn match_lines_may_join_criterion_and_value_with_an_equals_sign() {
        let delimited = |text| Arguments::new(text).delimited();
        assert_eq!(delimited("host=a,b !user = \"c d\" # e"), ["host", "a,b", "!user", "c d"]);
        assert_eq!(delimited("exec \"test a = b\""), ["exec", "test a = b"]);
    }
}
