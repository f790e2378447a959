//! How good a model's answers are: against another model's, at choosing, at continuing, at answering.

pub mod answers;
pub mod bleu;
pub mod choice;
pub mod divergence;
