//! The quality of a model's answers: compared with another model's, on multiple choice, continuation and questions.

pub mod answers;
pub mod bleu;
pub mod choice;
pub mod divergence;
