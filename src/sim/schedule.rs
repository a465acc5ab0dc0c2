//! The choices of a test run: what goes next where several could.

/// One choice that was made: which one, of how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) chosen: usize,
    pub(crate) of: usize,
}

/// Makes the choices, and keeps what was chosen.
///
/// First those that are given, then from the seed; without a seed always the one that has been ready
/// for longest.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    given: Vec<usize>,
    random: Option<SplitMix>,
    log: Vec<Choice>,
}

impl Schedule {
    /// Draws every choice.
    pub(crate) fn from_seed(seed: u64) -> Self {
        Self {
            random: Some(SplitMix(seed)),
            ..Self::default()
        }
    }

    /// Makes these choices, and is first come, first served from then on.
    pub(crate) fn given(given: Vec<usize>) -> Self {
        Self {
            given,
            ..Self::default()
        }
    }

    /// Chooses one of so many.
    pub(super) fn choose(&mut self, of: usize) -> usize {
        if of < 2 {
            return 0;
        }
        let given = self.given.get(self.log.len()).copied();
        let chosen = match (given, &mut self.random) {
            (Some(given), _) => given.min(of - 1),
            (None, Some(random)) => random.below(of),
            (None, None) => 0,
        };
        self.log.push(Choice { chosen, of });
        chosen
    }

    /// What was chosen so far.
    pub(super) fn log(&self) -> &[Choice] {
        &self.log
    }
}

/// The generator `SplitMix64` of Steele, Lea and Flood (OOPSLA 2014): the same numbers on every
/// machine, whatever the versions of the libraries.
#[derive(Debug)]
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`. For the bounds that occur the bias of the remainder is nothing.
    fn below(&mut self, bound: usize) -> usize {
        let bound = bound as u64;
        usize::try_from(self.next() % bound).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_gives_the_published_numbers() {
        let mut random = SplitMix(1_234_567);
        let numbers = [random.next(), random.next(), random.next()];
        assert_eq!(
            numbers,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423
            ]
        );
    }

    #[test]
    fn what_is_given_is_chosen_and_then_the_first() {
        let mut schedule = Schedule::given(vec![2, 9]);
        let chosen = [1, 3, 4, 5].map(|of| schedule.choose(of));
        assert_eq!(chosen, [0, 2, 3, 0]);
        assert_eq!(schedule.log().len(), 3, "one of one is no choice");
    }
}
