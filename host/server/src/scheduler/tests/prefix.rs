//! Tests of the prefix cache.

use super::super::prefix::PrefixCache;
use edgellm::testing::{recipes, seeded_model};
use edgellm::{Model, Session, SessionOptions};

fn session(tokens: &[u32]) -> Session {
    let model = Model::from_bytes(seeded_model(recipes()[0], 1).unwrap()).unwrap();
    let mut session = Session::new(&model, SessionOptions::default()).unwrap();
    session.prefill(tokens).unwrap();
    session
}

fn range(range: std::ops::Range<u32>) -> Vec<u32> {
    range.collect()
}

#[test]
fn the_longest_prefix_is_found() {
    let mut cache = PrefixCache::default();
    let (a, b) = (range(0..40), range(0..60));
    let b = [&b[..30], &[200; 30]].concat();
    cache.keep(a.clone(), session(&a));
    cache.keep(b.clone(), session(&b));
    assert!(cache.take(&[99, 98], std::iter::empty()).is_none());
    // A conversation continues: its session is taken, and all of it is used.
    let longer = [&a[..], &[7; 5]].concat();
    assert_eq!(cache.take(&longer, std::iter::empty()).unwrap().position(), 40);
    assert_eq!(cache.take(&b, std::iter::empty()).unwrap().position(), 59, "the last token gives the logits");
    assert_eq!(cache.bytes(), 0);
}

#[test]
fn a_common_prefix_is_copied() {
    let mut cache = PrefixCache::default();
    let kept = range(0..100);
    cache.keep(kept.clone(), session(&kept));
    let other = [&kept[..20], &[200; 20]].concat();
    assert_eq!(cache.take(&other, std::iter::empty()).unwrap().position(), 20);
    assert!(cache.bytes() > 0, "the cached one may continue as well");
    // A running sequence counts too, up to its position.
    let working = session(&other[..30]);
    let more = [&other[..], &[201; 9]].concat();
    let found = cache.take(&more, [(other.as_slice(), &working)].into_iter()).unwrap();
    assert_eq!(found.position(), 30);
}

#[test]
fn a_prefix_of_a_longer_entry_is_dropped() {
    let mut cache = PrefixCache::default();
    let (short, long) = (range(0..64), range(0..65));
    cache.keep(short.clone(), session(&short));
    let one = cache.bytes();
    cache.keep(long.clone(), session(&long));
    assert_eq!(cache.bytes(), 2 * one, "two pages");
    cache.shrink(u64::MAX);
    assert_eq!(cache.bytes(), 2 * one);
    cache.shrink(2 * one - 1);
    assert_eq!(cache.bytes(), 0);
}
