"""What test containers run: a few verbs that the fake runtime understands as well."""

import os
import signal
import sys
import time

verb, *words = sys.argv[1:]
if verb == "exit":
    sys.exit(int(words[0]))
elif verb == "exit-after":
    time.sleep(float(words[0]))
    sys.exit(int(words[1]))
elif verb == "print":
    print("\n".join(words))
elif verb == "print-then-wait":
    print("\n".join(words), flush=True)
    time.sleep(3600)
elif verb == "env":
    print(os.environ[words[0]])
elif verb == "wait":
    print("waiting", flush=True)
    time.sleep(3600)
elif verb == "ignore-term":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("ignoring", flush=True)
    time.sleep(3600)
elif verb == "upper-then-exit":
    sys.stdout.write(sys.stdin.read().upper())
    sys.stdout.flush()
    sys.exit(int(words[0]))
elif verb == "write":
    with open(words[0], "w") as file:  # noqa: PTH123
        file.write(words[1])
elif verb == "eval":
    print(eval(words[0]), flush=True)
else:
    sys.exit(f"unknown verb {verb}")
