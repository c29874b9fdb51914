//! Logs go to standard error. What libraries say of bytes they carry is never shown: it could be a token.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Targets that write request and answer bodies below `info`.
const CAPPED: [&str; 7] = ["bollard", "hyper", "hyper_util", "russh", "rustls", "h2", "ssh_key"];

/// Starts logging. `RUST_LOG` may ask for more of our own crates; the capped ones stay capped whatever it says.
pub(crate) fn start(verbose: u8) {
    let level = match verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let asked = EnvFilter::builder().with_default_directive(level.into()).from_env_lossy();
    let cap = tracing_subscriber::filter::filter_fn(move |data| {
        let crate_name = data.target().split("::").next().unwrap_or_default();
        // What went wrong with a connection is in our own words already; a library's are for whoever debugs it.
        if verbose < 2 && CAPPED.contains(&crate_name) {
            return false;
        }
        *data.level() <= tracing::Level::INFO || !CAPPED.contains(&crate_name)
    });
    let _ = tracing_log::LogTracer::init();
    let layer = fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    let _ = tracing_subscriber::registry().with(asked).with(cap).with(layer).try_init();
}
