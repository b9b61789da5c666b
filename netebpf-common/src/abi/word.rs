//! A number that several CPUs, and the user side, read and change in place.

use core::sync::atomic::AtomicU64;
#[cfg(not(target_arch = "bpf"))]
use core::sync::atomic::Ordering::Relaxed;

/// 64 bits in native byte order, read and written whole, with no order among several of them.
///
/// It is an [`AtomicU64`] where there is one. Rust's BPF target has the type, but LLVM cannot select its
/// loads and stores before BPF's fourth instruction set, which older kernels lack; there a volatile access
/// is the one instruction that is wanted. Atomic addition is [`crate::datapath::Host::add`].
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct SharedWord(AtomicU64);

impl SharedWord {
    /// A new one.
    pub const fn new(value: u64) -> Self {
        Self(AtomicU64::new(value))
    }

    /// What it holds.
    #[inline(always)]
    pub fn load(&self) -> u64 {
        #[cfg(not(target_arch = "bpf"))]
        return self.0.load(Relaxed);
        #[cfg(target_arch = "bpf")]
        #[expect(unsafe_code)]
        // SAFETY: the pointer is to this word; an aligned 64-bit access is one BPF instruction.
        return unsafe { self.0.as_ptr().read_volatile() };
    }

    /// Replaces it.
    #[inline(always)]
    pub fn store(&self, value: u64) {
        #[cfg(not(target_arch = "bpf"))]
        self.0.store(value, Relaxed);
        #[cfg(target_arch = "bpf")]
        #[expect(unsafe_code)]
        // SAFETY: as above.
        unsafe {
            self.0.as_ptr().write_volatile(value);
        }
    }

    /// Where it is, for an atomic addition.
    #[inline(always)]
    pub const fn as_ptr(&self) -> *mut u64 {
        self.0.as_ptr()
    }

    /// Adds, and returns what was there before.
    #[cfg(not(target_arch = "bpf"))]
    pub fn add(&self, amount: u64) -> u64 {
        self.0.fetch_add(amount, Relaxed)
    }
}
