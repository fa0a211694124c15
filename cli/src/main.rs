//! x
mod args;
mod config;
mod exit;
mod output;
fn main() {}
