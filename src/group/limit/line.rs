//! The line of those who wait for a place.

use std::collections::{HashMap, VecDeque};

/// Whoever can be told from others by a number.
pub(in crate::group) trait Known {
    fn id(&self) -> u64;
}

/// A line: first come, first served, and anyone can be taken out of the middle.
///
/// Who is taken out leaves a gap, so that nobody has to move up. There is no gap at either end, and
/// the gaps are closed when there are more of them than people, so that nothing here takes more than
/// constant time, spread over all who were ever in the line.
pub(super) struct Line<T> {
    places: VecDeque<Option<T>>,
    /// How many of the places are empty.
    gaps: usize,
    /// The number of the place at the front. The numbers go on when the front moves.
    front: usize,
    /// The numbers of the places, by who stands there. Made when somebody is first looked for, which
    /// most groups never do, and kept until the line is empty or its gaps are closed.
    index: Option<HashMap<u64, usize>>,
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self {
            places: VecDeque::new(),
            gaps: 0,
            front: 0,
            index: None,
        }
    }
}

impl<T: Known> Line<T> {
    pub(super) fn is_empty(&self) -> bool {
        // There is no gap at the ends, so where there are places somebody waits.
        self.places.is_empty()
    }

    fn len(&self) -> usize {
        self.places.len() - self.gaps
    }

    /// Stands somebody at the end.
    pub(super) fn push(&mut self, last: T) {
        if let Some(index) = &mut self.index {
            index.insert(last.id(), self.front.wrapping_add(self.places.len()));
        }
        self.places.push_back(Some(last));
    }

    /// Takes out who came first.
    pub(super) fn pop(&mut self) -> Option<T> {
        let first = self.places.pop_front()??;
        self.front = self.front.wrapping_add(1);
        if let Some(index) = &mut self.index {
            index.remove(&first.id());
            self.close_gaps();
        }
        Some(first)
    }

    /// Takes out somebody, if they are there.
    pub(super) fn take(&mut self, id: u64) -> Option<T> {
        if self.places.is_empty() {
            return None;
        }
        let number = self.index().remove(&id)?;
        let place = number.wrapping_sub(self.front);
        let taken = self.places.get_mut(place)?.take();
        self.gaps += 1;
        self.close_gaps();
        taken
    }

    fn index(&mut self) -> &mut HashMap<u64, usize> {
        self.index.get_or_insert_with(|| {
            let places = self.places.iter().enumerate();
            let known = places.filter_map(|(place, waiting)| {
                let id = waiting.as_ref()?.id();
                Some((id, self.front.wrapping_add(place)))
            });
            known.collect()
        })
    }

    fn close_gaps(&mut self) {
        while let Some(None) = self.places.front() {
            self.places.pop_front();
            self.front = self.front.wrapping_add(1);
            self.gaps -= 1;
        }
        while let Some(None) = self.places.back() {
            self.places.pop_back();
            self.gaps -= 1;
        }
        if self.gaps > self.len() {
            self.places.retain(Option::is_some);
            self.gaps = 0;
            // Everybody has moved.
            self.index = None;
        }
        if self.places.is_empty() {
            self.index = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, mem, rc::Rc};

    use super::*;

    /// Somebody who counts how often they are asked who they are.
    struct Person(u64, Rc<Cell<usize>>);

    impl Known for Person {
        fn id(&self) -> u64 {
            self.1.set(self.1.get() + 1);
            self.0
        }
    }

    fn line(people: u64) -> (Line<Person>, Rc<Cell<usize>>) {
        let asked = Rc::default();
        let mut line = Line::default();
        (0..people).for_each(|id| line.push(Person(id, Rc::clone(&asked))));
        (line, asked)
    }

    #[test]
    fn taking_all_out_one_by_one_looks_at_each_a_few_times() {
        const PEOPLE: u64 = 10_000;
        let backwards = |i| PEOPLE - 1 - i;
        let from_the_middle = |i| (i + PEOPLE / 2) % PEOPLE;
        // 7,001 and 10,000 have no common divisor, so nobody comes twice.
        let mixed = |i| i * 7_001 % PEOPLE;
        for order in [|i| i, backwards, from_the_middle, mixed] {
            let (mut line, asked) = line(PEOPLE);
            for id in (0..PEOPLE).map(order) {
                assert_eq!(line.take(id).map(|person| person.0), Some(id));
            }
            assert!(line.is_empty());
            assert!(asked.get() <= 3 * PEOPLE as usize, "{}", asked.get());
        }
    }

    #[test]
    fn those_who_stay_keep_their_order() {
        let (mut line, _) = line(100);
        for id in (0..100).filter(|id| id % 3 != 0) {
            assert!(line.take(id).is_some());
            assert!(line.take(id).is_none());
        }
        assert_eq!(line.len(), 34);
        let served: Vec<_> = std::iter::from_fn(|| line.pop()).collect();
        let served: Vec<_> = served.iter().map(|person| person.0).collect();
        assert_eq!(served, (0..100).step_by(3).collect::<Vec<_>>());
    }

    #[test]
    fn a_line_that_people_leave_all_the_time_does_not_grow() {
        let (mut line, asked) = line(1);
        for id in 1..10_000 {
            line.push(Person(id, Rc::clone(&asked)));
            line.push(Person(10_000 + id, Rc::clone(&asked)));
            assert!(line.take(id).is_some());
            if id > 1 {
                assert!(line.take(10_000 + id - 1).is_some());
            }
            assert!(line.places.len() <= 8, "{}", line.places.len());
        }
        assert_eq!(line.pop().map(|person| person.0), Some(0));
    }

    /// Against a list that is searched.
    #[test]
    fn whatever_happens_a_list_would_do_the_same() {
        let (mut line, asked) = line(0);
        let mut list = VecDeque::new();
        let mut random = 1_u64;
        for next in 0..20_000 {
            random = random.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
            let dice = (random >> 33) % 100;
            match dice {
                0..45 => {
                    line.push(Person(next, Rc::clone(&asked)));
                    list.push_back(next);
                }
                45..60 => assert_eq!(line.pop().map(|person| person.0), list.pop_front()),
                60..99 => {
                    let id = next.saturating_sub((random >> 40) % 60);
                    let place = list.iter().position(|known| *known == id);
                    let expected = place.and_then(|place| list.remove(place));
                    assert_eq!(line.take(id).map(|person| person.0), expected);
                }
                _ => {
                    let all: VecDeque<_> = std::iter::from_fn(|| line.pop()).collect();
                    let all: VecDeque<_> = all.iter().map(|person| person.0).collect();
                    assert_eq!(all, mem::take(&mut list));
                }
            }
            assert_eq!(line.len(), list.len());
            assert_eq!(line.is_empty(), list.is_empty());
        }
    }
}
