"""The CPU's thread pool, as LLVM IR text: how a phase's work items are shared.

**Sharing a phase.** The calling thread (number 0) cuts a phase's work items into one segment a thread and writes each
into that thread's *ticket*, a cache line of its own: (chunks left, begin, end, items a chunk). Whoever wants work
decrements a ticket; a positive old value is a claim to one chunk. Threads take from their own ticket first, so that
a thread finds the same part of an array in its cache in the next kernel, and then from the others'. The phase is over
when `pending`, the number of items not done yet, is zero. So no phase waits for a worker that has not woken up: the
others do its share. A claim made by a thread that was delayed since an earlier phase is as good as any, because
everything describing the phase is read after the claim, and is not rewritten while a claim is out.

**Waiting.** `epoch` counts phases. A worker that finds no work spins on it for a while, then sleeps. The caller wakes
two sleepers, each of which wakes two more. Threads sleep on a futex (Linux) or on a condition variable (other POSIX
systems); without either ("none") programs run on the calling thread.
"""
from __future__ import annotations

import re

from torsh.runtime.cpu import pool_system_ir

#: Cache lines are 64 bytes, fetched in pairs by some processors.
LINE = 128

# The pool: byte offsets of its fields.
POOL_EPOCH, POOL_STOPPING, POOL_ACTIVE = 0, 4, 8  # i32 each
POOL_SLEEPERS, POOL_CALLER_SLEEPS = LINE, LINE + 4  # i32 each
POOL_PENDING = 2 * LINE  # i64
POOL_STEP, POOL_SLOTS = 3 * LINE, 3 * LINE + 8  # the phase being shared: ptr, ptr
POOL_BUSY, POOL_STARTED = 4 * LINE, 4 * LINE + 4  # i32 each
POOL_THREADS = 4 * LINE + 8  # i64: the threads to share among, counting the caller
POOL_RUNNING = 4 * LINE + 16  # i64: those that could be started, counting the caller
POOL_SPIN = 4 * LINE + 24  # i64: ns
POOL_MUTEX, POOL_WORKERS_CONDITION, POOL_CALLER_CONDITION = 5 * LINE, 6 * LINE, 7 * LINE
POOL_TICKETS = 8 * LINE  # then a line for each thread:
TICKET_LEFT, TICKET_BEGIN, TICKET_END, TICKET_CHUNK = 0, 8, 16, 24  # i64 each
TICKET_POOL, TICKET_INDEX, TICKET_HANDLE = 32, 40, 48  # ptr, i64, pthread_t
MAX_THREADS = 1024
POOL_BYTES = POOL_TICKETS + MAX_THREADS * LINE

#: A share is taken in this many pieces, so that a thread that is late or slow leaves work to the others.
CHUNKS_PER_THREAD = 8
#: Within a run workers spin this long (ns) before they sleep: the next parallel phase is likely near.
ACTIVE_SPIN_NS = 1_000_000

_SYSTEM_CALL_FUTEX = {"x86_64": 202, "aarch64": 98}
_PAUSE = {
    "x86_64": ("declare void @llvm.x86.sse2.pause()", "call void @llvm.x86.sse2.pause()"),
    "aarch64": ("declare void @llvm.aarch64.hint(i32)", "call void @llvm.aarch64.hint(i32 1)"),
}
_PAUSE["arm64"] = _PAUSE["aarch64"]


def fill(template: str, constants: dict[str, int]) -> str:
    """The template with {NAME} replaced by constants."""
    return re.sub(r"\{([A-Z_]+)\}", lambda match: str(constants[match[1]]), template)


def text(threads: str, arch: str) -> str:
    """The pool's functions; they call `@execute` of the executor.

    `threads` says what threads sleep on: "futex", "pthread" or "none" (no threads). The clock's number is Linux's for
    "futex", and for "pthread" that of the platform this runs on.
    """
    if threads == "none":
        return pool_system_ir.NO_THREADS
    import time
    constants: dict[str, int] = {name: value for name, value in globals().items() if isinstance(value, int)}
    constants["CHUNK_ROUNDING"] = CHUNKS_PER_THREAD - 1
    constants["CLOCK"] = time.CLOCK_MONOTONIC
    constants["FUTEX"] = _SYSTEM_CALL_FUTEX.get(arch, 0)
    declaration, call = _PAUSE[arch]
    sleep = {"futex": pool_system_ir.FUTEX, "pthread": pool_system_ir.CONDITION}[threads]
    body = _SHARING + pool_system_ir.LIFE + sleep
    return declaration + "\n" + fill(body.replace("{PAUSE}", call), constants)


