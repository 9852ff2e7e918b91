"""The demo's app: says from which node it speaks. Standard library only, so that it runs wherever Python does."""

import http.server
import os
import threading
import time


class Hello(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = f"hello from {os.environ['NODE']}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        if self.path != "/healthz":
            print("asked for", self.path)


def tick() -> None:
    count = 0
    while True:
        print(f"tick {count} on {os.environ['NODE']}")
        count += 1
        time.sleep(1)


threading.Thread(target=tick, daemon=True).start()
http.server.ThreadingHTTPServer((os.environ["ADDRESS"], int(os.environ["PORT"])), Hello).serve_forever()
