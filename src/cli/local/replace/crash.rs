//! Writers that are killed (SIGKILL), at every step and at any moment: in processes of their own, since they die.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests fail by panicking, and tell the processes that they start by the environment what to do"
)]

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};

use age::secrecy::ExposeSecret as _;

use super::*;
use crate::cli::local::sops_files;
use crate::sops::{self, AgeKeys, AgeRecipients, Creation, Editor, Format, KeyGroups, Plain, Recipient, Value};
use crate::value::SecretValue;

/// Tells a process that a test started to write, and how: the name of the step to die at, or to go on until it is killed.
const WRITES: &str = "ATMOS_TEST_WRITES_UNTIL";
const FILE: &str = "dev.enc.yaml";
const STEPS: [Step; 5] = [Step::Locked, Step::Begun, Step::Written, Step::Synced, Step::Renamed];

/// A folder with one file, and the two versions of it that writers put there in turn.
struct Ground {
    folder: tempfile::TempDir,
    versions: [Vec<u8>; 2],
    keys: AgeKeys,
}

impl Ground {
    fn new() -> Self {
        let identity = ::age::x25519::Identity::generate();
        let keys = AgeKeys::parse("a test", &SecretValue::from(identity.to_string().expose_secret().to_owned()));
        let recipient = Recipient::Age(identity.to_public().to_string());
        let creation = Creation { keys: KeyGroups::single(vec![recipient]), ..Creation::default() };
        // Long, so that half a file is seen.
        let version = |fill: &str| {
            let mut plain = Plain::new(Format::Yaml);
            let value = Value::text(SecretValue::from(fill.repeat(20_000)));
            plain.set(&sops::Path::key("VALUE"), value).unwrap();
            let made = plain.encrypt(&creation, &AgeRecipients, jiff::Timestamp::UNIX_EPOCH);
            futures::executor::block_on(made).unwrap()
        };
        let ground =
            Self { folder: tempfile::tempdir().unwrap(), versions: [version("a"), version("bc")], keys: keys.unwrap() };
        fs::write(ground.path(), &ground.versions[0]).unwrap();
        for (place, version) in ground.versions.iter().enumerate() {
            let beside = ground.folder.path().join("versions");
            fs::create_dir_all(&beside).unwrap();
            fs::write(beside.join(place.to_string()), version).unwrap();
        }
        ground
    }

    fn path(&self) -> PathBuf {
        let folder = self.folder.path().join("secrets");
        fs::create_dir_all(&folder).unwrap();
        folder.join(FILE)
    }

    fn writer(&self, test: &str, until: &str) -> Child {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &format!("cli::local::replace::crash::{test}"), "--nocapture"])
            .env(WRITES, until)
            .current_dir(self.folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Which version is there now: one of both to the last byte, and it opens with a good MAC.
    fn version(&self) -> usize {
        let found = fs::read(self.path()).unwrap();
        let version = self.versions.iter().position(|version| *version == found).expect("the old file or the new one");
        futures::executor::block_on(Editor::open(Format::Yaml, &found, &self.keys)).unwrap();
        version
    }

    /// How many files lie beside it.
    fn left(&self) -> usize {
        fs::read_dir(self.path().parent().unwrap()).unwrap().count() - 1
    }

    /// The next writer does not wait, and finds nothing in its way.
    fn write_next(&self) {
        assert_eq!(sops_files(self.path().parent().unwrap()).unwrap(), [FILE], "what is left is read by nobody");
        let before = self.version();
        let [old, new] = [before, 1 - before].map(|version| self.versions[version].as_slice());
        replace_by_steps(&self.path(), Some(old), new, CIPHERTEXT, Duration::ZERO, &mut |_| {}).unwrap();
        assert_eq!((self.version(), self.left()), (1 - before, 0));
    }
}

/// Writes both versions in turn, for ever; or once, and is killed at that step.
fn write_until(until: &str) {
    let versions = ["0", "1"].map(|version| fs::read(Path::new("versions").join(version)).unwrap());
    let path = Path::new("secrets").join(FILE);
    let mut now = usize::from(fs::read(&path).unwrap() == versions[1]);
    loop {
        replace_by_steps(&path, Some(&versions[now]), &versions[1 - now], CIPHERTEXT, Duration::ZERO, &mut |step| {
            if format!("{step:?}") == until {
                rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
            }
        })
        .unwrap();
        now = 1 - now;
        // Not by a macro, whose output the test runner may keep.
        io::stderr().write_all(b"written\n").unwrap();
    }
}

#[test]
fn a_writer_killed_at_any_step_leaves_the_old_file_or_the_new_one() {
    if let Ok(until) = std::env::var(WRITES) {
        return write_until(&until);
    }
    let ground = Ground::new();
    for step in STEPS {
        let before = ground.version();
        let output = ground
            .writer("a_writer_killed_at_any_step_leaves_the_old_file_or_the_new_one", &format!("{step:?}"))
            .wait_with_output()
            .unwrap();
        assert_eq!(output.status.signal(), Some(9), "{step:?}: {}", String::from_utf8_lossy(&output.stderr));
        let (is_new, left) = match step {
            Step::Locked => (false, 0),
            Step::Begun | Step::Written | Step::Synced => (false, 1),
            Step::Renamed => (true, 0),
        };
        assert_eq!((ground.version() != before, ground.left()), (is_new, left), "{step:?}");
        ground.write_next();
    }
}

#[test]
fn writers_killed_at_any_moment_leave_the_old_file_or_the_new_one() {
    if let Ok(until) = std::env::var(WRITES) {
        return write_until(&until);
    }
    let ground = Ground::new();
    let mut left = 0;
    for round in 0..30 {
        let mut writer = ground.writer("writers_killed_at_any_moment_leave_the_old_file_or_the_new_one", "never");
        let mut said = BufReader::new(writer.stderr.take().unwrap()).lines();
        for _ in 0..1 + round % 3 {
            assert_eq!(said.next().unwrap().unwrap(), "written");
        }
        // A moment somewhere in a later write.
        let moment = Instant::now() + Duration::from_micros(rand::rng().random_range(0..3_000));
        while Instant::now() < moment {
            std::hint::spin_loop();
        }
        writer.kill().unwrap();
        assert_eq!(writer.wait().unwrap().signal(), Some(9));
        left += ground.left();
        ground.version();
        ground.write_next();
    }
    assert!(left > 0, "none was killed while it wrote");
}

#[test]
fn what_only_looks_like_a_leftover_stays() {
    let ground = Ground::new();
    let folder = ground.path().parent().unwrap().to_owned();
    let others = [
        ".dev.enc.yaml.new",
        ".dev.enc.yaml.0123.new",
        ".dev.enc.yaml.0123456789abcdeg.new",
        ".dev.enc.yaml.0123456789abcdef",
        ".other.enc.yaml.0123456789abcdef.new",
        "dev.enc.yaml.0123456789abcdef.new",
    ];
    for name in others {
        fs::write(folder.join(name), "kept").unwrap();
    }
    fs::write(folder.join(".dev.enc.yaml.0123456789abcdef.new"), "left").unwrap();
    replace(&ground.path(), Some(&ground.versions[0]), b"next", CIPHERTEXT).unwrap();
    assert_eq!(ground.left(), others.len());
}
