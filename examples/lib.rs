//! Programs that embed the library, one idea each: see the `.rs` files beside this one, and run them with `cargo run --example NAME`.
