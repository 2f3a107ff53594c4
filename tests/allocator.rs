//! The allocator of both programs leaves nothing behind: what was freed is read back from the process's own memory.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use atmos_secrets::memory;

#[global_allocator]
static ALLOCATOR: memory::Zeroing = memory::ZEROING;

const PATTERN: u8 = 0xA7;

/// Small, of a page, and so large that the system's allocator asks the kernel for it and gives it back when freed.
const SIZES: [usize; 5] = [24, 100, 4096, 60_000, 1 << 20];

/// One test at a time: another one would take the freed block and write the pattern into it again.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn patterned(size: usize) -> Vec<u8> {
    std::hint::black_box(vec![PATTERN; size])
}

fn address(bytes: &[u8]) -> u64 {
    bytes.as_ptr() as u64
}

/// How many bytes of the pattern are at an address now; 0 if no memory is there any more.
fn left_at(address: u64, size: usize) -> usize {
    let mut bytes = vec![0; size];
    match File::open("/proc/self/mem").unwrap().read_exact_at(&mut bytes, address) {
        Ok(()) => bytes.into_iter().filter(|byte| *byte == PATTERN).count(),
        Err(_gone) => 0,
    }
}

/// The allocator keeps its list of free blocks in their first bytes: two pointers that may look like the pattern.
const POINTERS: usize = 16;

#[test]
fn freed_memory_is_zeroed() {
    let _turn = alone();
    for size in SIZES {
        let bytes = patterned(size);
        let place = address(&bytes);
        assert_eq!(left_at(place, size), size, "memory cannot be read back");
        drop(bytes);
        assert!(left_at(place, size) <= POINTERS, "{size} freed bytes can still be read");
    }
}

#[test]
fn the_old_place_of_a_growing_block_is_zeroed() {
    let _turn = alone();
    for size in SIZES {
        let mut bytes = patterned(size);
        let old = address(&bytes);
        bytes.reserve_exact(size * 4);
        assert_ne!(address(&bytes), old, "a block that grows moves");
        assert!(left_at(old, size) <= POINTERS, "{size} bytes can still be read where they were");
        assert!(bytes.iter().all(|byte| *byte == PATTERN));
    }
}

#[test]
fn what_a_shrinking_block_gives_up_is_zeroed() {
    let _turn = alone();
    for size in SIZES {
        let mut bytes = patterned(size);
        let old = address(&bytes);
        bytes.truncate(8);
        bytes.shrink_to_fit();
        assert!(left_at(old, size) <= POINTERS, "{size} bytes can still be read where they were");
    }
}
