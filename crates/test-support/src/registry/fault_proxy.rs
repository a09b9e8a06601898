use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};

/// A bad line between a client and any server: it passes on what both say until it is told to fail.
///
/// It knows nothing of HTTP and TLS, so it stands in front of registries that cannot be told to misbehave. Bytes are
/// counted on their way to clients, heads of answers included.
#[derive(Debug)]
pub struct FaultProxy {
    address: String,
    line: Arc<Line>,
    task: JoinHandle<()>,
}

/// What happens to the line when so many bytes have passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineFault {
    /// The connection is closed.
    Cut,
    /// Nothing more comes, and nobody says so.
    Stall,
    /// All connections are closed, and the port: from now on nobody is there.
    Close,
}

#[derive(Debug)]
struct Line {
    server: watch::Sender<String>,
    closed: Notify,
    cut: Notify,
    plan: Mutex<Plan>,
}

#[derive(Debug, Default)]
struct Plan {
    fault: Option<(u64, LineFault)>,
    /// What it starts with again after a fault.
    then: Option<(u64, LineFault)>,
    passed: u64,
    connections: usize,
    faults: usize,
}

impl FaultProxy {
    /// Starts one in front of `server`, `host:port`.
    pub async fn start(server: &str) -> Self {
        Self::start_at(&format!("{}:0", Ipv4Addr::LOCALHOST), server).await
    }

    /// Starts one where another was that is closed.
    pub async fn start_at(address: &str, server: &str) -> Self {
        let listener = TcpListener::bind(address).await.expect("the port is free");
        let address = listener.local_addr().expect("it is bound").to_string();
        let (closed, cut) = (Notify::new(), Notify::new());
        let server = watch::Sender::new(server.to_owned());
        let line = Arc::new(Line { server, closed, cut, plan: Mutex::default() });
        let task = tokio::spawn(accept(listener, Arc::clone(&line)));
        Self { address, line, task }
    }

    /// Where it is: `127.0.0.1:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Leads to another server from now on. The connections to the one before are closed.
    pub fn lead_to(&self, server: &str) {
        self.line.server.send_replace(server.to_owned());
    }

    /// Fails once, after so many bytes from now on.
    pub fn fail_after(&self, bytes: u64, fault: LineFault) {
        let mut plan = self.line.plan.lock().unwrap();
        (plan.fault, plan.then, plan.passed) = (Some((bytes, fault)), None, 0);
    }

    /// Fails whenever so many bytes have passed.
    pub fn fail_every(&self, bytes: u64, fault: LineFault) {
        let mut plan = self.line.plan.lock().unwrap();
        (plan.fault, plan.then, plan.passed) = (Some((bytes, fault)), Some((bytes, fault)), 0);
    }

    /// Closes all connections now, stalled ones too. New ones find the line as it should be.
    pub fn cut(&self) {
        self.line.cut.notify_waiters();
    }

    /// How many connections have been made.
    pub fn connections(&self) -> usize {
        self.line.plan.lock().unwrap().connections
    }

    /// How often it has failed.
    pub fn faults(&self) -> usize {
        self.line.plan.lock().unwrap().faults
    }

    /// How many bytes have passed to clients since the last fault or plan.
    pub fn passed(&self) -> u64 {
        self.line.plan.lock().unwrap().passed
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, line: Arc<Line>) {
    // Aborts its tasks when it is dropped.
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = line.closed.notified() => return,
        };
        let Ok((client, _)) = accepted else { return };
        line.plan.lock().unwrap().connections += 1;
        connections.spawn(connect(client, Arc::clone(&line)));
    }
}

async fn connect(client: TcpStream, line: Arc<Line>) {
    // A server that is gone is no fault of ours: the client sees a closed connection.
    let mut leads_to = line.server.subscribe();
    let address = leads_to.borrow_and_update().clone();
    let Ok(server) = TcpStream::connect(address).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = up(from_client, to_server) => {}
        _ = down(from_server, to_client, &line) => {}
        _ = leads_to.changed() => {}
        () = line.cut.notified() => {}
    }
}

/// Passes on requests, and then waits for the answers to end.
async fn up(mut client: OwnedReadHalf, mut server: OwnedWriteHalf) {
    let _ = copy(&mut client, &mut server).await;
    let _ = server.shutdown().await;
    std::future::pending::<()>().await;
}

async fn down(mut server: OwnedReadHalf, mut client: OwnedWriteHalf, line: &Line) -> io::Result<()> {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let length = server.read(&mut buffer).await?;
        if length == 0 {
            return client.shutdown().await;
        }
        let (length, fault) = line.plan.lock().unwrap().pass(length);
        client.write_all(&buffer[..length]).await?;
        match fault {
            None => {}
            Some(LineFault::Stall) => return std::future::pending().await,
            Some(LineFault::Cut) => return Ok(()),
            Some(LineFault::Close) => {
                line.closed.notify_one();
                return Ok(());
            }
        }
    }
}

impl Plan {
    /// How many of these bytes pass, and what happens then.
    fn pass(&mut self, length: usize) -> (usize, Option<LineFault>) {
        self.passed += length as u64;
        match self.fault {
            Some((limit, fault)) if self.passed >= limit => {
                let surplus = usize::try_from(self.passed - limit).unwrap_or(length);
                (self.fault, self.passed) = (self.then, 0);
                self.faults += 1;
                (length.saturating_sub(surplus), Some(fault))
            }
            _ => (length, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LineFault, Plan};

    #[test]
    fn a_plan_counts_exactly() {
        let cut = Some((10, LineFault::Cut));
        let mut once = Plan { fault: cut, ..Plan::default() };
        assert_eq!(
            [6, 6, 100].map(|length| once.pass(length)),
            [(6, None), (4, Some(LineFault::Cut)), (100, None)]
        );
        let mut always = Plan { fault: cut, then: cut, ..Plan::default() };
        assert_eq!([10, 9, 1].map(|length| always.pass(length).1.is_some()), [true, false, true]);
        assert_eq!(always.faults, 2);
    }
}
