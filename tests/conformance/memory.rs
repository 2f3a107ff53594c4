//! The reference implementation, by itself and under guard.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use atmos_secrets::backend::guarded::{Guarded, Operation};
use atmos_secrets::backend::memory::{Fault, Memory};
use atmos_secrets::backend::{Backend, Error, ErrorKind, Key};

use crate::suite::{self, Subject};

struct InMemory {
    memory: Arc<Memory>,
    backend: Arc<dyn Backend>,
}

fn guarded(memory: Arc<Memory>) -> Arc<dyn Backend> {
    let unobserved = Arc::new(|_: Operation, _: &'static str, _: Duration| {});
    Arc::new(Guarded::new(memory, "Store/memory".to_owned(), Duration::from_millis(200), unobserved))
}

#[async_trait]
impl Subject for InMemory {
    fn backend(&self) -> Arc<dyn Backend> {
        Arc::clone(&self.backend)
    }

    fn key(&self, name: &str) -> Key {
        Key::current(name)
    }

    async fn set(&self, values: &[(&str, &[u8])]) {
        for (name, bytes) in values {
            self.memory.set(name, *bytes);
        }
    }

    async fn unset(&self, name: &str) {
        self.memory.forget(name);
    }

    fn holds_binary(&self) -> bool {
        true
    }

    fn odd_names(&self) -> Vec<&'static str> {
        vec!["a/b/c", "a#b", "..", "ä", " ", "%2e%2e", "a b", "a?b", "{{ x }}"]
    }

    fn illegal_keys(&self) -> Vec<Key> {
        vec![Key::current("")]
    }

    async fn failing(&self) -> Vec<(&'static str, Arc<dyn Backend>, ErrorKind)> {
        let kinds = [
            ErrorKind::PermissionDenied,
            ErrorKind::Unauthenticated,
            ErrorKind::RateLimited,
            ErrorKind::Unavailable,
            ErrorKind::Unexpected,
        ];
        let failing = kinds.into_iter().map(|kind| {
            let memory = Arc::new(Memory::new());
            memory.fail_next(std::iter::repeat_n(Fault::Error(Error::new(kind, "told to fail")), 3));
            ("told to fail", guarded(memory), kind)
        });
        let hanging = Arc::new(Memory::new());
        hanging.fail_next([Fault::Hang]);
        failing.chain([("hangs", guarded(hanging), ErrorKind::Timeout)]).collect()
    }

    fn value_reads(&self) -> Option<usize> {
        Some(self.memory.calls().iter().filter(|(operation, _)| *operation == Operation::Read).count())
    }
}

#[tokio::test]
async fn memory_keeps_the_guarantees() {
    let memory = Arc::new(Memory::new());
    suite::run(&InMemory { backend: memory.clone(), memory }).await;
}

#[tokio::test]
async fn guarded_memory_keeps_the_guarantees() {
    let memory = Arc::new(Memory::new());
    suite::run(&InMemory { backend: guarded(memory.clone()), memory }).await;
}
