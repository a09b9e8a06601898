//! Ports that no other test is given meanwhile.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Where nobody listens. A port that was free a moment ago would not do: whoever asks for any port may be given it.
pub const NOBODY: &str = "127.0.0.1:1";

/// A port for a program that has to be told one. It lies below those that the kernel gives to whoever asks for any.
#[must_use]
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + u16::try_from(std::process::id() % 100).expect("below 100") * 100;
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed);
        if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            return port;
        }
    }
}
