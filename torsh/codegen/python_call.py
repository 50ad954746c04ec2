"""LLVM text of functions that Python calls directly (see `runtime.cpu.methods`)."""
from __future__ import annotations

#: The C API's function that reads an argument, by what the compiled function takes.
_READ = {"i64": "PyLong_AsLongLong", "double": "PyFloat_AsDouble"}


def fastcall_text(name: str, kinds: tuple[str, ...]) -> str:
    """`py_<name>`, for METH_FASTCALL: reads integers ("i64", addresses too) and numbers ("double"), calls `name`, which returns an int64 in
    the same module and takes addresses as "ptr", and returns that as an int. Other Python threads wait meanwhile.

    A wrong number of arguments or one that is no number raises (SystemError, TypeError, OverflowError) before the call.
    """
    lines = [f"define ptr @py_{name}(ptr %self, ptr %args, i64 %given) nounwind {{", f"  %right = icmp eq i64 %given, {len(kinds)}",
             "  br i1 %right, label %read, label %refused", "read:"]
    values = []
    for i, kind in enumerate(kinds):
        read = "double" if kind == "double" else "i64"
        lines += [f"  %at{i} = getelementptr ptr, ptr %args, i64 {i}", f"  %object{i} = load ptr, ptr %at{i}",
                  f"  %read{i} = call {read} @{_READ[read]}(ptr %object{i})"]
        if kind == "ptr":
            lines.append(f"  %address{i} = inttoptr i64 %read{i} to ptr")
        values.append(f"{kind} %{'address' if kind == 'ptr' else 'read'}{i}")
    lines += ["  %error = call ptr @PyErr_Occurred()", "  %fine = icmp eq ptr %error, null", "  br i1 %fine, label %run, label %refused", "run:",
              f"  %status = call i64 @{name}({', '.join(values)})", "  %result = call ptr @PyLong_FromLongLong(i64 %status)", "  ret ptr %result",
              "refused:", "  ret ptr null", "}"]
    declared = [f"declare {kind} @{function}(ptr) nounwind" for kind, function in _READ.items()]
    return "\n".join([*declared, "declare ptr @PyErr_Occurred() nounwind", "declare ptr @PyLong_FromLongLong(i64) nounwind", *lines, ""])
