"""What the CPU's thread pool asks of the system, as LLVM IR text: threads, their start and end, and sleep.

The names in braces are filled in by `pool_ir`, whose documentation says how the parts work together.
"""
from __future__ import annotations

#: The pool's life. Threads start in the first run that shares work.
LIFE = """
declare i32 @pthread_create(ptr, ptr, ptr, ptr) nounwind
declare i32 @pthread_join(ptr, ptr) nounwind
declare i32 @sched_yield() nounwind

; Take the pool for a run, starting its threads where needed. False: it is taken, or there is one thread only.
define internal i1 @pool_acquire(ptr %pool) nounwind {
entry:
  %threads.at = getelementptr i8, ptr %pool, i64 {POOL_THREADS}
  %threads = load atomic i64, ptr %threads.at monotonic, align 8
  %several = icmp sgt i64 %threads, 1
  br i1 %several, label %try, label %no
try:
  %busy.at = getelementptr i8, ptr %pool, i64 {POOL_BUSY}
  %taken = atomicrmw xchg ptr %busy.at, i32 1 acquire
  %free = icmp eq i32 %taken, 0
  br i1 %free, label %mine, label %no
mine:
  %active.at = getelementptr i8, ptr %pool, i64 {POOL_ACTIVE}
  store atomic i32 1, ptr %active.at monotonic, align 4
  %started.at = getelementptr i8, ptr %pool, i64 {POOL_STARTED}
  %started = load i32, ptr %started.at
  %running = icmp ne i32 %started, 0
  br i1 %running, label %rouse, label %start
start:
  call void @start_workers(ptr %pool)
  store i32 1, ptr %started.at
  ret i1 true
rouse:                                            ; those that sleep wake while the first serial steps run
  %sleepers.at = getelementptr i8, ptr %pool, i64 {POOL_SLEEPERS}
  %sleepers = load atomic i32, ptr %sleepers.at seq_cst, align 4
  %some = icmp ne i32 %sleepers, 0
  br i1 %some, label %rouse.now, label %yes
rouse.now:
  call void @announce(ptr %pool)
  br label %yes
yes:
  ret i1 true
no:
  ret i1 false
}

define internal void @pool_release(ptr %pool) nounwind {
  %active.at = getelementptr i8, ptr %pool, i64 {POOL_ACTIVE}
  store atomic i32 0, ptr %active.at monotonic, align 4
  %busy.at = getelementptr i8, ptr %pool, i64 {POOL_BUSY}
  store atomic i32 0, ptr %busy.at release, align 4
  ret void
}

; Start threads 1, 2, ...; where the system refuses one, work is shared among those there are.
define internal void @start_workers(ptr %pool) nounwind {
entry:
  call void @prepare_sleep(ptr %pool)
  %threads.at = getelementptr i8, ptr %pool, i64 {POOL_THREADS}
  %threads = load i64, ptr %threads.at
  %running.at = getelementptr i8, ptr %pool, i64 {POOL_RUNNING}
  store i64 %threads, ptr %running.at
  %tickets = getelementptr i8, ptr %pool, i64 {POOL_TICKETS}
  br label %loop
loop:
  %i = phi i64 [1, %entry], [%next, %started]
  %more = icmp slt i64 %i, %threads
  br i1 %more, label %start, label %done
start:
  %line = mul i64 %i, {LINE}
  %ticket = getelementptr i8, ptr %tickets, i64 %line
  store atomic i64 0, ptr %ticket monotonic, align 8
  %pool.at = getelementptr i8, ptr %ticket, i64 {TICKET_POOL}
  store ptr %pool, ptr %pool.at
  %index.at = getelementptr i8, ptr %ticket, i64 {TICKET_INDEX}
  store i64 %i, ptr %index.at
  %handle.at = getelementptr i8, ptr %ticket, i64 {TICKET_HANDLE}
  %failure = call i32 @pthread_create(ptr %handle.at, ptr null, ptr @worker, ptr %ticket)
  %failed = icmp ne i32 %failure, 0
  br i1 %failed, label %refused, label %started
started:
  %next = add i64 %i, 1
  br label %loop
refused:
  store i64 %i, ptr %running.at
  br label %done
done:
  ret void
}

; Wait until no run has the pool, and end its workers. It stays taken: the caller frees it by pool_forget.
define void @pool_stop(ptr %pool) nounwind {
entry:
  %busy.at = getelementptr i8, ptr %pool, i64 {POOL_BUSY}
  br label %try
try:
  %taken = atomicrmw xchg ptr %busy.at, i32 1 acquire
  %free = icmp eq i32 %taken, 0
  br i1 %free, label %mine, label %yield
yield:
  %ignored = call i32 @sched_yield()
  br label %try
mine:
  %started.at = getelementptr i8, ptr %pool, i64 {POOL_STARTED}
  %started = load i32, ptr %started.at
  %running = icmp ne i32 %started, 0
  br i1 %running, label %stop, label %done
stop:
  %stopping.at = getelementptr i8, ptr %pool, i64 {POOL_STOPPING}
  store atomic i32 1, ptr %stopping.at seq_cst, align 4
  %epoch = atomicrmw add ptr %pool, i32 1 seq_cst
  call void @wake_workers(ptr %pool, i32 {MAX_THREADS})
  %threads.at = getelementptr i8, ptr %pool, i64 {POOL_RUNNING}
  %threads = load i64, ptr %threads.at
  %tickets = getelementptr i8, ptr %pool, i64 {POOL_TICKETS}
  br label %loop
loop:
  %i = phi i64 [1, %stop], [%next, %join]
  %more = icmp slt i64 %i, %threads
  br i1 %more, label %join, label %done
join:
  %line = mul i64 %i, {LINE}
  %ticket = getelementptr i8, ptr %tickets, i64 %line
  %handle.at = getelementptr i8, ptr %ticket, i64 {TICKET_HANDLE}
  %handle = load ptr, ptr %handle.at
  %joined = call i32 @pthread_join(ptr %handle, ptr null)
  %next = add i64 %i, 1
  br label %loop
done:
  ret void
}

; The pool as before its first use: no workers, no run, no work left from a run of the parent's.
define void @pool_forget(ptr %pool) nounwind {
entry:
  %threads.at = getelementptr i8, ptr %pool, i64 {POOL_RUNNING}
  %threads = load i64, ptr %threads.at
  %tickets = getelementptr i8, ptr %pool, i64 {POOL_TICKETS}
  br label %loop
loop:
  %i = phi i64 [0, %entry], [%next, %clear]
  %more = icmp slt i64 %i, %threads
  br i1 %more, label %clear, label %rest
clear:
  %line = mul i64 %i, {LINE}
  %ticket = getelementptr i8, ptr %tickets, i64 %line
  store atomic i64 0, ptr %ticket monotonic, align 8
  %next = add i64 %i, 1
  br label %loop
rest:
  %stopping.at = getelementptr i8, ptr %pool, i64 {POOL_STOPPING}
  store i32 0, ptr %stopping.at
  %active.at = getelementptr i8, ptr %pool, i64 {POOL_ACTIVE}
  store i32 0, ptr %active.at
  %sleepers.at = getelementptr i8, ptr %pool, i64 {POOL_SLEEPERS}
  store i32 0, ptr %sleepers.at
  %caller.at = getelementptr i8, ptr %pool, i64 {POOL_CALLER_SLEEPS}
  store i32 0, ptr %caller.at
  %started.at = getelementptr i8, ptr %pool, i64 {POOL_STARTED}
  store i32 0, ptr %started.at
  %busy.at = getelementptr i8, ptr %pool, i64 {POOL_BUSY}
  store atomic i32 0, ptr %busy.at release, align 4
  ret void
}
"""

