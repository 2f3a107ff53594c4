//! An HTTP proxy that leads every connection to one server, whatever host was asked for.
//!
//! For programs that can be led nowhere else: with it as `HTTPS_PROXY`, and the authority of the server's certificate among
//! those that they trust, they meet a stand-in under the names of the real hosts. `CONNECT`: RFC 9110 section 9.3.6.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

/// The longest head of a request that is read.
const MOST_HEAD: usize = 16 << 10;

/// A running proxy; it takes no more connections when it is dropped.
pub struct Tunnel {
    address: SocketAddr,
    _end: DropGuard,
}

impl Tunnel {
    /// Starts one that leads to `target`.
    ///
    /// # Errors
    ///
    /// When no port is free.
    pub async fn to(target: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("could not listen on loopback")?;
        let address = listener.local_addr()?;
        let end = CancellationToken::new();
        tokio::spawn(end.clone().run_until_cancelled_owned(async move {
            loop {
                // A client that is gone before it was accepted is nobody's loss.
                let Ok((client, _)) = listener.accept().await else { continue };
                // Errors are those of a connection that one side has given up.
                tokio::spawn(async move { lead(client, target).await.ok() });
            }
        }));
        Ok(Self { address, _end: end.drop_guard() })
    }

    /// What `HTTPS_PROXY` is set to.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

async fn lead(mut client: TcpStream, target: SocketAddr) -> std::io::Result<()> {
    let mut head = Vec::new();
    // Byte by byte: what follows the head is the server's.
    while !head.ends_with(b"\r\n\r\n") && head.len() < MOST_HEAD {
        head.push(client.read_u8().await?);
    }
    if !head.starts_with(b"CONNECT ") {
        return client.write_all(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n").await;
    }
    let mut server = TcpStream::connect(target).await?;
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}
