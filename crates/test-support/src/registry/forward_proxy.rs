use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// An HTTP proxy, as sites have that let nobody out directly. It alone knows where hosts are.
#[derive(Debug)]
pub struct ForwardProxy {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl ForwardProxy {
    const MAX_HEAD: usize = 16 << 10;

    /// Starts one that knows these hosts, `host:port`, by their addresses.
    pub async fn start(hosts: &[(&str, &str)]) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("there is a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let hosts = hosts.iter().map(|&(host, address)| (host.to_owned(), address.to_owned())).collect();
        let requests = Arc::default();
        let task = tokio::spawn(accept(listener, Arc::new(hosts), Arc::clone(&requests)));
        Self { address, requests, task }
    }

    /// Where it is: `127.0.0.1:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The first lines of all requests to it.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for ForwardProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Hosts = HashMap<String, String>;

async fn accept(listener: TcpListener, hosts: Arc<Hosts>, requests: Arc<Mutex<Vec<String>>>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        connections.spawn(serve(client, Arc::clone(&hosts), Arc::clone(&requests)));
    }
}

/// Serves the first request, and leaves it to client and server what follows.
async fn serve(mut client: TcpStream, hosts: Arc<Hosts>, requests: Arc<Mutex<Vec<String>>>) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > ForwardProxy::MAX_HEAD {
            return None;
        }
        head.push(client.read_u8().await.ok()?);
    }
    let line = std::str::from_utf8(&head).ok()?.lines().next()?.to_owned();
    let mut words = line.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    requests.lock().unwrap().push(line.clone());

    let tunnel = method == "CONNECT";
    let host = if tunnel { target } else { target.strip_prefix("http://")?.split('/').next()? };
    let Some(address) = hosts.get(host) else {
        let refusal = b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        return client.write_all(refusal).await.ok();
    };
    let mut server = TcpStream::connect(address).await.ok()?;
    if tunnel {
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.ok()?;
    } else {
        server.write_all(&head).await.ok()?;
    }
    copy_bidirectional(&mut client, &mut server).await.ok().map(drop)
}
