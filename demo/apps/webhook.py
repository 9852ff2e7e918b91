"""The demo's webhook: keeps each CloudEvent it is given as a line of a file, on disk before it answers."""

import http.server
import json
import os

FILE = os.environ["FILE"]


class Alarms(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.answer(200)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        attributes = {k[3:].lower(): v for k, v in self.headers.items() if k.lower().startswith("ce-")}
        with open(FILE, "a") as file:  # noqa: PTH123
            file.write(json.dumps({"attributes": attributes, "data": json.loads(body or b"null")}) + "\n")
            file.flush()
            os.fsync(file.fileno())
        print("alarm:", attributes.get("subject"), body.decode())
        self.answer(202)

    def answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


http.server.ThreadingHTTPServer((os.environ["ADDRESS"], int(os.environ["PORT"])), Alarms).serve_forever()
