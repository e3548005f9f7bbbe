//! `ganger demo`: the main job on real input.

mod script;
