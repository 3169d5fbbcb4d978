//! The committed ceilings, and the comparison of counts with them.

use super::Counts;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The ceiling of each count, by its name.
pub(super) struct Ceilings(BTreeMap<String, f64>);

impl Ceilings {
    pub(super) fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        Self::parse(&text).with_context(|| format!("reading {}", file.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        Ok(Self(toml::from_str(text)?))
    }

    /// Prints each count beside its ceiling. Fails when a count is above its ceiling, when it has none, and when a ceiling has no
    /// count.
    pub(super) fn hold(&self, counts: &Counts) -> Result<()> {
        for (name, count) in counts {
            let ceiling = self.0.get(name).map_or_else(|| "none".to_owned(), ToString::to_string);
            println!("{name}: {count:.2}, ceiling {ceiling}");
        }
        let faults = self.faults(counts);
        ensure!(faults.is_empty(), "benches/ceilings.toml is not kept:\n{}", faults.join("\n"));
        Ok(())
    }

    fn faults(&self, counts: &Counts) -> Vec<String> {
        let mut faults = Vec::new();
        for (name, count) in counts {
            match self.0.get(name) {
                Some(ceiling) if count > ceiling => {
                    let above = 100.0 * (count / ceiling - 1.0);
                    faults.push(format!("{name}: {count:.2} is {above:.0} % above the ceiling of {ceiling}"));
                }
                Some(_) => {}
                None => faults.push(format!("{name}: {count:.2} has no ceiling")),
            }
        }
        let uncounted = self.0.keys().filter(|name| counts.iter().all(|(counted, _)| counted != *name));
        faults.extend(uncounted.map(|name| format!("{name}: was not counted")));
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_count_needs_a_ceiling_that_it_keeps_and_every_ceiling_a_count() {
        let ceilings = Ceilings::parse("kept = 10\nbroken = 2.5\nforgotten = 1\n").unwrap();
        let counts =
            [("kept", 10.0), ("broken", 3.0), ("new", 4.0)].map(|(name, count)| (name.to_owned(), count));
        assert_eq!(
            ceilings.faults(&counts.to_vec()),
            [
                "broken: 3.00 is 20 % above the ceiling of 2.5",
                "new: 4.00 has no ceiling",
                "forgotten: was not counted"
            ]
        );
    }
}
