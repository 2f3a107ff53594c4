"""Runs a command on a pseudo-terminal of its own and plays a script of steps; prints what happened as JSON.

Arguments: the steps as JSON, then the command. Steps: ["expect", text], ["send", text], ["signal", name],
["echo", bool], which asserts whether the terminal shows what is typed, and ["file", path], which waits until it is there.
"""

import fcntl, json, os, pty, select, signal, subprocess, sys, termios, time

steps, command = json.loads(sys.argv[1]), sys.argv[2:]
master, slave = pty.openpty()
deadline = time.monotonic() + 120
output = b""
before = termios.tcgetattr(slave)


def own_terminal():
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def read_some():
    global output
    ready, _, _ = select.select([master], [], [], 0.02)
    if ready:
        output += os.read(master, 65536)


def wait_for(condition, what):
    while not condition():
        if time.monotonic() > deadline:
            process.kill()
            sys.exit(f"no {what}; output so far: {output!r}")
        read_some()


def echo():
    return bool(termios.tcgetattr(slave)[3] & termios.ECHO)


process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, preexec_fn=own_terminal)
seen = 0
for step, argument in steps:
    if step == "expect":
        wait_for(lambda: argument.encode() in output[seen:], f"{argument!r}")
        seen = output.index(argument.encode(), seen) + len(argument.encode())
    elif step == "echo":
        wait_for(lambda: echo() == argument, f"echo {argument}")
    elif step == "file":
        wait_for(lambda: os.path.exists(argument), f"file {argument}")
    elif step == "send":
        os.write(master, argument.encode())
    elif step == "signal":
        process.send_signal(getattr(signal, "SIG" + argument))
wait_for(lambda: process.poll() is not None, "end")
while select.select([master], [], [], 0)[0]:
    output += os.read(master, 65536)
print(json.dumps({
    "code": process.returncode,
    "output": output.decode().replace("\r\n", "\n"),
    "restored": termios.tcgetattr(slave) == before,
}))
