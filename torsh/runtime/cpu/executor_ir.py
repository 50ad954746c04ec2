"""The CPU's plan executor, as LLVM IR text; its thread pool is in `pool_ir`.

It is compiled and cached like any kernel, so it needs no C compiler. Four functions are exported:

    ptr  py_run(ptr self, ptr address)     a Python method: run a program; `address` is an int
    ptr  py_run_list(ptr self, ptr list)   the same, with a list of int and float
    void pool_stop(ptr pool)               end the workers; they start again when next needed
    void pool_forget(ptr pool)             after a fork: the workers are not there any more

A program's argument slots belong to the run that took its `busy` word; another run at the same time works on a copy.
The pool belongs to one run at a time; another one goes on alone.
"""
from __future__ import annotations

from torsh.runtime.cpu import pool_ir

# A program: indices of its 64-bit words.
(PROGRAM_BUSY, PROGRAM_SLOTS, PROGRAM_SLOT_COUNT, PROGRAM_PATCHES, PROGRAM_PATCH_COUNT, PROGRAM_STEPS,
 PROGRAM_STEP_COUNT, PROGRAM_SHARES, PROGRAM_RELEASES_GIL, PROGRAM_POOL, PROGRAM_NONE, PROGRAM_VALUE_ERROR,
 PROGRAM_TYPE_ERROR, PROGRAM_FLOAT, PROGRAM_LIST, PROGRAM_VALUE_COUNT) = range(16)
PROGRAM_WORDS = 16
# A step: function, serial, number of argument sets, total items, then for each set (byte offset in slots, where its
# items end in the concatenation).
STEP_HEAD = 4


def text(threads: str, arch: str) -> str:
    """The module's LLVM IR. `threads` is "futex", "pthread" or "none"; `arch` is "x86_64" or "aarch64"."""
    constants = {name: value for name, value in globals().items() if name.startswith(("PROGRAM_", "STEP_"))}
    constants["TYPE_OFFSET"] = object.__basicsize__ - 8  # where an object's type is, in this build of Python
    return pool_ir.fill(_TEXT, constants) + pool_ir.text(threads, arch)


