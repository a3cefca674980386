//! What was asked for on the command line?

use std::path::PathBuf;

use crate::Result;
use crate::backends::Backend;

/// How to call the program.
pub(crate) const HELP: &str = "\
Measured figures of Stepmark, each beside the raw limit of this machine.

Usage: cargo xtask bench [--only P1,P2] [--json FILE] [--quick] [--backend NAMES | --peers]

  --only IDS    run these benchmarks only
  --json FILE   also write the figures to a file, as a list
  --quick       less work per figure: minutes become seconds, noise grows
  --backend B   instead: the same work on memory, sqlite, postgres, redis, object (some of them, or all), as a
                table; servers of the system are started for it
  --peers       instead: P5, P6, P7, P8 and P12 beside LangGraph with its SQLite saver, and P5p with its
                PostgreSQL saver, installed below target/peers; needs Python 3 with venv and its package index
";

/// What to run and how.
#[derive(Debug, Default)]
pub(crate) struct Arguments {
    pub(crate) only: Vec<String>,
    pub(crate) json: Option<PathBuf>,
    pub(crate) quick: bool,
    pub(crate) peers: bool,
    /// The same work on each of these; the benchmarks of the first backend if there are none.
    pub(crate) backends: Vec<Backend>,
    pub(crate) help: bool,
    /// This process is a part of a benchmark: which, and its own arguments.
    pub(crate) child: Option<Vec<String>>,
}

impl Arguments {
    /// Reads the command line.
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let mut arguments = Self::default();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--only" => arguments.only.extend(value(&word, words.next())?.split(',').map(str::to_uppercase)),
                "--json" => arguments.json = Some(value(&word, words.next())?.into()),
                "--peers" => arguments.peers = true,
                "--backend" => arguments.backends = Backend::parse(&value(&word, words.next())?)?,
                "--quick" => arguments.quick = true,
                "--help" | "-h" => arguments.help = true,
                "--child" => arguments.child = Some(words.by_ref().collect()),
                unknown => return Err(format!("unknown argument `{unknown}`; `--help` lists them").into()),
            }
        }
        Ok(arguments)
    }

    /// Whether a benchmark was asked for; `P5` asks for `P5a` to `P5c`, `P1` not for `P10`.
    pub(crate) fn wants(&self, id: &str) -> bool {
        let id = id.to_uppercase();
        let names =
            |only: &String| id.strip_prefix(only.as_str()).is_some_and(|rest| rest.chars().all(char::is_alphabetic));
        self.only.is_empty() || self.only.iter().any(names)
    }

    /// `full`, or less of it when quick.
    pub(crate) fn amount(&self, full: u32, quick: u32) -> u32 {
        if self.quick { quick } else { full }
    }
}

fn value(option: &str, word: Option<String>) -> Result<String> {
    word.ok_or_else(|| format!("`{option}` needs a value").into())
}

#[cfg(test)]
mod tests {
    use super::Arguments;

    #[test]
    fn a_group_is_asked_for_by_its_number() {
        let asked = Arguments { only: vec!["P5".to_owned(), "P1".to_owned()], ..Arguments::default() };
        assert!(asked.wants("P5a") && asked.wants("P1"));
        assert!(!asked.wants("P10"));
    }

    #[test]
    fn backends_are_named_or_all() {
        let backends = |names: &str| {
            let words = ["--backend", names].map(str::to_owned);
            Arguments::parse(words.into_iter()).map(|arguments| arguments.backends.len())
        };
        assert_eq!(backends("redis,postgres").expect("both are known"), 2);
        assert_eq!(backends("all").expect("they are known"), 5);
        assert!(backends("oracle").expect_err("refused").to_string().contains("`oracle`"));
    }

    #[test]
    fn unknown_arguments_are_refused_by_name() {
        let words = ["--json", "a", "--fast"].map(str::to_owned);
        assert!(Arguments::parse(words.into_iter()).expect_err("refused").to_string().contains("`--fast`"));
    }
}