#: Sleeping on a futex (Linux).
FUTEX = """
declare i64 @syscall(i64, ...) nounwind

define internal void @prepare_sleep(ptr %pool) nounwind {
  ret void
}
; Sleep until woken unless the word differs from %expected (FUTEX_WAIT_PRIVATE).
define internal void @futex_wait(ptr %word, i32 %expected) nounwind {
  %ignored = call i64 (i64, ...) @syscall(i64 {FUTEX}, ptr %word, i64 128, i32 %expected, ptr null, ptr null, i64 0)
  ret void
}
; FUTEX_WAKE_PRIVATE
define internal void @futex_wake(ptr %word, i32 %count) nounwind {
  %ignored = call i64 (i64, ...) @syscall(i64 {FUTEX}, ptr %word, i64 129, i32 %count, ptr null, ptr null, i64 0)
  ret void
}
define internal void @sleep_worker(ptr %pool, i32 %epoch) nounwind {
  call void @futex_wait(ptr %pool, i32 %epoch)
  ret void
}
define internal void @wake_workers(ptr %pool, i32 %count) nounwind {
  call void @futex_wake(ptr %pool, i32 %count)
  ret void
}
define internal void @sleep_caller(ptr %pool, i32 %pending) nounwind {
  %pending.at = getelementptr i8, ptr %pool, i64 {POOL_PENDING}
  call void @futex_wait(ptr %pending.at, i32 %pending)
  ret void
}
define internal void @wake_caller(ptr %pool) nounwind {
  %pending.at = getelementptr i8, ptr %pool, i64 {POOL_PENDING}
  call void @futex_wake(ptr %pending.at, i32 1)
  ret void
}
"""

