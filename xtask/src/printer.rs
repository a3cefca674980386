//! The two ways this program speaks: data on stdout, talk on stderr.

/// Prints what was asked for, such as the help text.
#[expect(clippy::print_stdout, reason = "this function is the program's stdout")]
pub(crate) fn data(text: &str) {
    print!("{text}");
}

/// Prints one line about what is going on.
pub(crate) fn talk(line: &str) {
    eprintln!("{line}");
}
