//! Bytes that somebody would not take yet, in order; holds no memory when empty.

/// What waits.
#[derive(Debug, Default)]
pub struct Parked {
    bytes: Vec<u8>,
    taken: usize,
}

impl Parked {
    /// Whether nothing waits.
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes that wait.
    pub const fn len(&self) -> usize {
        self.bytes.len() - self.taken
    }

    /// What waits.
    pub fn rest(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    /// Lets more wait. What was taken is forgotten first: else a peer that always leaves a little would
    /// have everything kept that it ever took.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..std::mem::take(&mut self.taken));
        self.bytes.extend_from_slice(bytes);
    }

    /// The first `count` bytes are gone; nothing left frees the memory.
    pub fn take(&mut self, count: usize) {
        self.taken += count.min(self.len());
        if self.taken == self.bytes.len() {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_always_leaves_a_little_has_no_more_kept_than_waits() {
        let mut parked = Parked::default();
        for _ in 0..1000 {
            parked.push(&[0; 100]);
            parked.take(parked.len() - 1);
            assert_eq!(parked.len(), 1);
        }
        assert!(parked.bytes.capacity() < 1000);
    }

    #[test]
    fn what_is_taken_does_not_come_again_and_nothing_left_holds_nothing() {
        let mut parked = Parked::default();
        parked.push(b"one");
        parked.push(b"two");
        parked.take(4);
        assert_eq!((parked.rest(), parked.len()), (&b"wo"[..], 2));
        parked.push(b"!");
        assert_eq!(parked.rest(), b"wo!");
        parked.take(3);
        assert!(parked.is_empty());
        assert_eq!(parked.bytes.capacity(), 0);
    }
}