_SHARING = """
declare i32 @clock_gettime(i32, ptr) nounwind

define internal i64 @now() nounwind {
  %time = alloca {i64, i64}
  %ignored = call i32 @clock_gettime(i32 {CLOCK}, ptr %time)
  %seconds = load i64, ptr %time
  %rest.at = getelementptr i64, ptr %time, i64 1
  %rest = load i64, ptr %rest.at
  %scaled = mul i64 %seconds, 1000000000
  %all = add i64 %scaled, %rest
  ret i64 %all
}

; Claim and run chunks of thread %index's segment until none is left; returns the number of items done.
define internal i64 @drain(ptr %pool, i64 %index) nounwind noinline {
entry:
  %line = mul i64 %index, {LINE}
  %tickets = getelementptr i8, ptr %pool, i64 {POOL_TICKETS}
  %ticket = getelementptr i8, ptr %tickets, i64 %line
  br label %look
look:
  %done = phi i64 [0, %entry], [%done.next, %work]
  %seen = load atomic i64, ptr %ticket monotonic, align 8
  %some = icmp sgt i64 %seen, 0
  br i1 %some, label %claim, label %none
claim:
  %left = atomicrmw sub ptr %ticket, i64 1 acq_rel
  %claimed = icmp sgt i64 %left, 0
  br i1 %claimed, label %work, label %none
work:
  %segment.begin.at = getelementptr i8, ptr %ticket, i64 {TICKET_BEGIN}
  %segment.begin = load i64, ptr %segment.begin.at
  %segment.end.at = getelementptr i8, ptr %ticket, i64 {TICKET_END}
  %segment.end = load i64, ptr %segment.end.at
  %chunk.at = getelementptr i8, ptr %ticket, i64 {TICKET_CHUNK}
  %chunk = load i64, ptr %chunk.at
  %step.at = getelementptr i8, ptr %pool, i64 {POOL_STEP}
  %step = load ptr, ptr %step.at
  %slots.at = getelementptr i8, ptr %pool, i64 {POOL_SLOTS}
  %slots = load ptr, ptr %slots.at
  ; chunks are cut from the end, so that the number left says where: the first one claimed is the segment's first
  %back = mul i64 %left, %chunk
  %begin.cut = sub i64 %segment.end, %back
  %begin = call i64 @llvm.smax.i64(i64 %begin.cut, i64 %segment.begin)
  %end = add i64 %begin.cut, %chunk
  call void @execute(ptr %step, ptr %slots, i64 %begin, i64 %end)
  %items = sub i64 %end, %begin
  %done.next = add i64 %done, %items
  br label %look
none:
  ret i64 %done
}

; Report items as done; whoever finishes the phase wakes the caller if it sleeps.
define internal void @report(ptr %pool, i64 %items) nounwind {
  %pending.at = getelementptr i8, ptr %pool, i64 {POOL_PENDING}
  %before = atomicrmw sub ptr %pending.at, i64 %items seq_cst
  %last = icmp eq i64 %before, %items
  br i1 %last, label %look, label %done
look:
  %sleeps.at = getelementptr i8, ptr %pool, i64 {POOL_CALLER_SLEEPS}
  %sleeps = load atomic i32, ptr %sleeps.at seq_cst, align 4
  %asleep = icmp ne i32 %sleeps, 0
  br i1 %asleep, label %wake, label %done
wake:
  call void @wake_caller(ptr %pool)
  br label %done
done:
  ret void
}

; Thread %index's part in a phase: its own segment, then what is left of the others'.
define internal void @participate(ptr %pool, i64 %index) nounwind {
entry:
  %threads.at = getelementptr i8, ptr %pool, i64 {POOL_RUNNING}
  %threads = load i64, ptr %threads.at
  br label %loop
loop:
  %round = phi i64 [0, %entry], [%round.next, %next]
  %segment = phi i64 [%index, %entry], [%segment.next, %next]
  %items = call i64 @drain(ptr %pool, i64 %segment)
  %some = icmp ne i64 %items, 0
  br i1 %some, label %tell, label %next
tell:
  call void @report(ptr %pool, i64 %items)
  br label %next
next:
  %segment.up = add i64 %segment, 1
  %wraps = icmp sge i64 %segment.up, %threads
  %segment.next = select i1 %wraps, i64 0, i64 %segment.up
  %round.next = add i64 %round, 1
  %more = icmp slt i64 %round.next, %threads
  br i1 %more, label %loop, label %done
done:
  ret void
}

; Tell the workers there is something new; two sleepers are woken and pass it on.
define internal void @announce(ptr %pool) nounwind {
  %epoch.old = atomicrmw add ptr %pool, i32 1 seq_cst
  call void @wake_if_asleep(ptr %pool)
  ret void
}

define internal void @wake_if_asleep(ptr %pool) nounwind {
  %sleepers.at = getelementptr i8, ptr %pool, i64 {POOL_SLEEPERS}
  %sleepers = load atomic i32, ptr %sleepers.at seq_cst, align 4
  %some = icmp ne i32 %sleepers, 0
  br i1 %some, label %wake, label %done
wake:
  call void @wake_workers(ptr %pool, i32 2)
  br label %done
done:
  ret void
}

define internal ptr @worker(ptr %ticket) nounwind {
entry:
  %pool.at = getelementptr i8, ptr %ticket, i64 {TICKET_POOL}
  %pool = load ptr, ptr %pool.at
  %index.at = getelementptr i8, ptr %ticket, i64 {TICKET_INDEX}
  %index = load i64, ptr %index.at
  %stopping.at = getelementptr i8, ptr %pool, i64 {POOL_STOPPING}
  %active.at = getelementptr i8, ptr %pool, i64 {POOL_ACTIVE}
  %spin.at = getelementptr i8, ptr %pool, i64 {POOL_SPIN}
  %spin = load i64, ptr %spin.at
  %sleepers.at = getelementptr i8, ptr %pool, i64 {POOL_SLEEPERS}
  br label %look
look:
  %seen = load atomic i32, ptr %pool acquire, align 8
  %stopping = load atomic i32, ptr %stopping.at acquire, align 4
  %stop = icmp ne i32 %stopping, 0
  br i1 %stop, label %leave, label %take
leave:
  ret ptr null
take:
  call void @participate(ptr %pool, i64 %index)
  %idle.since = call i64 @now()
  br label %idle
idle:
  %tries = phi i32 [0, %take], [%tries.next, %again], [0, %time]
  %epoch = load atomic i32, ptr %pool acquire, align 8
  %changed = icmp ne i32 %epoch, %seen
  br i1 %changed, label %look, label %again.check
again.check:
  {PAUSE}
  %tries.next = add i32 %tries, 1
  %tired = icmp ugt i32 %tries.next, 32
  br i1 %tired, label %time, label %again
again:
  br label %idle
time:
  %now = call i64 @now()
  %idle.for = sub i64 %now, %idle.since
  %active = load atomic i32, ptr %active.at monotonic, align 4
  %in.run = icmp ne i32 %active, 0
  %patience = select i1 %in.run, i64 {ACTIVE_SPIN_NS}, i64 %spin
  %enough = icmp sgt i64 %idle.for, %patience
  br i1 %enough, label %sleep, label %idle
sleep:
  %ignored = atomicrmw add ptr %sleepers.at, i32 1 seq_cst
  call void @sleep_worker(ptr %pool, i32 %seen)
  %ignored.2 = atomicrmw sub ptr %sleepers.at, i32 1 seq_cst
  %epoch.now = load atomic i32, ptr %pool acquire, align 8
  %nothing.new = icmp eq i32 %epoch.now, %seen
  br i1 %nothing.new, label %look, label %pass.on
pass.on:                                          ; only what is new: else two sleepers would wake each other for ever
  call void @wake_if_asleep(ptr %pool)
  br label %look
}

; Share a step's items among the pool's threads and wait until all are done.
define internal void @share(ptr %pool, ptr %step, ptr %slots, i64 %total) nounwind {
entry:
  %threads.at = getelementptr i8, ptr %pool, i64 {POOL_RUNNING}
  %threads = load i64, ptr %threads.at
  %parts = call i64 @llvm.smin.i64(i64 %threads, i64 %total)
  %alone = icmp sle i64 %parts, 1
  br i1 %alone, label %run.alone, label %publish
run.alone:
  call void @execute(ptr %step, ptr %slots, i64 0, i64 %total)
  ret void
publish:
  %step.at = getelementptr i8, ptr %pool, i64 {POOL_STEP}
  store ptr %step, ptr %step.at
  %slots.at = getelementptr i8, ptr %pool, i64 {POOL_SLOTS}
  store ptr %slots, ptr %slots.at
  %pending.at = getelementptr i8, ptr %pool, i64 {POOL_PENDING}
  store atomic i64 %total, ptr %pending.at monotonic, align 8
  %share = sdiv i64 %total, %parts
  %extra = srem i64 %total, %parts
  %share.up = add i64 %share, {CHUNK_ROUNDING}
  %chunk = sdiv i64 %share.up, {CHUNKS_PER_THREAD}
  %tickets = getelementptr i8, ptr %pool, i64 {POOL_TICKETS}
  br label %hand.out
hand.out:
  %i = phi i64 [0, %publish], [%i.next, %hand.out]
  %begin = phi i64 [0, %publish], [%end, %hand.out]
  %gets.extra = icmp slt i64 %i, %extra
  %one = zext i1 %gets.extra to i64
  %size = add i64 %share, %one
  %end = add i64 %begin, %size
  %size.up = add i64 %size, %chunk
  %size.less = sub i64 %size.up, 1
  %chunks = sdiv i64 %size.less, %chunk
  %line = mul i64 %i, {LINE}
  %ticket = getelementptr i8, ptr %tickets, i64 %line
  %begin.at = getelementptr i8, ptr %ticket, i64 {TICKET_BEGIN}
  store i64 %begin, ptr %begin.at
  %end.at = getelementptr i8, ptr %ticket, i64 {TICKET_END}
  store i64 %end, ptr %end.at
  %chunk.at = getelementptr i8, ptr %ticket, i64 {TICKET_CHUNK}
  store i64 %chunk, ptr %chunk.at
  store atomic i64 %chunks, ptr %ticket release, align 8
  %i.next = add i64 %i, 1
  %more = icmp slt i64 %i.next, %parts
  br i1 %more, label %hand.out, label %announce.phase
announce.phase:
  call void @announce(ptr %pool)
  call void @participate(ptr %pool, i64 0)
  %left.now = load atomic i64, ptr %pending.at acquire, align 8
  %finished.now = icmp eq i64 %left.now, 0
  br i1 %finished.now, label %finished, label %wait
wait:
  %since = call i64 @now()
  %spin.at = getelementptr i8, ptr %pool, i64 {POOL_SPIN}
  %spin = load i64, ptr %spin.at
  br label %poll
poll:
  %tries = phi i32 [0, %wait], [%tries.next, %again], [0, %time]
  %left = load atomic i64, ptr %pending.at acquire, align 8
  %over = icmp eq i64 %left, 0
  br i1 %over, label %finished, label %again.check
again.check:
  {PAUSE}
  %tries.next = add i32 %tries, 1
  %tired = icmp ugt i32 %tries.next, 32
  br i1 %tired, label %time, label %again
again:
  br label %poll
time:
  %now = call i64 @now()
  %waited = sub i64 %now, %since
  %enough = icmp sgt i64 %waited, %spin
  br i1 %enough, label %sleep, label %poll
sleep:
  %sleeps.at = getelementptr i8, ptr %pool, i64 {POOL_CALLER_SLEEPS}
  store atomic i32 1, ptr %sleeps.at seq_cst, align 4
  br label %sleep.check
sleep.check:
  %still = load atomic i64, ptr %pending.at seq_cst, align 8
  %none.left = icmp eq i64 %still, 0
  br i1 %none.left, label %awake, label %sleep.now
sleep.now:
  %still.low = trunc i64 %still to i32
  call void @sleep_caller(ptr %pool, i32 %still.low)
  br label %sleep.check
awake:
  store atomic i32 0, ptr %sleeps.at monotonic, align 4
  br label %finished
finished:
  ret void
}
"""
