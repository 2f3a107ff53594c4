//! `sops-bench`: how long the SOPS library takes for one file, in a process that is built and runs as the operator does.
//!
//! `e2e bench` starts it, and reads the one line of JSON that it prints: the seconds of every repetition. What they mean is
//! worked out there.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Instant;

use anyhow::Context as _;
use async_trait::async_trait;
use atmos_secrets::memory;
use atmos_secrets::sops::{self, AgeKeys, Document, Encrypted, Format, KeySource, MasterKey};
use atmos_secrets::value::SecretValue;
use clap::Parser;
use serde_json::{Map, Value, json};

/// Freed memory is zeroed, which the operator pays for, too.
#[global_allocator]
static ALLOCATOR: memory::Zeroing = memory::ZEROING;

/// Decrypt one YAML file again and again, and print how long each time took
#[derive(Parser)]
struct Arguments {
    /// The file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// An age identity that opens it
    #[arg(long, value_name = "FILE")]
    identity: PathBuf,
    /// What it holds, as a JSON object of texts; anything else is an error
    #[arg(long, value_name = "FILE")]
    expected: PathBuf,
    /// How often
    #[arg(long, value_name = "N")]
    repetitions: usize,
}

/// What is in memory before the clock starts.
struct Input {
    file: Vec<u8>,
    identity: SecretValue,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let Arguments { file, identity, expected, repetitions } = Arguments::parse();
    let input = Input { file: std::fs::read(file)?, identity: SecretValue::new(std::fs::read(identity)?) };
    let expected: Map<String, Value> = serde_json::from_slice(&std::fs::read(expected)?)?;
    compare(&cold(&input).await?, &expected)?;
    let kept = Kept { identities: identities(&input)?, data_key: OnceLock::new() };
    compare(&with_data_key(&input, &kept).await?, &expected)?;

    // What is measured includes that the values are zeroed and freed.
    let (mut all, mut key_at_hand) = (Vec::with_capacity(repetitions), Vec::with_capacity(repetitions));
    for _ in 0..repetitions {
        let started = Instant::now();
        drop(cold(&input).await?);
        all.push(started.elapsed().as_secs_f64());
        let started = Instant::now();
        drop(with_data_key(&input, &kept).await?);
        key_at_hand.push(started.elapsed().as_secs_f64());
    }
    writeln!(std::io::stdout(), "{}", json!({"values": expected.len(), "cold": all, "dataKeyAtHand": key_at_hand}))?;
    Ok(())
}

/// Everything from the bytes of the identity and of the file to the values.
async fn cold(input: &Input) -> anyhow::Result<Document> {
    Ok(Encrypted::parse(Format::Yaml, &input.file)?.decrypt(&identities(input)?).await?)
}

/// The same without the identity, as where a key service's answer is kept.
async fn with_data_key(input: &Input, kept: &Kept) -> anyhow::Result<Document> {
    Ok(Encrypted::parse(Format::Yaml, &input.file)?.decrypt(kept).await?)
}

/// Opens the data key once.
struct Kept {
    identities: AgeKeys,
    data_key: OnceLock<Vec<u8>>,
}

#[async_trait]
impl KeySource for Kept {
    fn names(&self) -> Vec<String> {
        self.identities.names()
    }

    async fn open(&self, master_key: &MasterKey) -> Result<Option<SecretValue>, sops::Error> {
        if let Some(data_key) = self.data_key.get() {
            return Ok(Some(SecretValue::new(data_key.clone())));
        }
        let opened = self.identities.open(master_key).await?;
        if let Some(data_key) = &opened {
            self.data_key.get_or_init(|| data_key.expose().to_vec());
        }
        Ok(opened)
    }
}

fn identities(input: &Input) -> anyhow::Result<AgeKeys> {
    Ok(AgeKeys::parse("the identity", &input.identity)?)
}

/// A fast reader that reads something else is no reader.
fn compare(document: &Document, expected: &Map<String, Value>) -> anyhow::Result<()> {
    let found = document.names().count();
    anyhow::ensure!(found == expected.len(), "the file holds {found} values instead of {}", expected.len());
    for (name, value) in expected {
        let value = value.as_str().context("an expected value is no text")?;
        let same = document.get(name).is_some_and(|found| found.equals(value.as_bytes()));
        anyhow::ensure!(same, "{name} is not what it should be");
    }
    Ok(())
}
