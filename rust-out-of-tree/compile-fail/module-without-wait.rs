// SPDX-License-Identifier: GPL-2.0
// Error: E0308 in module.rs

// A module must wait for its RCU callbacks before it is unloaded. The misuse is in the crate root.
