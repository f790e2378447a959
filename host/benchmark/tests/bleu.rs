//! BLEU compared with sacrebleu's, on corpora that exercise its whole tokenizer: scripts/evaluation/bleu_fixtures.py
//! computed the numbers.

use edgellm_benchmark::quality::bleu::Bleu;
use serde::Deserialize;

#[derive(Deserialize)]
struct Corpus {
    pairs: Vec<(String, String)>,
    bleu: f64,
}

#[test]
fn bleu_is_sacrebleus() {
    let corpora: Vec<Corpus> = serde_json::from_str(include_str!("bleu.json")).expect("the script wrote it");
    for corpus in corpora {
        let mut bleu = Bleu::default();
        for (sentence, reference) in &corpus.pairs {
            bleu.add(sentence, reference);
        }
        let ours = bleu.score();
        assert!(
            (ours - corpus.bleu).abs() < 1e-9,
            "{ours}, sacrebleu says {}: {:?}",
            corpus.bleu,
            corpus.pairs
        );
    }
}
