//! A whole node on one thread, for simulation, WASM and tests.
