//! The memory of both programs: zeroed when it is freed, readable by nobody else, dumped nowhere.
//!
//! [`SecretValue`](crate::value::SecretValue) zeroes the bytes that it owns. Copies that libraries make on the way (TLS
//! records, HTTP buffers, a JSON parser's scratch space, a vector that grew) are freed by code that knows nothing of
//! values. Hence three measures, each for what the others do not reach:
//!
//! | memory | measure |
//! |---|---|
//! | freed | [`Zeroing`], the allocator of both programs, zeroes it; C code of the TLS library does so by itself |
//! | of a stack, after a function returned | [`wipe_stack`], whenever a thread of the operator is about to wait |
//! | of a connection, as long as it is open | connections for values close when idle, see [`cluster`](crate::cluster) |
//!
//! An operator that has nothing to do therefore holds no value at all: `tests/operator/memory.rs` searches all of its
//! memory. It does hold, for as long as a Store exists, the keys that decrypt its files, and its own digest key.
//!
//! What none of this reaches: registers; pages that the system swaps out, which kubelets do without; and the last line
//! of a watch, which stays in the buffer of the watch's connection until the next one comes. Watches on Secrets ask for
//! metadata alone, so that line can hold a value only where `kubectl apply` put one into the annotation
//! `kubectl.kubernetes.io/last-applied-configuration` of a Secret.

use std::alloc::System;

use zeroize::Zeroize as _;
use zeroizing_alloc::ZeroAlloc;

/// An allocator that zeroes every block before it goes back, also the old place of a block that grows or shrinks: such
/// a block always moves. The inner allocator may be any other.
pub type Zeroing = ZeroAlloc<System>;

/// For `#[global_allocator]`.
pub const ZEROING: Zeroing = ZeroAlloc(System);

/// Lets no core dump be made of this process, and no other process without `CAP_SYS_PTRACE` read its memory or its
/// environment, not even one of the same user. Best effort: where the system refuses, the program works all the same.
///
/// On Linux that is `PR_SET_DUMPABLE` (`man 2const PR_SET_DUMPABLE`); it also covers dumps that go to a program through
/// a pipe, which heed no limit. Elsewhere only the limit of a core file's size is set.
pub fn forbid_dumps() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, setrlimit};
        let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    }
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    }
}

/// How far [`wipe_stack`] reaches, which takes about 3 µs. Without optimisation, frames are many times larger: a sync was
/// seen to leave traces 200 KiB deep. The stack of a thread of the runtime has 2 MiB.
const WIPED: usize = if cfg!(debug_assertions) { 512 << 10 } else { 64 << 10 };

/// Zeroes what functions that have returned left on this thread's stack. For a thread that is about to wait, called where
/// it has returned from everything.
#[inline(never)]
pub fn wipe_stack() {
    // Words, since each of these writes is one that the compiler may neither drop nor merge with another.
    let mut below = [0u64; WIPED / size_of::<u64>()];
    below.zeroize();
}
