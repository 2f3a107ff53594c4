//! Decryption of one SOPS file: the real `sops` as a process, and the library within one.

use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use serde::Deserialize;

use super::report::{Decrypt, Timing};
use super::sops::{Sops, values};

/// Processes of each kind.
const PROCESSES: usize = 25;
/// Calls of the library.
const CALLS: usize = 500;

/// What the program `sops-bench` prints: seconds of each call.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Calls {
    values: usize,
    cold: Vec<f64>,
    data_key_at_hand: Vec<f64>,
}

/// Both on a file of `count` values; `program` is the release build of `sops-bench`.
pub(super) async fn measure(program: &Path, count: usize) -> anyhow::Result<Decrypt> {
    let expected = values(count);
    let sops = Sops::with(&expected).await?;
    anyhow::ensure!(sops.decrypt()? == expected, "sops does not read what it wrote");
    let (mut processes, mut starts) = (Vec::new(), Vec::new());
    // In turn, since one is subtracted from the other.
    for _ in 0..PROCESSES {
        processes.push(sops.seconds_to_decrypt()?);
        starts.push(sops.seconds_to_start()?);
    }
    let Calls { values, cold, data_key_at_hand } = library(program, &sops, &serde_json::to_vec(&expected)?)?;
    Ok(Decrypt {
        values,
        bytes: std::fs::metadata(sops.file())?.len(),
        process: Timing::of(&processes),
        start: Timing::of(&starts),
        library: Timing::of(&cold),
        data_key_at_hand: Timing::of(&data_key_at_hand),
    })
}

/// The same file in the library; the program checks what it reads.
fn library(program: &Path, sops: &Sops, expected: &[u8]) -> anyhow::Result<Calls> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("expected.json");
    std::fs::write(&file, expected)?;
    let output = Command::new(program)
        .arg(sops.file())
        .arg("--identity")
        .arg(&sops.identity)
        .arg("--expected")
        .arg(&file)
        .args(["--repetitions", &CALLS.to_string()])
        .output()
        .with_context(|| format!("could not start {}", program.display()))?;
    let name = program.display();
    anyhow::ensure!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    calls(&output.stdout).with_context(|| format!("{name} did not print what it should"))
}

fn calls(printed: &[u8]) -> anyhow::Result<Calls> {
    Ok(serde_json::from_slice(printed)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_other_program_prints_is_read() -> anyhow::Result<()> {
        let Calls { values, cold, data_key_at_hand } =
            calls(b"{\"values\":2,\"cold\":[0.5,0.25],\"dataKeyAtHand\":[0.125]}\n")?;
        assert_eq!((values, cold, data_key_at_hand), (2, vec![0.5, 0.25], vec![0.125]));
        assert!(calls(b"").is_err(), "a program that prints nothing measured nothing");
        Ok(())
    }
}
