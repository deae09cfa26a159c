//! From rounds to figures that can be read, by people and by programs.

mod figures;
mod html;
mod table;
mod text;

pub use figures::{MemoryReport, Percentiles, Report, Spread, TargetReport};
