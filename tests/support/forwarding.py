# SPDX-License-Identifier: Apache-2.0
"""An address that was dead comes to life: it carries what it is asked on to a real server."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import HTTPError
from urllib.request import Request, urlopen


@contextmanager
def forwarding(port: int, to: str) -> Iterator[None]:
    """Carry requests from `port` on to the server of a URL: a log that is back."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self._forward(self.rfile.read(int(self.headers["content-length"])))

        def do_GET(self) -> None:
            self._forward(None)

        def _forward(self, body: bytes | None) -> None:
            request = Request(f"{to}{self.path}", body, {"Content-Type": "application/json"})
            try:
                with urlopen(request) as answer:
                    status, location, data = answer.status, "", answer.read()
            except HTTPError as error:
                with error:
                    status, data = error.code, error.read()
                    location = error.headers.get("location", "")
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Location", location)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
