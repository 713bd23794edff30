//! A process that does nothing but wait until it is killed, in a page or two of memory of its own.

#![allow(
    unsafe_code,
    reason = "memory that the program still believes in is thrown away, and only assembly runs after that"
)]

use crate::process;
use crate::signal;
use rustix::process::WaitId;
use rustix::process::WaitIdOptions;

/// Waits for ever: SIGTERM ends the process with 0; children that have ended are reaped if SIGCHLD is among `signals`, which
/// are to be blocked. Of its memory, what was written is given back to the kernel where that is known how (x86-64).
pub fn wait(signals: &[i32]) -> ! {
    signal::block_only(signals);
    process::trim_memory();
    #[cfg(target_arch = "x86_64")]
    forgetful::wait(signals);
    #[allow(unreachable_code, reason = "for other machines")]
    loop {
        if signal::wait_for(signals) == signal::TERMINATE {
            process::exit_now(0);
        }
        while matches!(
            rustix::process::waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOHANG),
            Ok(Some(_))
        ) {}
    }
}

#[cfg(target_arch = "x86_64")]
mod forgetful {
    use std::ffi::c_void;

    const PAGE: usize = 4096;
    /// More than a stack has ever used below the frame of [`wait`], and less than the kernel keeps free below it (1 MiB).
    const DEPTH: usize = 512 * 1024;
    /// A larger heap is not believed in.
    const HEAP: usize = 64 * 1024 * 1024;
    const RANGES: usize = 8;

    /// What the assembly reads; it lies in the frame of `wait`, which is kept.
    #[repr(C)]
    struct Plan {
        /// A kernel's signal set: bit n - 1 for signal n.
        signals: u64,
        count: u64,
        /// Start and length of memory that is thrown away.
        ranges: [(usize, usize); RANGES],
    }

    impl Plan {
        fn push(&mut self, start: usize, end: usize) {
            let start = start & !(PAGE - 1);
            let end = end.next_multiple_of(PAGE);
            let index = usize::try_from(self.count).unwrap_or(RANGES);
            if let Some(place) = self.ranges.get_mut(index)
                && start < end
            {
                *place = (start, end - start);
                self.count += 1;
            }
        }
    }

    /// Takes the writable segments of the program itself, which comes first, into the plan.
    unsafe extern "C" fn add_segments(
        object: *mut libc::dl_phdr_info,
        _size: usize,
        plan: *mut c_void,
    ) -> libc::c_int {
        // SAFETY: dl_iterate_phdr calls with a valid object, which lives during the call.
        let object = unsafe { &*object };
        // SAFETY: this is the pointer that `wait` gave, to a Plan that nobody else uses meanwhile.
        let plan = unsafe { &mut *plan.cast::<Plan>() };
        // SAFETY: an object's headers are an array of dlpi_phnum that lives as long as the object.
        let headers =
            unsafe { std::slice::from_raw_parts(object.dlpi_phdr, usize::from(object.dlpi_phnum)) };
        for header in headers {
            if header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W != 0 {
                let at = |offset: u64| usize::try_from(object.dlpi_addr + offset).unwrap_or(0);
                plan.push(at(header.p_vaddr), at(header.p_vaddr + header.p_memsz));
            }
        }
        1
    }

    /// The heap of a static program, at whose beginning the C library puts the thread's own data.
    fn heap() -> (usize, usize) {
        let thread: usize;
        // SAFETY: the psABI has the thread pointer's own value at fs:0; nothing is written.
        unsafe {
            std::arch::asm!("mov {}, fs:0", out(reg) thread, options(nostack, readonly, preserves_flags));
        }
        // SAFETY: sbrk(0) changes nothing.
        let end = unsafe { libc::sbrk(0) }.addr();
        // In a dynamic program the thread's data is elsewhere, above the heap.
        if thread < end && end - thread < HEAP {
            (thread, end)
        } else {
            (0, 0)
        }
    }

    /// Everything but the stack.
    fn plan(signals: &[i32]) -> Plan {
        let mut plan = Plan {
            signals: signals
                .iter()
                .fold(0, |set, signal| set | 1 << (signal - 1)),
            count: 0,
            ranges: [(0, 0); RANGES],
        };
        let (start, end) = heap();
        plan.push(start, end);
        // SAFETY: the callback fits its declaration, and `plan` outlives the call.
        unsafe { libc::dl_iterate_phdr(Some(add_segments), (&raw mut plan).cast()) };
        plan
    }

    pub(super) fn wait(signals: &[i32]) -> ! {
        let mut plan = plan(signals);
        let own = (&raw const plan).addr();
        // Callers' frames, up to the page of the arguments, which ps reads: the kernel puts the random bytes just below.
        // SAFETY: getauxval reads what the kernel passed to the program.
        let arguments = usize::try_from(unsafe { libc::getauxval(libc::AT_RANDOM) }).unwrap_or(0);
        let above = (own + size_of::<Plan>()).next_multiple_of(PAGE);
        if arguments > above && arguments - above < DEPTH {
            plan.push(above, arguments & !(PAGE - 1));
        }
        let pointer = &raw mut plan;
        // SAFETY: nothing of this program but this assembly runs from here on, in this or another thread (a process that
        // waits for ever has one), and it uses registers, its code and `plan` alone, whose pages are not in a range: the
        // stack is given back below the stack pointer's page and above the plan's last. MADV_DONTNEED leaves all addresses
        // mapped, so that the kernel's writes for restartable sequences find a page.
        unsafe {
            std::arch::asm!(
                // madvise(below the page of the stack pointer, DEPTH, MADV_DONTNEED)
                "mov rdi, rsp",
                "and rdi, -4096",
                "sub rdi, {depth}",
                "mov esi, {depth}",
                "mov edx, 4",
                "mov eax, 28",
                "syscall",
                // The same for the ranges.
                "mov r13, [r12 + 8]",
                "lea r14, [r12 + 16]",
                "2:",
                "test r13, r13",
                "jz 3f",
                "mov rdi, [r14]",
                "mov rsi, [r14 + 8]",
                "mov edx, 4",
                "mov eax, 28",
                "syscall",
                "add r14, 16",
                "dec r13",
                "jmp 2b",
                // rt_sigtimedwait(&signals, NULL, NULL, 8)
                "3:",
                "mov rdi, r12",
                "xor esi, esi",
                "xor edx, edx",
                "mov r10d, 8",
                "mov eax, 128",
                "syscall",
                "cmp eax, {terminate}",
                "je 5f",
                "cmp eax, {child}",
                "jne 3b",
                // wait4(-1, NULL, WNOHANG, NULL) until there is none
                "4:",
                "mov rdi, -1",
                "xor esi, esi",
                "mov edx, 1",
                "xor r10d, r10d",
                "mov eax, 61",
                "syscall",
                "test eax, eax",
                "jg 4b",
                "jmp 3b",
                // exit_group(0)
                "5:",
                "xor edi, edi",
                "mov eax, 231",
                "syscall",
                "ud2",
                depth = const DEPTH,
                terminate = const libc::SIGTERM,
                child = const libc::SIGCHLD,
                in("r12") pointer,
                options(noreturn),
            );
        }
    }
}
