"""A way to an HTTP server on which faults lie in wait."""

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

Fault = Literal["none", "slow", "500", "hung", "answer lost"]
SLOW_S = 0.2


class Way:
    """Passes requests on to `port`; from the request number `after` on `fault` strikes.

    "answer lost": the server gets the request and works, and the connection ends without a word.
    """

    def __init__(self, port: int) -> None:
        self.port, self.fault, self.after, self.count = port, "none", 0, 0
        self.address = ""
        self.ended = threading.Event()

    def set(self, fault: Fault, after: int = 0) -> None:
        """The fault that strikes from now on; requests are counted anew."""
        self.fault, self.after, self.count = fault, after, 0


@contextmanager
def way_to(port: int) -> Iterator[Way]:
    """A way to the server on `port` of this machine, as long as the block runs."""
    way = Way(port)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None: ...

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            way.count += 1
            fault = way.fault if way.count > way.after else "none"
            if fault == "hung":
                way.ended.wait(60)
                self.close_connection = True
                return
            if fault == "500":
                self.answer(500, b"{}", {})
                return
            if fault == "slow":
                time.sleep(SLOW_S)
            status, content, headers = self.passed_on(body)
            if fault == "answer lost":
                self.close_connection = True
                return
            self.answer(status, content, headers)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

        def passed_on(self, body: bytes) -> tuple[int, bytes, dict[str, str]]:
            link = http.client.HTTPConnection("127.0.0.1", way.port, timeout=60)
            headers = {k: v for k, v in self.headers.items() if k.lower() != "host"}
            link.request(self.command, self.path, body, headers)
            reply = link.getresponse()
            kept = {"Content-Type": reply.headers.get("Content-Type", "application/json")}
            content = reply.read()
            link.close()
            return reply.status, content, kept

        def answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for key, value in (headers | {"Content-Length": str(len(content))}).items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    way.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield way
    finally:
        way.ended.set()
        server.shutdown()
        server.server_close()
