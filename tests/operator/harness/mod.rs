//! What the tests of the operator stand on: a real control plane, the built binary as its own service account, and
//! namespaces that end with a search for values where none may be.
//!
//! Most tests need one line, share one operator and keep apart by their namespaces:
//!
//! ```ignore
//! let tenant = Tenant::new().await?;
//! let password = tenant.canary();
//! tenant.store("app", "kubernetes: {}").await?;
//! tenant.values("atmos.prod.orders-db", &[("DB_PASSWORD", &password)]).await?;
//! tenant.stack("prod", "…").await?;
//! tenant.wait_ready("prod").await?;
//! assert_eq!(tenant.secret("prod-orders-db").await?, secret(&[("DB_PASSWORD", &password)]));
//! ```
//!
//! A test that ends the operator, stops servers or must not be seen by others makes its own [`Cluster`], an
//! [`Operator`] on it, and [`Tenant::on`] that cluster.

mod canary;
mod cluster;
mod memory;
mod neighbour;
mod objects;
mod operator;
mod rounds;
mod sweep;
mod tenant;
mod waiting;

pub use cluster::Cluster;
pub use memory::readable;
pub use neighbour::Neighbour;
pub use operator::{OPERATOR, Operator, Options};
pub use rounds::expect_round;
pub use tenant::{Grant, Tenant};
pub use waiting::{condition, state_of, told_of};

use std::collections::BTreeMap;
use std::time::Duration;

/// How long anything may take. Far more than it does, since the machine may be busy; a test that passes never waits so
/// long.
pub const LIMIT: Duration = Duration::from_secs(60);

/// The data of a Secret as a test expects them.
pub fn secret(data: &[(&str, &str)]) -> Option<BTreeMap<String, Vec<u8>>> {
    Some(data.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect())
}