_TEXT = """
declare ptr @malloc(i64) nounwind
declare void @free(ptr) nounwind
declare i64 @PyLong_AsLongLong(ptr) nounwind
declare double @PyFloat_AsDouble(ptr) nounwind
declare i64 @PyList_Size(ptr) nounwind
declare ptr @PyList_GetItem(ptr, i64) nounwind
declare ptr @PyErr_Occurred() nounwind
declare void @PyErr_SetString(ptr, ptr) nounwind
declare ptr @PyEval_SaveThread() nounwind
declare void @PyEval_RestoreThread(ptr) nounwind
declare void @Py_IncRef(ptr) nounwind
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
declare i64 @llvm.smin.i64(i64, i64)
declare i64 @llvm.smax.i64(i64, i64)

@type_message = private constant [24 x i8] c"run_list: takes a list.\\00"
@count_message = private constant [54 x i8] c"run_list: the list's length differs from value_count.\\00"

; Run items [begin, end) of a step, which may span several argument sets.
define internal void @execute(ptr %step, ptr %slots, i64 %begin, i64 %end) nounwind {
entry:
  %function = load ptr, ptr %step
  %count.at = getelementptr i64, ptr %step, i64 2
  %count = load i64, ptr %count.at
  %sets = getelementptr i64, ptr %step, i64 {STEP_HEAD}
  %single = icmp eq i64 %count, 1
  br i1 %single, label %one, label %search
one:
  %offset = load i64, ptr %sets
  %arguments = getelementptr i8, ptr %slots, i64 %offset
  call void %function(ptr %arguments, i64 %begin, i64 %end) nounwind
  ret void
search:                                           ; the first set whose items end after begin
  %low = phi i64 [0, %entry], [%low.next, %search.next]
  %high = phi i64 [%count, %entry], [%high.next, %search.next]
  %searching = icmp ult i64 %low, %high
  br i1 %searching, label %search.next, label %set
search.next:
  %sum = add i64 %low, %high
  %middle = lshr i64 %sum, 1
  %middle.at = getelementptr {i64, i64}, ptr %sets, i64 %middle, i32 1
  %middle.end = load i64, ptr %middle.at
  %later = icmp sgt i64 %middle.end, %begin
  %after = add i64 %middle, 1
  %low.next = select i1 %later, i64 %low, i64 %after
  %high.next = select i1 %later, i64 %middle, i64 %high
  br label %search
set:
  %index = phi i64 [%low, %search], [%index.next, %set.run]
  %at = phi i64 [%begin, %search], [%stop, %set.run]
  %more = icmp slt i64 %at, %end
  br i1 %more, label %set.run, label %done
set.run:
  %set.at = getelementptr {i64, i64}, ptr %sets, i64 %index
  %set.offset = load i64, ptr %set.at
  %set.end.at = getelementptr i64, ptr %set.at, i64 1
  %set.end = load i64, ptr %set.end.at
  %before.at = getelementptr i64, ptr %set.at, i64 -1
  %before = load i64, ptr %before.at
  %is.first = icmp eq i64 %index, 0
  %base = select i1 %is.first, i64 0, i64 %before
  %stop = call i64 @llvm.smin.i64(i64 %set.end, i64 %end)
  %first = sub i64 %at, %base
  %last = sub i64 %stop, %base
  %set.arguments = getelementptr i8, ptr %slots, i64 %set.offset
  call void %function(ptr %set.arguments, i64 %first, i64 %last) nounwind
  %index.next = add i64 %index, 1
  br label %set
done:
  ret void
}

; Write the run-time values into the argument slots.
define internal void @patch(ptr %program, ptr %slots, ptr %values) nounwind {
entry:
  %patches.at = getelementptr i64, ptr %program, i64 {PROGRAM_PATCHES}
  %patches = load ptr, ptr %patches.at
  %count.at = getelementptr i64, ptr %program, i64 {PROGRAM_PATCH_COUNT}
  %count = load i64, ptr %count.at
  br label %loop
loop:
  %i = phi i64 [0, %entry], [%next, %body]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %body, label %done
body:
  %patch = getelementptr {i64, i64, i64}, ptr %patches, i64 %i
  %slot = load i64, ptr %patch
  %index.at = getelementptr i64, ptr %patch, i64 1
  %index = load i64, ptr %index.at
  %offset.at = getelementptr i64, ptr %patch, i64 2
  %offset = load i64, ptr %offset.at
  %value.at = getelementptr i64, ptr %values, i64 %index
  %value = load i64, ptr %value.at
  %bits = add i64 %value, %offset
  %slot.at = getelementptr i64, ptr %slots, i64 %slot
  store i64 %bits, ptr %slot.at
  %next = add i64 %i, 1
  br label %loop
done:
  ret void
}

define internal void @run(ptr %program, ptr %values) nounwind {
entry:
  %own.slots.at = getelementptr i64, ptr %program, i64 {PROGRAM_SLOTS}
  %own.slots = load ptr, ptr %own.slots.at
  %taken = atomicrmw xchg ptr %program, i64 1 acquire
  %is.mine = icmp eq i64 %taken, 0
  br i1 %is.mine, label %prepared, label %copy
copy:
  %slot.count.at = getelementptr i64, ptr %program, i64 {PROGRAM_SLOT_COUNT}
  %slot.count = load i64, ptr %slot.count.at
  %slot.bytes = shl i64 %slot.count, 3
  %copied = call ptr @malloc(i64 %slot.bytes)
  call void @llvm.memcpy.p0.p0.i64(ptr %copied, ptr %own.slots, i64 %slot.bytes, i1 false)
  br label %prepared
prepared:
  %slots = phi ptr [%own.slots, %entry], [%copied, %copy]
  call void @patch(ptr %program, ptr %slots, ptr %values)
  %steps.at = getelementptr i64, ptr %program, i64 {PROGRAM_STEPS}
  %steps = load ptr, ptr %steps.at
  %step.count.at = getelementptr i64, ptr %program, i64 {PROGRAM_STEP_COUNT}
  %step.count = load i64, ptr %step.count.at
  %pool.at = getelementptr i64, ptr %program, i64 {PROGRAM_POOL}
  %pool = load ptr, ptr %pool.at
  %shares.at = getelementptr i64, ptr %program, i64 {PROGRAM_SHARES}
  %shares = load i64, ptr %shares.at
  %wants.pool = icmp ne i64 %shares, 0
  br i1 %wants.pool, label %acquire, label %start
acquire:
  %acquired = call i1 @pool_acquire(ptr %pool)
  br label %start
start:
  %pooled = phi i1 [false, %prepared], [%acquired, %acquire]
  br label %loop
loop:
  %i = phi i64 [0, %start], [%next, %advance]
  %step = phi ptr [%steps, %start], [%step.next, %advance]
  %more = icmp slt i64 %i, %step.count
  br i1 %more, label %body, label %finish
body:
  %serial.at = getelementptr i64, ptr %step, i64 1
  %serial = load i64, ptr %serial.at
  %total.at = getelementptr i64, ptr %step, i64 3
  %total = load i64, ptr %total.at
  %may.share = icmp eq i64 %serial, 0
  %sharing = and i1 %may.share, %pooled
  br i1 %sharing, label %parallel, label %alone
parallel:
  call void @share(ptr %pool, ptr %step, ptr %slots, i64 %total)
  br label %advance
alone:
  call void @execute(ptr %step, ptr %slots, i64 0, i64 %total)
  br label %advance
advance:
  %sets.at = getelementptr i64, ptr %step, i64 2
  %sets = load i64, ptr %sets.at
  %set.words = shl i64 %sets, 1
  %words = add i64 %set.words, {STEP_HEAD}
  %step.next = getelementptr i64, ptr %step, i64 %words
  %next = add i64 %i, 1
  br label %loop
finish:
  br i1 %pooled, label %release, label %unlock
release:
  call void @pool_release(ptr %pool)
  br label %unlock
unlock:
  br i1 %is.mine, label %unlock.own, label %drop
unlock.own:
  store atomic i64 0, ptr %program release, align 8
  ret void
drop:
  call void @free(ptr %slots)
  ret void
}

; The Python side of a run, with the interpreter's lock released unless the program is short.
define internal ptr @call(ptr %program, ptr %values) nounwind {
  %releases.at = getelementptr i64, ptr %program, i64 {PROGRAM_RELEASES_GIL}
  %releases = load i64, ptr %releases.at
  %none.at = getelementptr i64, ptr %program, i64 {PROGRAM_NONE}
  %none = load ptr, ptr %none.at
  %is.short = icmp eq i64 %releases, 0
  br i1 %is.short, label %short, label %long
short:
  call void @run(ptr %program, ptr %values)
  br label %done
long:
  %state = call ptr @PyEval_SaveThread()
  call void @run(ptr %program, ptr %values)
  call void @PyEval_RestoreThread(ptr %state)
  br label %done
done:
  call void @Py_IncRef(ptr %none)
  ret ptr %none
}

define ptr @py_run(ptr %self, ptr %address) nounwind {
  %program.bits = call i64 @PyLong_AsLongLong(ptr %self)
  %program = inttoptr i64 %program.bits to ptr
  %bits = call i64 @PyLong_AsLongLong(ptr %address)
  %odd = icmp eq i64 %bits, -1
  br i1 %odd, label %check, label %good
check:
  %error = call ptr @PyErr_Occurred()
  %fine = icmp eq ptr %error, null
  br i1 %fine, label %good, label %bad
bad:
  ret ptr null
good:
  %values = inttoptr i64 %bits to ptr
  %result = call ptr @call(ptr %program, ptr %values)
  ret ptr %result
}

define ptr @py_run_list(ptr %self, ptr %list) nounwind {
entry:
  %program.bits = call i64 @PyLong_AsLongLong(ptr %self)
  %program = inttoptr i64 %program.bits to ptr
  %list.type.at = getelementptr i8, ptr %list, i64 {TYPE_OFFSET}
  %list.type = load ptr, ptr %list.type.at
  %wanted.type.at = getelementptr i64, ptr %program, i64 {PROGRAM_LIST}
  %wanted.type = load ptr, ptr %wanted.type.at
  %is.list = icmp eq ptr %list.type, %wanted.type
  br i1 %is.list, label %compare, label %complain.type
complain.type:
  %type.error.at = getelementptr i64, ptr %program, i64 {PROGRAM_TYPE_ERROR}
  %type.error = load ptr, ptr %type.error.at
  call void @PyErr_SetString(ptr %type.error, ptr @type_message)
  ret ptr null
compare:
  %count = call i64 @PyList_Size(ptr %list)
  %wanted.at = getelementptr i64, ptr %program, i64 {PROGRAM_VALUE_COUNT}
  %wanted = load i64, ptr %wanted.at
  %fits = icmp eq i64 %count, %wanted
  br i1 %fits, label %prepare, label %complain
complain:
  %error.at = getelementptr i64, ptr %program, i64 {PROGRAM_VALUE_ERROR}
  %error.type = load ptr, ptr %error.at
  call void @PyErr_SetString(ptr %error.type, ptr @count_message)
  ret ptr null
prepare:
  %values = alloca i64, i64 %count, align 16
  %float.at = getelementptr i64, ptr %program, i64 {PROGRAM_FLOAT}
  %float = load ptr, ptr %float.at
  br label %loop
loop:
  %i = phi i64 [0, %prepare], [%next, %store]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %convert, label %ready
convert:
  %item = call ptr @PyList_GetItem(ptr %list, i64 %i)
  %type.at = getelementptr i8, ptr %item, i64 {TYPE_OFFSET}
  %type = load ptr, ptr %type.at
  %is.float = icmp eq ptr %type, %float
  br i1 %is.float, label %from.float, label %from.int
from.float:
  %real = call double @PyFloat_AsDouble(ptr %item)
  %real.bits = bitcast double %real to i64
  br label %store
from.int:
  %whole = call i64 @PyLong_AsLongLong(ptr %item)
  %odd = icmp eq i64 %whole, -1
  br i1 %odd, label %check, label %store
check:
  %error = call ptr @PyErr_Occurred()
  %fine = icmp eq ptr %error, null
  br i1 %fine, label %store, label %bad
store:
  %bits = phi i64 [%real.bits, %from.float], [%whole, %from.int], [%whole, %check]
  %value.at = getelementptr i64, ptr %values, i64 %i
  store i64 %bits, ptr %value.at
  %next = add i64 %i, 1
  br label %loop
ready:
  %result = call ptr @call(ptr %program, ptr %values)
  ret ptr %result
bad:
  ret ptr null
}
"""
