//! How much of what was written to a TCP socket its peer has not taken yet.
//!
//! The system calls a socket writable only when a third of its buffer is free, which can be more than a megabyte. Whether
//! a slow peer takes anything at all is told by the send queue, of which bytes vanish as they are acknowledged.
//!
//! Linux, `SIOCOUTQ` of tcp(7). Elsewhere it is not known.

use std::io;
use std::os::fd::AsFd;

/// The bytes in the send queue, sent and not acknowledged or not sent at all.
///
/// # Errors
///
/// What the system says, for example of a socket that is none of TCP; always where it is not Linux.
#[cfg(target_os = "linux")]
pub fn unacknowledged(socket: impl AsFd) -> io::Result<u32> {
    /// `SIOCOUTQ`, by its older name. The number differs between architectures.
    const OPCODE: rustix::ioctl::Opcode = opcode();

    // SAFETY: this opcode makes the system write one C int, whatever kind of file it is asked for.
    let queued = unsafe {
        let getter = rustix::ioctl::Getter::<OPCODE, i32>::new();
        rustix::ioctl::ioctl(socket, getter)?
    };
    Ok(queued.unsigned_abs())
}

/// `TIOCOUTQ` of the kernel's asm/ioctls.h.
#[cfg(target_os = "linux")]
const fn opcode() -> rustix::ioctl::Opcode {
    if cfg!(any(target_arch = "powerpc64", target_arch = "powerpc")) {
        0x4004_7473
    } else if cfg!(any(target_arch = "mips", target_arch = "mips64")) {
        0x7472
    } else {
        0x5411
    }
}

/// The bytes in the send queue, which are not known on this system.
#[cfg(not(target_os = "linux"))]
pub fn unacknowledged(_: impl AsFd) -> io::Result<u32> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::unacknowledged;

    #[test]
    fn what_the_peer_has_not_taken_is_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut socket, _) = listener.accept().unwrap();
        assert_eq!(unacknowledged(&socket).unwrap(), 0);

        socket.set_nonblocking(true).unwrap();
        let piece = vec![7; 1 << 20];
        let mut written = 0;
        while let Ok(count) = socket.write(&piece) {
            written += count;
        }
        let queued = unacknowledged(&socket).unwrap();
        assert!(queued > 0 && u64::from(queued) < written as u64, "{queued} of {written}");

        let mut taken = vec![0; written];
        peer.read_exact(&mut taken).unwrap();
        assert_eq!(peer.write(b"x").unwrap(), 1);
        // The acknowledgement of the last byte came with the answer, at the latest.
        socket.set_nonblocking(false).unwrap();
        socket.read_exact(&mut [0]).unwrap();
        assert_eq!(unacknowledged(&socket).unwrap(), 0);
    }

    #[test]
    fn what_is_no_socket_is_an_error() {
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        assert!(unacknowledged(&file).is_err());
    }
}
