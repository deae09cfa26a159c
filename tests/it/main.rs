//! The black-box suite: one binary, one module per subject, the real `tidegate` underneath.
//! `support` is the small language the tests are written in.

#![expect(
    unreachable_pub,
    reason = "a test binary exports nothing; pub means for the other modules"
)]
#![expect(
    clippy::unwrap_used,
    reason = "a failed step of a test is a failed test"
)]

mod architecture;
mod sim;
mod support;
