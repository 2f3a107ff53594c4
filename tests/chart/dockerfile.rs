//! Rules for the image, read from the Dockerfile: nothing here can run a container.

const DOCKERFILE: &str = include_str!("../../Dockerfile");

/// Instructions with their arguments; continued lines joined, comments dropped.
fn instructions() -> Vec<(String, Vec<String>)> {
    let mut joined = String::new();
    for line in DOCKERFILE.lines().filter(|line| !line.trim_start().starts_with('#')) {
        match line.strip_suffix('\\') {
            Some(start) => joined.push_str(start),
            None => {
                joined.push_str(line);
                joined.push('\n');
            }
        }
    }
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    joined.lines().map(words).filter_map(|words| Some((words.first()?.clone(), words[1..].to_vec()))).collect()
}

/// The instructions of each stage, its FROM first.
fn stages() -> Vec<Vec<(String, Vec<String>)>> {
    let mut stages: Vec<Vec<_>> = Vec::new();
    for instruction in instructions() {
        if instruction.0 == "FROM" {
            stages.push(Vec::new());
        }
        stages.last_mut().unwrap().push(instruction);
    }
    stages
}

/// The arguments of the one instruction of this name.
fn only<'a>(stage: &'a [(String, Vec<String>)], name: &str) -> &'a [String] {
    let mut found = stage.iter().filter(|(instruction, _)| instruction == name);
    let (_, arguments) = found.next().unwrap_or_else(|| panic!("no {name}"));
    assert!(found.next().is_none(), "more than one {name}");
    arguments
}

#[test]
fn it_is_built_with_the_toolchain_of_the_repository() {
    let toolchain = include_str!("../../rust-toolchain.toml");
    let (_, rest) = toolchain.split_once("channel = \"").unwrap();
    let (channel, _) = rest.split_once('"').unwrap();
    assert_eq!(only(&stages()[0], "FROM")[0], format!("rust:{channel}-slim-bookworm"));
}

/// Debian's "bookworm" is Debian 12: a program must not meet an older glibc than it was linked with.
#[test]
fn it_runs_on_the_system_that_it_was_linked_on() {
    let stages = stages();
    assert!(only(&stages[0], "FROM")[0].ends_with("-bookworm"));
    assert_eq!(only(&stages[1], "FROM"), ["scratch", "AS", "programs"]);
    assert_eq!(only(&stages[2], "FROM"), ["gcr.io/distroless/cc-debian12:nonroot"]);
    assert_eq!(stages.len(), 3);
}

#[test]
fn it_is_no_more_than_two_programs_of_a_user_without_rights() {
    let stages = stages();
    // The programs as the build made them, which a release hands out too.
    let built = ["/source/target/release/atmos-secrets-operator", "/source/target/release/kubectl-atmos_secret", "/"];
    assert_eq!(only(&stages[1], "COPY"), [&["--from=build"], &built[..]].concat());
    let last = &stages[2];
    assert_eq!(only(last, "USER"), ["65532:65532"]);
    assert_eq!(only(last, "ENTRYPOINT"), ["[\"/usr/local/bin/atmos-secrets-operator\"]"]);
    let copied = only(last, "COPY");
    assert_eq!(
        copied,
        [
            "--from=programs",
            "--chown=0:0",
            "--chmod=0555",
            "/atmos-secrets-operator",
            "/kubectl-atmos_secret",
            "/usr/local/bin/"
        ]
    );
    // Nothing runs in it while it is built: there is no shell.
    let names: Vec<_> = last.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["FROM", "COPY", "USER", "EXPOSE", "ENTRYPOINT"]);
}

/// What the build copies is there and is let through by .dockerignore, which lets nothing else through.
#[test]
fn the_build_gets_what_it_copies_and_nothing_else() {
    let ignore = include_str!("../../.dockerignore");
    let rules: Vec<_> = ignore.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(rules[0], "*");
    let mut let_through: Vec<_> = rules[1..].iter().map(|rule| rule.strip_prefix('!').unwrap()).collect();
    let mut copied = Vec::new();
    for (_, arguments) in stages()[0].iter().filter(|(name, _)| name == "COPY") {
        let (_, sources) = arguments.split_last().unwrap();
        copied.extend(sources.iter().cloned());
    }
    for source in &copied {
        assert!(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(source).exists(), "{source}");
    }
    copied.sort();
    let_through.sort_unstable();
    assert_eq!(copied, let_through);
}

/// The one script that knows how, so that the programs of the image are those of everybody who builds this source.
#[test]
fn it_is_built_as_every_release_is() {
    let build = &stages()[0];
    let runs: Vec<_> = build.iter().filter(|(name, _)| name == "RUN").map(|(_, words)| words.join(" ")).collect();
    assert_eq!(runs.len(), 2);
    for run in runs {
        assert!(run.split("&&").any(|command| command.trim() == ".ci/build-release"), "{run}");
        assert!(!run.contains("cargo build"), "{run}");
    }
}
