//! Tuples of futures, and the enums that say which of them it was.

use std::{future::Future, pin::Pin, sync::Arc, task::Poll};

use pin_project::pin_project;

use crate::{
    crew::{Bell, Ending, Hand, Hands},
    error::Panic,
};

/// Tuples of one to twelve futures.
///
/// What [`race`](crate::race) takes, and [`select`](crate::select). This trait is implemented for
/// tuples and cannot be implemented elsewhere.
pub trait Contenders: Sealed {
    /// Says which future of the tuple it was, with its output: [`OneOf2`] for two futures, and so
    /// on.
    type Winner;

    /// What the futures are kept in while they run. Of no use outside of this crate.
    type Hands: Hands<Output = Self::Winner>;

    #[doc(hidden)]
    fn into_hands(self) -> Self::Hands;
}

/// Tuples of one to twelve futures whose outputs are `Result`s with the same type of error.
///
/// What [`gather`](crate::gather) takes. This trait is implemented for tuples and cannot be
/// implemented elsewhere.
pub trait Gatherable: Contenders {
    /// The values of all of them, as a tuple.
    type Values;

    /// Their error type.
    type Error;

    /// What the values are kept in until all are there. Of no use outside of this crate.
    type Parts: Default;

    #[doc(hidden)]
    fn put(parts: &mut Self::Parts, part: Self::Winner) -> Result<(), Self::Error>;

    #[doc(hidden)]
    fn complete(parts: Self::Parts) -> Option<Self::Values>;
}

/// Functions that make one result of what several contenders came out with at the same time.
///
/// What [`race_with`](crate::race_with) takes: for contenders `(A, B)` a function of
/// `Option<A::Output>` and `Option<B::Output>`. This trait cannot be implemented elsewhere.
pub trait Tied<C>: Contenders {
    /// What the function makes of it.
    type Output;

    /// What the outputs are kept in until they are combined. Of no use outside of this crate.
    type Seats: Default;

    #[doc(hidden)]
    fn seat(seats: &mut Self::Seats, winner: Self::Winner);

    #[doc(hidden)]
    fn combine(seats: Self::Seats, combine: C) -> Self::Output;
}

mod sealed {
    #[expect(
        unnameable_types,
        reason = "whoever could name it could implement what it seals"
    )]
    pub trait Sealed {}
}

use sealed::Sealed;

macro_rules! one_type {
    ($variant:ident $T:ident) => {
        $T
    };
}

