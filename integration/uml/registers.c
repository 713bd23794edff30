/*
 * For User-mode Linux 6.1 on processors with more registers than it has room for (AVX-512, AMX): loaded before it, see run.
 *
 * The kernel of the host takes the extended state of a traced process (PTRACE_SETREGSET, NT_X86_XSTATE) only whole, and
 * User-mode Linux keeps no more than fits in its buffer: the first process that it starts is killed. Here the whole state is
 * kept beside, by the address of the buffer, and given back when the buffer is.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define STATE_BYTES 16384
#define SLOTS 1024
#define NT_X86_XSTATE 0x202
/* Intel SDM volume 1, 13.4: the legacy region, then the header, whose first word says which parts are in use. */
#define LEGACY_BYTES 512
#define HEADER_BYTES 64
/* Legacy region, header and the upper halves of the YMM registers: x87, SSE, AVX. */
#define AVX_BYTES 832
#define AVX_PARTS 7UL
#define SSE_PARTS 3UL

static struct {
    const void *buffer;
    size_t length;
    char state[STATE_BYTES];
} kept[SLOTS];

static char whole[STATE_BYTES] __attribute__((aligned(64)));

static size_t slot_of(const void *buffer)
{
    return ((unsigned long)buffer >> 4) * 0x9e3779b97f4a7c15UL >> 54;
}

static long get_whole(long pid, size_t *length)
{
    struct iovec state = { whole, sizeof whole };
    long result = syscall(SYS_ptrace, PTRACE_GETREGSET, pid, NT_X86_XSTATE, &state);

    *length = state.iov_len;
    return result;
}

static long get_state(long pid, struct iovec *buffer)
{
    size_t length, slot = slot_of(buffer->iov_base);

    if (get_whole(pid, &length) < 0)
        return -1;
    kept[slot].buffer = buffer->iov_base;
    kept[slot].length = length;
    memcpy(kept[slot].state, whole, length);
    if (buffer->iov_len > length)
        buffer->iov_len = length;
    memcpy(buffer->iov_base, whole, buffer->iov_len);
    return 0;
}

/* What is not kept is a new process: between two system calls, where no more than AVX matters. */
static void overlay(const struct iovec *buffer)
{
    unsigned long now, then;
    unsigned long parts = buffer->iov_len >= AVX_BYTES ? AVX_PARTS : SSE_PARTS;

    memcpy(&now, whole + LEGACY_BYTES, sizeof now);
    memcpy(&then, (const char *)buffer->iov_base + LEGACY_BYTES, sizeof then);
    memcpy(whole, buffer->iov_base, buffer->iov_len < AVX_BYTES ? buffer->iov_len : AVX_BYTES);
    now = (now & ~parts) | (then & parts);
    memcpy(whole + LEGACY_BYTES, &now, sizeof now);
}

static long set_state(long pid, const struct iovec *buffer)
{
    size_t length, slot = slot_of(buffer->iov_base);
    struct iovec state = { whole, 0 };

    if (buffer->iov_len < LEGACY_BYTES + HEADER_BYTES) {
        errno = EINVAL;
        return -1;
    }
    if (get_whole(pid, &length) < 0)
        return -1;
    if (kept[slot].buffer == buffer->iov_base && kept[slot].length == length &&
        memcmp(kept[slot].state, buffer->iov_base, LEGACY_BYTES) == 0)
        memcpy(whole, kept[slot].state, length);
    else
        overlay(buffer);
    state.iov_len = length;
    return syscall(SYS_ptrace, PTRACE_SETREGSET, pid, NT_X86_XSTATE, &state);
}

long ptrace(enum __ptrace_request request, ...)
{
    va_list arguments;
    long pid, result, value;
    void *address, *data;

    va_start(arguments, request);
    pid = va_arg(arguments, pid_t);
    address = va_arg(arguments, void *);
    data = va_arg(arguments, void *);
    va_end(arguments);
    if (request == PTRACE_GETREGSET && (long)address == NT_X86_XSTATE)
        return get_state(pid, data);
    if (request == PTRACE_SETREGSET && (long)address == NT_X86_XSTATE)
        return set_state(pid, data);
    if (request != PTRACE_PEEKTEXT && request != PTRACE_PEEKDATA && request != PTRACE_PEEKUSER)
        return syscall(SYS_ptrace, request, pid, address, data);
    /* As the C library does it: what is read is the result. */
    result = syscall(SYS_ptrace, request, pid, address, &value);
    if (result < 0)
        return result;
    errno = 0;
    return value;
}
