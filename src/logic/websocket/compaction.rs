//! Which bytes of a chunk pass: kept ones are closed up in place, and nothing moves while nothing is left out.

/// A reader's place in a chunk and what it kept so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Compaction {
    /// How far the chunk has been judged.
    judged: usize,
    /// Where the run of kept bytes under way begins.
    run: usize,
    /// Bytes kept before it, already in place.
    placed: usize,
}

impl Compaction {
    /// How far the chunk has been judged.
    #[inline]
    pub(super) const fn judged(&self) -> usize {
        self.judged
    }

    /// The next `len` bytes pass.
    #[inline]
    pub(super) const fn keep(&mut self, len: usize) {
        self.judged += len;
    }

    /// The next `len` bytes do not.
    pub(super) fn drop(&mut self, chunk: &mut [u8], len: usize) {
        self.place(chunk);
        self.judged += len;
        self.run = self.judged;
    }

    /// Puts the last run in place and says how many bytes pass.
    pub(super) fn finish(mut self, chunk: &mut [u8]) -> usize {
        self.place(chunk);
        self.placed
    }

    fn place(&mut self, chunk: &mut [u8]) {
        if self.run != self.placed {
            chunk.copy_within(self.run..self.judged, self.placed);
        }
        self.placed += self.judged - self.run;
        self.run = self.judged;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_passes_is_what_was_kept_in_order(runs: Vec<(bool, u8)>) {
            let total = runs.iter().map(|&(_, len)| usize::from(len)).sum();
            let mut chunk: Vec<u8> = (0..total).map(|i| i.to_le_bytes()[0]).collect();
            let mut expected = Vec::new();
            let mut compaction = Compaction::default();
            let original = chunk.clone();
            for (kept, len) in runs {
                let (from, len) = (compaction.judged(), usize::from(len));
                if kept {
                    expected.extend_from_slice(&original[from..from + len]);
                    compaction.keep(len);
                } else {
                    compaction.drop(&mut chunk, len);
                }
            }
            let passed = compaction.finish(&mut chunk);
            prop_assert_eq!(&chunk[..passed], &expected[..]);
        }
    }
}
