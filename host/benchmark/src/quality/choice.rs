//! Multiple choice and text continuation, scored as lm-evaluation-harness scores them.

use super::divergence::{first_largest, log_total};
use edgellm::{Error, Session, TokenId};
use serde::{Deserialize, Serialize};

/// A question with choices, or a text with its continuation (a single choice).
#[derive(Clone, Debug, Deserialize)]
pub struct Item {
    /// The context.
    pub context: String,
    /// Continuations, each with the space that joins it to the context.
    pub choices: Vec<String>,
    /// The index of the right one.
    #[serde(default)]
    pub label: usize,
}

/// Sums of scores over items.
#[derive(Clone, Debug, Default)]
pub struct Scores {
    items: usize,
    right: usize,
    right_by_length: usize,
    loss: f64,
    single: bool,
}

/// A share, with its standard error.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Share {
    /// The share.
    pub value: f64,
    /// Its standard error.
    pub stderr: f64,
}

/// The resulting scores.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Accuracy {
    /// Items.
    pub n: usize,
    /// Share of items whose most likely choice is right; for single choices, whose every token is the most likely one.
    pub acc: Share,
    /// The same with log-likelihoods divided by the choices' lengths in characters; absent for single choices.
    pub acc_norm: Option<Share>,
    /// Perplexity of the right continuations, for single choices.
    pub perplexity: Option<f64>,
}

/// A session's score of a continuation.
struct Likelihood {
    log: f64,
    greedy: bool,
}

impl Scores {
    /// Scores an item.
    ///
    /// # Errors
    /// If an item cannot be tokenized, or does not fit the session.
    pub fn add(&mut self, session: &mut Session, item: &Item) -> Result<(), Error> {
        let likelihoods = likelihoods(session, item)?;
        let best = |score: &dyn Fn(usize) -> f64| {
            let better = |best: usize, index: usize| if score(index) > score(best) { index } else { best };
            (1..likelihoods.len()).fold(0, better)
        };
        // The harness divides by the length without the space that joins.
        let length = |index: usize| item.choices[index].trim_start_matches(' ').chars().count().max(1) as f64;
        self.items += 1;
        let Some(right) = likelihoods.get(item.label) else { return Ok(()) };
        self.loss -= right.log;
        self.single = likelihoods.len() == 1;
        self.right += usize::from(match self.single {
            true => right.greedy,
            false => best(&|index| likelihoods[index].log) == item.label,
        });
        self.right_by_length +=
            usize::from(best(&|index| likelihoods[index].log / length(index)) == item.label);
        Ok(())
    }

    /// The shares so far; `None` before the first item.
    pub fn accuracy(&self) -> Option<Accuracy> {
        let n = self.items;
        let share = |right: usize| {
            let value = right as f64 / n as f64;
            // Of the mean of n zeros and ones, from the sample standard deviation.
            Share { value, stderr: (value * (1.0 - value) / (n as f64 - 1.0).max(1.0)).sqrt() }
        };
        (n > 0).then(|| Accuracy {
            n,
            acc: share(self.right),
            acc_norm: (!self.single).then(|| share(self.right_by_length)),
            perplexity: self.single.then(|| (self.loss / n as f64).exp()),
        })
    }
}

/// Log-likelihood of each choice after the context.
fn likelihoods(session: &mut Session, item: &Item) -> Result<Vec<Likelihood>, Error> {
    let model = session.model().clone();
    let encode = |text: &str| model.tokenizer().encode(text, true).map_err(Error::from);
    // Spaces at the context's end belong to the continuation.
    let context = item.context.trim_end_matches(' ');
    let spaces = &item.context[context.len()..];
    let context_tokens = encode(context)?;
    let mut prefix: Option<Vec<TokenId>> = None;
    let mut likelihoods = Vec::with_capacity(item.choices.len());
    for choice in &item.choices {
        let whole = encode(&format!("{context}{spaces}{choice}"))?;
        // The continuation is the tokens of the whole text beyond the number of the context's, whatever merges at the boundary.
        let choice = &whole[context_tokens.len().min(whole.len())..];
        // A context that is too long loses its beginning.
        let room = session.capacity().saturating_sub(choice.len());
        let kept = &context_tokens[context_tokens.len().saturating_sub(room)..];
        if prefix.as_deref() == Some(kept) {
            session.truncate(kept.len().saturating_sub(1));
        } else {
            session.reset();
            if kept.len() > 1 {
                session.prefill(&kept[..kept.len() - 1])?;
            }
            prefix = Some(kept.to_vec());
        }
        likelihoods.push(likelihood(session, kept.last().copied(), choice)?);
    }
    Ok(likelihoods)
}

/// The score of `choice` after the session's context and `last`.
fn likelihood(session: &mut Session, last: Option<TokenId>, choice: &[TokenId]) -> Result<Likelihood, Error> {
    let mut found = Likelihood { log: 0.0, greedy: true };
    let Some(last) = last.filter(|_| !choice.is_empty()) else { return Ok(found) };
    let inputs: Vec<TokenId> = [last].iter().chain(&choice[..choice.len() - 1]).copied().collect();
    session.prefill_each(&inputs, |index, logits| {
        let token = choice[index] as usize;
        found.log += f64::from(logits[token]) - log_total(logits);
        found.greedy &= first_largest(logits) == token;
    })?;
    Ok(found)
}
