//! Which instruction made which layer, as far as the history can be trusted. Pure.

use super::documents::Step;

/// The step of the history that made each of `layers` layers. None for all of them when the history
/// does not fit: it is never guessed.
pub fn steps_of_layers(history: &[Step], layers: usize) -> Vec<Option<usize>> {
    let made: Vec<usize> = (0..history.len()).filter(|at| !history[*at].empty_layer).collect();
    if made.len() != layers {
        return vec![None; layers];
    }
    // A builder that squashes (kaniko, `docker commit`) writes steps without an instruction.
    made.into_iter().map(|at| (!history[at].created_by.0.trim().is_empty()).then_some(at)).collect()
}

/// The step that set a variable or a label: the last one that names it.
pub fn step_that_sets(history: &[Step], word: &str, name: &str) -> Option<usize> {
    history.iter().rposition(|step| {
        let text = instruction(&step.created_by.0);
        let rest = text.strip_prefix(word).filter(|rest| rest.starts_with(char::is_whitespace));
        rest.is_some_and(|rest| sets(rest, name))
    })
}

/// Whether `NAME=` (or `NAME value`, the old form) stands in the arguments.
fn sets(arguments: &str, name: &str) -> bool {
    let before = |at: usize| arguments[..at].chars().next_back();
    arguments.match_indices(name).any(|(at, _)| {
        let after = arguments[at + name.len()..].trim_start_matches('"').chars().next();
        let begins = before(at).is_none_or(|c| c.is_whitespace() || c == '"' || c == '[');
        begins && (after == Some('=') || (after == Some(' ') && arguments[..at].trim().is_empty()))
    })
}

/// A step as it would stand in a Dockerfile.
///
/// The classic builder and buildah write `/bin/sh -c #(nop) COPY file:… in /`, `BuildKit` writes
/// `COPY . / # buildkit`.
pub fn instruction(created_by: &str) -> &str {
    let text = created_by.trim();
    let text = text.strip_suffix("# buildkit").map_or(text, str::trim_end);
    match text.strip_prefix("/bin/sh -c #(nop)") {
        Some(rest) => rest.trim_start(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::super::documents::Text;
    use super::*;

    fn step(text: &str, empty_layer: bool) -> Step {
        Step { created_by: Text(text.to_owned()), empty_layer, ..Step::default() }
    }

    #[test]
    fn steps_without_a_layer_are_passed_over() {
        let history = [step("FROM", false), step("ENV A=b", true), step("COPY . /", false)];
        assert_eq!(steps_of_layers(&history, 2), [Some(0), Some(2)]);
    }

    #[test]
    fn a_history_that_does_not_fit_says_nothing() {
        assert_eq!(steps_of_layers(&[step("COPY", false)], 2), [None, None]);
        assert_eq!(steps_of_layers(&[step("", false)], 1), [None]);
    }

    #[test]
    fn the_last_instruction_that_sets_a_variable_is_found() {
        let history = [
            step("/bin/sh -c #(nop)  ENV TOKEN=a", true),
            step("ENV TOKEN=b OTHER=c # buildkit", true),
            step("ENV MY_TOKEN=c", true),
            step("ENV OLD value", true),
        ];
        assert_eq!(step_that_sets(&history, "ENV", "TOKEN"), Some(1));
        assert_eq!(step_that_sets(&history, "ENV", "OTHER"), Some(1));
        assert_eq!(step_that_sets(&history, "ENV", "OLD"), Some(3));
        assert_eq!(step_that_sets(&history, "LABEL", "TOKEN"), None);
    }
}
