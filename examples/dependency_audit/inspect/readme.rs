//! What a README says in a few of its own sentences: those whose words it uses most. No model, no chance, so
//! the same README always gives the same digest.

use std::collections::{BTreeMap, BTreeSet};

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use unicode_segmentation::UnicodeSegmentation;

/// Sentences of a digest.
const SENTENCES_MAX: usize = 3;
/// Shorter ones say nothing by themselves, longer ones are lists in disguise.
const SENTENCE_CHARS: std::ops::RangeInclusive<usize> = 40..=300;
/// Words so common that they tell nothing; shorter words are left out anyway.
const COMMON_WORDS: [&str; 40] = [
    "about", "also", "and", "any", "are", "but", "can", "does", "for", "from", "has", "have", "how", "into", "its",
    "may", "more", "most", "not", "one", "only", "other", "see", "should", "some", "than", "that", "the", "their",
    "then", "there", "these", "this", "use", "when", "which", "will", "with", "you", "your",
];
/// Sections that read alike in every package.
const COMMON_SECTIONS: [&str; 5] = ["licens", "licenc", "contribut", "copyright", "changelog"];

/// Returns the most telling sentences of `markdown`, in the order in which they stand there.
pub fn digest(markdown: &str) -> Vec<String> {
    let sentences = sentences(markdown);
    let mut uses = BTreeMap::new();
    for word in sentences.iter().flat_map(|sentence| words(sentence)) {
        *uses.entry(word).or_insert(0_u64) += 1;
    }
    let mut ranked: Vec<usize> = (0..sentences.len()).collect();
    ranked.sort_by_key(|&at| (std::cmp::Reverse(score(&sentences[at], &uses)), at));
    ranked.truncate(SENTENCES_MAX);
    ranked.sort_unstable();
    ranked.into_iter().map(|at| sentences[at].clone()).collect()
}

/// The mean use of the words of a sentence, in thousandths: integers compare alike everywhere.
fn score(sentence: &str, uses: &BTreeMap<String, u64>) -> u64 {
    let words = words(sentence);
    let total: u64 = words.iter().map(|word| uses[word]).sum();
    total * 1000 / (words.len() as u64).max(1)
}

fn words(sentence: &str) -> Vec<String> {
    let lower = sentence.to_lowercase();
    let words = lower.unicode_words().filter(|word| word.chars().count() > 2 && !COMMON_WORDS.contains(word));
    words.map(str::to_owned).collect()
}

fn sentences(markdown: &str) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let paragraphs = paragraphs(markdown);
    let all = paragraphs.iter().flat_map(|paragraph| paragraph.split_sentence_bounds()).map(str::trim);
    let telling = all.filter(|sentence| {
        SENTENCE_CHARS.contains(&sentence.chars().count()) && !sentence.contains("://") && !sentence.ends_with(':')
    });
    telling.filter(|sentence| seen.insert(sentence.to_owned())).map(str::to_owned).collect()
}

/// The running text: no headings, code, tables, lists, quotes, images or HTML.
fn paragraphs(markdown: &str) -> Vec<String> {
    let mut reader = Reader::default();
    for event in Parser::new_ext(markdown, Options::ENABLE_TABLES) {
        reader.read(event);
    }
    reader.paragraphs
}

#[derive(Default)]
struct Reader {
    paragraphs: Vec<String>,
    text: String,
    /// Blocks and images around the current text that are no running text.
    outside: usize,
    in_common_section: bool,
}

impl Reader {
    fn read(&mut self, event: Event<'_>) {
        match event {
            Event::Start(Tag::Heading { .. } | Tag::Paragraph) => self.text.clear(),
            Event::Start(Tag::List(_) | Tag::BlockQuote(_) | Tag::Table(_) | Tag::Image { .. }) => {
                self.outside += 1;
            }
            Event::End(TagEnd::List(_) | TagEnd::BlockQuote(_) | TagEnd::Table | TagEnd::Image) => {
                self.outside -= 1;
            }
            Event::Text(text) | Event::Code(text) if self.outside == 0 => self.text.push_str(&text),
            Event::SoftBreak | Event::HardBreak => self.text.push(' '),
            Event::End(TagEnd::Heading(_)) => self.start_section(),
            Event::End(TagEnd::Paragraph) => self.end_paragraph(),
            _ => {}
        }
    }

    fn start_section(&mut self) {
        let heading = self.text.to_lowercase();
        self.in_common_section = COMMON_SECTIONS.iter().any(|common| heading.contains(common));
    }

    fn end_paragraph(&mut self) {
        if self.outside == 0 && !self.in_common_section {
            self.paragraphs.push(self.text.split_whitespace().collect::<Vec<_>>().join(" "));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const README: &str = "# Parser\n\n[![badge](https://ci/x.svg)](https://ci) A **parser** for `toml` files that \
        keeps every comment of the files.\nIt was begun on a rainy afternoon, e.g. when nothing else was on.\n\n\
        ```rust\nlet parser = parser::of(\"the parser of code blocks is never quoted here\");\n```\n\n\
        - the parser in a list is not running text, so the parser is left out\n\n\
        The parser keeps the order of tables, and [the parser](https://x.y) writes files back unchanged.\n\n\
        | a | b |\n|---|---|\n| the parser table | is no running text of the parser files |\n\n\
        Files are read once, and the parser never allocates for files it has seen.\n\n\
        ## License\n\nThe parser files are licensed under the licence of the parser files, parser files.\n";

    #[test]
    fn the_sentences_of_the_most_used_words_are_kept_in_order() {
        assert_eq!(
            digest(README),
            [
                "A parser for toml files that keeps every comment of the files.",
                "The parser keeps the order of tables, and the parser writes files back unchanged.",
                "Files are read once, and the parser never allocates for files it has seen.",
            ]
        );
    }

    #[test]
    fn a_readme_without_sentences_gives_nothing() {
        assert!(digest("").is_empty());
        assert!(digest("# Title\n\n<p align=center>html</p>\n\n* list\n").is_empty());
    }

    #[test]
    fn the_same_readme_gives_the_same_digest() {
        let even = "First sentence has exactly seven unusual tokens. Second phrase contains precisely eight others.";
        assert_eq!(digest(even), digest(even));
        assert_eq!(digest(even).len(), 2);
    }

    #[test]
    fn a_repeated_sentence_is_kept_once() {
        let twice =
            "This sentence about repetition is said two times.\n\nThis sentence about repetition is said two times.";
        assert_eq!(digest(twice).len(), 1);
    }
}
