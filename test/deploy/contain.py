"""Runs a program as a container's runtime would, without one. Linux, root.

  contain.py loopback COMMAND...   in a network of its own, with nothing but loopback
  contain.py run SPEC              in a root directory of its own, as SPEC says, in JSON:
    root, uid, gid, groups, env, args, mounts: [{source, target, readOnly}]

The program of `run` is process 1, its root is read-only, it has no capabilities and can
get none, no /tmp, and the calls of the kernel that runtimes refuse by default are refused.
Ends as the program ends; killed, it takes the program with it.
"""

import ctypes
import errno
import fcntl
import json
import os
import platform
import signal
import socket
import struct
import sys

libc = ctypes.CDLL(None, use_errno=True)

NEWNS, NEWUTS, NEWIPC, NEWPID, NEWNET = 0x20000, 0x4000000, 0x8000000, 0x20000000, 0x40000000
RDONLY, NOSUID, NODEV, NOEXEC, REMOUNT, BIND, REC, PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
SET_PDEATHSIG, CAPBSET_DROP, SET_NO_NEW_PRIVS, SET_SECCOMP = 1, 24, 38, 22

# What the default profiles of containerd and Docker refuse to a process without
# capabilities, of what there is to refuse: on x86-64 and on ARM64.
REFUSED = {
    "acct": (163, 89), "add_key": (248, 217), "bpf": (321, 280), "clock_settime": (227, 112),
    "delete_module": (176, 106), "finit_module": (313, 273), "init_module": (175, 105),
    "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "io_uring_setup": (425, 425),
    "kexec_load": (246, 104), "keyctl": (250, 219), "mount": (165, 40), "move_pages": (279, 239),
    "open_by_handle_at": (304, 265), "perf_event_open": (298, 241), "pivot_root": (155, 41),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "ptrace": (101, 117),
    "quotactl": (179, 60), "reboot": (169, 142), "request_key": (249, 218), "setns": (308, 268),
    "settimeofday": (164, 170), "swapoff": (168, 225), "swapon": (167, 224), "syslog": (103, 116),
    "umount2": (166, 39), "unshare": (272, 97), "userfaultfd": (323, 282),
}
# Answered with ENOSYS, so that the C library goes back to clone, which can be looked into.
CLONE3 = 435
MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}


def check(result, what):
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def mount(source, target, kind, flags, data=None):
    encode = lambda text: None if text is None else text.encode()
    check(libc.mount(encode(source), encode(target), encode(kind), flags, encode(data)), f"mount {target}")


def bind(source, target, flags):
    mount(source, target, None, BIND | REC)
    # A bind mount takes its flags only when it is mounted again.
    mount(None, target, None, BIND | REMOUNT | flags)


def loopback(command):
    check(libc.unshare(NEWNET), "unshare")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        # SIOCSIFFLAGS: up and running.
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh22x", b"lo", 0x41))
    os.execvp(command[0], command)


def seccomp_program():
    column, arch = MACHINES[platform.machine()]
    refused = [numbers[column] for numbers in REFUSED.values()]
    load, equal, give = 0x20, 0x15, 0x06
    allow, kill, error = 0x7FFF0000, 0x80000000, 0x00050000
    code = [(load, 0, 0, 4), (equal, 1, 0, arch), (give, 0, 0, kill), (load, 0, 0, 0)]
    code += [(equal, 0, 1, CLONE3), (give, 0, 0, error | errno.ENOSYS)]
    for number in refused:
        code += [(equal, 0, 1, number), (give, 0, 0, error | errno.EPERM)]
    code.append((give, 0, 0, allow))
    return b"".join(struct.pack("HBBI", *line) for line in code), len(code)


def enter_root(spec):
    root = spec["root"]
    mount(None, "/", None, REC | PRIVATE)
    bind(root, root, NOSUID | NODEV)
    for each in spec["mounts"]:
        flags = NOSUID | NODEV | NOEXEC | (RDONLY if each.get("readOnly") else 0)
        target = root + each["target"]
        if not os.path.exists(target):
            # As the runtime does, which makes what the image has not.
            os.makedirs(target)
        bind(each["source"], target, flags)
    mount("proc", root + "/proc", "proc", NOSUID | NODEV | NOEXEC)
    mount("tmpfs", root + "/dev", "tmpfs", NOSUID | NOEXEC, "size=64k,mode=755")
    for name in ("null", "zero", "full", "random", "urandom"):
        open(f"{root}/dev/{name}", "w").close()
        mount(f"/dev/{name}", f"{root}/dev/{name}", None, BIND)
    if "terminationLog" in spec:
        open(f"{root}/dev/termination-log", "w").close()
        mount(spec["terminationLog"], f"{root}/dev/termination-log", None, BIND)
    mount(None, root + "/dev", None, REMOUNT | NOSUID | NOEXEC | RDONLY, "size=64k,mode=755")
    mount(None, root, None, BIND | REMOUNT | RDONLY | NOSUID | NODEV)
    os.chdir(root)
    # The new root over the old one, which is then let go.
    column, _ = MACHINES[platform.machine()]
    check(libc.syscall((155, 41)[column], b".", b"."), "pivot_root")
    check(libc.umount2(b".", 2), "umount")
    os.chdir("/")


def give_up_rights(spec):
    for capability in range(64):
        if libc.prctl(CAPBSET_DROP, capability, 0, 0, 0) != 0:
            break
    os.setgroups(spec["groups"])
    os.setresgid(spec["gid"], spec["gid"], spec["gid"])
    os.setresuid(spec["uid"], spec["uid"], spec["uid"])
    check(libc.prctl(SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "pdeathsig")
    check(libc.prctl(SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    code, length = seccomp_program()
    lines = ctypes.create_string_buffer(code)
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", length, ctypes.addressof(lines)))
    check(libc.prctl(SET_SECCOMP, 2, program, 0, 0), "seccomp")


def run(spec):
    check(libc.unshare(NEWNS | NEWUTS | NEWIPC | NEWPID), "unshare")
    child = os.fork()
    if child == 0:
        try:
            enter_root(spec)
            give_up_rights(spec)
            os.umask(0o022)
            os.execve(spec["args"][0], spec["args"], spec["env"])
        except OSError as error:
            os.write(2, f"contain.py: {error}\n".encode())
            os._exit(125)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: os.kill(child, number))
    _, status = os.waitpid(child, 0)
    sys.exit(os.waitstatus_to_exitcode(status) & 0xFF)


if __name__ == "__main__":
    if sys.argv[1] == "loopback":
        loopback(sys.argv[2:])
    else:
        run(json.loads(sys.argv[2]))
