//! `examples/gitops` in a cluster.

#[path = "../chart/helm.rs"]
mod helm;
#[path = "../gitops/judge.rs"]
mod judge;
#[path = "../gitops/render.rs"]
mod render;

mod again;
mod orders;
mod recording;
mod site;
