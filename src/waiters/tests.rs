//! Getting in line, leaving it, and being granted.

use super::*;

/// Puts a waiter in line.
fn join(line: &mut Waiters<char>, want: char) -> Place {
    Place(Some(line.join(want, Waker::noop().clone())))
}

/// Grants until nobody is left, and returns who got it, in order.
fn drain(line: &mut Waiters<char>) -> String {
    let mut order = String::new();
    while let Some(&want) = line.first() {
        order.push(want);
        assert!(line.grant_first(&mut Aftermath::default()));
    }
    assert_eq!(line.waiting(), 0);
    order
}

#[test]
fn grants_go_to_the_first_in_line() {
    let mut line = Waiters::new();
    let places: Vec<_> = "abc".chars().map(|want| join(&mut line, want)).collect();
    assert_eq!(drain(&mut line), "abc");
    assert_eq!(line.granted(), 3);
    for mut place in places {
        assert!(line.collect(&mut place));
    }
    assert_eq!(line.len(), 0);
}

#[test]
fn leaving_from_anywhere_keeps_the_others_in_order() {
    for leaving in 0..4 {
        let mut line = Waiters::new();
        let mut places: Vec<_> = "abcd".chars().map(|want| join(&mut line, want)).collect();
        let left = line.leave(&mut places[leaving], &mut Aftermath::default());
        assert_eq!(left, Left::Place);
        let mut rest = "abcd".to_owned();
        rest.remove(leaving);
        assert_eq!(drain(&mut line), rest);
    }
}

#[test]
fn leaving_with_a_grant_says_so() {
    let mut line = Waiters::new();
    let mut place = join(&mut line, 'a');
    drain(&mut line);
    let after = &mut Aftermath::default();
    assert_eq!(line.leave(&mut place, after), Left::Grant);
    assert_eq!(line.leave(&mut place, after), Left::Nothing);
    assert_eq!(line.len(), 0);
}

#[test]
fn revoked_grants_go_back_in_the_order_of_arrival() {
    let mut line = Waiters::new();
    let places: Vec<_> = "abcd".chars().map(|want| join(&mut line, want)).collect();
    for _ in 0..3 {
        line.grant_first(&mut Aftermath::default());
    }
    drop(places);
    while line.revoke_last() {}
    assert_eq!(line.granted(), 0);
    assert_eq!(drain(&mut line), "abcd");
}

#[test]
fn slots_are_used_again() {
    let mut line = Waiters::new();
    for _ in 0..1_000 {
        let mut place = join(&mut line, 'a');
        let left = line.leave(&mut place, &mut Aftermath::default());
        assert_eq!(left, Left::Place);
    }
    assert!(line.slots.capacity() < 10);
}
