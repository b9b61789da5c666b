//! Layer 1: what the fuzz targets of `fuzz/` are fed, without a fuzzer: their corpus, file by file, and a
//! bounded number of inputs made from it by a generator that always begins the same way.

use netebpf_tests::fuzzing;
use std::{fs, path::Path};

/// Inputs made from the corpus, for each target.
const MADE: usize = 6_000;

#[test]
fn pipeline() {
    replay("pipeline", fuzzing::pipeline, MADE);
}

#[test]
fn topology() {
    replay("topology", fuzzing::topology, MADE / 10);
}

fn replay(target: &str, entry: fn(&[u8]), made: usize) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut paths: Vec<_> =
        fs::read_dir(&directory).expect("a corpus").flatten().map(|file| file.path()).collect();
    paths.sort();
    let corpus: Vec<Vec<u8>> =
        paths.iter().map(|path| fs::read(path).expect("a file of the corpus")).collect();
    assert!(!corpus.is_empty(), "no corpus for {target}");
    corpus.iter().for_each(|input| entry(input));
    let mut chance = Chance(0x6e65_7462);
    for n in 0..made {
        let input = mutated(&corpus, &mut chance);
        let run = std::panic::catch_unwind(|| entry(&input));
        assert!(run.is_ok(), "{target}, input {n}: {input:02x?}");
    }
}

/// An input of the corpus with some bytes changed, cut, doubled, or followed by another's.
fn mutated(corpus: &[Vec<u8>], chance: &mut Chance) -> Vec<u8> {
    let mut input = corpus[chance.below(corpus.len())].clone();
    for _ in 0..=chance.below(6) {
        let at = chance.below(input.len() + 1);
        match chance.below(6) {
            0 => input.truncate(at),
            1 => input.insert(at, chance.next() as u8),
            2 if at < input.len() => drop(input.remove(at)),
            3 => input.extend(corpus[chance.below(corpus.len())].iter().skip(1)),
            4 if at < input.len() => input[at] ^= 1 << chance.below(8),
            _ if at < input.len() => input[at] = chance.next() as u8,
            _ => {}
        }
    }
    input
}

/// xorshift64 (Marsaglia 2003).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}
