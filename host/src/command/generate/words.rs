//! What the plain arguments of `edgellm generate` mean: a prompt, or a model and a prompt.

use crate::catalogue;
use crate::error::{Error, Result};
use crate::reference::PREFIX;
use std::path::Path;

/// The model, if one is named, and the prompt.
///
/// # Errors
/// If there is no prompt, or more words than a model and a prompt.
pub(super) fn meant<'a>(
    words: &'a [String],
    model: Option<&'a str>,
    prompt: Option<&'a str>,
) -> Result<(Option<&'a str>, &'a str)> {
    match (words, model, prompt) {
        ([], model, Some(prompt)) => Ok((model, prompt)),
        ([], _, None) => Err(usage("there is no prompt: edgellm generate \"Why is the sky blue?\"")),
        ([named], None, Some(prompt)) => Ok((Some(named), prompt)),
        ([prompt], None, None) if is_model(prompt) => Err(usage(&format!(
            "{prompt} is a model, and there is no prompt: edgellm generate {prompt} \"...\""
        ))),
        ([prompt], model, None) => Ok((model, prompt)),
        ([named, prompt], None, None) if is_model(named) => Ok((Some(named), prompt)),
        ([named, _], None, None) => match catalogue::unknown(named) {
            Error::UnknownModel { similar, .. } if similar.is_empty() => Err(in_quotes()),
            unknown => Err(unknown),
        },
        ([_, _, ..], _, None) => Err(in_quotes()),
        ([extra, ..], _, _) => Err(usage(&format!(
            "{extra:?} is one argument too many: --model and --prompt are given as options"
        ))),
    }
}

/// Whether a word can only be meant as a model.
fn is_model(word: &str) -> bool {
    let file = [".bin", ".gguf"].iter().any(|ending| word.ends_with(ending)) || Path::new(word).is_dir();
    word.starts_with(PREFIX) || catalogue::find(word).is_some() || file
}

fn in_quotes() -> Error {
    usage("a prompt of several words needs quotes: edgellm generate \"Why is the sky blue?\"")
}

fn usage(message: &str) -> Error {
    Error::Usage(message.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODEL: &str = "smollm2-135m-instruct";

    fn of(
        words: &[&str],
        model: Option<&str>,
        prompt: Option<&str>,
    ) -> std::result::Result<(Option<String>, String), String> {
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        let found = meant(&words, model, prompt).map_err(|error| error.to_string())?;
        Ok((found.0.map(ToString::to_string), found.1.to_string()))
    }

    #[test]
    fn a_model_may_come_before_the_prompt() {
        let model = Some(MODEL.to_string());
        assert_eq!(of(&["Why?"], None, None), Ok((None, "Why?".to_string())));
        assert_eq!(of(&[MODEL, "Why?"], None, None), Ok((model.clone(), "Why?".to_string())));
        assert_eq!(of(&["Why?"], Some(MODEL), None), Ok((model.clone(), "Why?".to_string())));
        assert_eq!(of(&[MODEL], None, Some("Why?")), Ok((model.clone(), "Why?".to_string())));
        assert_eq!(of(&[], Some(MODEL), Some("Why?")), Ok((model, "Why?".to_string())));
        // With the model as an option, a word is the prompt, whatever it is.
        assert_eq!(of(&[MODEL], Some(MODEL), None).unwrap().1, MODEL);
    }

    #[test]
    fn what_is_missing_or_too_much_is_said() {
        for (words, model, prompt, message) in [
            (&[][..], None, None, "no prompt"),
            (&[MODEL], None, None, "is a model"),
            (&["Why", "is", "the", "sky"], None, None, "quotes"),
            (&["Why", "blue"], None, None, "quotes"),
            (&["smollm2-135m-instrct", "Why?"], None, None, MODEL),
            (&["Why?"], Some(MODEL), Some("Why?"), "too many"),
        ] {
            let error = of(words, model, prompt).unwrap_err();
            assert!(error.contains(message), "{words:?}: {error}");
        }
    }
}
