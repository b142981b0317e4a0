"""A mirror on the loopback interface, which answers as a test tells it to."""

from __future__ import annotations

import contextlib
import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tiny_idx import CONTENTS, NAMES

GOOD = {f"/{name}.gz": gzip.compress(content) for name, content in zip(NAMES, CONTENTS, strict=True)}
FIRST = f"/{NAMES[0]}.gz"


class Mirror(ThreadingHTTPServer):
    """Answers `routes[path]`: bytes are a body, a number is a status, a function does as it likes."""

    daemon_threads = False  # so that `server_close` waits for the answers' threads

    def __init__(self, routes):
        super().__init__(("127.0.0.1", 0), Answer)
        self.routes = dict(routes)
        self.asked = []
        self.over = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request, client_address):
        """Ignore clients that disconnect: half of these tests are about them."""


class Answer(BaseHTTPRequestHandler):
    server: Mirror

    def do_GET(self):
        self.server.asked.append(self.path)
        route = self.server.routes.get(self.path, 404)
        if callable(route):
            route(self)
        elif isinstance(route, int):
            self.send_error(route)
        else:
            self.head(len(route))
            self.wfile.write(route)

    def head(self, length, status=200, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def serving(routes=GOOD):
    """Run a mirror."""
    server = Mirror(routes)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        thread.join()
        server.server_close()
