//! How fast an agent may send: all its transfers together share one rate. What is read from the store is not held back.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

/// A rate that uploads keep to.
#[derive(Debug)]
pub(super) struct Bandwidth {
    /// Bytes in a second; none for no limit.
    rate: Option<u64>,
    /// When what was let go so far has been sent at that rate.
    free: Mutex<Option<Instant>>,
}

impl Bandwidth {
    /// `rate` in bytes a second; 0 for no limit.
    pub(super) fn new(rate: u64) -> Self {
        Self { rate: (rate > 0).then_some(rate), free: Mutex::default() }
    }

    /// Waits for the turn of so many bytes.
    pub(super) async fn take(&self, bytes: usize) {
        let Some(rate) = self.rate else { return };
        let turn = {
            let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
            let (turn, next) = reserve(*free, Instant::now(), bytes as u64, rate);
            *free = Some(next);
            turn
        };
        sleep_until(turn).await;
    }
}

/// The turn of so many bytes, and when the next ones have theirs. Pure.
fn reserve(free: Option<Instant>, now: Instant, bytes: u64, rate: u64) -> (Instant, Instant) {
    let turn = free.map_or(now, |free| free.max(now));
    let millis = bytes.saturating_mul(1000) / rate;
    (turn, turn + Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uploads_take_turns_at_the_rate_and_nothing_is_saved_up() {
        let now = Instant::now();
        let after = |seconds: u64| now + Duration::from_secs(seconds);
        let (first, free) = reserve(None, now, 2000, 1000);
        assert_eq!((first, free), (now, after(2)));
        assert_eq!(reserve(Some(free), now, 1000, 1000), (after(2), after(3)));
        assert_eq!(reserve(Some(free), after(9), 1000, 1000), (after(9), after(10)));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_rate_nothing_waits() {
        let began = Instant::now();
        Bandwidth::new(0).take(usize::MAX).await;
        assert_eq!(Instant::now(), began);
        let slow = Bandwidth::new(1000);
        slow.take(5000).await;
        slow.take(1).await;
        assert_eq!(Instant::now() - began, Duration::from_secs(5));
    }
}
