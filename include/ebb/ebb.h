/* Snapshots from inside a program: docs/inside.md. For C and C++.
 *
 * Nothing has to be linked: the functions are in libebbtide.so, which `ebb run` loads into the program. Without it they
 * are not there, and ebb_available() says so; ask it before any other call. (Compile as position-independent code,
 * which is the default of most compilers: elsewhere the linker may settle it at build time that they are not there.)
 *
 * All functions may be called from any thread, none from a signal handler.
 */
#ifndef EBB_EBB_H
#define EBB_EBB_H

#ifndef EBB_API
#define EBB_API __attribute__((weak))
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define ebb_available() (&ebb_snapshot != 0)

enum ebb_result {
  EBB_ERROR = -1,  /* there is no snapshot, and the program goes on: ebb_last_error() */
  EBB_RUNNING = 0, /* the snapshot is there, this is the original */
  EBB_RESTORED = 1 /* this is a process that was brought back from the snapshot, or a clone */
};

enum ebb_flag {
  EBB_REPLACE = 1,  /* take the place of a snapshot of the same name */
  EBB_PERSISTED = 2 /* return when the snapshot would survive a power failure */
};

/* Takes a snapshot of the job that this process belongs to: all processes below the `ebb run`, or without one this
 * process and its descendants. Returns, as fork does, in the original and in whatever is made of the snapshot. `flags`:
 * 0 or ebb_flag, or-ed. One call at a time; other threads wait for their turn. */
EBB_API int ebb_snapshot(const char* tag, unsigned flags);

/* Why the last call that failed did, in one line; "" when none did. Valid until the next call. */
EBB_API const char* ebb_last_error(void);

/* What `ebb clone --arg NAME=VALUE` gave; NULL when it gave no such thing, and in what is no clone. Valid for ever. */
EBB_API const char* ebb_argument(const char* name);
/* The names of all of them, from 0 on; NULL behind the last. */
EBB_API const char* ebb_argument_name(unsigned index);

/* Functions that ebb_snapshot() calls, in the thread that called it, as pthread_atfork's: before the snapshot (the last
 * registered first); after it in the original, also when it failed; and in what was restored (the first registered
 * first). 0, or EBB_ERROR when there are too many. A snapshot that is taken from outside calls none of them. */
EBB_API int ebb_before_snapshot(void (*hook)(void*), void* data);
EBB_API int ebb_after_snapshot(void (*hook)(void*), void* data);
EBB_API int ebb_after_restore(void (*hook)(void*), void* data);

#ifdef __cplusplus
}
#endif

#endif
