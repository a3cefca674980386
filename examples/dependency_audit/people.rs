//! How the open packages of an audit get their answers: from the command line, from the terminal, from other processes.
//!
//! An answer is durable once it is stored, and never changes. What has all answers goes on; what has not waits, in the
//! database, for the next command.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;

use stepmark::interrupt::OpenQuestion;
use stepmark::{ErrorKind, Outcome, Thread};
use tokio::task::block_in_place;

use crate::answer::{self, Asked};
use crate::approve::{Approve, Notebook, Page, Reply};
use crate::args::Args;
use crate::error::{Error, Result};
use crate::graph::Audit;
use crate::meter::{Meter, Point};
use crate::package::PackageId;
use crate::prompt::{self, Said};

/// One branch of an audit, and who answers there.
pub struct Desk<'a> {
    pub thread: &'a Thread<Audit>,
    /// The thread's name.
    pub name: &'a str,
    pub notebook: &'a Notebook,
    pub meter: &'a Meter,
    pub args: &'a Args,
}

/// Questions that wait, by package.
type Open = BTreeMap<PackageId, OpenQuestion>;

impl Desk<'_> {
    /// Gives the answers of this command, and goes on with them. What is still open afterwards is among the questions of the
    /// outcome. If an answer does not fit, none of this command is given.
    pub async fn answer(&self, outcome: Outcome<Audit>) -> Result<Outcome<Audit>> {
        let mut open = by_package(outcome.questions())?;
        let asked = self.asked(outcome.state(), &open).await?;
        let mut chosen = answer::choose(&asked, outcome.state(), &self.args.answers)?;
        if let Some(allow) = self.args.answer_all {
            let others = open.keys().filter(|package| !chosen.contains_key(package)).cloned().collect::<Vec<_>>();
            chosen.extend(others.into_iter().map(|package| (package, allow)));
        }
        let mut given = 0;
        for (package, allow) in chosen {
            if let Some(question) = open.remove(&package) {
                self.give(&package, &question, self.reply(allow, self.args.note.clone())).await?;
                given += 1;
            }
        }
        given += self.prompt(open).await?;
        if given == 0 { Ok(outcome) } else { Ok(self.thread.resume().run().await?) }
    }

    /// Asks about each package at the terminal, if there is one; returns how many were answered.
    async fn prompt(&self, open: Open) -> Result<usize> {
        let mut given = 0;
        for (package, question) in open.into_iter().filter(|_| prompt::is_there()) {
            let approve: Approve = question.question.read()?;
            let said = block_in_place(|| prompt::ask(&approve, &mut io::stdin().lock(), &mut io::stdout().lock()));
            match said.map_err(|source| Error::Terminal { source })? {
                Said::Answer { allow, note } => {
                    let note = note.or_else(|| self.args.note.clone());
                    self.give(&package, &question, self.reply(allow, note)).await?;
                    given += 1;
                }
                Said::Skip => {}
                Said::Gone => break,
            }
        }
        Ok(given)
    }

    fn reply(&self, allow: bool, note: Option<String>) -> Reply {
        Reply { allow, by: self.args.author(), note }
    }

    /// Stores one answer, unless somebody was faster: then it is fine if they said the same.
    async fn give(&self, package: &PackageId, question: &OpenQuestion, reply: Reply) -> Result<()> {
        let stored = self.thread.answer_open(question, &reply).author(&reply.by).store().await;
        match stored {
            Ok(_) => self.meter.pass(Point::Answer),
            Err(error) if matches!(error.kind(), ErrorKind::AlreadyAnswered | ErrorKind::Missing) => {
                // Their answer is stored; it can be read when its task has gone on.
                let outcome = self.thread.resume().run().await?;
                let asked = self.asked(outcome.state(), &by_package(outcome.questions())?).await?;
                let theirs = asked.iter().find(|it| it.package == *package && it.reply.is_some()).ok_or(error)?;
                answer::check_same(package, theirs.reply.as_ref(), reply.allow)?;
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Every package that was asked about, with its reply if it has one: in the state, or noted until its step ends.
    async fn asked(&self, audit: &Audit, open: &Open) -> Result<Vec<Asked>> {
        let mut asked = Vec::new();
        for finding in audit.findings.iter().filter(|finding| finding.is_open) {
            let package = &finding.package;
            let decided = audit.decisions.iter().find(|decision| decision.package == *package);
            let reply = match decided {
                Some(decision) => Some(decision.reply.clone()),
                None if open.contains_key(package) => None,
                None => Some(self.noted(package).await?),
            };
            asked.push(Asked { package: package.clone(), reply });
        }
        Ok(asked)
    }

    async fn noted(&self, package: &PackageId) -> Result<Reply> {
        let label = self.thread.state().await?.branch;
        let branches = self.thread.branches().await?;
        let branch = branches.iter().find(|branch| branch.label() == label).map(|branch| branch.id);
        let noted = match branch {
            Some(branch) => self.notebook.find(Page { thread: self.name, branch, package }).await?,
            None => None,
        };
        noted.ok_or_else(|| Error::WentOn { thread: self.name.to_owned() })
    }
}

fn by_package(questions: &[OpenQuestion]) -> Result<Open> {
    let read = |question: &OpenQuestion| Ok((question.question.read::<Approve>()?.package, question.clone()));
    questions.iter().map(read).collect()
}

/// What waits for answers, in the order of the report, and how to give them.
pub fn waiting(questions: &[OpenQuestion]) -> Result<String> {
    let mut text = match questions.len() {
        1 => "1 package waits for an answer:\n".to_owned(),
        count => format!("{count} packages wait for an answer:\n"),
    };
    for question in by_package(questions)?.values() {
        let _ = writeln!(text, "{}", question.question.read::<Approve>()?);
    }
    Ok(text + "run it again with the same options and `--answer PACKAGE=yes|no` for each, or `--answer-all yes|no`")
}
