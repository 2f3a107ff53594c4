//! atmos-secrets-operator: secrets declared by name become native Kubernetes Secrets.
//!
//! This page is the map. The architecture in one picture:
//!
//! ```text
//! Stack + Catalogs ──merge──▶ declarations ──plan──▶ Plan ──batch/guarded──▶ values ──render──▶ Secret data
//!       ▲                         │ every error at once        ▲ one read per distinct key              │ digest differs?
//!       └──── watches ◀── Stores, Catalogs, sources ───────────┘                              target ──▶ PUT/POST, once
//!                                                           outcome ──▶ status (if changed), Event (if changed), next due
//! ```
//!
//! One way, and no stage reaches back. Two loops drive it. *Reconcile* works per Stack and runs only when something
//! changed. *Refresh* works per store: it reads again what is due and queues only the Stacks whose keys changed.
//!
//! | module | what it is | may use |
//! |---|---|---|
//! | [`value`] | secret bytes and keyed digests: the only types that may hold a value | nothing of ours |
//! | [`memory`] | the memory of both programs: zeroed when freed, dumped nowhere | nothing of ours |
//! | [`metrics`] | every metric family | nothing of ours |
//! | [`api`] | the kinds of `secrets.atmos.tools`, their schema, status and reasons | nothing of ours |
//! | [`sops`] | the SOPS file format, a library of its own | value |
//! | [`cluster`] | Secrets and ConfigMaps, read and written without a value leaving [`value`] | api, value |
//! | [`backend`] | stores: the trait, its drivers, the guard around them, shared reads, connections, credentials, the network | api, value; drivers: cluster, sops |
//! | [`model`] | what a Stack means: merge, keys, plan, render, outcome; pure | api, value, the contract of backend |
//! | [`controller`] | watches, queue, reconcile, refresh, targets | model, api, value, metrics, cluster, backend but no driver |
//! | [`cli`] | `kubectl atmos-secret`, one file for each verb | model, api, value, cluster, backend but no driver |
//! | [`process`] | the operator as a process | all |
//!
//! `tests/layering.rs` holds this table against the source.
//!
//! Where to start reading: `controller/reconcile.rs` tells the story of one sync in one screen; `model/mod.rs` has the
//! types that the stages hand on; `backend/mod.rs` is the contract of a store. A new store is one folder under
//! `backend/`, one variant in `api/store.rs`, one arm in each part of `backend/connect.rs`, one key style in
//! `model/backend_key.rs`, one line in the conformance tests and one page in `docs/stores/`.

pub mod api;
pub mod backend;
pub mod cli;
pub mod cluster;
pub mod controller;
pub mod memory;
pub mod metrics;
pub mod model;
pub mod process;
pub mod sops;
pub mod value;
