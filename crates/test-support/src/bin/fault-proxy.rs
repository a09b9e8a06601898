//! A line to a registry that is cut once, for measurements.

use clap::Parser;
use test_support::registry::{FaultProxy, LineFault};

/// Passes connections on to a server, until it is killed, and prints where it listens.
#[derive(Debug, Parser)]
struct Args {
    /// The server, `host:port`
    #[arg(long)]
    server: String,
    /// Cut all connections once, after so many bytes have passed to clients
    #[arg(long, value_name = "BYTES")]
    cut_after: Option<u64>,
}

#[tokio::main]
async fn main() {
    let Args { server, cut_after } = Args::parse();
    let proxy = FaultProxy::start(&server).await;
    if let Some(bytes) = cut_after {
        proxy.fail_after(bytes, LineFault::Cut);
    }
    println!("{}", proxy.address());
    std::future::pending::<()>().await;
}
