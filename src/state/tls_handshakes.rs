//! TLS handshakes with clients that are under way: how many there may be, and which gives way.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tracing::warn;

/// How long a handshake may take while others wait for its place; with an honest client it is a few
/// round trips.
const PATIENCE: Duration = Duration::from_secs(1);

/// The handshakes of all workers.
#[derive(Debug, Default)]
pub struct TlsHandshakes {
    under_way: Mutex<UnderWay>,
    told: AtomicBool,
}

#[derive(Debug, Default)]
struct UnderWay {
    begun: u64,
    /// By age. Without its sender a handshake has lost its place.
    places: BTreeMap<u64, (Instant, oneshot::Sender<()>)>,
}

/// A handshake's place; given back on drop.
#[derive(Debug)]
pub struct Place {
    handshakes: Arc<TlsHandshakes>,
    number: u64,
    lost: oneshot::Receiver<()>,
}

impl TlsHandshakes {
    /// A place for one more. Where `max` are under way the oldest gives way if it has had its time,
    /// so that silent clients can't keep others out; else there is none.
    pub fn begin(self: &Arc<Self>, max: usize, now: Instant) -> Option<Place> {
        let mut under_way = self.lock();
        self.tell(under_way.places.len(), max);
        if under_way.places.len() >= max {
            let oldest = under_way.places.first_entry()?;
            if now.saturating_duration_since(oldest.get().0) < PATIENCE {
                return None;
            }
            oldest.remove();
        }
        let number = under_way.begun;
        under_way.begun += 1;
        let (keep, lost) = oneshot::channel();
        under_way.places.insert(number, (now, keep));
        Some(Place {
            handshakes: Arc::clone(self),
            number,
            lost,
        })
    }

    /// Says so when there is no room; again only after there was room to speak of.
    fn tell(&self, under_way: usize, max: usize) {
        if under_way >= max && !self.told.swap(true, Relaxed) {
            warn!(max, "too many TLS handshakes at once, new ones are refused");
        } else if under_way < max - max / 10 {
            self.told.store(false, Relaxed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, UnderWay> {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Resolves when another handshake has taken the place.
    pub async fn lost(&mut self) {
        // Nothing is ever sent: the end of the sender is the news.
        let _ = (&mut self.lost).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.handshakes.lock().places.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_lost(place: &mut Place) -> bool {
        place.lost.try_recv() == Err(oneshot::error::TryRecvError::Closed)
    }

    #[test]
    fn there_are_no_more_places_than_that_and_a_dropped_one_is_free() {
        let (handshakes, now) = (Arc::new(TlsHandshakes::default()), Instant::now());
        let one = handshakes.begin(2, now);
        let _two = handshakes.begin(2, now).unwrap();
        assert!(handshakes.begin(2, now).is_none());
        drop(one);
        assert!(handshakes.begin(2, now).is_some());
        assert_eq!(handshakes.lock().places.len(), 1);
    }

    /// ATTACKS G02.
    #[test]
    fn the_oldest_gives_way_once_it_has_had_its_time() {
        let (handshakes, now) = (Arc::new(TlsHandshakes::default()), Instant::now());
        let mut old = handshakes.begin(2, now).unwrap();
        let mut young = handshakes.begin(2, now + PATIENCE / 2).unwrap();
        let too_soon = now + PATIENCE - Duration::from_nanos(1);
        assert!(handshakes.begin(2, too_soon).is_none());
        assert!(!is_lost(&mut old));
        let _new = handshakes.begin(2, now + PATIENCE).unwrap();
        assert!(is_lost(&mut old) && !is_lost(&mut young));
        // Its end takes nobody else's place.
        drop(old);
        assert_eq!(handshakes.lock().places.len(), 2);
        assert!(handshakes.begin(2, now + PATIENCE).is_none());
    }
}