#: Sleeping on condition variables (POSIX).
CONDITION = """
declare i32 @pthread_mutex_init(ptr, ptr) nounwind
declare i32 @pthread_mutex_lock(ptr) nounwind
declare i32 @pthread_mutex_unlock(ptr) nounwind
declare i32 @pthread_cond_init(ptr, ptr) nounwind
declare i32 @pthread_cond_wait(ptr, ptr) nounwind
declare i32 @pthread_cond_broadcast(ptr) nounwind

define internal void @prepare_sleep(ptr %pool) nounwind {
  %mutex = getelementptr i8, ptr %pool, i64 {POOL_MUTEX}
  %ignored = call i32 @pthread_mutex_init(ptr %mutex, ptr null)
  %workers = getelementptr i8, ptr %pool, i64 {POOL_WORKERS_CONDITION}
  %ignored.2 = call i32 @pthread_cond_init(ptr %workers, ptr null)
  %caller = getelementptr i8, ptr %pool, i64 {POOL_CALLER_CONDITION}
  %ignored.3 = call i32 @pthread_cond_init(ptr %caller, ptr null)
  ret void
}
; Sleep while the word equals %expected. Who changes it broadcasts with the mutex held after the change.
define internal void @condition_wait(ptr %pool, i64 %condition, ptr %word, i32 %expected) nounwind {
  %mutex = getelementptr i8, ptr %pool, i64 {POOL_MUTEX}
  %variable = getelementptr i8, ptr %pool, i64 %condition
  %locked = call i32 @pthread_mutex_lock(ptr %mutex)
  br label %look
look:
  %value = load atomic i32, ptr %word seq_cst, align 4
  %same = icmp eq i32 %value, %expected
  br i1 %same, label %wait, label %done
wait:
  %waited = call i32 @pthread_cond_wait(ptr %variable, ptr %mutex)
  br label %look
done:
  %unlocked = call i32 @pthread_mutex_unlock(ptr %mutex)
  ret void
}
define internal void @condition_wake(ptr %pool, i64 %condition) nounwind {
  %mutex = getelementptr i8, ptr %pool, i64 {POOL_MUTEX}
  %variable = getelementptr i8, ptr %pool, i64 %condition
  %locked = call i32 @pthread_mutex_lock(ptr %mutex)
  %woken = call i32 @pthread_cond_broadcast(ptr %variable)
  %unlocked = call i32 @pthread_mutex_unlock(ptr %mutex)
  ret void
}
define internal void @sleep_worker(ptr %pool, i32 %epoch) nounwind {
  call void @condition_wait(ptr %pool, i64 {POOL_WORKERS_CONDITION}, ptr %pool, i32 %epoch)
  ret void
}
define internal void @wake_workers(ptr %pool, i32 %count) nounwind {
  call void @condition_wake(ptr %pool, i64 {POOL_WORKERS_CONDITION})
  ret void
}
define internal void @sleep_caller(ptr %pool, i32 %pending) nounwind {
  %pending.at = getelementptr i8, ptr %pool, i64 {POOL_PENDING}
  call void @condition_wait(ptr %pool, i64 {POOL_CALLER_CONDITION}, ptr %pending.at, i32 %pending)
  ret void
}
define internal void @wake_caller(ptr %pool) nounwind {
  call void @condition_wake(ptr %pool, i64 {POOL_CALLER_CONDITION})
  ret void
}
"""

#: Instead of all else: everything runs on the caller.
NO_THREADS = """
define internal i1 @pool_acquire(ptr %pool) nounwind {
  ret i1 false
}
define internal void @pool_release(ptr %pool) nounwind {
  ret void
}
define internal void @share(ptr %pool, ptr %step, ptr %slots, i64 %total) nounwind {
  call void @execute(ptr %step, ptr %slots, i64 0, i64 %total)
  ret void
}
define void @pool_stop(ptr %pool) nounwind {
  ret void
}
define void @pool_forget(ptr %pool) nounwind {
  ret void
}
"""
