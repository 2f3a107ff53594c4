//! What the demo tells, step by step, and how each claim is checked.

use std::cell::Cell;
use std::time::Duration;

use anyhow::Context as _;
use e2e::wait_until;
use kube::Api;
use kube::api::{ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use serde_json::Value;

use super::cluster::{NAMESPACE, Stage};
use super::operator::Operator;
use super::shell::Shell;
use super::witness::{Seen, Witness};

const STACK: &str = "plat-ue1-prod";
/// The Secret in which the Store `local` keeps the values of `orders-api`.
const STORE_SECRET: &str = "atmos.plat-ue1-prod.orders-api";
const SOPS_FILE: &str = "plat-ue1-prod.orders-db.enc.yaml";
/// The first sync of a busy machine.
const STATUS_LIMIT: Duration = Duration::from_secs(60);
const ACCOUNT: &str = "system:serviceaccount:atmos-secrets:atmos-secrets-operator";
/// The repository's path of the folder that holds the SOPS files and their demo identity.
const QUICKSTART: &str = "examples/quickstart";

/// The demo.
pub(super) struct Story<'a> {
    pub(super) stage: &'a Stage,
    pub(super) shell: &'a Shell,
    pub(super) show_values: bool,
}

impl Story<'_> {
    /// Tells it all. The operator still runs afterwards.
    ///
    /// # Errors
    ///
    /// When anything is not as told.
    pub(super) async fn tell(&self) -> anyhow::Result<Operator> {
        self.introduce();
        self.install().await?;
        let operator = self.start_operator().await?;
        self.apply().await?;
        let mut witness = Witness::new(&self.stage.client);
        self.show_what_is_missing(&mut witness).await?;
        self.set(&mut witness).await?;
        self.rotate(&mut witness).await?;
        self.repair(&mut witness).await?;
        self.finish().await?;
        Ok(operator)
    }

    fn introduce(&self) {
        let values = if self.show_values { "Values are shown, as asked." } else { "No value is shown." };
        self.say(&format!(
            "atmos-secrets-operator: declared secrets become native Kubernetes Secrets.\n\
             Each line after a $ is run as it stands, and what it printed follows. {values}"
        ));
        self.shell.heading("1. A cluster");
        self.say(&format!("   {}.", self.stage.description));
        self.say(&format!("   Manifests are copies of the repository's, in {}.", self.shell.folder().display()));
    }

    async fn install(&self) -> anyhow::Result<()> {
        self.shell.heading("2. The operator: its kinds, its rights, itself");
        self.run("kubectl apply --server-side -f crds -f examples/install/rbac.yaml").await?;
        self.say("\nIt runs as its own service account. So far that account may not read one Secret of yours:");
        self.shell.run_for(&format!("kubectl auth can-i get secrets --as={ACCOUNT}"), 1).await?;
        Ok(())
    }

    async fn start_operator(&self) -> anyhow::Result<Operator> {
        let operator = Operator::start(self.shell).await?;
        self.say(&format!(
            "\n   The operator is up and ready, as a process of this machine: with a token of that account, never as\n   \
             admin. Health and metrics are at http://{}/metrics.",
            operator.address
        ));
        Ok(operator)
    }

    async fn apply(&self) -> anyhow::Result<()> {
        self.shell.heading("3. A namespace, handed over to it");
        self.run(&format!("kubectl apply --server-side -f {QUICKSTART}/namespace.yaml")).await?;
        let question = format!("kubectl auth can-i get secrets --as={ACCOUNT}");
        // The authorizer sees a new binding a moment later.
        wait_until("the grant to be in force", STATUS_LIMIT, async || {
            let ran = self.shell.quietly(&question).await?;
            anyhow::ensure!(ran.status.success(), "{}", ran.text.trim());
            Ok(())
        })
        .await?;
        self.run(&question).await?;

        self.shell.heading("4. A Stack of two components, and two stores for its values");
        self.say("   One store is SOPS files, encrypted to an age key; the other is the cluster itself.");
        self.run(&format!("kubectl apply --server-side -k {QUICKSTART}")).await?;
        Ok(())
    }

    async fn show_what_is_missing(&self, witness: &mut Witness) -> anyhow::Result<()> {
        self.wait_for_ready("False", "ValueMissing").await?;
        self.shell.heading("5. One required value is missing, and the Stack says which");
        let text = self.run("kubectl get stacks").await?;
        expect(&text, "4/5")?;
        expect(&text, "orders-api PAYMENT_API_KEY")?;
        self.run("kubectl atmos-secret list").await?;
        self.say("\nAnd why? A script that must not go on without it asks like this:");
        let text = self.shell.run_for("kubectl atmos-secret validate", 1).await?;
        expect(&text, "PAYMENT_API_KEY")?;
        self.say("\nSecret orders-db is complete and there already; orders-api waits, rather than being half right:");
        self.run("kubectl get secrets --selector=secrets.atmos.tools/stack=plat-ue1-prod").await?;
        witness.secret("orders-db").await?;
        anyhow::ensure!(!witness.has_secret("orders-api"), "Secret orders-api is there without its required value");
        Ok(())
    }

    async fn set(&self, witness: &mut Witness) -> anyhow::Result<()> {
        self.shell.heading("6. The value is set, and its Secret appears");
        self.say(
            "   A random one, piped into the plugin. It is on no command line, and the operator is not told of it.",
        );
        let command = "head -c 18 /dev/urandom | base64 | \
                       kubectl atmos-secret set PAYMENT_API_KEY --component orders-api --stdin --trim";
        let is = |wanted: &'static str| move |seen: &Seen| matches!(seen, Seen::Secret { name, .. } if name == wanted);
        let reaction = witness.reaction("Secret orders-api", is(STORE_SECRET), is("orders-api"));
        let (_text, reaction) = tokio::try_join!(self.run(command), reaction)?;
        self.say(&format!("\n   Secret orders-api was there {} after the value was stored.", elapsed(reaction)));
        self.wait_for_ready("True", "Synced").await?;
        self.run("kubectl get secret orders-api").await?;
        let mask = if self.show_values { " --mask=false" } else { "" };
        self.run(&format!("kubectl atmos-secret get PAYMENT_API_KEY --component orders-api{mask}")).await?;
        let stored = witness.secret(STORE_SECRET).await?;
        let target = witness.secret("orders-api").await?;
        anyhow::ensure!(
            stored.get("PAYMENT_API_KEY").is_some_and(|value| target.get("PAYMENT_API_KEY") == Some(value)),
            "Secret orders-api does not hold the value that was set"
        );
        Ok(())
    }

    async fn rotate(&self, witness: &mut Witness) -> anyhow::Result<()> {
        self.shell.heading("7. A value is rotated in its file, and arrives");
        self.say(
            "   sops puts a new password into the encrypted file, as one would in git; here kubectl brings it over.",
        );
        let before = witness.secret("orders-db").await?;
        let file = format!("{QUICKSTART}/secrets/{SOPS_FILE}");
        let identity = format!("SOPS_AGE_KEY_FILE={QUICKSTART}/PUBLIC-demo-identity.txt");
        self.run(&format!(
            "head -c 18 /dev/urandom | base64 | sed 's/.*/\"&\"/' | \
             {identity} sops set --value-stdin {file} '[\"DB_PASSWORD\"]'"
        ))
        .await?;
        let encrypted = std::fs::read_to_string(self.shell.folder().join(&file))?;
        let arrived = |seen: &Seen| match seen {
            Seen::ConfigMap { name, data } => name == "sops-files" && data.get(SOPS_FILE) == Some(&encrypted),
            Seen::Secret { .. } => false,
        };
        let changed = |seen: &Seen| match seen {
            Seen::Secret { name, data } => name == "orders-db" && data.get("DB_PASSWORD") != before.get("DB_PASSWORD"),
            Seen::ConfigMap { .. } => false,
        };
        let command = format!("kubectl apply --server-side -k {QUICKSTART}");
        let reaction = witness.reaction("the new password in Secret orders-db", arrived, changed);
        let (_text, reaction) = tokio::try_join!(self.run(&command), reaction)?;
        self.say(&format!(
            "\n   The new password was in Secret orders-db {} after the file was in the cluster.",
            elapsed(reaction)
        ));
        let line = format!("{identity} sops decrypt --extract '[\"DB_PASSWORD\"]' {file}");
        let ran = if self.show_values { self.run(&line).await? } else { self.shell.quietly(&line).await?.text };
        let after = witness.secret("orders-db").await?;
        let arrived = after.get("DB_PASSWORD").is_some_and(|value| value.as_slice() == ran.trim_end().as_bytes());
        anyhow::ensure!(arrived, "Secret orders-db does not hold the password of the file");
        Ok(())
    }

    async fn repair(&self, witness: &mut Witness) -> anyhow::Result<()> {
        self.shell.heading("8. Somebody removes a key from a Secret by hand, and it is repaired");
        let before = witness.secret("orders-db").await?;
        let edited = Cell::new(false);
        let edit = |seen: &Seen| match seen {
            Seen::Secret { name, data } => {
                let found = name == "orders-db" && *data != before;
                edited.set(edited.get() || found);
                found
            }
            Seen::ConfigMap { .. } => false,
        };
        let repair = |seen: &Seen| match seen {
            Seen::Secret { name, data } => edited.get() && name == "orders-db" && *data == before,
            Seen::ConfigMap { .. } => false,
        };
        let command = r#"kubectl patch secret orders-db --patch '{"data": {"DB_USER": null}}'"#;
        let reaction = witness.reaction("the repair of Secret orders-db", edit, repair);
        let (_text, reaction) = tokio::try_join!(self.run(command), reaction)?;
        self.say(&format!(
            "\n   Secret orders-db was as it should be again {} later, and an Event tells:",
            elapsed(reaction)
        ));
        let events = "kubectl get events --field-selector=reason=Drifted";
        wait_until("the Event", STATUS_LIMIT, async || {
            let ran = self.shell.quietly(events).await?;
            expect(&ran.text, "orders-db")
        })
        .await?;
        self.run(events).await?;
        Ok(())
    }

    async fn finish(&self) -> anyhow::Result<()> {
        self.shell.heading("9. All is well");
        self.wait_for_ready("True", "Synced").await?;
        let text = self.run("kubectl get stacks").await?;
        expect(&text, "5/5")?;
        self.run("kubectl atmos-secret validate").await?;
        Ok(())
    }

    /// Waits for a status of the Stack's condition Ready.
    async fn wait_for_ready(&self, status: &str, reason: &str) -> anyhow::Result<()> {
        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("secrets.atmos.tools", "v1alpha1", "Stack"));
        let stacks: Api<DynamicObject> = Api::namespaced_with(self.stage.client.clone(), NAMESPACE, &kind);
        wait_until(format_args!("Stack {STACK} to be Ready={status}, {reason}"), STATUS_LIMIT, async || {
            let stack = stacks.get(STACK).await?;
            let conditions = stack.data.pointer("/status/conditions").and_then(Value::as_array);
            let ready = conditions
                .and_then(|list| list.iter().find(|one| one.get("type").and_then(Value::as_str) == Some("Ready")))
                .context("no condition Ready yet")?;
            let field = |name: &str| ready.get(name).and_then(Value::as_str).unwrap_or_default();
            anyhow::ensure!(field("status") == status && field("reason") == reason, "{ready}");
            Ok(())
        })
        .await
    }

    fn say(&self, text: &str) {
        self.shell.say(text);
    }

    async fn run(&self, line: &str) -> anyhow::Result<String> {
        self.shell.run(line).await
    }
}

/// Says how to go on, on a cluster that stays up.
pub(super) fn invite(stage: &Stage, shell: &Shell, operator: &Operator) {
    shell.heading("Now you");
    let what = if stage.is_local() { "The cluster stays up" } else { "All this stays" };
    shell.say(&format!(
        "{what} until you press Ctrl-C here. In another terminal:\n\n  \
         export KUBECONFIG={kubeconfig}\n  \
         export PATH={programs}:$PATH\n  \
         cd {folder}\n\n  \
         kubectl atmos-secret describe\n  \
         kubectl get stack {STACK} -o yaml\n  \
         kubectl explain stack.spec\n  \
         tail -f operator.log\n  \
         curl http://{address}/metrics",
        kubeconfig = shell.kubeconfig().display(),
        programs = shell.programs().display(),
        folder = shell.folder().display(),
        address = operator.address,
    ));
}

fn expect(text: &str, part: &str) -> anyhow::Result<()> {
    anyhow::ensure!(text.contains(part), "expected to read {part:?} in:\n{text}");
    Ok(())
}

fn elapsed(duration: Duration) -> String {
    format!("{} ms", duration.as_millis().max(1))
}