macro_rules! tuples {
    ($(
        $(#[$doc:meta])*
        $OneOf:ident $HandsOf:ident ($($F:ident $Value:ident $field:ident $index:tt $Variant:ident),+)
    )+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $OneOf<$($F),+> {
            $(
                #[doc = concat!("It was the future at position ", stringify!($index), ".")]
                $Variant($F),
            )+
        }

        impl<$($F),+> $OneOf<$($F),+> {
            /// Returns the position of the future in its tuple, from 0.
            #[must_use]
            pub fn index(&self) -> usize {
                match self {
                    $(Self::$Variant(_) => $index,)+
                }
            }
        }

        impl<T> $OneOf<$(one_type!($Variant T)),+> {
            /// Returns the output, whichever future it is from.
            #[must_use]
            pub fn into_output(self) -> T {
                match self {
                    $(Self::$Variant(output) => output,)+
                }
            }
        }

        /// The futures of a tuple, in place.
        #[derive(Debug)]
        #[pin_project]
        #[expect(unnameable_types, reason = "a part of other futures, which can be named")]
        pub struct $HandsOf<$($F),+> {
            $(#[pin] $field: Hand<$F>,)+
        }

        impl<$($F: Future),+> Hands for $HandsOf<$($F),+> {
            type Output = $OneOf<$($F::Output),+>;

            fn count(&self) -> usize {
                [$($index),+].len()
            }

            fn poll_hand(
                self: Pin<&mut Self>,
                index: usize,
                bell: &Arc<Bell>,
            ) -> Poll<Ending<Self::Output>> {
                let this = self.project();
                match index {
                    $($index => this.$field.poll(bell).map(|ending| ending.map($OneOf::$Variant)),)+
                    _ => Poll::Pending,
                }
            }

            fn cancel_hand(self: Pin<&mut Self>, index: usize) {
                let this = self.project();
                match index {
                    $($index => this.$field.cancel(),)+
                    _ => {}
                }
            }

            fn renew_hand(self: Pin<&mut Self>, index: usize) {
                let this = self.project();
                match index {
                    $($index => this.$field.renew(),)+
                    _ => {}
                }
            }

            fn is_idle(self: Pin<&mut Self>, index: usize) -> bool {
                let this = self.project();
                match index {
                    $($index => this.$field.is_idle(),)+
                    _ => true,
                }
            }

            fn clear_hand(self: Pin<&mut Self>, index: usize) -> Result<(), Panic> {
                let this = self.project();
                match index {
                    $($index => this.$field.clear(),)+
                    _ => Ok(()),
                }
            }
        }

        impl<$($F: Future),+> Sealed for ($($F,)+) {}

        impl<$($F: Future),+> Contenders for ($($F,)+) {
            type Winner = $OneOf<$($F::Output),+>;
            type Hands = $HandsOf<$($F),+>;

            fn into_hands(self) -> Self::Hands {
                let ($($field,)+) = self;
                $HandsOf { $($field: Hand::new($field),)+ }
            }
        }

        impl<Error, $($F, $Value),+> Gatherable for ($($F,)+)
        where
            $($F: Future<Output = Result<$Value, Error>>,)+
        {
            type Values = ($($Value,)+);
            type Error = Error;
            type Parts = ($(Option<$Value>,)+);

            fn put(parts: &mut Self::Parts, part: Self::Winner) -> Result<(), Error> {
                match part {
                    $($OneOf::$Variant(result) => parts.$index = Some(result?),)+
                }
                Ok(())
            }

            fn complete(parts: Self::Parts) -> Option<Self::Values> {
                Some(($(parts.$index?,)+))
            }
        }

        impl<Combine, R, $($F: Future),+> Tied<Combine> for ($($F,)+)
        where
            Combine: FnOnce($(Option<$F::Output>),+) -> R,
        {
            type Output = R;
            type Seats = ($(Option<$F::Output>,)+);

            fn seat(seats: &mut Self::Seats, winner: Self::Winner) {
                match winner {
                    $($OneOf::$Variant(output) => seats.$index = Some(output),)+
                }
            }

            fn combine(seats: Self::Seats, combine: Combine) -> R {
                combine($(seats.$index),+)
            }
        }
    )+};
}

tuples! {
    /// The output of the one future of a tuple of one.
    OneOf1 HandsOf1 (A VA a 0 First)
    /// The output of one of two futures: the winner of [`race`](crate::race), or what
    /// [`select`](crate::select) came upon first.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{OneOf2, race, run};
    ///
    /// let winner = run(race((std::future::pending::<()>(), async { "here" })));
    /// assert_eq!(winner, OneOf2::Second("here"));
    /// assert_eq!(winner.index(), 1);
    /// ```
    OneOf2 HandsOf2 (A VA a 0 First, B VB b 1 Second)
    /// The output of one of three futures. See [`OneOf2`].
    OneOf3 HandsOf3 (A VA a 0 First, B VB b 1 Second, C VC c 2 Third)
    /// The output of one of four futures. See [`OneOf2`].
    OneOf4 HandsOf4 (A VA a 0 First, B VB b 1 Second, C VC c 2 Third, D VD d 3 Fourth)
    /// The output of one of five futures. See [`OneOf2`].
    OneOf5 HandsOf5 (
        A VA a 0 First, B VB b 1 Second, C VC c 2 Third, D VD d 3 Fourth, E VE e 4 Fifth
    )
    /// The output of one of six futures. See [`OneOf2`].
    OneOf6 HandsOf6 (
        A VA a 0 First, B VB b 1 Second, C VC c 2 Third, D VD d 3 Fourth, E VE e 4 Fifth,
        F VF f 5 Sixth
    )
    /// The output of one of seven futures. See [`OneOf2`].
    OneOf7 HandsOf7 (
        A VA a 0 First, B VB b 1 Second, C VC c 2 Third, D VD d 3 Fourth, E VE e 4 Fifth,
        F VF f 5 Sixth, G VG g 6 Seventh
    )
    /// The output of one of eight futures. See [`OneOf2`].
    OneOf8 HandsOf8 (
        A VA a 0 First, B VB b 1 Second, C VC c 2 Third, D VD d 3 Fourth, E VE e 4 Fifth,
        F VF f 5 Sixth, G VG g 6 Seventh, H VH h 7 Eighth
    )
    /// The output of one of nine futures. See [`OneOf2`].
    OneOf9 HandsOf9 (
        A VA a 0 First, B VB b 1 Second, C VC c 2 Third, D VD d 3 Fourth, E VE e 4 Fifth,
        F VF f 5 Sixth, G VG g 6 Seventh, H VH h 7 Eighth, I VI i 8 Ninth
    )
    /// The output of one of ten futures. See [`OneOf2`].
    OneOf10 HandsOf10 (
        A VA a 0 First, B VB b 1 Second, C VC c 2 Third, D VD d 3 Fourth, E VE e 4 Fifth,
        F VF f 5 Sixth, G VG g 6 Seventh, H VH h 7 Eighth, I VI i 8 Ninth, J VJ j 9 Tenth
    )
    /// The output of one of eleven futures. See [`OneOf2`].
    OneOf11 HandsOf11 (
        A VA a 0 First, B VB b 1 Second, C VC c 2 Third, D VD d 3 Fourth, E VE e 4 Fifth,
        F VF f 5 Sixth, G VG g 6 Seventh, H VH h 7 Eighth, I VI i 8 Ninth, J VJ j 9 Tenth,
        K VK k 10 Eleventh
    )
    /// The output of one of twelve futures. See [`OneOf2`].
    OneOf12 HandsOf12 (
        A VA a 0 First, B VB b 1 Second, C VC c 2 Third, D VD d 3 Fourth, E VE e 4 Fifth,
        F VF f 5 Sixth, G VG g 6 Seventh, H VH h 7 Eighth, I VI i 8 Ninth, J VJ j 9 Tenth,
        K VK k 10 Eleventh, L VL l 11 Twelfth
    )
}
