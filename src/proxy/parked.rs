//! Bytes that somebody would not take yet; holds no memory when empty.

/// What waits, in order.
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

    /// Lets more wait.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The first bytes are taken; nothing left frees the memory.
    pub fn take(&mut self, count: usize) {
        self.taken += count;
        if self.taken == self.bytes.len() {
            *self = Self::default();
        }
    }
}
