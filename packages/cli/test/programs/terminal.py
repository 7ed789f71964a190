# Runs a command at a terminal of its own, and does what stdin says, a word a line: `key` presses Ctrl-C, `kill` sends SIGINT to the
# command's process alone. What the terminal shows goes to stdout. pty(7).
import os, pty, signal, sys, threading

pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])

def orders():
    for line in sys.stdin:
        if line.strip() == "key":
            os.write(terminal, b"\x03")
        if line.strip() == "kill":
            os.kill(pid, signal.SIGINT)

threading.Thread(target=orders, daemon=True).start()
while True:
    try:
        shown = os.read(terminal, 4096)
    except OSError:
        break
    if not shown:
        break
    os.write(1, shown.replace(b"\r", b""))
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
