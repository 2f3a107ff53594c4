//! moto: an AWS on loopback, with Secrets Manager, SSM, STS, IAM and KMS.
//!
//! It stores, versions and deletes as AWS does, and, once told to, checks signatures and IAM policies. What it does not do:
//! limits of size, disabled KMS keys, throttling; [`FaultProxy`](crate::FaultProxy) answers those. Regions are those that
//! requests are signed for.

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::OnceCell;

use crate::free_port::free_ports;
use crate::process::{DataFolder, Guarded, Program};
use crate::tools;
use crate::wait::wait_until;

/// Four seconds are usual; a busy machine takes longer.
const START_LIMIT: Duration = Duration::from_secs(180);

/// A running server. It is gone when it is dropped or this process ends, in whatever way.
pub struct Moto {
    server: Mutex<Guarded>,
    _folder: DataFolder,
    url: String,
}

impl Moto {
    /// Starts one and returns when it answers.
    ///
    /// # Errors
    ///
    /// When moto cannot be installed, or does not come up in three minutes: with the end of its log.
    pub async fn start() -> anyhow::Result<Self> {
        let program = tools::moto().await?;
        let folder = DataFolder::new("atmos-moto-")?;
        let [port] = free_ports()?;
        let server = Guarded::start(&Program {
            name: "moto".to_owned(),
            path: program,
            arguments: ["-H".to_owned(), "127.0.0.1".to_owned(), "-p".to_owned(), port.to_string()]
                .map(Into::into)
                .into(),
            environment: Vec::new(),
            folder: PathBuf::from(folder.path()),
            log: folder.path().join("moto.log"),
        })?;
        let moto = Self { server: Mutex::new(server), _folder: folder, url: format!("http://127.0.0.1:{port}") };
        wait_until("moto to answer", START_LIMIT, async || {
            moto.server.lock().map_err(|_| anyhow::anyhow!("a test failed"))?.expect_running()?;
            moto.post("/moto-api/reset", "").await
        })
        .await?;
        Ok(moto)
    }

    /// The one that all tests of this process share. Tests keep apart by the names that they use; one that resets it or
    /// lets it check rights starts its own.
    ///
    /// # Errors
    ///
    /// As [`Moto::start`].
    pub async fn shared() -> anyhow::Result<&'static Self> {
        static SHARED: OnceCell<Moto> = OnceCell::const_new();
        SHARED.get_or_try_init(Self::start).await
    }

    /// `http://127.0.0.1:<port>`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Forgets everything.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    pub async fn reset(&self) -> anyhow::Result<()> {
        self.post("/moto-api/reset", "").await
    }

    /// From now on only what IAM policies allow is done, and signatures must be right.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    pub async fn check_rights(&self) -> anyhow::Result<()> {
        self.post("/moto-api/reset-auth", "0").await
    }

    /// Rights are nobody's business again.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    pub async fn ignore_rights(&self) -> anyhow::Result<()> {
        self.post("/moto-api/reset-auth", "inf").await
    }

    async fn post(&self, path: &str, body: &'static str) -> anyhow::Result<()> {
        let client: Client<HttpConnector, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        let request =
            Request::post(format!("{}{path}", self.url)).body(Full::new(Bytes::from_static(body.as_bytes())))?;
        let answer = client.request(request).await.context("moto does not answer")?;
        let status = answer.status();
        // Read to its end, so that the connection ends well.
        answer.into_body().collect().await.context("moto's answer broke off")?;
        anyhow::ensure!(status.is_success(), "moto answered {status} to {path}");
        Ok(())
    }
}
