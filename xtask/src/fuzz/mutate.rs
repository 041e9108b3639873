//! New inputs out of recorded ones.
//!
//! Invariant: an input is a function of the recordings, the seed and its number, so that any
//! input of any run can be made again.
//! Not here: coverage. What guides the changes is the shape of messages: a tag, a length, a body.

/// A small generator of good random numbers (SplitMix64).
pub struct Random(u64);

impl Random {
    /// Starts a sequence.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns the next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Returns a number below `end`, and 0 if there is none.
    pub fn below(&mut self, end: usize) -> usize {
        // The bias of the remainder is far below what a fuzzer could notice.
        (self.next() % (end.max(1) as u64)) as usize
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
}

/// Values that sit on the edges of lengths, counts and types.
const EDGES: [u32; 12] =
    [0, 1, 3, 4, 5, 8, 0x7F, 0xFF, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF];

/// Inputs longer than this say nothing that shorter ones do not.
const LENGTH_MAX: usize = 4096;

/// Recordings, and how many bytes of each stand before the first message.
pub struct Corpus {
    /// What inputs are made of.
    pub recordings: Vec<Vec<u8>>,
    /// Bytes that choose how a target runs.
    pub before: usize,
}

/// Makes input number `number` of a run.
pub fn input(corpus: &Corpus, seed: u64, number: u64) -> Vec<u8> {
    let mut random = Random::new(seed ^ number.wrapping_mul(0xD134_2543_DE82_EF95));
    if random.below(64) == 0 {
        // Now and then nothing recorded at all.
        let length = random.below(256);
        return (0..length).map(|_| random.byte()).collect();
    }
    let mut input = pick(corpus, &mut random).to_vec();
    let changes = 1 + random.below(4) * random.below(4);
    for _ in 0..changes {
        change(&mut input, corpus, &mut random);
        input.truncate(LENGTH_MAX);
    }
    input
}

fn pick<'a>(corpus: &'a Corpus, random: &mut Random) -> &'a [u8] {
    let recordings = &corpus.recordings;
    recordings.get(random.below(recordings.len())).map_or(&[], Vec::as_slice)
}

fn change(input: &mut Vec<u8>, corpus: &Corpus, random: &mut Random) {
    let at = random.below(input.len() + 1);
    match random.below(12) {
        0 => input.truncate(at),
        1 => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
        2 => {
            let byte = random.byte();
            if let Some(place) = input.get_mut(at) {
                *place = byte;
            }
        }
        3 => {
            let byte = random.byte();
            input.insert(at, byte);
        }
        4 => {
            let end = (at + 1 + random.below(16)).min(input.len());
            input.drain(at..end);
        }
        5 => {
            // A stretch once more, where it is or elsewhere.
            let end = (at + 1 + random.below(64)).min(input.len());
            let stretch = input[at..end].to_vec();
            let to = random.below(input.len() + 1);
            input.splice(to..to, stretch);
        }
        6 => {
            // The rest of another recording.
            let other = pick(corpus, random);
            let from = random.below(other.len() + 1);
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
        7 => {
            let edge = EDGES[random.below(EDGES.len())].to_be_bytes();
            for (place, byte) in input[at..].iter_mut().zip(edge) {
                *place = byte;
            }
        }
        8 => {
            // A length one off, or as edgy as lengths get.
            let frames = frames(input, corpus.before);
            if let Some((start, end)) = frames.get(random.below(frames.len())).copied() {
                let length = match random.below(3) {
                    0 => (end - start) as u32,
                    1 => (end - start).saturating_sub(2) as u32,
                    _ => EDGES[random.below(EDGES.len())],
                };
                input[start + 1..start + 5].copy_from_slice(&length.to_be_bytes());
            }
        }
        _ => messages(input, corpus, random),
    }
}

/// Changes whole messages and leaves their lengths right, which is how deep states are reached.
fn messages(input: &mut Vec<u8>, corpus: &Corpus, random: &mut Random) {
    let frames = frames(input, corpus.before);
    let Some((start, end)) = frames.get(random.below(frames.len())).copied() else { return };
    match random.below(6) {
        0 => drop(input.drain(start..end)),
        1 => {
            let message = input[start..end].to_vec();
            input.splice(end..end, message);
        }
        2 => {
            let message: Vec<u8> = input.drain(start..end).collect();
            let boundaries = self::frames(input, corpus.before);
            let to = boundaries.get(random.below(boundaries.len())).map_or(0, |frame| frame.0);
            input.splice(to..to, message);
        }
        3 => {
            let other = pick(corpus, random);
            let others = self::frames(other, corpus.before);
            if let Some((from, to)) = others.get(random.below(others.len())).copied() {
                input.splice(start..start, other[from..to].to_vec());
            }
        }
        4 => {
            // Another body of the right length field: shorter, or with a byte more.
            let keep = start + 5 + random.below(end - start - 4);
            let mut message = input[start..keep.min(end)].to_vec();
            if random.below(2) == 0 {
                message.push(random.byte());
            }
            let length = (message.len() - 1) as u32;
            message[1..5].copy_from_slice(&length.to_be_bytes());
            input.splice(start..end, message);
        }
        _ => {
            const TAGS: &[u8] = b"QPBDECSHXFdcfp123tTDnCIZEANSKRGWVsv";
            input[start] = TAGS[random.below(TAGS.len())];
        }
    }
}

/// Returns where complete messages begin and end; a first packet has no tag and is stepped over.
pub fn frames(input: &[u8], before: usize) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut at = before;
    if let Some([0, 0, high, low]) = input.get(before..).and_then(|rest| rest.first_chunk::<4>()) {
        at += usize::from(u16::from_be_bytes([*high, *low]));
    }
    while let Some(length) = input.get(at + 1..).and_then(|rest| rest.first_chunk::<4>()) {
        let length = u32::from_be_bytes(*length) as usize;
        let end = at.saturating_add(1).saturating_add(length);
        if length < 4 || end > input.len() {
            break;
        }
        found.push((at, end));
        at = end;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_can_be_made_again() {
        let recordings =
            vec![b"Q\0\0\0\x05\0X\0\0\0\x04".to_vec(), vec![0, 0, 0, 8, 4, 210, 22, 47]];
        let corpus = Corpus { recordings, before: 0 };
        for number in 0..2000 {
            assert_eq!(input(&corpus, 7, number), input(&corpus, 7, number), "number {number}");
        }
    }

    #[test]
    fn messages_are_found_after_a_first_packet() {
        assert_eq!(frames(b"Q\0\0\0\x05\0X\0\0\0\x04Z\0", 0), [(0, 6), (6, 11)]);
        assert_eq!(frames(b"?\0\0\0\x08abcdX\0\0\0\x04", 1), [(9, 14)]);
        assert_eq!(frames(b"", 0), []);
    }
}
