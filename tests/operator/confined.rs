//! The operator under what the chart's Pod allows, and what others on the machine can learn from it.

mod container;

use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;

use e2e::account::{self, Home};
use e2e::process::{Guarded, Program};

use crate::harness::{Cluster, Grant, OPERATOR, Operator, Options, Tenant, secret};
use container::Container;

const STACK: &str = "
    defaultStore: app
    components: {terraform: {orders-db: {secrets: {vars: {DB_PASSWORD: {required: true}}}}}}
";

/// A line of a file in `/proc`, without its name.
fn line(text: &str, name: &str) -> String {
    let found = text.lines().find_map(|line| line.strip_prefix(name));
    found.unwrap_or_else(|| panic!("no {name} in {text}")).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn it_works_on_a_read_only_root_as_nobody_with_no_capability() -> anyhow::Result<()> {
    let cluster = Cluster::start().await?;
    let container = Container::of_the_chart(&cluster)?;
    let operator = Operator::start(&cluster, container.options()).await?;

    let process = format!("/proc/{}", operator.id());
    let status = std::fs::read_to_string(format!("{process}/status"))?;
    for kind in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(line(&status, kind), "0000000000000000", "{kind}");
    }
    assert_eq!(line(&status, "NoNewPrivs:"), "1");
    for kind in ["Uid:", "Gid:"] {
        assert!(line(&status, kind).split(' ').all(|id| id != "0"), "{kind} {}", line(&status, kind));
    }
    // The root and nothing else, without a folder for temporary files, `/proc` or `/dev`.
    let mounts = std::fs::read_to_string(format!("{process}/mountinfo"))?;
    let mounts: Vec<(&str, &str)> = mounts
        .lines()
        .map(|mount| {
            let fields: Vec<&str> = mount.split(' ').collect();
            (fields[4], fields[5])
        })
        .collect();
    assert_eq!(mounts.len(), 1, "{mounts:?}");
    assert_eq!(mounts[0].0, "/");
    assert!(mounts[0].1.split(',').any(|option| option == "ro"), "{mounts:?}");

    let tenant = Tenant::on(&cluster, Grant::Full).await?;
    for value in [tenant.canary(), tenant.canary()] {
        tenant.store("app", "kubernetes: {}").await?;
        tenant.values("atmos.prod.orders-db", &[("DB_PASSWORD", &value)]).await?;
        tenant.stack("prod", STACK).await?;
        tenant.wait_secret("prod-orders-db", secret(&[("DB_PASSWORD", &value)])).await?;
        tenant.wait_ready("prod").await?;
    }
    assert_eq!(operator.terminate().await?.code(), Some(0));
    Ok(())
}

#[tokio::test]
async fn a_process_of_the_same_user_cannot_read_its_memory() -> anyhow::Result<()> {
    let cluster = Cluster::start().await?;
    let home = Home::new()?;
    let program = home.copy(OPERATOR.as_ref())?;
    let options = Options {
        through: account::command(),
        program: Some(program),
        kubeconfig: Some(home.copy(&cluster.operator_kubeconfig())?),
        ..Options::default()
    };
    let operator = Operator::start(&cluster, options).await?;
    let open = |id: u32, file: &str| account::run(&["sh", "-c", &format!(": < /proc/{id}/{file}")]);

    let words: Vec<String> = account::command();
    let neighbour = Guarded::start(&Program {
        name: "a neighbour".to_owned(),
        path: words[0].clone().into(),
        arguments: words[1..].iter().map(String::as_str).chain(["sleep", "1000"]).map(Into::into).collect(),
        folder: home.path().to_owned(),
        log: cluster.folder().join("neighbour.log"),
        ..Program::default()
    })?;
    e2e::wait_until("the neighbour to be readable", crate::harness::LIMIT, async || {
        let opened = open(neighbour.id(), "environ")?;
        anyhow::ensure!(opened.status.success(), "{}", String::from_utf8_lossy(&opened.stderr));
        Ok(())
    })
    .await?;
    for file in ["environ", "maps", "mem", "auxv"] {
        let refused = open(operator.id(), file)?;
        let words = String::from_utf8_lossy(&refused.stderr).to_lowercase();
        assert!(!refused.status.success() && words.contains("permission denied"), "{file}: {words:?}");
    }
    Ok(())
}

#[tokio::test]
async fn it_leaves_no_core_dump() -> anyhow::Result<()> {
    let cluster = Cluster::start().await?;
    // As much as this user may have at all.
    let through = ["sh", "-c", "ulimit -S -c $(ulimit -H -c) && exec \"$@\"", "sh"].map(str::to_owned);
    let before = Command::new(&through[0]).args(&through[1..]).args(["cat", "/proc/self/limits"]).output()?;
    let limit = line(&String::from_utf8_lossy(&before.stdout), "Max core file size");
    anyhow::ensure!(
        !limit.starts_with("0 "),
        "core files are forbidden here, so nothing can be shown: allow them with `ulimit -H -c unlimited`"
    );

    let operator = Operator::start(&cluster, Options { through: through.into(), ..Options::default() }).await?;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", operator.id()))?;
    assert_eq!(line(&limits, "Max core file size"), "0 0 bytes");
    // Not SIGSEGV: sent by somebody, the standard library's handler for overflown stacks takes the first one.
    let ended = operator.end_with("ABRT").await?;
    assert_eq!(ended.signal(), Some(6));
    assert!(!ended.core_dumped());
    let files =
        std::fs::read_dir(cluster.folder())?.map(|entry| Ok(entry?.file_name().into_string().unwrap_or_default()));
    let files = files.collect::<std::io::Result<Vec<String>>>()?;
    assert!(!files.iter().any(|file| file.starts_with("core")), "{files:?}");
    Ok(())
}
