//! A shared allowance of connections across pools (`max_db_connections`, `max_user_connections`).
//!
//! Invariant: `used` is what was taken and not put back; a new maximum never makes it negative.
//! Left out: who waits for room. The shell answers an Open by `postpone`, and calls
//! `budget_available` on the postponed pools after a `put`, in its own fair order.

/// A counted allowance; a `max` of 0 means unlimited.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Budget {
    max: u32,
    used: u32,
}

impl Budget {
    /// Returns an unused budget of `max`, 0 for unlimited.
    #[must_use]
    pub const fn new(max: u32) -> Self {
        Self { max, used: 0 }
    }

    /// Takes one place, or returns `false` when none is left.
    #[must_use = "without a place nothing may be opened"]
    pub const fn try_take(&mut self) -> bool {
        let free = self.has_room();
        if free {
            self.used += 1;
        }
        free
    }

    /// Gives one place back.
    ///
    /// # Panics
    /// When more is given back than was taken: a place was counted twice.
    pub const fn put(&mut self) {
        assert!(self.used > 0, "a place is given back only after it was taken");
        self.used -= 1;
    }

    /// Changes the maximum. Places above it stay taken until they are given back.
    pub const fn set_max(&mut self, max: u32) {
        self.max = max;
    }

    /// Returns whether `try_take` would succeed.
    #[must_use]
    pub const fn has_room(&self) -> bool {
        self.used < u32::MAX && (self.max == 0 || self.used < self.max)
    }

    /// Returns the maximum, 0 for unlimited.
    #[must_use]
    pub const fn max(&self) -> u32 {
        self.max
    }

    /// Returns how many places are taken.
    #[must_use]
    pub const fn used(&self) -> u32 {
        self.used
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_budget_gives_nothing_until_something_comes_back() {
        let mut budget = Budget::new(2);
        assert!(budget.try_take() && budget.try_take());
        assert!(!budget.try_take());
        budget.put();
        assert!(budget.try_take());
    }

    #[test]
    fn a_budget_of_zero_is_unlimited() {
        let mut budget = Budget::new(0);
        assert!((0..1000).all(|_| budget.try_take()));
    }

    #[test]
    fn a_lowered_budget_gives_nothing_until_enough_came_back() {
        let mut budget = Budget::new(3);
        assert!((0..3).all(|_| budget.try_take()));
        budget.set_max(1);
        budget.put();
        budget.put();
        assert!(!budget.try_take());
        budget.put();
        assert!(budget.try_take());
    }
}
